//! A name that DNS sends elsewhere is not ordered, and everybody is told which record to change.

use std::time::Duration;

use certgate::admin::api;
use hickory_resolver::proto::rr::RecordType;

use crate::gateway::{Gateway, Home, run};
use crate::issuance::Scene;
use crate::peer::{TlsClient, backend};
use crate::reload::reloaded;
use crate::support::name_server::NameServer;

const NAME: &str = "www.example.test";
const VALIDITY: Duration = Duration::from_secs(90 * 86_400);

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_ordered_once_its_record_is_right_and_not_before() {
    let scene = Scene::new(&[], None);
    scene.pebble.dns.set_addresses(NAME, &["127.0.0.99"]);
    let home = Home::new();
    let address = scene.tls.ip();
    let config = format!(
        "[gateway]\naddresses = [\"{address}\"]\nresolvers = [\"{}\"]\n{}",
        scene.pebble.dns.address(),
        scene.config(&[NAME], "tls-alpn-01", &[backend("hello").await]),
    );
    let gateway = home.start(&config).await;

    let blocked = |status: &certgate::admin::api::Status| status.certificates[0].state == "blocked";
    let status = gateway.status_until("is blocked by DNS", blocked).await;
    let reason = status.certificates[0].reason.clone().expect("a reason");
    let remedy = format!("{NAME}. IN A {address}");
    assert!(
        reason.contains("127.0.0.99") && reason.contains(&remedy),
        "{reason}"
    );
    assert!(status.certificates[0].next_attempt.is_some());

    let socket = gateway.socket().display().to_string();
    let (code, output, _) = run(&["dns", "check", NAME, "--admin", &socket]).await;
    assert_eq!(code, 1);
    assert!(
        output.contains("127.0.0.99") && output.contains(&remedy),
        "{output}"
    );
    let (_, output, _) = run(&["status", "--admin", &socket]).await;
    assert!(output.contains(&remedy), "{output}");
    let plan = gateway.client().plan(90, None).await.expect("a plan");
    assert_eq!(
        (plan.steps_in_all, plan.issuers.len(), plan.held_back_in_all),
        (0, 0, 1)
    );
    assert!(plan.held_back[0].reason.contains("127.0.0.99") && plan.held_back[0].remedy.contains(&remedy));
    let (_, output, _) = run(&["plan", "--admin", &socket]).await;
    assert!(output.starts_with("nothing is asked of any CA"), "{output}");
    assert!(
        output.contains("HELD BACK:") && output.contains(&remedy),
        "{output}"
    );
    assert_eq!(
        scene.pebble.orders(),
        0,
        "no order is spent on a name that leads elsewhere"
    );

    scene.pebble.dns.set_addresses(NAME, &[&address.to_string()]);
    gateway.published("www").await;
    assert_eq!(scene.pebble.orders(), 1);
    let client = TlsClient::trusting(&scene.pebble.issuing_root());
    let (answer, _) = client.ask(scene.tls, NAME).await.expect("served");
    assert!(answer.ends_with("hello"));
    let (code, output, _) = run(&["dns", "check", "--admin", &socket]).await;
    assert_eq!(code, 0, "{output}");
}

#[tokio::test]
async fn without_a_gateway_table_the_check_is_skipped_and_says_so() {
    let scene = Scene::new(&[NAME], None);
    let home = Home::new();
    let config = scene.config(&[NAME], "http-01", &[backend("hello").await]);
    let gateway = home.start(&config).await;
    gateway.published("www").await;
    let socket = gateway.socket().display().to_string();
    let (code, output, _) = run(&["dns", "check", NAME, "--admin", &socket]).await;
    assert_eq!(code, 0);
    assert!(output.contains("[gateway]"), "{output}");
    let (_, output, _) = run(&["status", "--admin", &socket]).await;
    assert!(output.contains("`[gateway]` is not configured"), "{output}");
}

/// A gateway, the CA that it asks, and the zones that it sees; the CA has a DNS of its own in which all is well.
pub(crate) struct Zones {
    pub(crate) scene: Scene,
    pub(crate) home: Home,
    example: NameServer,
    lame: NameServer,
    resolver: NameServer,
}

impl Zones {
    pub(crate) async fn new() -> Self {
        Self {
            scene: Scene::new(&["www.example.com", "shop.example.com"], Some(VALIDITY)),
            home: Home::new(),
            example: NameServer::authority(21).await,
            lame: NameServer::of("lame.test", 22).await,
            resolver: NameServer::resolver(23).await,
        }
    }

