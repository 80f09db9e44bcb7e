//! What a configuration names, looked at beforehand: `check` and `diff` say what `apply` would say, and the log.

use std::path::Path;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};

use crate::client_authority::ClientAuthority;
use crate::gateway::{Home, run};
use crate::runtime::Stage;

const MUTUAL: &str = "authentication = \"mutual\"\nclient_ca = \"partners\"\n";

/// A leaf and its key, in PEM.
fn leaf() -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["a.example.test".to_owned()]).expect("a name");
    let signed = params.self_signed(&key).expect("signed");
    (signed.pem(), key.serialize_pem())
}

async fn check(path: &str) -> (i32, String) {
    let (code, output, errors) = run(&["check", "--config", path]).await;
    assert_eq!(code == 0, output.contains(": valid; "), "{output}{errors}");
    (code, errors)
}

#[tokio::test]
async fn a_ca_bundle_that_would_be_refused_is_refused_beforehand_in_the_same_words() {
    let stage = Stage::new(MUTUAL).await;
    let (chain, key) = leaf();
    let other = ClientAuthority::new("somebody else");
    let crl = stage.home.path("other.crl");
    std::fs::write(&crl, other.crl_due(1, &[], Duration::from_secs(86_400))).expect("written");
    let expired = ClientAuthority::until("expired authority", -60);
    let good = stage.ca.clone();
    let new = |keys: &str| stage.config.clone() + "[ca_bundles.new]\n" + keys;
    for (text, more, says) in [
        (chain, String::new(), "is not a CA certificate"),
        (format!("{good}{key}"), String::new(), "is `PRIVATE KEY`"),
        (
            expired.pem(),
            String::new(),
            "has no root that counts: `CN=expired authority`",
        ),
        (
            good,
            format!("crl_files = [{crl:?}]\n"),
            "is issued by `CN=somebody else`, which is not in the bundle",
        ),
    ] {
        let file = stage.home.write("new.pem", &text);
        stage.home.configure(&new(&format!("files = [{file:?}]\n{more}")));
        let path = stage.file().display().to_string();
        let (code, checked) = check(&path).await;
        let line = checked.lines().find(|line| line.contains(says));
        let told = line
            .and_then(|line| line.strip_prefix("error: "))
            .unwrap_or_default();
        assert!(code == 1 && told.starts_with("CA bundle `new`"), "{checked}");
        for command in ["diff", "apply"] {
            let (code, _, errors) = stage.command(&[command, "--config", &path]).await;
            assert!(
                code == 1 && errors.contains(told),
                "{command}: {errors}\n{checked}"
            );
        }
        // A gateway that knows nothing yet does not start with it.
        if more.is_empty() {
            let elsewhere = Home::new();
            let mut fresh = elsewhere.launch(&stage.config.replace("partners.pem", "new.pem"));
            assert_eq!(fresh.ended().await.code(), Some(1), "{says}");
            assert!(elsewhere.log().contains(says), "{}", elsewhere.log());
        }
    }
}

#[tokio::test]
async fn a_bundle_of_a_local_ca_is_looked_at_without_the_store() {
    let stage = Stage::new("").await;
    let (chain, _) = leaf();
    let bad = stage.home.write("leaf.pem", &chain);
    let own = stage.config.clone() + "[ca_bundles.own]\nissuer = \"internal\"\n";
    stage.home.configure(&own);
    let path = stage.file().display().to_string();
    let (code, errors) = check(&path).await;
    assert_eq!(code, 0, "{errors}");
    stage.home.configure(&format!("{own}files = [{bad:?}]\n"));
    let (code, errors) = check(&path).await;
    assert!(
        code == 1 && errors.contains("is not a CA certificate"),
        "{errors}"
    );
}

#[tokio::test]
async fn a_damaged_key_is_told_by_the_name_of_its_file_and_two_that_do_not_fit_by_both() {
    let stage = Stage::new("").await;
    let ((chain, key), (_, other)) = (leaf(), leaf());
    let (certificate, key_file) = (stage.home.write("own.pem", &chain), stage.home.path("own.key"));
    let tables = format!("[certificates.own]\ncertificate_file = {certificate:?}\nkey_file = {key_file:?}\n");
    stage.home.configure(&(stage.config.clone() + &tables));
    let path = stage.file().display().to_string();
    let of = |file: &Path| format!("certificate own: {}: ", file.display());
    for (key, file, says) in [
        (&key[..key.len() - 40], &key_file, "the PEM text is damaged"),
        ("nothing", &key_file, "there is no private key"),
        (
            other.as_str(),
            &key_file,
            &*format!("; the certificate is in {}", certificate.display()),
        ),
    ] {
        std::fs::write(&key_file, key).expect("written");
        let (code, errors) = check(&path).await;
        let line = errors.lines().find(|line| line.contains(&of(file)));
        assert!(
            code == 1 && line.is_some_and(|line| line.contains(says)),
            "{errors}"
        );
    }
    std::fs::write(&key_file, &key).expect("written");
    assert_eq!(check(&path).await.0, 0);
    stage.home.write("own.pem", &chain[..chain.len() - 40]);
    let (code, errors) = check(&path).await;
    assert!(code == 1 && errors.contains(&of(&certificate)), "{errors}");
}

#[tokio::test]
async fn a_crl_that_is_out_of_date_or_soon_will_be_is_told_before_and_when_it_is_applied() {
    let stage = Stage::new(MUTUAL).await;
    let pki = ClientAuthority::new("crl authority");
    let root = stage.home.write("authority.pem", &pki.pem());
    let crl = stage.home.path("authority.crl");
    let new = format!("[ca_bundles.new]\nfiles = [{root:?}]\ncrl_files = [{crl:?}]\n");
    stage.home.configure(&(stage.config.clone() + &new));
    let path = stage.file().display().to_string();
    // Made a minute ago, each is in the last quarter of its time or beyond.
    for (number, seconds, says) in [(1, 0, "is out of date since"), (2, 18, "will be out of date at")] {
        std::fs::write(&crl, pki.crl_due(number, &[], Duration::from_secs(seconds))).expect("written");
        let warning = format!("warning: CA bundle `new`: the CRL of `CN=crl authority` {says}");
        let (code, errors) = check(&path).await;
        assert!(code == 0 && errors.contains(&warning), "{errors}");
        let diff = stage.done(&["diff", "--config", &path]).await;
        assert!(diff.contains(&warning), "{diff}");
        let applied = stage.done(&["apply", "--config", &path]).await;
        assert!(applied.contains(&warning), "{applied}");
        // It is no news then.
        let again = stage.done(&["apply", "--config", &path]).await;
        assert!(!again.contains("warning"), "{again}");
        stage.home.configure(&stage.config);
        stage.done(&["apply", "--config", &path]).await;
        stage.home.configure(&(stage.config.clone() + &new));
    }
}
