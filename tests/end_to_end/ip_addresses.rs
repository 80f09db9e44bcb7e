//! IP addresses in certificates (RFC 8738), which DNS knows nothing of.

use certgate::admin::api;

use crate::dns::{find, metrics};
use crate::gateway::{Home, run};
use crate::issuance::Scene;
use crate::peer::backend;

#[tokio::test]
async fn an_address_is_not_ordered_before_it_is_ours_and_can_be_validated() {
    let scene = Scene::new(&[], None);
    let home = Home::new();
    let address = scene.tls.ip().to_string();
    let script = home.write("dns.sh", "#!/bin/sh\nexit 0\n");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("a file of ours");
    let config = scene.config(&[&address], "http-01", &[backend("hello").await]);
    let config = config
        .replace(
            "challenges = [\"http-01\"]",
            &format!(
                "challenges = [\"dns-01\", \"http-01\"]\ndns = {{ provider = \"exec\", command = {script:?} }}"
            ),
        )
        .replace(
            "[server_groups.app]",
            "[certificates.other]\ndomains = [\"127.0.0.99\"]\nissuer = \"pebble\"\n[server_groups.app]",
        );
    // Nobody answers there: the resolver is not needed for addresses.
    let config = format!("[gateway]\naddresses = [\"{address}\"]\nresolvers = [\"127.0.0.1:9\"]\n{config}");
    let without_http = config.replace("[listeners.plain]\n", "[listeners.plain]\nenabled = false\n");
    let gateway = home.start(&without_http).await;
    let all_blocked = |status: &api::Status| {
        let mut all = status.certificates.iter();
        all.all(|certificate| certificate.state == "blocked")
    };
    let status = gateway.status_until("holds both back", all_blocked).await;
    let expected = [
        (
            "www",
            "there is no http listener, which a CA reaches on port 80",
            api::DomainState::Pointed,
        ),
        (
            "other",
            "127.0.0.99 is not an address of this gateway",
            api::DomainState::Declared,
        ),
    ];
    for (name, said, state) in expected {
        let found = find(&status, name);
        let reason = found.reason.clone().unwrap_or_default();
        assert!(reason.contains(said), "{reason}");
        assert_eq!(found.dns[0].state, state);
    }
    assert_eq!(scene.pebble.orders(), 0);
    let shown = metrics(&gateway).await;
    let line = format!(r#"certgate_domain_state{{certificate="www",domain="{address}",state="pointed"}} 1"#);
    assert!(shown.contains(&line), "{line}\n{shown}");
    let socket = gateway.socket().display().to_string();
    let (code, output, errors) = run(&["dns", "check", &address, "--admin", &socket]).await;
    assert_eq!(code, 1, "{errors}");
    assert!(
        output.starts_with(&format!("{address}: stop, pointed\n")),
        "{output}"
    );
    let (_, output, _) = run(&["dns", "check", "--admin", &socket]).await;
    assert!(output.contains("127.0.0.99: stop, declared"), "{output}");
    assert!(gateway.terminate().await.success());

    let gateway = home.start(&config).await;
    gateway.published("www").await;
    assert_eq!(scene.pebble.orders(), 1);
    let socket = gateway.socket().display().to_string();
    let (code, output, errors) = run(&["dns", "check", &address, "--admin", &socket]).await;
    assert_eq!(code, 0, "{errors}");
    assert!(
        output.starts_with(&format!("{address}: go, issued\n")),
        "{output}"
    );
    let shown = metrics(&gateway).await;
    let line = format!(r#"certgate_dns_check_ok{{certificate="www",domain="{address}"}} 1"#);
    assert!(shown.contains(&line), "{line}\n{shown}");
}

#[tokio::test]
async fn a_request_for_an_address_that_the_issuer_cannot_validate_is_refused() {
    let scene = Scene::new(&[], None);
    let home = Home::new();
    let script = home.write("dns.sh", "#!/bin/sh\nexit 0\n");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("a file of ours");
    let config = scene.config(&["www.example.test"], "http-01", &[backend("hello").await]);
    let config = config.replace(
        "challenges = [\"http-01\"]",
        &format!("dns = {{ provider = \"exec\", command = {script:?} }}"),
    );
    let gateway = home.start(&config).await;
    let socket = gateway.socket().display().to_string();
    let request = [
        "cert",
        "request",
        "ip",
        "--domain",
        "127.0.0.99",
        "--admin",
        &socket,
    ];
    let (code, _, errors) = run(&request).await;
    assert_eq!(code, 1);
    assert!(
        errors.contains("`127.0.0.99` is an IP address, to which dns-01 proves no right"),
        "{errors}"
    );
}