    /// Everybody knows these records of `example.com`.
    pub(crate) fn add(&self, records: &[&str]) {
        for record in records {
            let record = record.replace("OURS", &self.scene.tls.ip().to_string());
            self.example.add(&record);
            self.resolver.add(&record);
        }
    }

    pub(crate) fn forget(&self, owner: &str) {
        self.example.remove(owner);
        self.resolver.remove(owner);
    }

    /// A file with a certificate for each name, called as the name's first label; `more` goes into each, and
    /// `gateway` into `[gateway]`.
    pub(crate) async fn config(&self, names: &[&str], gateway: &str, more: &str) -> String {
        let certificates = names.iter().map(|name| {
            let label = name.split('.').next().unwrap_or_default();
            format!("[certificates.{label}]\ndomains = [\"{name}\"]\nissuer = \"pebble\"\n{more}\n")
        });
        let certificates: String = certificates.collect();
        let scene = self
            .scene
            .config(&["unused.example.com"], "tls-alpn-01", &[backend("hello").await]);
        let scene = scene
            .replace(
                "[certificates.www]\ndomains = [\"unused.example.com\"]\nissuer = \"pebble\"\n",
                &certificates,
            )
            .replace("certificates = [\"www\"]", "certificates = [\"*\"]")
            .replace(
                "root_ca_file",
                "caa_identities = [\"pebble.example\"]\nroot_ca_file",
            );
        format!(
            "[gateway]\naddresses = [\"{}\"]\nresolvers = [\"{}\"]\nname_servers = {{ \"example.com\" = [\"{}\"], \
             \"lame.test\" = [\"{}\"] }}\n{gateway}\n{scene}",
            self.scene.tls.ip(),
            self.resolver.address(),
            self.example.address(),
            self.lame.address(),
        )
    }
}

pub(crate) async fn metrics(gateway: &Gateway) -> String {
    let output = tokio::process::Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--unix-socket"])
        .arg(gateway.socket())
        .arg("http://certgate/metrics")
        .output()
        .await
        .expect("curl is installed");
    String::from_utf8(output.stdout).expect("text")
}

pub(crate) fn find<'s>(status: &'s api::Status, name: &str) -> &'s api::Certificate {
    let mut all = status.certificates.iter();
    all.find(|certificate| certificate.name.as_str() == name)
        .unwrap_or_else(|| panic!("there is no certificate {name}"))
}

