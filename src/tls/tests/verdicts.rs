//! What certificates that openssl made come to, each with the reason that is counted for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use rustls::pki_types::UnixTime;
use rustls::pki_types::pem::PemObject;
use rustls::server::danger::ClientCertVerifier;
use tempfile::TempDir;

use super::*;
use crate::certificate::{AllowedClients, CaBundleError};
use crate::name::NamePattern;
use crate::tls::client_auth::ClientVerifier;

/// A folder in which `tests/fixtures/unusual_client_certificates.sh` has made a CA's worth of certificates.
struct Pki(TempDir);

impl Pki {
    fn shared() -> &'static Self {
        static MADE: LazyLock<Pki> = LazyLock::new(|| {
            let directory = TempDir::new().unwrap();
            let script = concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/fixtures/unusual_client_certificates.sh"
            );
            let output = Command::new("sh")
                .arg(script)
                .current_dir(directory.path())
                .output()
                .unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{errors}");
            Pki(directory)
        });
        &MADE
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn chain(&self, name: &str) -> Vec<CertificateDer<'static>> {
        read(&self.path(&format!("{name}.pem")))
    }

    fn bundle(&self, files: &[&str], crls: &[&str]) -> CaBundle {
        let paths = |names: &[&str]| names.iter().map(|name| self.path(name)).collect::<Vec<_>>();
        load(&paths(files), &paths(crls)).unwrap()
    }

    /// What becomes of the client certificate `name`, which comes with the chain in its file.
    fn label(&self, name: &str, bundle: &CaBundle, listener: &ListenerConfig) -> &'static str {
        let algorithms = built_in("intermediate")
            .unwrap()
            .provider()
            .signature_verification_algorithms;
        let verifier = ClientVerifier::new(listener, bundle.clone(), algorithms);
        let chain = self.chain(name);
        let verdict = verifier.judge(&chain[0], &chain[1..], UnixTime::now());
        let enforced = verifier.verify_client_cert(&chain[0], &chain[1..], UnixTime::now());
        assert_eq!(enforced.is_err(), verdict.rejection().is_some(), "{name}");
        verdict.label()
    }
}

fn read(path: &Path) -> Vec<CertificateDer<'static>> {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    CertificateDer::pem_slice_iter(&text)
        .map(Result::unwrap)
        .collect()
}

fn mutual() -> ListenerConfig {
    ListenerConfig {
        authentication: Authentication::Mutual {
            client_ca: "partners".into(),
        },
        ..listener()
    }
}

const CASES: [(&str, &str); 30] = [
    ("valid", "verified"),
    ("over-intermediate", "verified"),
    ("ed25519", "verified"),
    ("p384", "verified"),
    ("rsa-pss", "verified"),
    ("expired", "expired"),
    ("not-yet-valid", "not-yet-valid"),
    ("wrong-ca", "unknown-ca"),
    ("namesake", "bad-signature"),
    ("wrong-usage", "wrong-usage"),
    ("no-signing", "wrong-usage"),
    ("ca-as-client", "wrong-usage"),
    ("self-signed", "self-signed"),
    ("self-signed-ca", "self-signed"),
    ("revoked", "revoked"),
    ("under-revoked-intermediate", "revoked"),
    ("outside-constraint", "name-constraint"),
    ("sha1", "weak-signature"),
    ("rsa-1024", "weak-key"),
    ("too-long", "chain-too-long"),
    ("missing-intermediate", "unknown-ca"),
    ("other-root", "verified"),
    ("below-6", "verified"),
    ("below-7", "chain-too-long"),
    ("sha1-rsa", "weak-signature"),
    ("under-sha1", "weak-signature"),
    ("under-rsa-1024", "weak-key"),
    ("pss-key", "unsupported"),
    ("pss-sha256-key", "unsupported"),
    ("ed448", "unsupported"),
];

fn load(files: &[PathBuf], crl_files: &[PathBuf]) -> Result<CaBundle, CaBundleError> {
    let sources = CaBundleSources {
        files,
        crl_files,
        ..CaBundleSources::default()
    };
    CaBundle::load("partners", &sources)
}

#[test]
fn each_certificate_comes_to_its_verdict() {
    let pki = Pki::shared();
    let bundle = pki.bundle(&["root.pem", "other.pem"], &["root.crl"]);
    for (name, expected) in CASES {
        assert_eq!(pki.label(name, &bundle, &mutual()), expected, "{name}");
    }
}

#[test]
fn an_intermediate_in_the_bundle_completes_the_chain_and_can_be_revoked() {
    let pki = Pki::shared();
    let bundle = pki.bundle(
        &["intermediate.pem", "revoked-intermediate.pem", "root.pem"],
        &["root.crl"],
    );
    assert_eq!(bundle.roots().len(), 1);
    assert_eq!(pki.label("missing-intermediate", &bundle, &mutual()), "verified");
    assert_eq!(
        pki.label("under-revoked-intermediate", &bundle, &mutual()),
        "revoked"
    );
    // Without its root it is trusted itself.
    let bundle = pki.bundle(&["intermediate.pem"], &["intermediate.crl"]);
    assert_eq!(pki.label("missing-intermediate", &bundle, &mutual()), "verified");
    assert_eq!(pki.label("valid", &bundle, &mutual()), "unknown-ca");
}

