//! `certgate quick`: one listener without a file. It writes the file that it saves its user from writing.

use std::fmt::Write as _;
use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use super::Failure;
use super::arguments::Quick;
use super::{environment, run};

pub(super) fn quick(quick: &Quick) -> Result<ExitCode, Failure> {
    let store = match &quick.store {
        Some(store) => store.clone(),
        None => environment::with(|environment| environment.default_store()),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&store)
        .map_err(|error| format!("cannot make the store's directory {}: {error}", store.display()))?;
    let store = store.canonicalize()?;
    let socket = store.join("admin.sock");
    // The running one reads its file again on SIGHUP; it must stay its own.
    if UnixStream::connect(&socket).is_ok() {
        let store = store.display();
        return Err(format!(
            "a gateway already runs with the store in {store}; stop it, or give this one its own by --store"
        )
        .into());
    }
    let path = store.join("quick.toml");
    let text = configuration(quick, &store);
    std::fs::write(&path, &text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    writeln!(io::stderr(), "certgate runs with {}:\n\n{text}", path.display())?;
    if quick.acme.is_none() {
        writeln!(
            io::stderr(),
            "clients must trust the root of this CA: certgate ca export local --admin {}\n",
            socket.display()
        )?;
    }
    run::run(&path)
}

/// The configuration file that says what the flags say.
fn configuration(quick: &Quick, store: &std::path::Path) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    line(format!("store.path = {}", quoted(&store.display().to_string())));
    match &quick.acme {
        Some(directory) => {
            line("[issuers.acme]\nkind = \"acme\"\nagree_to_terms = true".to_owned());
            line(format!("directory = {}", quoted(directory)));
            line("challenges = [\"tls-alpn-01\"]".to_owned());
            if let Some(contact) = &quick.contact {
                line(format!("contact = [{}]", quoted(&format!("mailto:{contact}"))));
            }
        }
        None => line("[issuers.local]\nkind = \"local-ca\"\ncommon_name = \"certgate local CA\"".to_owned()),
    }
    let issuer = if quick.acme.is_some() { "acme" } else { "local" };
    line(format!(
        "[certificates.quick]\ndomains = [{}]",
        list(&quick.domains)
    ));
    line(format!("issuer = \"{issuer}\""));
    line(format!(
        "[server_groups.quick]\nservers = [{}]",
        list(&quick.servers)
    ));
    line(format!("[listeners.quick]\naddress = \"{}\"", quick.listen.ip()));
    line(format!("port = {}", quick.listen.port()));
    line("certificates = [\"quick\"]\nserver_group = \"quick\"".to_owned());
    text
}

fn list<T: ToString>(items: &[T]) -> String {
    items
        .iter()
        .map(|item| quoted(&item.to_string()))
        .collect::<Vec<_>>()
        .join(", ")
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::name::NamePattern;

    #[test]
    fn what_the_flags_say_is_a_valid_file() {
        let directory = tempfile::tempdir().unwrap();
        for (acme, domain, listen) in [
            (None, "localhost", "127.0.0.1:8443"),
            (Some("letsencrypt".to_owned()), "www.example.com", "[::]:443"),
        ] {
            let quick = Quick {
                listen: listen.parse().unwrap(),
                domains: vec![NamePattern::parse(domain).unwrap()],
                servers: vec!["127.0.0.1:8080".into(), "app.internal:8080".into()],
                contact: acme.as_ref().map(|_| "ops@example.com".to_owned()),
                acme,
                store: None,
            };
            let path = directory.path().join("quick.toml");
            std::fs::write(&path, configuration(&quick, directory.path())).unwrap();
            let loaded = environment::with(|environment| config::load(&path, environment)).unwrap();
            assert_eq!(loaded.config.listeners["quick"].address, quick.listen);
            assert!(loaded.warnings.is_empty());
        }
    }
}
