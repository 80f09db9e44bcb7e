//! Two CAs: one fails and the other signs; a spare certificate from the second, served in the place of the first.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use certgate::admin::api::{self, Served, Status};
use certgate::certificate::{CertificateName, RevocationReason};
use certgate::clock::SystemClock;

use crate::examples::{Example, at_inline, document};
use crate::gateway::{Gateway, Home, PATIENCE, run};
use crate::issuance::Scene;
use crate::peer::{TlsClient, backend};
use crate::support::acme_double::{AcmeDouble, Endpoint, Fault, Validation};
use crate::support::pebble::{Pebble, PebbleOptions};

pub(crate) const WWW: &str = "www.example.test";

/// A gateway to be, `pebble` that looks for it, and another Pebble.
pub(crate) struct TwoPebbles {
    pub(crate) scene: Scene,
    other: Pebble,
}

impl TwoPebbles {
    pub(crate) fn new() -> Self {
        let scene = Scene::new(&[WWW], None);
        let other = Pebble::start(&PebbleOptions {
            http_port: scene.http.port(),
            tls_port: scene.tls.port(),
            ..PebbleOptions::default()
        });
        other.dns.set_addresses(WWW, &[&scene.tls.ip().to_string()]);
        Self { scene, other }
    }

    /// The file, with `keys` in the place of the certificate's `issuer`.
    pub(crate) async fn config(&self, keys: &str) -> String {
        let config = self
            .scene
            .config(&[WWW], "tls-alpn-01", &[backend("hello").await]);
        let config = config.replace("\nissuer = \"pebble\"\n", &format!("\n{keys}\n"));
        format!(
            "{config}[issuers.other]\nkind = \"acme\"\ndirectory = \"{}\"\nagree_to_terms = true\n\
             challenges = [\"tls-alpn-01\"]\nroot_ca_file = {:?}\n",
            self.other.directory(),
            self.other.https_ca_file(),
        )
    }

    /// A gateway whose `www` has a spare, once both are there.
    async fn with_spare(&self, home: &Home) -> Gateway {
        let config = self.config("issuer = \"pebble\"\nspare_issuer = \"other\"").await;
        let gateway = home.start(&config).await;
        gateway.status_until("has both", has_both).await;
        gateway
    }

    /// A client that trusts both CAs.
    fn client(&self) -> TlsClient {
        let roots = [self.scene.pebble.issuing_root(), self.other.issuing_root()];
        TlsClient::trusting(&roots.concat())
    }
}

fn name(text: &str) -> CertificateName {
    CertificateName::parse(text).expect("a name")
}

pub(crate) fn of<'s>(status: &'s Status, name: &str) -> &'s api::Certificate {
    let mut all = status.certificates.iter();
    all.find(|certificate| certificate.name.as_str() == name)
        .expect("there is such a certificate")
}

pub(crate) fn has_both(status: &Status) -> bool {
    let is_there = |name| of(status, name).serial.is_some();
    is_there("www") && is_there("www.spare") && of(status, "www").published
}

async fn command(gateway: &Gateway, words: &[&str]) -> (i32, String, String) {
    let socket = gateway.socket().display().to_string();
    run(&[words, &["--admin", &socket]].concat()).await
}

async fn serial(client: &TlsClient, address: SocketAddr) -> String {
    let (answer, leaf) = client.ask(address, WWW).await.expect("it is served");
    assert!(answer.ends_with("hello"), "{answer}");
    leaf.serial
}

