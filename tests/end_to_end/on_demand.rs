//! Certificates that are obtained because a handshake asks for the name.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use certgate::admin::api::{ExplainRequest, Listener, Status};
use tokio::task::JoinSet;

use crate::ask_url::{AskUrl, NO, Says, YES};
use crate::dns::metrics;
use crate::examples::{Example, at, document};
use crate::gateway::{Gateway, Home, PATIENCE, run};
use crate::issuance::Scene;
use crate::peer::{TlsClient, backend};

pub(crate) const SHOP: &str = "shop.example.test";

/// A listener that has certificates obtained on demand, as `on_demand` says, by `challenge`.
pub(crate) fn config(scene: &Scene, server: SocketAddr, challenge: &str, on_demand: &str) -> String {
    format!(
        "[issuers.pebble]\nkind = \"acme\"\ndirectory = \"{}\"\nagree_to_terms = true\n\
         challenges = [\"{challenge}\"]\nroot_ca_file = {:?}\n\
         [server_groups.app]\nservers = [\"{server}\"]\n\
         [listeners.web]\naddress = \"{}\"\nport = {}\nserver_group = \"app\"\nhandshake_timeout = \"60s\"\n\
         on_demand = {{ {on_demand} }}\n\
         [listeners.plain]\naddress = \"{}\"\nport = {}\nprotocol = \"http\"\n",
        scene.pebble.directory(),
        scene.pebble.https_ca_file(),
        scene.tls.ip(),
        scene.tls.port(),
        scene.http.ip(),
        scene.http.port(),
    )
}

/// A CA, a gateway that asks `ask`, and a client.
pub(crate) struct Stand {
    pub(crate) scene: Scene,
    pub(crate) home: Home,
    pub(crate) gateway: Gateway,
    client: TlsClient,
    pub(crate) config: String,
}

impl Stand {
    pub(crate) async fn new(names: &[&str], on_demand: &str) -> Self {
        Self::by(names, "tls-alpn-01", on_demand, "").await
    }

    async fn by(names: &[&str], challenge: &str, on_demand: &str, more: &str) -> Self {
        let scene = Scene::new(names, None);
        let home = Home::new();
        let more = more
            .replace("RESOLVER", &scene.pebble.dns.address().to_string())
            .replace("ADDRESS", &scene.tls.ip().to_string());
        let config = config(&scene, backend("hello").await, challenge, on_demand) + &more;
        let gateway = home.start(&config).await;
        let client = TlsClient::trusting(&scene.pebble.issuing_root());
        Self {
            scene,
            home,
            gateway,
            client,
            config,
        }
    }

    /// A handshake for `name` that has to succeed.
    pub(crate) async fn served(&self, name: &str) -> String {
        let asked = self.client.ask(self.scene.tls, name).await;
        let (answer, leaf) = asked.unwrap_or_else(|error| panic!("{error}\n{}", self.home.log()));
        assert!(answer.ends_with("hello"), "{answer}");
        leaf.serial
    }

    /// A handshake for `name` that has to be refused because there is no certificate.
    async fn refused(&self, name: &str) {
        let refused = self.client.connect(self.scene.tls, name).await;
        let error = refused.expect_err("no certificate").to_string();
        assert!(error.contains("UnrecognisedName"), "{error}\n{}", self.home.log());
    }

