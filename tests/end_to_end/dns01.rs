//! Certificates by dns-01 from a real CA, over zones that real name servers hold.

mod by_delegation;
mod kept_values;
mod killed;
mod leftovers;
mod registration;
mod silence;

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use certgate::admin::api::Status;

use crate::gateway::{Gateway, Home, free_address, run};
use crate::peer::{TlsClient, backend, says_hello};
use crate::support::acme_dns::AcmeDns;
use crate::support::name_server::NameServer;
use crate::support::pebble::{Pebble, PebbleOptions};
use crate::support::primary::{KEY, Kind, Primary, SECRET, private};
use crate::support::secondary::Secondary;

const ZONE: &str = "example.test";
const OWNER: &str = "_acme-challenge.example.test";
const NAMES: [&str; 2] = ["*.example.test", "example.test"];

/// A CA that validates by what one name server says, and a gateway to be.
struct Scene {
    pebble: Pebble,
    tls: SocketAddr,
    home: Home,
}

impl Scene {
    fn new(dns: SocketAddr) -> Self {
        let pebble = Pebble::start(&PebbleOptions {
            dns_server: Some(dns),
            ..PebbleOptions::default()
        });
        Self {
            pebble,
            tls: free_address(),
            home: Home::new(),
        }
    }

    /// The file for `www` with `dns` as the issuer's; these servers speak for these zones.
    async fn config(&self, dns: &str, zones: &[(&str, &[SocketAddr])]) -> String {
        let mut name_servers = String::new();
        for (zone, servers) in zones {
            let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
            let _ = write!(name_servers, "\"{zone}\" = {servers:?}, ");
        }
        let gateway = format!(
            "addresses = [\"{}\"]\nresolvers = [\"{}\"]\nname_servers = {{ {} }}",
            self.tls.ip(),
            self.pebble.dns.address(),
            name_servers.trim_end_matches(", "),
        );
        self.config_of(&gateway, dns, &NAMES).await
    }

    /// The file with these lines of `[gateway]`, and `www` for these names.
    async fn config_of(&self, gateway: &str, dns: &str, names: &[&str]) -> String {
        format!(
            "[gateway]\n{gateway}\n\
             [issuers.pebble]\nkind = \"acme\"\ndirectory = \"{}\"\nagree_to_terms = true\nroot_ca_file = {:?}\n\
             dns = {{ {dns} }}\n\
             [certificates.www]\ndomains = {names:?}\nissuer = \"pebble\"\n\
             [server_groups.app]\nservers = [\"{}\"]\n\
             [listeners.web]\naddress = \"{}\"\nport = {}\ncertificates = [\"www\"]\nserver_group = \"app\"\n",
            self.pebble.directory(),
            self.pebble.https_ca_file(),
            backend("hello").await,
            self.tls.ip(),
            self.tls.port(),
        )
    }

    /// The certificate is there, for the wildcard and for the name itself.
    async fn serves_both(&self, gateway: &Gateway) {
        gateway.published("www").await;
        let client = TlsClient::trusting(&self.pebble.issuing_root());
        says_hello(&client, self.tls, &["any.example.test", "example.test"]).await;
    }

    /// Whether the CA has been told that it may look.
    fn ca_looks(&self) -> bool {
        self.pebble.log().contains("Pulled a task from the Tasks queue")
    }
}

/// A zone at two servers, of which one has only what it is told to fetch.
struct Pair {
    primary: Primary,
    lagging: Secondary,
    scene: Scene,
}

impl Pair {
    fn new(kind: Kind) -> Self {
        let primary = Primary::start(kind, &[(ZONE, "", true)]);
        Self {
            lagging: Secondary::start(kind, &primary, &[ZONE]),
            scene: Scene::new(primary.address()),
            primary,
        }
    }

    async fn config(&self, more: &str) -> String {
        let servers = [self.primary.address(), self.lagging.address()];
        let zones = [(ZONE, &servers[..])];
        self.scene.config(&rfc2136(&self.primary, more), &zones).await
    }
}

