//! What DNS says of one issuer, and not of the others.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use certgate::admin::api;
use certgate::certificate::CertificateName;
use certgate::clock::SystemClock;

use crate::dns::{Zones, find};
use crate::gateway::run;
use crate::support::acme_double::{AcmeDouble, Endpoint, Validation};

const WWW: &str = "www.example.com";

#[tokio::test]
async fn an_issuer_that_caa_records_do_not_name_gets_no_order_until_they_do() {
    let zones = Zones::new().await;
    zones.add(&[
        "www.example.com A OURS",
        "www.example.com CAA 0 issue \"pebble.example\"",
    ]);
    let double = AcmeDouble::start(Arc::new(SystemClock)).await;
    double.change(|behaviour| {
        behaviour.validation = Validation::Trust;
        // The file says nothing of it.
        behaviour.caa_identities = Some(serde_json::json!(["Double.Example", "ca2.example"]));
    });
    let root = zones.home.write("https-root.pem", double.https_root());
    let config = zones.config(&[WWW], "", "").await;
    let config = config.replace("\nissuer = \"pebble\"\n", "\nissuer = [\"double\", \"pebble\"]\n");
    let config = format!(
        "{config}[issuers.double]\nkind = \"acme\"\ndirectory = \"{}\"\nagree_to_terms = true\n\
         challenges = [\"tls-alpn-01\"]\nroot_ca_file = {root:?}\n",
        double.directory()
    );
    let gateway = zones.home.start(&config).await;
    let of = |issuer: &'static str| {
        move |status: &api::Status| {
            let www = find(status, "www");
            www.issuer.as_deref() == Some(issuer) && www.published && www.state == "valid"
        }
    };
    let status = gateway
        .status_until("has one of the second CA", of("pebble"))
        .await;
    assert_eq!(
        (double.count(Endpoint::NewOrder), zones.scene.pebble.orders()),
        (0, 1)
    );
    assert_eq!(find(&status, "www").dns[0].state, api::DomainState::Issued);
    let log = zones.home.log();
    assert!(
        log.contains("`pebble` is asked: DNS is against `double`"),
        "{log}"
    );

    let socket = gateway.socket().display().to_string();
    let planned = async || {
        let plan = gateway.client().plan(120, None).await.expect("a plan");
        let first = plan.steps.first().expect("a renewal");
        (first.issuer.clone(), first.order == "new")
    };
    assert_eq!(planned().await, ("pebble".to_owned(), false));
    let (code, output, errors) = run(&["dns", "check", WWW, "--admin", &socket]).await;
    assert_eq!(code, 0, "{output}{errors}");
    assert!(
        output.contains("`double` is passed over: the CAA records of www.example.com"),
        "{output}"
    );
    let (code, output, _) = run(&["dns", "check", WWW, "--issuer", "double", "--admin", &socket]).await;
    assert_eq!(code, 1, "{output}");
    let remedy = "www.example.com. IN CAA 0 issue \"double.example\"";
    assert!(output.contains(remedy), "{output}");

    zones.add(&["www.example.com CAA 0 issue \"ca2.example\""]);
    let (code, output, _) = run(&["dns", "check", WWW, "--admin", &socket]).await;
    assert_eq!((code, output.contains("passed over")), (0, false), "{output}");
    assert_eq!(planned().await, ("double".to_owned(), true));
    let www = CertificateName::parse("www").expect("a name");
    gateway.client().renew(&www).await.expect("asked for");
    gateway
        .status_until("has one of the first CA", of("double"))
        .await;
    assert_eq!(
        (double.count(Endpoint::NewOrder), zones.scene.pebble.orders()),
        (1, 1)
    );
}

#[tokio::test]
async fn a_wildcard_is_not_ordered_where_issuewild_is_against_it() {
    let zones = Zones::new().await;
    zones.add(&[
        "nobody.example.com CAA 0 issue \"pebble.example\"",
        "nobody.example.com CAA 0 issuewild \";\"",
        "method.example.com CAA 0 issue \"pebble.example\"",
        "method.example.com CAA 0 issuewild \"pebble.example; validationmethods=http-01\"",
    ]);
    let script = zones.home.write("dns.sh", "#!/bin/sh\nexit 0\n");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("a file of ours");
    let names = ["nobody.example.com", "method.example.com"];
    let config = zones.config(&names, "", "").await;
    let config = config.replace("domains = [\"", "domains = [\"*.").replace(
        "challenges = [\"tls-alpn-01\"]",
        &format!("dns = {{ provider = \"exec\", command = {script:?} }}"),
    );
    let gateway = zones.home.start(&config).await;
    let all_blocked = |status: &api::Status| {
        let mut all = status.certificates.iter();
        all.all(|certificate| certificate.state == "blocked")
    };
    let status = gateway
        .status_until("is blocked by DNS everywhere", all_blocked)
        .await;
    for (label, said) in [
        (
            "nobody",
            "nobody.example.com. IN CAA 0 issuewild \"pebble.example\"",
        ),
        (
            "method",
            "method.example.com. IN CAA 0 issuewild \"pebble.example; validationmethods=dns-01\"",
        ),
    ] {
        let reason = find(&status, label).reason.clone().unwrap_or_default();
        assert!(reason.contains(said), "{label}: {reason}");
    }
    assert_eq!(zones.scene.pebble.orders(), 0);
}