    /// Handshakes for `name` until one succeeds; how many were refused before.
    async fn served_after_a_while(&self, name: &str) -> usize {
        let deadline = Instant::now() + PATIENCE;
        let mut refused = 0;
        while let Err(error) = self.client.ask(self.scene.tls, name).await {
            assert!(error.to_string().contains("UnrecognisedName"), "{error}");
            assert!(Instant::now() < deadline, "not served\n{}", self.home.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
            refused += 1;
        }
        refused
    }

    async fn listener(&self) -> Listener {
        let status = self.gateway.client().status().await.expect("a status");
        let found = status
            .listeners
            .into_iter()
            .find(|listener| listener.name == "web");
        found.expect("the listener")
    }
}

pub(crate) fn on_demand(ask: &AskUrl, more: &str) -> String {
    format!("ask = \"{}\", wait = \"50s\"{more}", ask.url())
}

#[tokio::test]
async fn the_first_handshake_waits_and_is_served_by_tls_alpn_01() {
    let ask = AskUrl::start(|_| YES).await;
    let stand = Stand::new(&[SHOP], &on_demand(&ask, "")).await;
    let serial = stand.served(SHOP).await;
    assert_eq!(stand.served(SHOP).await, serial);
    assert_eq!(ask.asked(), [SHOP]);
    assert_eq!(stand.scene.pebble.orders(), 1);
    let standing = stand.listener().await.on_demand.expect("it has some");
    assert_eq!((standing.obtained, standing.pending, standing.waiting), (1, 0, 0));
    let metrics = metrics(&stand.gateway).await;
    assert!(metrics.contains("certgate_on_demand_handshakes_total{listener=\"web\",result=\"obtained\"} 1"));
    assert!(metrics.contains("certgate_on_demand_asks_total{listener=\"web\",result=\"allowed\"} 1"));
}

#[tokio::test]
async fn the_first_handshake_waits_and_is_served_by_http_01() {
    let ask = AskUrl::start(|_| YES).await;
    let stand = Stand::by(&[SHOP], "http-01", &on_demand(&ask, ""), "").await;
    stand.served(SHOP).await;
    assert_eq!(stand.scene.pebble.orders(), 1);
}

#[tokio::test]
async fn where_nobody_waits_the_first_is_refused_and_the_next_ones_are_served() {
    let stand = Stand::new(&[SHOP], "names = [\"*.example.test\"], wait = \"0s\"").await;
    stand.refused(SHOP).await;
    stand.served_after_a_while(SHOP).await;
    stand.served(SHOP).await;
    assert_eq!(stand.scene.pebble.orders(), 1);
}

#[tokio::test]
async fn a_denied_name_is_asked_about_again_only_when_the_denial_is_forgotten() {
    let ask = AskUrl::start(|_| NO).await;
    let stand = Stand::new(&[SHOP], &on_demand(&ask, ", denied_ttl = \"10s\"")).await;
    let begun = Instant::now();
    stand.refused(SHOP).await;
    stand.refused(SHOP).await;
    stand.refused(SHOP).await;
    if begun.elapsed() < Duration::from_secs(10) {
        assert_eq!(ask.asked(), [SHOP]);
    }
    ask.change(|_| YES);
    assert!(stand.served_after_a_while(SHOP).await > 0, "the denial counts");
    assert_eq!(ask.asked(), [SHOP, SHOP]);
    assert_eq!(stand.scene.pebble.orders(), 1);
}

#[tokio::test]
async fn an_ask_url_without_an_answer_allows_nothing_and_denies_nothing_for_long() {
    let ask = AskUrl::start(|name| match name {
        "broken.example.test" => Says::Status("500 Internal Server Error"),
        "moved.example.test" => Says::Status("302 Found"),
        "busy.example.test" => Says::Status("429 Too Many Requests"),
        _ => Says::Nothing,
    })
    .await;
    let names = [
        "broken.example.test",
        "moved.example.test",
        "busy.example.test",
        "slow.example.test",
    ];
    let stand = Stand::new(&names, &on_demand(&ask, ", denied_ttl = \"1d\"")).await;
    for name in names {
        stand.refused(name).await;
    }
    assert_eq!(ask.asked(), names, "redirects are not followed");
    assert_eq!(stand.scene.pebble.orders(), 0);
    let standing = stand.listener().await.on_demand.expect("it has some");
    assert_eq!(standing.refused.get("unanswered"), Some(&4), "{standing:?}");
    let told = |status: &Status| status.warnings.iter().any(|warning| warning.contains(&ask.url()));
    stand.gateway.status_until("warns of the ask URL", told).await;
    ask.change(|_| YES);
    stand.served_after_a_while("broken.example.test").await;
    let over = |status: &Status| !status.warnings.iter().any(|warning| warning.contains(&ask.url()));
    stand.gateway.status_until("warns no more", over).await;
}

#[tokio::test]
async fn an_ask_url_that_nobody_listens_at_allows_nothing() {
    let nobody = crate::gateway::free_address();
    let stand = Stand::new(&[SHOP], &format!("ask = \"http://{nobody}/allowed\"")).await;
    stand.refused(SHOP).await;
    assert_eq!(stand.scene.pebble.orders(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_random_names_make_no_order_and_take_no_memory() {
    const BEFORE: usize = 5_000;
    const NAMES: usize = 10_000;
    const FLOODS: [&str; 3] = ["flood-a", "flood-b", "flood-c"];
    let ask = AskUrl::start(|_| NO).await;
    let stand = Stand::new(&[], &on_demand(&ask, ", max_asks_per_minute = 300")).await;
    // Whatever a process needs once, and the allocator keeps, is there before the first measurement.
    flood(&stand, "before", BEFORE).await;
    let mut before = resident(stand.gateway.pid());
    let begun = Instant::now();
    let mut floods = 0;
    // What an allocator keeps of so many connections comes to some, now and then; a kilobyte for each name would be more,
    // every time.
    let after = loop {
        flood(&stand, FLOODS[floods], NAMES).await;
        floods += 1;
        let after = resident(stand.gateway.pid());
        if after < before + 8192 {
            break after;
        }
        assert!(floods < FLOODS.len(), "{before} KiB have become {after} KiB");
        before = after;
    };
    let minutes = usize::try_from(begun.elapsed().as_secs() / 60).expect("small") + 1;
    println!(
        "{floods} times {NAMES} names in {:?}: {} asks, {before} KiB before, {after} KiB after",
        begun.elapsed(),
        ask.asked().len()
    );
    assert!(ask.asked().len() <= 300 * (minutes + 1), "{}", ask.asked().len());
    assert_eq!(stand.scene.pebble.orders(), 0);
    let status = stand.gateway.client().status().await.expect("a status");
    assert!(status.certificates.is_empty());
    let standing = stand.listener().await.on_demand.expect("it has some");
    let refused: u64 = standing.refused.values().sum();
    assert_eq!(refused, (BEFORE + floods * NAMES) as u64, "{standing:?}");
    let lines = stand
        .home
        .log()
        .lines()
        .filter(|line| line.contains("flood"))
        .count();
    assert!(lines < 20, "{lines} lines about them");
}

/// Handshakes for `count` names that nobody has ever heard of, twenty at a time.
async fn flood(stand: &Stand, what: &'static str, count: usize) {
    let mut handshakes = JoinSet::new();
    for number in 0..count {
        let (client, address) = (stand.client.clone(), stand.scene.tls);
        handshakes.spawn(async move {
            let name = format!("{what}-{number}.example.test");
            client
                .connect(address, &name)
                .await
                .expect_err("nobody allows it")
        });
        if handshakes.len() == 20 {
            handshakes
                .join_next()
                .await
                .expect("one is under way")
                .expect("no panic");
        }
    }
    while let Some(handshake) = handshakes.join_next().await {
        handshake.expect("no panic");
    }
}

/// The memory that a process has to itself or shares, in KiB.
fn resident(pid: u32) -> usize {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("a process");
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number
        .and_then(|number| number.trim().parse().ok())
        .expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_first_handshakes_for_one_name_make_one_order() {
    let ask = AskUrl::start(|_| YES).await;
    let stand = Stand::new(&[SHOP], &on_demand(&ask, "")).await;
    let mut handshakes = JoinSet::new();
    for _ in 0..100 {
        let (client, address) = (stand.client.clone(), stand.scene.tls);
        handshakes.spawn(async move { client.ask(address, SHOP).await });
    }
    let mut serials = std::collections::BTreeSet::new();
    while let Some(asked) = handshakes.join_next().await {
        let (_, leaf) = asked.expect("no panic").expect("served");
        serials.insert(leaf.serial);
    }
    assert_eq!(serials.len(), 1);
    assert_eq!((ask.asked().len(), stand.scene.pebble.orders()), (1, 1));
}

#[tokio::test]
async fn a_name_that_dns_sends_elsewhere_is_not_ordered_until_it_leads_here() {
    let ask = AskUrl::start(|_| YES).await;
    let gateway = "[gateway]\naddresses = [\"ADDRESS\"]\nresolvers = [\"RESOLVER\"]\n";
    let settings = on_demand(&ask, ", denied_ttl = \"1s\"");
    let stand = Stand::by(&[SHOP], "tls-alpn-01", &settings, gateway).await;
    stand.scene.pebble.dns.set_addresses(SHOP, &["127.0.0.99"]);
    stand.refused(SHOP).await;
    let standing = stand.listener().await.on_demand.expect("it has some");
    assert_eq!(standing.refused.get("dns"), Some(&1), "{standing:?}");
    let [refused] = &standing.latest_refused[..] else {
        panic!("one name was refused: {standing:?}");
    };
    assert_eq!(
        (refused.reason.as_str(), refused.domain.to_string().as_str()),
        ("dns", SHOP)
    );
    assert!(refused.detail.contains("127.0.0.99"), "{refused:?}");
    let socket = stand.gateway.socket().display().to_string();
    let (_, shown, _) = run(&["status", "--admin", &socket]).await;
    assert!(shown.contains(SHOP) && shown.contains(&refused.detail), "{shown}");
    assert_eq!(stand.scene.pebble.orders(), 0);
    let status = stand.gateway.client().status().await.expect("a status");
    assert!(status.certificates.is_empty(), "nothing is left of it");
    let address = stand.scene.tls.ip().to_string();
    stand.scene.pebble.dns.set_addresses(SHOP, &[&address]);
    stand.served_after_a_while(SHOP).await;
    assert_eq!(stand.scene.pebble.orders(), 1);
}

#[tokio::test]
async fn a_name_that_cannot_be_validated_costs_one_order_and_is_not_wanted_any_more() {
    let ask = AskUrl::start(|_| YES).await;
    let stand = Stand::new(&[], &on_demand(&ask, ", denied_ttl = \"1s\"")).await;
    // Nobody answers the CA there.
    stand.scene.pebble.dns.set_addresses(SHOP, &["127.0.0.99"]);
    stand.refused(SHOP).await;
    stand.refused(SHOP).await;
    assert_eq!(stand.scene.pebble.orders(), 1);
    let gone = |status: &Status| status.certificates.is_empty();
    stand.gateway.status_until("wants it no more", gone).await;
    let standing = stand.listener().await.on_demand.expect("it has some");
    assert_eq!(standing.refused.get("failed"), Some(&2), "{standing:?}");
}

#[tokio::test]
async fn orders_have_a_bound_and_an_allowed_name_over_it_is_refused() {
    let names = ["one.example.test", "two.example.test", "three.example.test"];
    let stand = Stand::new(
        &names,
        "names = [\"*.example.test\"], wait = \"50s\", max_orders_per_hour = 2",
    )
    .await;
    stand.served(names[0]).await;
    stand.served(names[1]).await;
    stand.refused(names[2]).await;
    stand.served(names[0]).await;
    assert_eq!(stand.scene.pebble.orders(), 2);
}

#[tokio::test]
async fn explain_orders_nothing_and_nobody_is_served_another_s_certificate() {
    let ask = AskUrl::start(|_| YES).await;
    let stand = Stand::new(&[SHOP], &on_demand(&ask, ", except = [\"evil.test\"]")).await;
    let explain = async |name: &str| {
        let request = ExplainRequest {
            server_name: Some(name.to_owned()),
            ..ExplainRequest::default()
        };
        let explained = stand.gateway.client().explain("web", &request).await;
        explained.expect("explained").reason.unwrap_or_default()
    };
    assert!(
        explain(SHOP).await.contains("not there yet"),
        "{}",
        explain(SHOP).await
    );
    assert!(explain("www.evil.test").await.contains("`except`"));
    stand.refused("www.evil.test").await;
    assert!(ask.asked().is_empty());
    assert_eq!(stand.scene.pebble.orders(), 0);
    stand.served(SHOP).await;
    // Without a server name there is no default to be served.
    let nameless = stand.client.connect(stand.scene.tls, "127.0.0.1").await;
    let error = nameless.expect_err("no certificate").to_string();
    assert!(error.contains("UnrecognisedName"), "{error}");
}

#[tokio::test]
async fn the_on_demand_example_serves_a_customer_s_name_and_its_own() {
    let ask = AskUrl::start(|name| if name == "shop.customer.example" { YES } else { NO }).await;
    let names = ["www.example.com", "shop.customer.example", "a.shops.example.com"];
    let scene = Scene::new(&names, None);
    let (pebble, address) = (&scene.pebble, scene.tls.ip());
    let issuer = format!(
        "\"{}\"\nroot_ca_file = {:?}",
        pebble.directory(),
        pebble.https_ca_file()
    );
    let example = Example {
        text: document("examples/on-demand.toml"),
        replaced: vec![
            ("\"letsencrypt\"\nagree", format!("{issuer}\nagree")),
            ("127.0.0.1:8080", backend("hello").await.to_string()),
            (
                "\"http://127.0.0.1:9000/allowed\"\n",
                format!("{:?}\n", ask.url()),
            ),
            (
                "[\"203.0.113.10\"]",
                format!("[\"{address}\"]\nresolvers = [\"{}\"]", pebble.dns.address()),
            ),
            ("port = 443", at(scene.tls)),
            ("wait = \"8s\"", "wait = \"50s\"".to_owned()),
            (
                "[listeners.web.on_demand]",
                "handshake_timeout = \"60s\"\n[listeners.web.on_demand]".to_owned(),
            ),
        ],
        seen: &[
            "certificates.www.domains",
            "certificates.www.issuer",
            "gateway.addresses",
            "issuers.letsencrypt.agree_to_terms",
            "issuers.letsencrypt.directory",
            "issuers.letsencrypt.kind",
            "listeners.web.certificates",
            "listeners.web.on_demand.ask",
            "listeners.web.on_demand.except",
            "listeners.web.on_demand.names",
            "listeners.web.port",
            "listeners.web.server_group",
            "server_groups.app.servers",
        ],
        taken: &[
            "listeners.web.on_demand.max_orders_per_hour",
            "listeners.web.on_demand.unused_after",
            "listeners.web.on_demand.wait",
        ],
    };
    let home = Home::new();
    let gateway = example.start(&home);
    gateway.published("www").await;
    let client = TlsClient::trusting(&scene.pebble.issuing_root());
    for name in names {
        let (answer, _) = client.ask(scene.tls, name).await.expect("served");
        assert!(answer.ends_with("hello"), "{answer}");
    }
    for name in ["other.customer.example", "internal.example.com"] {
        let error = client.connect(scene.tls, name).await.expect_err("not allowed");
        assert!(error.to_string().contains("UnrecognisedName"), "{error}");
    }
    assert_eq!(ask.asked(), ["shop.customer.example", "other.customer.example"]);
    assert!(gateway.terminate().await.success());
}