fn rfc2136(primary: &Primary, more: &str) -> String {
    let key_file = primary.key_file();
    let server = primary.address();
    format!(
        "provider = \"rfc2136\", server = \"{server}\", tsig_name = \"{KEY}\", tsig_key_file = {key_file:?}{more}"
    )
}

#[tokio::test]
async fn a_wildcard_and_its_apex_are_obtained_by_updates_of_bind_and_of_knot() {
    for kind in [Kind::Bind, Kind::Knot] {
        let primary = Primary::start(kind, &[(ZONE, "", true)]);
        let scene = Scene::new(primary.address());
        let zones = [(ZONE, &[primary.address()][..])];
        let config = scene.config(&rfc2136(&primary, ""), &zones).await;
        let gateway = scene.home.start(&config).await;
        scene.serves_both(&gateway).await;
        assert!(scene.ca_looks(), "it was validated\n{}", scene.pebble.log());
        primary.texts_become(OWNER, 0).await;
        assert!(gateway.terminate().await.success());
        assert!(primary.serial(ZONE) > 1, "{kind:?} was changed");
    }
}

#[tokio::test]
async fn a_wildcard_is_obtained_by_a_script_written_for_lego() {
    let primary = Primary::start(Kind::Bind, &[(ZONE, "", true)]);
    let scene = Scene::new(primary.address());
    let script = script_for_lego(&scene.home, &[primary.address()]);
    let zones = [(ZONE, &[primary.address()][..])];
    let dns = format!("provider = \"exec\", command = {script:?}");
    let gateway = scene.home.start(&scene.config(&dns, &zones).await).await;
    scene.serves_both(&gateway).await;
    assert!(scene.ca_looks());
    primary.texts_become(OWNER, 0).await;
}

#[tokio::test]
async fn a_wildcard_is_obtained_by_a_delegation_into_another_zone() {
    let alias = "_acme-challenge IN CNAME answers.dyn.test.";
    let primary = Primary::start(Kind::Bind, &[(ZONE, alias, false), ("dyn.test", "", true)]);
    let scene = Scene::new(primary.address());
    let servers = [primary.address()];
    let zones = [(ZONE, &servers[..]), ("dyn.test", &servers[..])];
    let gateway = scene
        .home
        .start(&scene.config(&rfc2136(&primary, ""), &zones).await)
        .await;
    scene.serves_both(&gateway).await;
    assert!(scene.ca_looks());
    assert_eq!(
        primary.serial(ZONE),
        1,
        "the zone of the name itself was not changed"
    );
    primary.texts_become("answers.dyn.test", 0).await;
}

#[tokio::test]
async fn a_wildcard_is_obtained_by_acme_dns() {
    let zone = NameServer::of(ZONE, 41).await;
    let world = NameServer::resolver(42).await;
    world.add("example.test SOA 1");
    let acme_dns = AcmeDns::start(&world).await;
    let alias = format!("{OWNER} CNAME {}", acme_dns.full_domain());
    let scene = Scene::new(world.address());
    private(&scene.home.path("acme-dns.json"), &acme_dns.accounts(&[ZONE]));
    let dns = format!(
        "provider = \"acme-dns\", server = \"{}\", accounts_file = \"acme-dns.json\"",
        acme_dns.url()
    );
    let (here, there) = ([zone.address()], [acme_dns.name_server()]);
    let zones = [(ZONE, &here[..]), ("auth.test", &there[..])];
    let config = scene.config(&dns, &zones).await;
    let gateway = scene.home.start(&config).await;

    // As long as the alias is missing nothing is ordered, and it is told which one.
    let blocked = |status: &Status| status.certificates[0].state == "blocked";
    let status = gateway.status_until("waits for the alias", blocked).await;
    let reason = status.certificates[0].reason.clone().expect("a reason");
    let record = format!("{OWNER}. IN CNAME {}.", acme_dns.full_domain());
    assert!(reason.contains(&record), "{reason}");
    assert_eq!(scene.pebble.orders(), 0);

    for server in [&zone, &world] {
        server.add(&alias);
    }
    let socket = gateway.socket().display().to_string();
    let (code, output, errors) = run(&["cert", "renew", "www", "--admin", &socket]).await;
    assert_eq!(code, 0, "{output}{errors}");
    scene.serves_both(&gateway).await;
    assert!(scene.ca_looks());
    assert_eq!(acme_dns.updates(), 2, "one value for each authorization");
    assert!(
        !scene.home.log().contains("password-of-acme-dns"),
        "no secret in the log"
    );
}

