use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::*;
use crate::certificate::{Credential, KeyType, PrivateKey};

/// A chain of two, and its key.
fn pem() -> CredentialPem {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = params.signed_by(&key.to_key_pair().unwrap(), &ca).unwrap();
    CredentialPem::new(vec![leaf.der().clone(), ca.der().clone()], &key)
}

fn export(directory: &Path) -> ExportConfig {
    ExportConfig {
        directory: directory.join("www"),
        owner: None,
        group: None,
        mode: 0o644,
        key_mode: 0o600,
        command: None,
        timeout: Duration::from_secs(1),
    }
}

fn read(export: &ExportConfig, name: &str) -> String {
    fs::read_to_string(export.directory.join(name)).unwrap()
}

fn mode(export: &ExportConfig, name: &str) -> u32 {
    fs::metadata(export.directory.join(name)).unwrap().mode() & 0o7777
}

#[test]
fn each_file_has_its_part_and_only_its_owner_reads_the_key() {
    let place = tempfile::tempdir().unwrap();
    let (export, pem) = (export(place.path()), pem());
    assert!(!is_current(&export, &pem));
    write(&export, &pem).unwrap();
    assert!(is_current(&export, &pem));
    assert_eq!(read(&export, "fullchain.pem"), pem.chain_to_pem());
    assert_eq!(
        read(&export, "cert.pem") + &read(&export, "chain.pem"),
        pem.chain_to_pem()
    );
    assert_eq!(read(&export, "cert.pem").matches("BEGIN").count(), 1);
    assert_eq!(read(&export, "privkey.pem"), *pem.key_to_pem());
    assert_eq!(read(&export, "combined.pem"), *pem.to_pem());
    for (name, expected) in [
        ("cert.pem", 0o644),
        ("chain.pem", 0o644),
        ("fullchain.pem", 0o644),
        ("privkey.pem", 0o600),
        ("combined.pem", 0o600),
    ] {
        assert_eq!(mode(&export, name), expected, "{name}");
    }
}

#[test]
fn a_reader_never_sees_a_certificate_with_the_key_of_another() {
    let place = tempfile::tempdir().unwrap();
    let export = export(place.path());
    write(&export, &pem()).unwrap();
    let (reader, done) = (export.clone(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut pairs = 0;
            while !done.load(Ordering::Relaxed) || pairs < 10 {
                // A program that wants two files finds out where they are, and opens both.
                let current = fs::read_link(reader.directory.join(CURRENT)).expect("always there");
                let version = reader.directory.join(current);
                let read = |name| fs::read(version.join(name));
                // Two versions may have been written in between; then the program looks again.
                let (Ok(chain), Ok(key)) = (read("fullchain.pem"), read("privkey.pem")) else {
                    continue;
                };
                let combined = fs::read(reader.directory.join("combined.pem")).expect("always there");
                for pem in [
                    CredentialPem::parse_pair(&chain, &key).expect("whole"),
                    CredentialPem::parse(&combined).expect("whole"),
                ] {
                    Credential::from_pem(&pem).expect("the key of the certificate");
                }
                pairs += 1;
            }
        });
        for _ in 0..50 {
            write(&export, &pem()).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reading.join().unwrap();
    });
    let versions = versions(&export.directory).unwrap();
    assert_eq!(versions.len(), 2, "this one, and the one before");
}

#[test]
fn what_was_deleted_or_changed_by_hand_is_found_and_put_right() {
    let place = tempfile::tempdir().unwrap();
    let (mut export, pem) = (export(place.path()), pem());
    write(&export, &pem).unwrap();
    let path = |name: &str| place.path().join("www").join(name);
    let changes: [&dyn Fn(); 6] = [
        &|| fs::remove_file(path("fullchain.pem")).unwrap(),
        &|| fs::remove_file(path("current/privkey.pem")).unwrap(),
        &|| fs::write(path("fullchain.pem"), "another").unwrap(),
        &|| fs::set_permissions(path("privkey.pem"), fs::Permissions::from_mode(0o644)).unwrap(),
        &|| fs::remove_file(path("current")).unwrap(),
        &|| fs::remove_dir_all(place.path().join("www")).unwrap(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        change();
        assert!(!is_current(&export, &pem), "change {number}");
        write(&export, &pem).unwrap();
        assert!(is_current(&export, &pem), "change {number}");
    }
    export.key_mode = 0o640;
    assert!(!is_current(&export, &pem), "asked for otherwise");
    write(&export, &pem).unwrap();
    assert_eq!(mode(&export, "privkey.pem"), 0o640);
}

#[test]
fn a_file_that_is_not_ours_is_not_overwritten_and_nothing_changes() {
    let place = tempfile::tempdir().unwrap();
    let export = export(place.path());
    let first = pem();
    write(&export, &first).unwrap();
    let mine = export.directory.join("privkey.pem");
    fs::remove_file(&mine).unwrap();
    fs::write(&mine, "mine").unwrap();
    let error = write(&export, &pem()).unwrap_err();
    assert!(
        matches!(&error, WriteError::InTheWay { path } if *path == mine),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
    assert_eq!(read(&export, "fullchain.pem"), first.chain_to_pem());
}

#[test]
fn what_a_crash_has_left_half_written_is_no_obstacle() {
    let place = tempfile::tempdir().unwrap();
    let (export, pem) = (export(place.path()), pem());
    write(&export, &pem).unwrap();
    fs::create_dir(export.directory.join("version-2")).unwrap();
    fs::write(export.directory.join("version-2/cert.pem"), "-----BEGIN").unwrap();
    symlink("version-2", export.directory.join("current.new")).unwrap();
    let next = self::pem();
    write(&export, &next).unwrap();
    assert!(is_current(&export, &next));
    assert!(!export.directory.join("version-2").exists());
}
