//! What a CA can do wrong, and what the operator sees of it while everything else goes on.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use certgate::admin::api::{Certificate, Status};
use certgate::clock::SystemClock;

use crate::gateway::{Gateway, Home, free_address, run};
use crate::peer::{TlsClient, backend};
use crate::support::acme_double::{AcmeDouble, Authorizations, Endpoint, Fault, Issued};
use crate::support::process;

/// A CA that does as it is told, and the addresses of a gateway to be.
pub(crate) struct Scene {
    pub(crate) ca: AcmeDouble,
    pub(crate) tls: SocketAddr,
    /// On 127.0.0.1, where the CA looks.
    pub(crate) http: SocketAddr,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self {
            ca: AcmeDouble::start(Arc::new(SystemClock)).await,
            tls: free_address(),
            http: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), process::free_address().port()),
        }
    }

    /// An issuer `double`, and a listener that serves every certificate in front of `server`.
    pub(crate) fn config(&self, home: &Home, server: SocketAddr) -> String {
        let root = home.write("https-root.pem", self.ca.https_root());
        format!(
            "[issuers.double]\nkind = \"acme\"\ndirectory = \"{}\"\nagree_to_terms = true\n\
             challenges = [\"http-01\"]\nroot_ca_file = {root:?}\n\
             [server_groups.app]\nservers = [\"{server}\"]\n\
             [listeners.web]\naddress = \"{}\"\nport = {}\ncertificates = [\"*\"]\nserver_group = \"app\"\n\
             [listeners.plain]\naddress = \"{}\"\nport = {}\nprotocol = \"http\"\n",
            self.ca.directory(),
            self.tls.ip(),
            self.tls.port(),
            self.http.ip(),
            self.http.port(),
        )
    }

    /// The same with a certificate `www`.
    pub(crate) fn config_with_www(&self, home: &Home, server: SocketAddr) -> String {
        let config = self.config(home, server);
        format!("{config}[certificates.www]\ndomains = [{WWW:?}]\nissuer = \"double\"\n")
    }

    /// A gateway that serves `www`.
    async fn gateway(&self, home: &Home) -> Gateway {
        let gateway = home
            .start(&self.config_with_www(home, backend("hello").await))
            .await;
        gateway.published("www").await;
        gateway
    }

    async fn is_served(&self, name: &str) -> String {
        let client = TlsClient::trusting(&self.ca.issuing_root());
        let (answer, leaf) = client.ask(self.tls, name).await.expect("it is served");
        assert!(answer.ends_with("hello"), "{answer}");
        leaf.serial
    }
}