#[tokio::test]
async fn nothing_is_asked_of_the_ca_before_the_last_server_of_the_zone_has_both_records() {
    let pair = Pair::new(Kind::Bind);
    let Pair {
        primary,
        lagging,
        scene,
    } = &pair;
    let config = pair.config("").await;
    let gateway = scene.home.start(&config).await;
    let texts = primary.texts_become(OWNER, 2).await;
    // It fetches the zone at a time when that holds the first record alone.
    let second = format!("{OWNER}. 60 TXT {}", texts[1]);
    primary.change(ZONE, &format!("delete {second}"));
    lagging.catch_up(ZONE).await;
    primary.change(ZONE, &format!("add {second}"));
    // It is asked so often that each value is looked for since.
    lagging.is_asked(OWNER, 4).await;
    assert_eq!(lagging.texts(OWNER), texts[..1]);
    assert!(!scene.ca_looks(), "{}", scene.pebble.log());
    lagging.catch_up(ZONE).await;
    scene.serves_both(&gateway).await;
    assert!(scene.ca_looks(), "{}", scene.pebble.log());
    primary.texts_become(OWNER, 0).await;
    assert_eq!(
        lagging.texts(OWNER),
        texts,
        "it is not told yet that they are gone"
    );
    lagging.catch_up(ZONE).await;
    assert_eq!(lagging.texts(OWNER), [""; 0]);
}

#[tokio::test]
async fn a_server_that_never_has_the_record_is_named_and_the_ca_is_not_asked() {
    let pair = Pair::new(Kind::Bind);
    let Pair {
        primary,
        lagging,
        scene,
    } = &pair;
    let config = pair.config(", propagation_timeout = \"1s\"").await;
    let gateway = scene.home.start(&config).await;
    let failed = |status: &Status| status.certificates[0].state == "backing-off";
    let status = gateway.status_until("has given up for now", failed).await;
    let reason = status.certificates[0].reason.clone().expect("a reason");
    let expected = format!(
        "{} does not have it; the CA was not told to look",
        lagging.address()
    );
    assert!(reason.contains(&expected), "{reason}");
    assert!(!scene.ca_looks());
    primary.texts_become(OWNER, 0).await;
}

#[tokio::test]
async fn records_that_a_sigkill_has_left_are_gone_after_the_next_start() {
    // One server never has the records, so that the attempt stays in its middle.
    let pair = Pair::new(Kind::Bind);
    let Pair { primary, scene, .. } = &pair;
    let config = pair.config("").await;
    let gateway = scene.home.start(&config).await;
    primary.texts_become(OWNER, 2).await;
    gateway.kill().await;
    assert_eq!(primary.texts(OWNER).len(), 2, "what the crash has left");

    // In its next life it does not want the certificate any more, so nothing else would touch the records.
    let local = config.replace(
        &format!("domains = {NAMES:?}\nissuer = \"pebble\""),
        "domains = [\"example.test\"]\nissuer = \"internal\"",
    ) + "[issuers.internal]\nkind = \"local-ca\"\n";
    let gateway = scene.home.start(&local).await;
    primary.texts_become(OWNER, 0).await;
    let signed_here = gateway.published("www").await;
    assert!(gateway.terminate().await.success());

    // And the life after that obtains it.
    let alone = scene
        .config(&rfc2136(primary, ""), &[(ZONE, &[primary.address()][..])])
        .await;
    let gateway = scene.home.start(&alone).await;
    gateway
        .status_until("has it from the CA", |status| {
            let www = &status.certificates[0];
            www.published && www.serial != signed_here.serial
        })
        .await;
    primary.texts_become(OWNER, 0).await;
}

