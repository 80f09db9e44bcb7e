//! What the configuration promises: every broken file gives exactly the diagnostics beside it, and every good one
//! means what it says.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use certgate::certificate::{CertificateName, KeyType};
use certgate::config::{
    self, AlpnMismatch, Authentication, CertificateSelector, ChallengeType, Code, Config, Diagnostics,
    Environment, IssuerConfig, Loaded, LogFormat, Protocol, Severity, UnknownSni,
};

/// Relative, so that no machine's paths are in what is expected: tests run in the package's directory.
const FIXTURES: &str = "tests/fixtures/config";

fn load(path: impl AsRef<Path>) -> Result<Loaded, Diagnostics> {
    let environment = Environment {
        state_directory: None,
        cores: 4,
        policies: &["intermediate", "modern"],
    };
    config::load(path.as_ref(), &environment)
}

fn fixtures(directory: &str) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(Path::new(FIXTURES).join(directory))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_none_or(|extension| extension != "expected"))
        .collect();
    paths.sort();
    paths
}

/// A problem is a file, or a directory of several; what is said of it stands beside it.
#[test]
fn every_broken_configuration_gives_exactly_the_diagnostics_beside_it() {
    let bless = std::env::var_os("CERTGATE_BLESS").is_some();
    let mut differences = Vec::new();
    let paths = fixtures("broken");
    for path in &paths {
        let beside = path.with_extension("expected");
        let found = match load(path) {
            Err(diagnostics) => format!("{diagnostics}\n"),
            Ok(_) => panic!("{} is taken, but lies among the broken ones", path.display()),
        };
        if bless {
            fs::write(&beside, &found).unwrap();
        }
        let expected = fs::read_to_string(&beside).unwrap_or_default();
        if found != expected {
            differences.push(format!(
                "{}: expected\n{expected}\nfound\n{found}",
                path.display()
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(paths.len() >= 45, "only {} broken fixtures", paths.len());
}
