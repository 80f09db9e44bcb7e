//! Whatever order a gateway came to what it has in, and by file or by request: clients meet the same.

use std::process::Command;
use std::sync::{LazyLock, OnceLock};

use certgate::admin::api::{ApplyRequest, ExplainRequest, FileText};
use certgate::config::{ResourceId, ResourceKind, ResourceTable};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::gateway::{Home, free_address};
use crate::peer::backend;

/// In an order in which nothing refers to what is not there yet. Certificates say something that only a table can: listeners
/// name no other that was requested, but serve it by `"*"`.
const TABLES: [(&str, &str); 9] = [
    (
        "certificates.one",
        "domains = [\"one.test\"]\nissuer = \"internal\"\nreuse_key = true\n",
    ),
    (
        "certificates.two",
        "domains = [\"two.test\"]\nissuer = \"internal\"\nreuse_key = true\n",
    ),
    (
        "certificates.any",
        "domains = [\"*.wild.test\"]\nissuer = \"internal\"\nreuse_key = true\n",
    ),
    (
        "ca_bundles.partners",
        "files = [\"PKI/other.pem\", \"PKI/root.pem\"]\ncrl_files = [\"PKI/root.crl\"]\n",
    ),
    ("ca_bundles.namesakes", "files = [\"PKI/namesake-ca.pem\"]\n"),
    (
        "listeners.strict",
        "certificates = [\"one\", \"two\"]\nauthentication = \"mutual\"\nclient_ca = \"partners\"\n",
    ),
    (
        "listeners.listed",
        "certificates = [\"two\", \"any\"]\nauthentication = \"mutual\"\nclient_ca = \"partners\"\n\
         allow_clients.common_name = [\"other-root\"]\n",
    ),
    (
        "listeners.watching",
        "certificates = [\"any\"]\nauthentication = \"observe\"\nclient_ca = \"namesakes\"\n",
    ),
    (
        "listeners.plain",
        "certificates = [\"one\"]\nunknown_sni = \"refuse\"\n",
    ),
];

/// A place in `TABLES`, and whether it comes by a request; otherwise by the file.
type Addition = (usize, bool);

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) })]
    #[test]
    fn verdicts_do_not_depend_on_the_order_in_which_certificates_bundles_and_listeners_were_added(
        order in Just((0..TABLES.len()).collect::<Vec<_>>()).prop_shuffle(),
        by_request in prop::collection::vec(any::<bool>(), TABLES.len()),
    ) {
        static REFERENCE: OnceLock<Vec<Verdict>> = OnceLock::new();
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let in_order = || runtime.block_on(verdicts((0..TABLES.len()).map(|index| (index, false)).collect()));
        let reference = REFERENCE.get_or_init(in_order);
        let found = runtime.block_on(verdicts(order.into_iter().zip(by_request).collect()));
        prop_assert_eq!(&found, reference);
        for verdict in ["verified", "revoked", "unknown-ca", "not-allowed", "no-certificate"] {
            prop_assert!(found.iter().any(|found| found.verdict.as_deref() == Some(verdict)), "{}", verdict);
        }
    }
}

/// What becomes of one client.
#[derive(Debug, PartialEq)]
struct Verdict {
    of: String,
    outcome: String,
    certificate: Option<String>,
    verdict: Option<String>,
}

/// What becomes of each client at each listener, once a gateway has been given the tables in `order`, each as soon as it takes
/// it.
async fn verdicts(order: Vec<Addition>) -> Vec<Verdict> {
    static PKI: LazyLock<TempDir> = LazyLock::new(pki);
    let pki = PKI.path().display().to_string();
    let (home, server) = (Home::new(), backend("hello").await);
    let mut file = format!(
        "issuers.internal.kind = \"local-ca\"\nserver_groups.app.servers = [\"{server}\"]\n{}",
        table("listeners.first", "certificates = [\"*\"]\n", &pki)
    );
    let gateway = home.start(&file).await;
    let client = gateway.client();
    let mut waiting = order;
    while !waiting.is_empty() {
        let count = waiting.len();
        let mut refused = Vec::new();
        for (index, by_request) in waiting {
            let (name, keys) = TABLES[index];
            let table = table(name, keys, &pki);
            let id = resource(name);
            let taken = match by_request {
                true => client
                    .put_resource(&id, &keys_of(&table, &id), None)
                    .await
                    .is_ok(),
                false => {
                    let more = format!("{file}{table}");
                    let taken = client.apply(&request(&home, &more)).await.is_ok();
                    if taken {
                        file = more;
                    }
                    taken
                }
            };
            if !taken {
                refused.push((index, by_request));
            }
        }
        assert!(refused.len() < count, "{refused:?}");
        waiting = refused;
    }
    for name in ["one", "two", "any"] {
        gateway.published(name).await;
    }

    let mut found = Vec::new();
    for listener in ["strict", "listed", "watching", "plain"] {
        for server_name in [
            None,
            Some("one.test"),
            Some("two.test"),
            Some("a.wild.test"),
            Some("a.invalid"),
        ] {
            for shown in CLIENTS {
                let pem =
                    shown.map(|name| std::fs::read_to_string(format!("{pki}/{name}.pem")).expect("read"));
                let request = ExplainRequest {
                    server_name: server_name.map(ToOwned::to_owned),
                    client: None,
                    alpn: Vec::new(),
                    client_certificate_pem: pem,
                };
                let explained = client.explain(listener, &request).await.expect("explained");
                found.push(Verdict {
                    of: format!("{shown:?} at {listener} for {server_name:?}"),
                    outcome: explained.outcome,
                    certificate: explained.certificate.map(|found| found.name.to_string()),
                    verdict: explained.authentication.verdict,
                });
            }
        }
    }
    found
}

fn request(home: &Home, text: &str) -> ApplyRequest {
    let store = home.path("store").display().to_string();
    ApplyRequest {
        files: vec![FileText {
            path: home.path("certgate.toml").display().to_string(),
            text: format!("store.path = {store:?}\n{text}"),
        }],
        allow_downgrade: false,
        dry_run: false,
    }
}

fn resource(table: &str) -> ResourceId {
    let (section, name) = table.split_once('.').expect("a section and a name");
    let kind = ResourceKind::ALL
        .into_iter()
        .find(|kind| kind.section() == section);
    ResourceId::new(kind.expect("a kind"), name)
}

fn keys_of(table: &str, id: &ResourceId) -> ResourceTable {
    let mut document: serde_json::Value = toml::from_str(table).expect("TOML");
    let keys = document[id.kind.section()][&id.name].take();
    keys.as_object().cloned().expect("a table")
}

fn table(name: &str, keys: &str, pki: &str) -> String {
    let place = match name.starts_with("listeners.") {
        true => {
            let address = free_address();
            format!(
                "address = \"{}\"\nport = {}\nserver_group = \"app\"\n",
                address.ip(),
                address.port()
            )
        }
        false => String::new(),
    };
    format!("[{name}]\n{place}{}", keys.replace("PKI", pki))
}

fn pki() -> TempDir {
    let directory = TempDir::new().expect("a directory");
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/client_certificates.sh"
    );
    let mut make = Command::new("sh");
    make.arg(script).current_dir(directory.path());
    assert!(make.output().expect("sh is there").status.success());
    directory
}

/// Each is a gateway that is started, and asked 160 questions.
const CASES: u32 = 12;

const CLIENTS: [Option<&str>; 8] = [
    None,
    Some("valid"),
    Some("over-intermediate"),
    Some("other-root"),
    Some("namesake"),
    Some("revoked"),
    Some("wrong-ca"),
    Some("expired"),
];