#[tokio::test]
async fn no_order_reaches_the_ca_for_any_name_that_dns_is_against() {
    let zones = Zones::new().await;
    zones.add(&[
        "wrong.example.com A 198.51.100.7",
        "stale.example.com A OURS",
        "stale.example.com AAAA 2001:db8::99",
        "loop.example.com CNAME loop2.example.com",
        "loop2.example.com CNAME loop.example.com",
        "dangling.example.com CNAME gone.example.com",
        "forbidden.example.com A OURS",
        "forbidden.example.com CAA 0 issue \"other.example\"",
        "account.example.com A OURS",
        "account.example.com CAA 0 issue \"pebble.example; accounturi=https://pebble.example/1\"",
        "parent.closed.example.com A OURS",
        "closed.example.com CAA 0 issue \"other.example\"",
        "method.example.com A OURS",
        "method.example.com CAA 0 issue \"pebble.example; validationmethods=dns-01\"",
        "refusing.example.com A OURS",
        "long.example.com CNAME c0.example.com",
        "c9.example.com A OURS",
        "bogus.example.com A OURS",
    ]);
    zones
        .resolver
        .change(|state| state.bogus = Some("bogus.example.com"));
    for link in 0..9 {
        zones.add(&[&format!("c{link}.example.com CNAME c{}.example.com", link + 1)]);
    }
    let refused = ("refusing.example.com".to_owned(), RecordType::CAA);
    for server in [&zones.example, &zones.resolver] {
        let refused = refused.clone();
        server.change(|state| state.failing.extend([refused]));
    }
    zones.lame.change(|state| state.lame = true);
    for record in [
        RecordType::CNAME,
        RecordType::A,
        RecordType::AAAA,
        RecordType::CAA,
    ] {
        let question = ("delegated.lame.test".to_owned(), record);
        zones.resolver.change(|state| state.failing.extend([question]));
    }
    let expected = [
        ("wrong", "wrong.example.com. IN A 127."),
        ("stale", "remove: stale.example.com. IN AAAA 2001:db8::99"),
        ("loop", "never ends"),
        (
            "dangling",
            "remove: dangling.example.com. IN CNAME gone.example.com.",
        ),
        ("missing", "missing.example.com. IN A 127."),
        (
            "forbidden",
            "forbidden.example.com. IN CAA 0 issue \"pebble.example\"",
        ),
        ("parent", "closed.example.com. IN CAA 0 issue \"pebble.example\""),
        ("account", "https://pebble.example/1 only"),
        ("method", "tls-alpn-01: CAA records allow dns-01 only"),
        ("refusing", "answered SERVFAIL"),
        ("long", "longer than 8 records"),
        (
            "bogus",
            "the signatures of the zone example.com do not verify (signature expired",
        ),
        (
            "delegated",
            "none of the servers that delegated.lame.test is delegated to speaks",
        ),
    ];
    let names: Vec<String> = expected
        .iter()
        .map(|(label, _)| match *label {
            "delegated" => "delegated.lame.test".to_owned(),
            "parent" => "parent.closed.example.com".to_owned(),
            label => format!("{label}.example.com"),
        })
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let gateway = zones.home.start(&zones.config(&names, "", "").await).await;
    let all_blocked = |status: &api::Status| {
        let mut all = status.certificates.iter();
        all.all(|certificate| certificate.state == "blocked")
    };
    let status = gateway
        .status_until("is blocked by DNS everywhere", all_blocked)
        .await;
    for (label, said) in expected {
        let reason = find(&status, label).reason.clone().unwrap_or_default();
        assert!(reason.contains(said), "{label}: {reason}");
    }
    assert_eq!(zones.scene.pebble.orders(), 0);
    assert_eq!(find(&status, "wrong").dns[0].state, api::DomainState::Declared);
    assert_eq!(find(&status, "forbidden").dns[0].state, api::DomainState::Pointed);
    let metrics = metrics(&gateway).await;
    for line in [
        r#"certgate_dns_check_ok{certificate="forbidden",domain="forbidden.example.com"} 0"#,
        r#"certgate_domain_state{certificate="forbidden",domain="forbidden.example.com",state="pointed"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let socket = gateway.socket().display().to_string();
    let (_, output, _) = run(&["status", "--admin", &socket]).await;
    assert!(
        output.contains("DOMAIN") && output.contains("pointed"),
        "{output}"
    );
}

#[tokio::test]
async fn a_text_of_the_owner_comes_first_where_one_is_asked_for() {
    let zones = Zones::new().await;
    zones.add(&["www.example.com A OURS"]);
    let config = zones
        .config(&["www.example.com"], "ownership = \"verify=1\"", "")
        .await;
    let gateway = zones.home.start(&config).await;
    let blocked = |status: &api::Status| find(status, "www").state == "blocked";
    let status = gateway.status_until("is blocked", blocked).await;
    let reason = find(&status, "www").reason.clone().unwrap_or_default();
    assert!(
        reason.contains("_certgate.www.example.com. IN TXT \"verify=1\""),
        "{reason}"
    );
    assert_eq!(zones.scene.pebble.orders(), 0);
    zones.add(&["_certgate.www.example.com TXT verify=1"]);
    gateway.published("www").await;
}

#[tokio::test]
async fn an_operator_may_order_once_in_spite_of_dns_and_it_is_logged() {
    let zones = Zones::new().await;
    zones.add(&["www.example.com A 198.51.100.7"]);
    let gateway = zones
        .home
        .start(&zones.config(&["www.example.com"], "", "").await)
        .await;
    let blocked = |status: &api::Status| find(status, "www").state == "blocked";
    gateway.status_until("is blocked", blocked).await;
    let socket = gateway.socket().display().to_string();
    let (code, _, errors) = run(&["cert", "renew", "www", "--admin", &socket]).await;
    assert_eq!(
        (code, zones.scene.pebble.orders()),
        (1, 0),
        "without the word: {errors}"
    );
    let (code, output, errors) = run(&["cert", "renew", "www", "--even-if", "dns", "--admin", &socket]).await;
    assert_eq!(code, 0, "{output}{errors}");
    gateway.published("www").await;
    assert!(
        zones.home.log().contains("an operator asked for it"),
        "{}",
        zones.home.log()
    );

    let shop = [
        "cert",
        "request",
        "shop",
        "--domain",
        "shop.example.com",
        "--admin",
        &socket,
    ];
    let (code, output, _) = run(&[&shop[..], &["--even-if", "dns"]].concat()).await;
    assert_eq!(code, 0, "{output}");
}

#[tokio::test]
async fn an_advisory_check_tells_and_holds_nothing_back() {
    let zones = Zones::new().await;
    zones.add(&["www.example.com A 198.51.100.7"]);
    let config = zones
        .config(&["www.example.com"], "", "dns_checks = \"advisory\"")
        .await;
    let gateway = zones.home.start(&config).await;
    gateway.published("www").await;
    assert!(
        zones.home.log().contains("`dns_checks` is advisory"),
        "{}",
        zones.home.log()
    );
    let status = gateway.client().status().await.expect("status");
    assert!(find(&status, "www").dns[0].reason.contains("198.51.100.7"));
}

#[tokio::test]
async fn drift_is_told_long_before_a_renewal_and_over_when_it_is_over() {
    let zones = Zones::new().await;
    zones.add(&["www.example.com A OURS"]);
    let config = zones.config(&["www.example.com"], "", "").await;
    let gateway = zones.home.start(&config).await;
    gateway.published("www").await;
    let status = gateway.client().status().await.expect("status");
    assert_eq!(find(&status, "www").dns[0].state, api::DomainState::Issued);
    assert_eq!(gateway.terminate().await.code(), Some(0));

    zones.forget("www.example.com");
    zones.add(&["www.example.com A 198.51.100.7"]);
    let gateway = zones.home.start(&config).await;
    let mut events = gateway.client().events().await.expect("events");
    let drifted = |status: &api::Status| {
        let mut warnings = status.warnings.iter();
        warnings.any(|warning| warning.contains("www.example.com has a certificate whose renewal would fail"))
    };
    let status = gateway.status_until("has seen the drift", drifted).await;
    assert_eq!(find(&status, "www").state, "valid", "what is there is served");
    assert_eq!(find(&status, "www").dns[0].state, api::DomainState::Drifted);
    let event = events.next().await.expect("an event");
    assert_eq!(event.kind, "drifted");
    assert!(event.detail.contains("198.51.100.7"), "{}", event.detail);
    let metrics = metrics(&gateway).await;
    let line = r#"certgate_dns_check_ok{certificate="www",domain="www.example.com"} 0"#;
    assert!(metrics.contains(line), "{metrics}");

    let socket = gateway.socket().display().to_string();
    let silence = |silent| {
        for server in [&zones.example, &zones.resolver] {
            server.change(|server| server.silent = silent);
        }
    };
    silence(true);
    let (_, output, _) = run(&["dns", "check", "--admin", &socket]).await;
    assert!(output.contains("www.example.com: wait"), "{output}");
    let log = zones.home.log();
    assert!(!log.contains("is right in DNS again"), "{log}");
    silence(false);

    zones.forget("www.example.com");
    zones.add(&["www.example.com A OURS"]);
    let (code, output, _) = run(&["dns", "check", "--admin", &socket]).await;
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("go, issued"), "{output}");
    let event = events.next().await.expect("an event");
    assert_eq!(event.kind, "restored");
    assert!(!drifted(&gateway.client().status().await.expect("status")));
    assert_eq!(zones.scene.pebble.orders(), 1);
}

#[tokio::test]
async fn a_reload_that_cures_drift_is_looked_at_at_once() {
    let zones = Zones::new().await;
    zones.add(&["www.example.com A OURS"]);
    let config = zones.config(&["www.example.com"], "", "").await;
    let gateway = zones.home.start(&config).await;
    gateway.published("www").await;
    zones.add(&["www.example.com A 198.51.100.7"]);
    let socket = gateway.socket().display().to_string();
    let (_, output, _) = run(&["dns", "check", "--admin", &socket]).await;
    assert!(output.contains("stop, drifted"), "{output}");
    let status = gateway.client().status().await.expect("a status");
    assert!(!status.warnings.is_empty());

    let ours = format!("addresses = [\"{}\"]", zones.scene.tls.ip());
    let both = format!("addresses = [\"{}\", \"198.51.100.7\"]", zones.scene.tls.ip());
    assert!(config.contains(&ours));
    zones.home.configure(&config.replacen(&ours, &both, 1));
    assert_eq!(reloaded(&gateway).await, None);
    let is_right = |status: &api::Status| {
        status.warnings.is_empty() && find(status, "www").dns[0].state == api::DomainState::Issued
    };
    gateway.status_until("has looked again", is_right).await;
}