#[test]
fn an_expired_crl_refuses_the_clients_of_its_ca_alone_unless_the_listener_accepts_it() {
    let pki = Pki::shared();
    let bundle = pki.bundle(&["root.pem", "other.pem"], &["root-expired.crl"]);
    assert_eq!(pki.label("valid", &bundle, &mutual()), "crl-expired");
    assert_eq!(pki.label("over-intermediate", &bundle, &mutual()), "crl-expired");
    assert_eq!(pki.label("other-root", &bundle, &mutual()), "verified");
    assert_eq!(pki.label("revoked", &bundle, &mutual()), "revoked");
    let lenient = ListenerConfig {
        expired_crl: ExpiredCrl::Accept,
        ..mutual()
    };
    assert_eq!(pki.label("valid", &bundle, &lenient), "verified");
    assert_eq!(pki.label("revoked", &bundle, &lenient), "revoked");
    // The newest one of a CA counts.
    let bundle = pki.bundle(&["root.pem"], &["root.crl", "root-expired.crl"]);
    assert_eq!(bundle.revocation().iter().count(), 1);
    assert_eq!(pki.label("valid", &bundle, &mutual()), "verified");
}

#[test]
fn only_clients_whom_a_pattern_fits_are_let_in() {
    let pki = Pki::shared();
    let bundle = pki.bundle(&["root.pem"], &[]);
    let fingerprint = crate::certificate::ClientIdentity::parse(&pki.chain("valid")[0])
        .unwrap()
        .fingerprint;
    let uri = |text| crate::certificate::UriPattern::parse(text).unwrap();
    let nobody = AllowedClients::default;
    for (allow, expected) in [
        (nobody(), "not-allowed"),
        (
            AllowedClients {
                common_name: vec!["valid".to_owned()],
                ..nobody()
            },
            "verified",
        ),
        (
            AllowedClients {
                common_name: vec!["vali".to_owned()],
                ..nobody()
            },
            "not-allowed",
        ),
        (
            AllowedClients {
                organizational_unit: vec!["Operations".to_owned()],
                ..nobody()
            },
            "verified",
        ),
        (
            AllowedClients {
                dns: vec![NamePattern::parse("*.partner.example").unwrap()],
                ..nobody()
            },
            "verified",
        ),
        (
            AllowedClients {
                dns: vec![NamePattern::parse("*.api.partner.example").unwrap()],
                ..nobody()
            },
            "not-allowed",
        ),
        (
            AllowedClients {
                uri: vec![uri("spiffe://partner.example/ns/*/sa/web")],
                ..nobody()
            },
            "verified",
        ),
        (
            AllowedClients {
                uri: vec![uri("spiffe://partner.example/ns/*")],
                ..nobody()
            },
            "not-allowed",
        ),
        (
            AllowedClients {
                fingerprint_sha256: vec![fingerprint],
                ..nobody()
            },
            "verified",
        ),
    ] {
        let listener = ListenerConfig {
            allow_clients: Some(Arc::new(allow.clone())),
            ..mutual()
        };
        assert_eq!(pki.label("valid", &bundle, &listener), expected, "{allow:?}");
        // It opens nothing to those who are not verified.
        assert_eq!(pki.label("wrong-ca", &bundle, &listener), "unknown-ca");
    }
}

#[test]
fn a_crl_that_cannot_be_used_is_refused_by_name_and_with_its_bundle() {
    let (pki, scratch) = (Pki::shared(), TempDir::new().unwrap());
    let huge = scratch.path().join("huge.crl");
    std::fs::File::create(&huge).unwrap().set_len(50 << 20).unwrap();
    let garbage = scratch.path().join("garbage.crl");
    std::fs::write(&garbage, [0x30, 0x82, 0xff, 0xff, 0x00]).unwrap();
    for (file, says) in [
        (huge, "52428800 bytes"),
        (garbage, "cannot be used"),
        (pki.path("intermediate.crl"), "not in the bundle"),
        (pki.path("namesake.crl"), "signature is not by"),
        (pki.path("root.pem"), "is `CERTIFICATE`"),
        (pki.path("index.txt"), "holds no CRL"),
    ] {
        let error = load(&[pki.path("root.pem")], &[file]).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn verdicts_do_not_depend_on_the_order_of_a_bundle(
        files in Just(["root.pem", "other.pem", "namesake-ca.pem", "intermediate.pem", "revoked-intermediate.pem"]).prop_shuffle(),
        crls in Just(["root.crl", "root-expired.crl", "intermediate.crl", "namesake.crl"]).prop_shuffle(),
    ) {
        let pki = Pki::shared();
        let bundle = pki.bundle(&files, &crls);
        let sorted = |mut names: Vec<&'static str>| { names.sort_unstable(); names };
        let reference = pki.bundle(&sorted(files.to_vec()), &sorted(crls.to_vec()));
        prop_assert!(bundle == reference);
        for (name, _) in CASES {
            prop_assert_eq!(pki.label(name, &bundle, &mutual()), pki.label(name, &reference, &mutual()), "{}", name);
        }
        prop_assert_eq!(pki.label("namesake", &bundle, &mutual()), "verified");
        prop_assert_eq!(pki.label("valid", &bundle, &mutual()), "verified");
    }
}
