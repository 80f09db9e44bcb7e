//! Chains and keys that cannot be served, by every way in: each is told what it is, and replaces nothing.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use certgate::admin::api;
use rcgen::{CertificateParams, CustomExtension};
use time::OffsetDateTime;
use tokio::process::Command;

use crate::gateway::{Gateway, Home, PATIENCE, certgate, free_address, run};
use crate::pair::{Authority, Pair};
use crate::peer::{TlsClient, backend};

/// Two files that are no certificate and key, and what must be said of them.
struct Bad {
    name: &'static str,
    chain: Vec<u8>,
    key: Vec<u8>,
    expected: &'static [&'static str],
}

/// Every kind of bad pair, made now: nothing here can be out of date one day.
async fn every_kind(ca: &Authority, home: &Home) -> Vec<Bad> {
    let bad = |name, chain: &str, key: &str, expected| Bad {
        name,
        chain: chain.as_bytes().to_vec(),
        key: key.as_bytes().to_vec(),
        expected,
    };
    let domain = |name: &str| format!("{name}.example.test");
    let sign = |name: &str| ca.sign(&domain(name));
    let changed = |name: &str, change: fn(&mut CertificateParams)| ca.sign_changed(&domain(name), change);
    let first = |chain: &str| {
        chain
            .split_inclusive("-----END CERTIFICATE-----\n")
            .next()
            .map(str::to_owned)
    };
    let leaf = |pair: &Pair| first(&pair.chain).expect("a certificate");

    let encrypted = sign("encrypted");
    let encrypted_key = encrypt(home, &encrypted.key).await;
    let order = sign("order");
    let alone = changed("alone", |params| params.custom_extensions.push(issuer_url()));
    let stranger = Authority::new();
    let expired = changed("expired", |params| params.not_after = days_from_now(-1));
    let early = changed("early", |params| params.not_before = days_from_now(2));
    let (weak_chain, weak_key) = rsa_1024(home).await;
    let cut = sign("cut");
    let der = fs::read(home.path("weak.der")).expect("written");
    let huge = sign("huge").chain.repeat(600);
    vec![
        bad(
            "encrypted",
            &encrypted.chain,
            &encrypted_key,
            &["encrypted", "openssl pkey"],
        ),
        bad(
            "key",
            &sign("key").chain,
            &sign("key").key,
            &["does not belong to the certificate"],
        ),
        bad(
            "order",
            &(ca.issuing() + &leaf(&order)),
            &order.key,
            &["number 2 of the chain", "must be the first"],
        ),
        bad(
            "alone",
            &leaf(&alone),
            &alone.key,
            &["Bought Issuing", "http://ca.example.test/", "append it"],
        ),
        bad(
            "broken",
            &(leaf(&cut) + &stranger.issuing()),
            &cut.key,
            &[
                "the chain is broken after certificate 1",
                "followed by its issuer",
            ],
        ),
        bad(
            "expired",
            &expired.chain,
            &expired.key,
            &["expired at", "a valid one is needed"],
        ),
        bad("early", &early.chain, &early.key, &["not valid before", "clock"]),
        bad("weak", &weak_chain, &weak_key, &["1024 bits", "2048"]),
        bad(
            "cut",
            &cut.chain[..cut.chain.len() - 60],
            &cut.key,
            &["damaged", "cut"],
        ),
        bad(
            "keyless",
            &sign("keyless").chain,
            "",
            &["there is no private key"],
        ),
        bad("empty", "", "", &["BEGIN CERTIFICATE"]),
        bad("huge", &huge, &sign("huge").key, &["is larger than"]),
        Bad {
            name: "der",
            chain: der,
            key: Vec::new(),
            expected: &["PEM", "openssl x509"],
        },
        Bad {
            name: "garbage",
            chain: (0..=255).cycle().take(5000).collect(),
            key: vec![0; 100],
            expected: &["PEM"],
        },
    ]
}