#[tokio::test]
async fn a_gateway_that_stops_leaves_no_record() {
    let pair = Pair::new(Kind::Bind);
    let Pair { primary, scene, .. } = &pair;
    let config = pair.config("").await;
    let gateway = scene.home.start(&config).await;
    primary.texts_become(OWNER, 2).await;
    assert!(gateway.terminate().await.success());
    assert_eq!(primary.texts(OWNER), [""; 0]);
}

#[tokio::test]
async fn dns_check_tells_what_the_provider_would_do_and_changes_nothing() {
    let primary = Primary::start(Kind::Bind, &[(ZONE, "", true), ("closed.test", "", false)]);
    let scene = Scene::new(primary.address());
    let servers = [primary.address()];
    let zones = [(ZONE, &servers[..]), ("closed.test", &servers[..])];
    let config = scene.config(&rfc2136(&primary, ""), &zones).await;
    let gateway = scene.home.start(&config).await;
    gateway.published("www").await;
    primary.texts_become(OWNER, 0).await;
    let before = primary.serial(ZONE);
    let socket = gateway.socket().display().to_string();
    let (code, output, errors) = run(&["dns", "check", "*.example.test", "--admin", &socket]).await;
    assert_eq!(code, 0, "{output}{errors}");
    let way = format!(
        "dns-01: a TXT record at {OWNER}, in the zone {ZONE}, which {} would take",
        primary.address()
    );
    assert!(output.contains(&way), "{output}");
    let (code, output, _) = run(&["dns", "check", "*.closed.test", "--admin", &socket]).await;
    assert_eq!(code, 1, "{output}");
    assert!(
        output.contains("refuses the update of the zone closed.test: REFUSED"),
        "{output}"
    );
    assert_eq!(primary.serial(ZONE), before);
}

/// A script in the convention of lego's `exec` provider that changes the zone at each of `servers`. It goes by TCP and
/// without a search for the zone, for `nsupdate` gives up when one datagram of that is lost.
fn script_for_lego(home: &Home, servers: &[SocketAddr]) -> PathBuf {
    let key = home.path("nsupdate.key");
    let clause = format!("key \"{KEY}\" {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n");
    private(&key, &clause);
    let mut script = "#!/bin/sh\nset -e\ncase \"$1\" in\n\
                      present) change=\"add $2 60 TXT \\\"$3\\\"\" ;;\n\
                      cleanup) change=\"delete $2 TXT \\\"$3\\\"\" ;;\n\
                      esac\n"
        .to_owned();
    for server in servers {
        let (ip, port) = (server.ip(), server.port());
        let _ = writeln!(
            script,
            "printf 'server {ip} {port}\\nzone {ZONE}\\nupdate %s\\nsend\\n' \"$change\" | nsupdate -v -k {}",
            key.display()
        );
    }
    let script = home.write("dns.sh", &script);
    fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("a file of our own");
    script
}

#[tokio::test]
async fn a_challenge_name_that_is_an_alias_of_itself_stops_with_the_record_to_remove() {
    let records = "_acme-challenge IN CNAME b\nb IN CNAME _acme-challenge";
    let primary = Primary::start(Kind::Bind, &[(ZONE, records, true)]);
    let scene = Scene::new(primary.address());
    let zones = [(ZONE, &[primary.address()][..])];
    let config = scene.config(&rfc2136(&primary, ""), &zones).await;
    let gateway = scene.home.start(&config).await;
    let blocked = |status: &Status| status.certificates[0].state == "blocked";
    let status = gateway.status_until("is blocked by DNS", blocked).await;
    let reason = status.certificates[0].reason.clone().expect("a reason");
    for said in [
        "lead on for ever: _acme-challenge.example.test is met twice",
        "remove: _acme-challenge.example.test. IN CNAME b.example.test.",
    ] {
        assert!(reason.contains(said), "{reason}");
    }
    assert_eq!(scene.pebble.orders(), 0);
}