#[tokio::test]
async fn what_a_ca_answers_wrongly_reaches_the_operator_and_disturbs_nothing_else() {
    let scene = Scene::new().await;
    let home = Home::new();
    let gateway = scene.gateway(&home).await;
    let serial = scene.is_served(WWW).await;
    let socket = gateway.socket().display().to_string();

    let page = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>";
    let login = "<!DOCTYPE html><html><body>Please log in to the guest network</body></html>";
    let new_order = |fault| scene.ca.fault(Endpoint::NewOrder, fault);
    type Fails<'a> = (&'a str, &'a dyn Fn(), &'a [&'a str]);
    let wrongs: [Fails; 6] = [
        (
            "page",
            &|| new_order(Fault::answer(502, page).header("content-type", "text/html")),
            &["cannot place the order", "502", "Bad Gateway"],
        ),
        (
            "portal",
            &|| new_order(Fault::answer(200, login).header("content-type", "text/html")),
            &["cannot place the order", "guest network"],
        ),
        (
            "cut",
            &|| new_order(Fault::Halved),
            &["cannot place the order", "makes no sense"],
        ),
        (
            "broken",
            &|| scene.ca.fault(Endpoint::Finalize, Fault::Truncated),
            &[
                "cannot finalize the order",
                "/finalize/",
                "before its answer was whole",
            ],
        ),
        (
            "key",
            &|| {
                scene
                    .ca
                    .change(|behaviour| behaviour.certificate = Issued::OtherKey)
            },
            &["not what was asked for", "private key", "`key.example.test`"],
        ),
        (
            "refused",
            &|| {
                scene.ca.change(|behaviour| {
                    behaviour.failing.insert(domain("refused"));
                })
            },
            &["refused.example.test fails always", "http-01", "unauthorized"],
        ),
    ];
    for (name, arrange, says) in wrongs {
        arrange();
        let domain = domain(name);
        let request = ["cert", "request", name, "--domain", &domain, "--admin", &socket];
        let (code, _, errors) = run(&request).await;
        assert_eq!(code, 1, "{name}: {errors}");
        let certificate = shown(&gateway, name).await;
        assert_eq!(certificate.state, "backing-off", "{certificate:?}");
        assert!(certificate.next_attempt.is_some(), "{certificate:?}");
        let reason = certificate.reason.expect("a reason");
        let (_, status, _) = run(&["status", "--admin", &socket]).await;
        for part in says {
            assert!(reason.contains(part), "{name}: {reason}");
            assert!(errors.contains(part), "the one who asked is told: {errors}");
        }
        assert!(status.contains(&reason), "{name} in one line of:\n{status}");

        scene.ca.change(|behaviour| {
            behaviour.certificate = Issued::Right;
            behaviour.failing.clear();
        });
        assert_eq!(scene.is_served(WWW).await, serial, "{name}");
        let (code, _, errors) = run(&["cert", "renew", name, "--admin", &socket]).await;
        assert_eq!(code, 0, "{name} is mended by trying again: {errors}");
        gateway.published(name).await;
        scene.is_served(&domain).await;
    }
    let status = gateway.client().status().await.expect("the process lives");
    assert_eq!(status.pid, gateway.pid());
}

#[tokio::test]
async fn a_rate_limit_is_waited_for_and_its_end_is_shown() {
    let scene = Scene::new().await;
    let home = Home::new();
    let gateway = scene.gateway(&home).await;
    let limit = Fault::problem(429, "rateLimited").header("retry-after", "3600");
    scene.ca.fault(Endpoint::NewOrder, limit);
    let socket = gateway.socket().display().to_string();
    let request = ["cert", "request", "limited", "--domain", "limited.example.test"];
    let (code, _, errors) = run(&[&request[..], &["--admin", &socket]].concat()).await;
    assert_eq!(code, 1);
    assert!(
        errors.contains("429") && errors.contains("rateLimited"),
        "{errors}"
    );

    let limited = shown(&gateway, "limited").await;
    let status = gateway.client().status().await.expect("a status");
    let left = limited.next_attempt.expect("a next attempt").since(status.now);
    // Up to a minute later than the CA said, so that not everybody comes back in the same second.
    assert!(
        left > Duration::from_secs(3500) && left <= Duration::from_secs(3660),
        "{left:?}"
    );
    let (_, table, _) = run(&["status", "--admin", &socket]).await;
    let row = table.lines().find(|line| line.contains("limited.example.test"));
    let row = row.expect("a row");
    let minutes = (58..=61).any(|minutes| row.contains(&format!("{minutes} min")));
    assert!(minutes && table.contains("rateLimited"), "{table}");

    // Nobody makes the gateway ask before that: not an operator, not a restart. The operator is told why.
    let (code, _, errors) = run(&["cert", "renew", "limited", "--admin", &socket]).await;
    assert_eq!(code, 1);
    assert!(
        errors.contains("`double` has asked not to be asked before"),
        "{errors}"
    );
    assert!(gateway.terminate().await.success());
    let gateway = home
        .start(&scene.config_with_www(&home, backend("hello").await))
        .await;
    gateway.published("www").await;
    assert_eq!(
        shown(&gateway, "limited").await.next_attempt,
        limited.next_attempt
    );
    assert_eq!(scene.ca.count(Endpoint::NewOrder), 2, "www and one refusal");
}

#[tokio::test]
async fn what_is_left_of_a_limit_is_shown_and_what_is_used_up_is_not_asked_for() {
    let scene = Scene::new().await;
    let home = Home::new();
    let config = scene.config_with_www(&home, backend("hello").await);
    let limits = "agree_to_terms = true\nrate_limits = \"letsencrypt\"\n";
    let gateway = home
        .start(&config.replace("agree_to_terms = true\n", limits))
        .await;
    gateway.published("www").await;
    let socket = gateway.socket().display().to_string();
    let request =
        async |name: &str| run(&["cert", "request", name, "--domain", WWW, "--admin", &socket]).await;
    for name in ["a", "b"] {
        let (code, _, errors) = request(name).await;
        assert_eq!(code, 0, "{errors}");
    }
    let words = format!("certificates for exactly the names of {WWW}");
    let (_, table, _) = run(&["status", "--admin", &socket]).await;
    let row = table.lines().find(|line| line.contains(&words)).expect("a row");
    assert!(row.contains("double") && row.contains("2 of 5"), "{table}");
    for name in ["c", "d"] {
        request(name).await;
    }
    let orders = scene.ca.count(Endpoint::NewOrder);
    let (code, _, errors) = request("e").await;
    assert!(code == 1 && errors.contains(&words), "{errors}");
    assert_eq!(scene.ca.count(Endpoint::NewOrder), orders);
    let refused = shown(&gateway, "e").await;
    let left = refused
        .next_attempt
        .expect("a next attempt")
        .since(gateway.client().status().await.expect("a status").now);
    assert!(left > Duration::from_secs(33 * 3600), "{left:?}");
}

#[tokio::test]
async fn an_order_that_stays_in_processing_is_waited_for_and_never_placed_again() {
    let scene = Scene::new().await;
    let home = Home::new();
    let gateway = scene.gateway(&home).await;
    let processing = |on| scene.ca.change(|behaviour| behaviour.processing = on);
    processing(true);
    let socket = gateway.socket().display().to_string();
    let request = [
        "cert",
        "request",
        "slow",
        "--domain",
        "slow.example.test",
        "--no-wait",
    ];
    let (code, _, errors) = run(&[&request[..], &["--admin", &socket]].concat()).await;
    assert_eq!(code, 0, "{errors}");
    let waits = |status: &Status| {
        let slow = status.certificates.iter().find(|c| c.name.as_str() == "slow");
        slow.is_some_and(|c| {
            c.state == "obtaining"
                && c.reason
                    .as_deref()
                    .is_some_and(|r| r.contains("waiting for the certificate"))
        })
    };
    gateway.status_until("says what it waits for", waits).await;
    scene.is_served(WWW).await;

    // A restart takes the same order up.
    gateway.kill().await;
    let gateway = home
        .start(&scene.config_with_www(&home, backend("hello").await))
        .await;
    gateway.status_until("waits again", waits).await;
    assert_eq!(scene.ca.orders().len(), 2);
    processing(false);
    gateway.published("slow").await;
    scene.is_served("slow.example.test").await;
    assert_eq!(scene.ca.orders().len(), 2, "www and slow");
}

#[tokio::test]
async fn an_order_that_takes_longer_than_an_attempt_is_kept_until_the_ca_wants_to_be_asked() {
    let scene = Scene::new().await;
    let home = Home::new();
    let gateway = scene.gateway(&home).await;
    scene.ca.change(|behaviour| {
        behaviour.processing = true;
        behaviour.retry_after = Some("3600".to_owned());
    });
    let socket = gateway.socket().display().to_string();
    let request = ["cert", "request", "slow", "--domain", "slow.example.test"];
    let (code, _, errors) = run(&[&request[..], &["--admin", &socket]].concat()).await;
    assert_eq!(code, 1);
    let slow = shown(&gateway, "slow").await;
    let reason = slow.reason.expect("a reason");
    assert!(
        reason.contains("waiting for the certificate") && reason.contains("taken up again"),
        "{reason}"
    );
    assert!(errors.contains(&reason), "{errors}");
    let status = gateway.client().status().await.expect("a status");
    let left = slow.next_attempt.expect("a next attempt").since(status.now);
    assert!(left > Duration::from_secs(3500), "{left:?}");
    assert_eq!(scene.ca.orders().len(), 2);
}

#[tokio::test]
async fn names_that_need_no_validation_are_issued_without_any() {
    let scene = Scene::new().await;
    let home = Home::new();
    let gateway = scene.gateway(&home).await;
    let challenges = scene.ca.count(Endpoint::Challenge);
    let socket = gateway.socket().display().to_string();
    for (name, authorizations) in [("valid", Authorizations::Valid), ("empty", Authorizations::Empty)] {
        scene
            .ca
            .change(|behaviour| behaviour.authorizations = authorizations);
        let domain = domain(name);
        let request = ["cert", "request", name, "--domain", &domain, "--admin", &socket];
        let (code, _, errors) = run(&request).await;
        assert_eq!(code, 0, "{errors}");
        gateway.published(name).await;
        scene.is_served(&domain).await;
    }
    assert_eq!(scene.ca.count(Endpoint::Challenge), challenges);
}

#[tokio::test]
async fn with_the_ca_gone_the_old_certificate_is_served_and_renewed_when_the_ca_is_back() {
    let mut scene = Scene::new().await;
    scene.ca.change(|behaviour| behaviour.lifetime = LIFETIME);
    let home = Home::new();
    let gateway = scene.gateway(&home).await;
    let serial = scene.is_served(WWW).await;
    let orders = scene.ca.count(Endpoint::NewOrder);
    scene.ca.stop().await;

    // Two failed attempts at least, each said with its reason and with when the next one is.
    let socket = gateway.socket().display().to_string();
    let (mut attempts, begun) = (Vec::new(), Instant::now());
    while attempts.len() < 2 {
        assert!(begun.elapsed() < LIFETIME, "{attempts:?}\n{}", home.log());
        assert_eq!(scene.is_served(WWW).await, serial);
        let certificate = shown(&gateway, "www").await;
        if certificate.state == "backing-off" && !attempts.contains(&certificate.next_attempt) {
            let reason = certificate.reason.expect("a reason");
            assert!(reason.contains("Connection refused"), "{reason}");
            let (_, table, _) = run(&["status", "--admin", &socket]).await;
            assert!(table.contains(&reason), "{table}");
            attempts.push(certificate.next_attempt);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A quarter of the time left, but not under ten seconds: the ladder of a certificate of one minute.
    let [Some(first), Some(second)] = attempts[..] else {
        panic!("no next attempt: {attempts:?}");
    };
    let pause = second.since(first);
    assert!(
        pause >= Duration::from_secs(9) && pause < Duration::from_secs(13),
        "{pause:?}"
    );
    assert_eq!(scene.ca.count(Endpoint::NewOrder), orders);

    scene.ca.resume().await;
    let renewed = |status: &Status| {
        let www = &status.certificates[0];
        www.published && www.serial.as_ref() != Some(&serial)
    };
    gateway.status_until("has renewed by itself", renewed).await;
    assert_ne!(scene.is_served(WWW).await, serial);
    assert_eq!(scene.ca.count(Endpoint::NewOrder), orders + 1);
}

pub(crate) const WWW: &str = "www.example.test";
/// Renewed at half of it, and time for four attempts before its end.
const LIFETIME: Duration = Duration::from_secs(60);

fn domain(name: &str) -> String {
    format!("{name}.example.test")
}

async fn shown(gateway: &Gateway, name: &str) -> Certificate {
    let name = certgate::certificate::CertificateName::parse(name).expect("a name");
    let shown = gateway.client().certificate(&name).await;
    shown.expect("a certificate of this name")
}