#[tokio::test]
async fn a_bad_file_is_told_with_its_name_and_what_to_do_and_what_was_served_goes_on() {
    let (home, ca, listen) = (Home::new(), Authority::new(), free_address());
    let bad = every_kind(&ca, &home).await;
    fs::create_dir(home.path("sites")).expect("a directory");
    let mut config = crate::pair::config(listen, backend("hello").await);
    let mut serials = Vec::new();
    write(&home.path("own"), &ca.sign("own.example.test"));
    let mut served = "certificates = [\"own\", \"sites/*\"".to_owned();
    for bad in &bad {
        // One half of them by a file that is named, the other by a directory; both for each.
        let named = ca.sign(&format!("{}.named.test", bad.name));
        let listed = ca.sign(&format!("{}.listed.test", bad.name));
        write(&home.path(bad.name), &named);
        write(&home.path("sites").join(bad.name), &listed);
        serials.extend([
            (format!("{}.named.test", bad.name), named.serial),
            (format!("{}.listed.test", bad.name), listed.serial),
        ]);
        let name = bad.name;
        config.push_str(&format!(
            "[certificates.{name}]\ncertificate_file = \"{name}.crt\"\nkey_file = \"{name}.key\"\n"
        ));
        served.push_str(&format!(", \"{name}\""));
    }
    let config = config.replace("certificates = [\"own\", \"sites/*\"", &served);
    let gateway = home.start(&config).await;
    let count = serials.len() + 1;
    let all_served =
        |status: &api::Status| status.certificates.iter().filter(|c| c.published).count() == count;
    gateway.status_until("serves every good pair", all_served).await;

    for bad in &bad {
        for stem in [home.path(bad.name), home.path("sites").join(bad.name)] {
            fs::write(stem.with_extension("crt"), &bad.chain).expect("written");
            fs::write(stem.with_extension("key"), &bad.key).expect("written");
        }
    }
    let told = |status: &api::Status, certificate: &str, bad: &Bad| {
        let is_of_key = ["encrypted", "key", "keyless"].contains(&bad.name);
        let file = format!("/{}.{}: ", bad.name, if is_of_key { "key" } else { "crt" });
        status.warnings.iter().any(|warning| {
            warning.starts_with(&format!("certificate {certificate}: "))
                && warning.contains(&file)
                && bad.expected.iter().all(|expected| warning.contains(expected))
        })
    };
    let all_told = |status: &api::Status| {
        bad.iter()
            .all(|bad| told(status, bad.name, bad) && told(status, &format!("sites/{}", bad.name), bad))
    };
    let status = gateway.status_until("tells every problem", all_told).await;
    assert_eq!(status.warnings.len(), 2 * bad.len(), "{:#?}", status.warnings);
    assert!(
        status
            .certificates
            .iter()
            .all(|certificate| certificate.published)
    );

    let client = TlsClient::trusting(&ca.root());
    for (name, serial) in serials {
        let (_, leaf) = client
            .ask(listen, &name)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(leaf.serial, serial, "{name}");
    }
    let socket = gateway.socket().display().to_string();
    let (_, text, _) = run(&["status", "--admin", &socket]).await;
    for bad in &bad {
        assert!(
            text.contains(&format!("certificate sites/{}: ", bad.name)),
            "{text}"
        );
    }
    assert!(!home.log().contains("panicked"), "{}", home.log());
    assert!(gateway.terminate().await.success());
}

#[tokio::test]
async fn a_bad_import_is_refused_with_what_to_do_and_replaces_nothing() {
    let (home, ca, listen) = (Home::new(), Authority::new(), free_address());
    let bad = every_kind(&ca, &home).await;
    fs::create_dir(home.path("sites")).expect("a directory");
    write(&home.path("own"), &ca.sign("own.example.test"));
    let config = crate::pair::config(listen, backend("hello").await).replace("\"sites/*\"", "\"*\"");
    let gateway = home.start(&config).await;
    let client = TlsClient::trusting(&ca.root());
    let good = ca.sign("bought.example.test");
    assert_eq!(
        import(
            &home,
            &gateway,
            "bought",
            good.chain.as_bytes(),
            good.key.as_bytes()
        )
        .await,
        Ok(())
    );
    gateway.published("bought").await;

    for bad in &bad {
        let error = import(&home, &gateway, "bought", &bad.chain, &bad.key)
            .await
            .expect_err(bad.name);
        assert!(
            error.contains("bought"),
            "{}: names the certificate or the file: {error}",
            bad.name
        );
        for expected in bad.expected {
            assert!(error.contains(expected), "{}: {error}", bad.name);
        }
        assert_eq!(error.lines().count(), 1, "{error}");
        let (_, leaf) = client.ask(listen, "bought.example.test").await.expect("served");
        assert_eq!(leaf.serial, good.serial, "{}", bad.name);
    }
    assert!(!home.log().contains("panicked"), "{}", home.log());
    assert!(gateway.terminate().await.success());
}

