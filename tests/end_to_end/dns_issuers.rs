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
async fn a_name_that_a_local_ca_would_renew_has_not_drifted() {
    let zones = Zones::new().await;
    let allowed = [
        "www.example.com A OURS",
        "www.example.com CAA 0 issue \"pebble.example\"",
    ];
    zones.add(&allowed);
    let config = zones.config(&[WWW, "app.example.com"], "", "").await;
    let both = "\nissuer = [\"pebble\", \"internal\"]\n";
    let config = config.replacen("\nissuer = \"pebble\"\n", both, 1).replacen(
        "\nissuer = \"pebble\"\n",
        "\nissuer = \"internal\"\n",
        1,
    );
    let config = format!("{config}[issuers.internal]\nkind = \"local-ca\"\n");
    let gateway = zones.home.start(&config).await;
    let issued = |status: &api::Status| {
        let of = |label, issuer| find(status, label).issuer.as_deref() == Some(issuer);
        of("www", "pebble") && of("app", "internal")
    };
    gateway.status_until("has one of each CA", issued).await;

    zones.forget(WWW);
    zones.add(&["www.example.com A 192.0.2.7", "www.example.com CAA 0 issue \";\""]);
    let socket = gateway.socket().display().to_string();
    let (code, output, errors) = run(&["dns", "check", WWW, "--admin", &socket]).await;
    assert_eq!(code, 0, "{output}{errors}");
    for said in [
        "www.example.com: skipped, issued",
        "`pebble` is passed over: www.example.com has the A record 192.0.2.7",
        "CAA records of www.example.com",
    ] {
        assert!(output.contains(said), "{output}");
    }
    // A name of the local CA alone may lead wherever it likes.
    let (code, output, _) = run(&["dns", "check", "app.example.com", "--admin", &socket]).await;
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("app.example.com: stop, issued"), "{output}");

    let plan = gateway.client().plan(120, None).await.expect("a plan");
    assert_eq!(plan.held_back_in_all, 0, "{:?}", plan.held_back);
    assert!(
        plan.steps.iter().all(|step| step.issuer == "internal"),
        "{:?}",
        plan.steps
    );
    let status = gateway.client().status().await.expect("a status");
    assert!(
        !status
            .warnings
            .iter()
            .any(|warning| warning.contains("would fail")),
        "{:?}",
        status.warnings
    );
    let log = zones.home.log();
    assert!(!log.contains("would fail"), "{log}");

    zones.forget(WWW);
    zones.add(&allowed);
    let (code, output, _) = run(&["dns", "check", WWW, "--admin", &socket]).await;
    assert_eq!(
        (code, output.contains("www.example.com: go, issued")),
        (0, true),
        "{output}"
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