#[tokio::test]
async fn a_spare_comes_from_the_other_ca_with_its_own_key_and_is_not_served() {
    let cas = TwoPebbles::new();
    let home = Home::new();
    let gateway = cas.with_spare(&home).await;
    let status = gateway.status_until("has both", has_both).await;
    let (www, spare) = (of(&status, "www"), of(&status, "www.spare"));
    assert_eq!(www.issuer.as_deref(), Some("pebble"));
    assert_eq!(spare.issuer.as_deref(), Some("other"));
    assert_eq!(spare.spare_of, Some(name("www")));
    assert!(!spare.published);
    assert_eq!((cas.scene.pebble.orders(), cas.other.orders()), (1, 1));

    let client = TlsClient::trusting(&cas.scene.pebble.issuing_root());
    for _ in 0..20 {
        client.ask(cas.scene.tls, WWW).await.expect("from the first CA");
    }
    let key = async |name| {
        let (code, pem, errors) = command(&gateway, &["cert", "export", name]).await;
        assert_eq!(code, 0, "{errors}");
        crate::accounts::public_key(&pem).await
    };
    assert_ne!(key("www").await, key("www.spare").await);

    // By the command, and not for what is none.
    let (code, shown, errors) = command(&gateway, &["cert", "activate", "www", "--spare"]).await;
    assert_eq!(code, 0, "{errors}");
    assert!(shown.contains("served from its spare"), "{shown}");
    assert_eq!(Some(serial(&cas.client(), cas.scene.tls).await), spare.serial);
    let (code, shown, errors) = command(&gateway, &["cert", "activate", "www", "--primary"]).await;
    assert_eq!(
        (code, shown.contains("served from its spare")),
        (0, false),
        "{errors}"
    );
    assert_eq!(Some(serial(&cas.client(), cas.scene.tls).await), www.serial);
    let (code, _, errors) = command(&gateway, &["cert", "activate", "www.spare", "--spare"]).await;
    assert_eq!(code, 1);
    assert!(errors.contains("`www.spare` is the spare of `www`"), "{errors}");
    let (_, audit, _) = command(&gateway, &["audit"]).await;
    // What the gateway has done by itself beside it is told by its own name.
    let asked = |line: &&str| line.contains(" activate ") && !line.contains(" certgate ");
    assert_eq!(audit.lines().filter(asked).count(), 3, "{audit}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_switches_to_the_spare_and_back_fail_no_handshake() {
    let cas = TwoPebbles::new();
    let home = Home::new();
    let gateway = cas.with_spare(&home).await;
    let status = gateway.status_until("has both", has_both).await;
    let serials = ["www", "www.spare"].map(|name| of(&status, name).serial.clone().expect("a serial number"));
    let (client, address) = (cas.client(), cas.scene.tls);

    let over = Arc::new(AtomicBool::new(false));
    let handshakes = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (client, over, handshakes) = (client.clone(), over.clone(), handshakes.clone());
            tokio::spawn(async move {
                let mut seen = BTreeSet::new();
                while !over.load(Ordering::SeqCst) {
                    seen.insert(serial(&client, address).await);
                    handshakes.fetch_add(1, Ordering::SeqCst);
                }
                seen
            })
        })
        .collect();
    let admin = gateway.client();
    for switch in 0..100 {
        let (serve, expected) = match switch % 2 {
            0 => (Served::Spare, &serials[1]),
            _ => (Served::Primary, &serials[0]),
        };
        admin.activate(&name("www"), serve).await.expect("activated");
        // Whoever comes after the acknowledgement gets it.
        assert_eq!(serial(&client, address).await, *expected, "switch {switch}");
    }
    over.store(true, Ordering::SeqCst);
    let mut seen = BTreeSet::new();
    for client in clients {
        seen.extend(client.await.expect("no handshake failed"));
    }
    assert_eq!(seen, serials.into());
    let handshakes = handshakes.load(Ordering::SeqCst);
    assert!(
        handshakes >= 100,
        "only {handshakes} handshakes beside the switches"
    );
}

#[tokio::test]
async fn an_acknowledged_activation_survives_sigkill() {
    let cas = TwoPebbles::new();
    let home = Home::new();
    let mut gateway = cas.with_spare(&home).await;
    let status = gateway.status_until("has both", has_both).await;
    let config = std::fs::read_to_string(home.path("certgate.toml")).expect("written");
    let (_, config) = config.split_once('\n').expect("the store's line");
    for (serve, expected) in [
        (Served::Spare, "www.spare"),
        (Served::Primary, "www"),
        (Served::Spare, "www.spare"),
    ] {
        let acknowledged = gateway.client().activate(&name("www"), serve).await;
        gateway.kill().await;
        acknowledged.expect("activated");
        gateway = home.start(config).await;
        let served = serial(&cas.client(), cas.scene.tls).await;
        assert_eq!(Some(served), of(&status, expected).serial);
    }
    assert!(gateway.client().audit(None, 100).await.expect("a trail").len() >= 3);
}