#[tokio::test]
async fn a_key_that_may_not_be_read_is_told_by_its_path() {
    let (home, ca, listen) = (Home::new(), Authority::new(), free_address());
    fs::create_dir(home.path("sites")).expect("a directory");
    write(&home.path("own"), &ca.sign("own.example.test"));
    let pair = ca.sign("site.example.test");
    write(&home.path("sites/site"), &pair);
    let key = home.path("sites/site.key");
    let text = crate::pair::config(listen, backend("hello").await);
    let gateway = home.launch_by(unprivileged(), &text);
    gateway.published("sites/site").await;

    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o0)).expect("changed");
    let path = key.display().to_string();
    let told = |status: &api::Status| {
        let told =
            |warning: &String| warning.contains("sites/site.key") && warning.contains("Permission denied");
        status.warnings.iter().any(told)
    };
    gateway.status_until("tells the permission", told).await;
    let (_, leaf) = TlsClient::trusting(&ca.root())
        .ask(listen, "site.example.test")
        .await
        .expect("served");
    assert_eq!(leaf.serial, pair.serial);

    let socket = gateway.socket().display().to_string();
    let chain = home.path("sites/site.crt").display().to_string();
    let import = [
        "cert",
        "import",
        "x",
        "--certificate",
        &chain,
        "--key",
        &path,
        "--admin",
        &socket,
    ];
    let output = unprivileged().args(import).output().await.expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors.contains(&path) && errors.contains("Permission denied"),
        "{errors}"
    );

    // Named in the file, it is an error of the file.
    let named = text + &format!("[certificates.named]\ncertificate_file = {chain:?}\nkey_file = {path:?}\n");
    home.configure(&named);
    let config = home.path("certgate.toml");
    let output = unprivileged()
        .args(["check", "--config"])
        .arg(config)
        .output()
        .await
        .expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains(&path) && errors.contains("not permitted to read it"),
        "{errors}"
    );
}

/// The program without the rights by which root reads whatever it likes.
fn unprivileged() -> Command {
    let mut command = Command::new("setpriv");
    command.args([
        "--bounding-set=-dac_override,-dac_read_search",
        "--inh-caps=-dac_override,-dac_read_search",
    ]);
    command.arg(certgate());
    let id = std::process::Command::new("id")
        .arg("-u")
        .output()
        .expect("id runs");
    if id.stdout == b"0\n" {
        command
    } else {
        Command::new(certgate())
    }
}

async fn import(home: &Home, gateway: &Gateway, name: &str, chain: &[u8], key: &[u8]) -> Result<(), String> {
    let (chain_file, key_file) = (home.path("bought.pem"), home.path("bought.key"));
    fs::write(&chain_file, chain).expect("written");
    fs::write(&key_file, key).expect("written");
    let [chain, key, socket] =
        [&chain_file, &key_file, gateway.socket()].map(|path: &Path| path.display().to_string());
    let arguments = [
        "cert",
        "import",
        name,
        "--certificate",
        &chain,
        "--key",
        &key,
        "--admin",
        &socket,
    ];
    match run(&arguments).await {
        (0, _, _) => Ok(()),
        (code, output, errors) => {
            assert_eq!((code, output.as_str()), (1, ""));
            Err(errors)
        }
    }
}

fn write(stem: &Path, pair: &Pair) {
    fs::write(stem.with_extension("crt"), &pair.chain).expect("written");
    fs::write(stem.with_extension("key"), &pair.key).expect("written");
}

fn days_from_now(days: i64) -> OffsetDateTime {
    OffsetDateTime::from(std::time::UNIX_EPOCH + certgate_now()) + time::Duration::days(days)
}

fn certgate_now() -> Duration {
    use certgate::clock::{Clock, SystemClock};
    Duration::from_secs(u64::try_from(SystemClock.now().unix_seconds()).expect("after 1970"))
}

/// Where the certificate says that its issuer's is (RFC 5280 §4.2.2.1).
fn issuer_url() -> CustomExtension {
    let url = b"http://ca.example.test/";
    let length = u8::try_from(url.len()).expect("short");
    let mut access = vec![
        0x30,
        length + 14,
        0x30,
        length + 12,
        0x06,
        0x08,
        0x2b,
        6,
        1,
        5,
        5,
        7,
        0x30,
        2,
        0x86,
        length,
    ];
    access.extend_from_slice(url);
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access)
}

async fn encrypt(home: &Home, key: &str) -> String {
    home.write("plain.key", key);
    openssl(
        home,
        "pkey -in plain.key -aes256 -passout pass:secret -out encrypted.key",
    )
    .await;
    fs::read_to_string(home.path("encrypted.key")).expect("written")
}

async fn rsa_1024(home: &Home) -> (String, String) {
    openssl(
        home,
        "req -x509 -newkey rsa:1024 -nodes -days 9 -subj /CN=weak.example.test -addext subjectAltName=DNS:weak.example.test \
         -keyout weak-source.key -out weak-source.crt",
    )
    .await;
    openssl(home, "x509 -in weak-source.crt -outform der -out weak.der").await;
    let read = |name| fs::read_to_string(home.path(name)).expect("written");
    (read("weak-source.crt"), read("weak-source.key"))
}

async fn openssl(home: &Home, arguments: &str) {
    let status = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(home.path(""))
        .stderr(Stdio::null())
        .status();
    let status = tokio::time::timeout(PATIENCE, status)
        .await
        .expect("it ends")
        .expect("openssl is installed");
    assert!(status.success(), "openssl {arguments}");
}