#[tokio::test]
async fn a_revoked_certificate_that_cannot_be_renewed_makes_room_for_its_spare_until_it_can() {
    let cas = TwoPebbles::new();
    let home = Home::new();
    let gateway = cas.with_spare(&home).await;
    let status = gateway.status_until("has both", has_both).await;
    let spare = of(&status, "www.spare").serial.clone();

    // No validation of the first CA finds the gateway any more.
    cas.scene.pebble.dns.set_addresses(WWW, &["127.0.0.9"]);
    let reason = RevocationReason::KeyCompromise;
    gateway
        .client()
        .revoke(&name("www"), reason)
        .await
        .expect("revoked");
    let stands_in = |status: &Status| {
        let www = of(status, "www");
        www.stand_in.is_some() && of(status, "www.spare").published && www.state == "backing-off"
    };
    let status = gateway.status_until("serves the spare", stands_in).await;
    let warning = status.warnings.iter().find(|warning| warning.contains("spare"));
    assert!(
        warning.is_some_and(|warning| warning.contains("`www`") && warning.contains("key-compromise")),
        "{:?}",
        status.warnings
    );
    assert_eq!(Some(serial(&cas.client(), cas.scene.tls).await), spare);
    let metrics = metrics(&gateway).await;
    assert!(
        metrics.contains("certgate_spare_active{certificate=\"www\"} 1"),
        "{metrics}"
    );
    // To serve the revoked one again is refused.
    let refused = gateway.client().activate(&name("www"), Served::Primary).await;
    assert!(
        refused
            .expect_err("refused")
            .to_string()
            .contains("it was revoked")
    );

    cas.scene
        .pebble
        .dns
        .set_addresses(WWW, &[&cas.scene.tls.ip().to_string()]);
    gateway.client().renew(&name("www")).await.expect("asked for");
    let is_back = |status: &Status| {
        let www = of(status, "www");
        www.stand_in.is_none() && www.published && www.revoked.is_none()
    };
    let status = gateway.status_until("serves a new one", is_back).await;
    assert_eq!(
        Some(serial(&cas.client(), cas.scene.tls).await),
        of(&status, "www").serial
    );
    assert!(home.log().contains("the spare is served in its place"));
    let switches = by_itself(&gateway, "activate", 2).await;
    assert!(
        switches[0].contains("the spare is served in its place: "),
        "{switches:?}"
    );
    assert!(switches[1].contains("served again"), "{switches:?}");
}

/// Waits until so many records of what the gateway has done by itself to `www` are in the audit trail: their details.
async fn by_itself(gateway: &Gateway, action: &str, count: usize) -> Vec<String> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let records = gateway.client().audit(None, 100).await.expect("a trail");
        let own = records.into_iter().filter(|record| {
            record.caller.name == "certgate" && record.action == action && record.resource.ends_with("/www")
        });
        let details: Vec<_> = own.filter_map(|record| record.detail).collect();
        if details.len() >= count {
            return details;
        }
        assert!(std::time::Instant::now() < deadline, "{details:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn metrics(gateway: &Gateway) -> String {
    let output = tokio::process::Command::new("curl")
        .args(["--silent", "--unix-socket"])
        .arg(gateway.socket())
        .arg("http://certgate/metrics")
        .output()
        .await
        .expect("curl is installed");
    String::from_utf8(output.stdout).expect("text")
}

/// A gateway to be, `pebble`, and a CA before it in the list that does as it is told.
struct DoubleFirst {
    scene: Scene,
    double: AcmeDouble,
}

impl DoubleFirst {
    async fn new() -> Self {
        let scene = Scene::new(&[WWW], None);
        let double = AcmeDouble::start(Arc::new(SystemClock)).await;
        double.change(|behaviour| behaviour.validation = Validation::Trust);
        Self { scene, double }
    }

    async fn config(&self, home: &Home) -> String {
        let root = home.write("https-root.pem", self.double.https_root());
        let config = self
            .scene
            .config(&[WWW], "tls-alpn-01", &[backend("hello").await]);
        let config = config.replace("\nissuer = \"pebble\"\n", "\nissuer = [\"double\", \"pebble\"]\n");
        format!(
            "{config}[issuers.double]\nkind = \"acme\"\ndirectory = \"{}\"\nagree_to_terms = true\n\
             challenges = [\"tls-alpn-01\"]\nroot_ca_file = {root:?}\n",
            self.double.directory()
        )
    }
}

/// Waits until `www` was obtained from `issuer`.
async fn obtained_from(gateway: &Gateway, issuer: &str) -> api::Certificate {
    let is_there = |status: &Status| {
        let www = of(status, "www");
        www.issuer.as_deref() == Some(issuer) && www.published && www.state == "valid"
    };
    let status = gateway
        .status_until(&format!("has one of {issuer}"), is_there)
        .await;
    of(&status, "www").clone()
}

#[tokio::test]
async fn with_the_first_ca_down_the_second_signs_and_the_next_renewal_is_the_first_s_again() {
    let mut cas = DoubleFirst::new().await;
    cas.double.stop().await;
    let home = Home::new();
    let gateway = home.start(&cas.config(&home).await).await;
    obtained_from(&gateway, "pebble").await;
    assert_eq!(cas.scene.pebble.orders(), 1);
    assert!(home.log().contains("then `pebble` is asked"), "{}", home.log());
    TlsClient::trusting(&cas.scene.pebble.issuing_root())
        .ask(cas.scene.tls, WWW)
        .await
        .expect("served");

    cas.double.resume().await;
    gateway.client().renew(&name("www")).await.expect("asked for");
    obtained_from(&gateway, "double").await;
    assert_eq!(
        (cas.double.count(Endpoint::NewOrder), cas.scene.pebble.orders()),
        (1, 1)
    );
    let turns = by_itself(&gateway, "fail-over", 2).await;
    assert!(
        turns[0].starts_with("issuer `pebble` is asked in the place of `double`; `double` has failed"),
        "{turns:?}"
    );
    assert!(
        turns[1].starts_with("issuer `double` is asked in the place of `pebble`"),
        "{turns:?}"
    );
    // What it replaces was signed elsewhere, so that is not said.
    assert_eq!(cas.double.orders()[0].replaces, None);
    TlsClient::trusting(&cas.double.issuing_root())
        .ask(cas.scene.tls, WWW)
        .await
        .expect("served");
}

#[tokio::test]
async fn a_rate_limit_of_the_first_ca_passes_the_turn_to_the_second_and_is_kept() {
    let cas = DoubleFirst::new().await;
    let limited = Fault::problem(429, "rateLimited").header("retry-after", "86400");
    cas.double.always(Endpoint::NewOrder, limited);
    let home = Home::new();
    let config = cas.config(&home).await;
    let gateway = home.start(&config).await;
    obtained_from(&gateway, "pebble").await;
    assert_eq!(cas.double.count(Endpoint::NewOrder), 1);

    // Neither a restart nor an operator has it asked again before its time.
    gateway.kill().await;
    let gateway = home.start(&config).await;
    let first = obtained_from(&gateway, "pebble").await;
    gateway.client().renew(&name("www")).await.expect("asked for");
    let is_renewed =
        |status: &Status| of(status, "www").serial != first.serial && of(status, "www").published;
    gateway.status_until("has another", is_renewed).await;
    obtained_from(&gateway, "pebble").await;
    assert_eq!(cas.double.count(Endpoint::NewOrder), 1);
    assert_eq!(cas.scene.pebble.orders(), 2);
}

#[tokio::test]
async fn the_example_with_two_cas_has_its_spare_and_its_second_issuer() {
    let names = ["www.example.com", "api.example.com"];
    let scene = Scene::new(&names, None);
    let account = (
        "kid-1",
        "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W",
    );
    let other = Pebble::start(&PebbleOptions {
        external_account: Some((account.0.to_owned(), account.1.to_owned())),
        http_port: scene.http.port(),
        tls_port: scene.tls.port(),
        ..PebbleOptions::default()
    });
    for name in names {
        other.dns.set_addresses(name, &[&scene.tls.ip().to_string()]);
    }
    let home = Home::new();
    let key = home.write("zerossl.key", account.1);
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("a file of ours");
    let directory = |pebble: &Pebble| (pebble.directory(), pebble.https_ca_file());
    let (first, second) = (directory(&scene.pebble), directory(&other));
    let example = Example {
        text: document("examples/two-cas.toml"),
        replaced: vec![
            (
                "directory = \"letsencrypt\"",
                format!("directory = {:?}, root_ca_file = {:?}", first.0, first.1),
            ),
            (
                "directory = \"zerossl\"",
                format!("directory = {:?}\nroot_ca_file = {:?}", second.0, second.1),
            ),
            ("127.0.0.1:8080", backend("hello").await.to_string()),
            ("port = 443", at_inline(scene.tls)),
        ],
        seen: &[
            "certificates.api.domains",
            "certificates.api.issuer",
            "certificates.www.domains",
            "certificates.www.issuer",
            "certificates.www.spare_issuer",
            "issuers.letsencrypt.agree_to_terms",
            "issuers.letsencrypt.directory",
            "issuers.letsencrypt.kind",
            "issuers.zerossl.agree_to_terms",
            "issuers.zerossl.directory",
            "issuers.zerossl.external_account.hmac_key_file",
            "issuers.zerossl.external_account.key_id",
            "issuers.zerossl.kind",
            "listeners.web.certificates",
            "listeners.web.port",
            "listeners.web.server_group",
            "server_groups.app.servers",
        ],
        taken: &[],
    };
    let gateway = example.start(&home);
    gateway.published("api").await;
    gateway.status_until("has both", has_both).await;
    let client = TlsClient::trusting(&[scene.pebble.issuing_root(), other.issuing_root()].concat());
    let mut served = Vec::new();
    let commands = example.text.split('`').skip(1).step_by(2);
    for command in commands.filter(|text| text.starts_with("certgate ")) {
        let output = home
            .here()
            .args(command.split(' ').skip(1))
            .output()
            .await
            .expect("it runs");
        assert!(output.status.success(), "{command}");
        let (_, leaf) = client.ask(scene.tls, "www.example.com").await.expect("served");
        served.push(leaf.serial);
    }
    let status = gateway.status_until("has both", has_both).await;
    let serials = ["www.spare", "www"].map(|name| of(&status, name).serial.clone().expect("a serial number"));
    assert_eq!(served, serials);
}
