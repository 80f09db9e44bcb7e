//! `certgate plan`.

use certgate::admin::api;

use crate::gateway::{Home, free_address, run};
use crate::issuance::Scene;
use crate::peer::backend;
use crate::reload::{client_of, config};

const WWW: &str = "www.example.test";

#[tokio::test]
async fn the_plan_tells_what_a_ca_is_asked_for_and_what_is_left_of_its_limits() {
    let scene = Scene::new(&[WWW], None);
    let home = Home::new();
    let limits = "agree_to_terms = true\nrate_limits = \"letsencrypt\"\n";
    let config = scene.config(&[WWW], "http-01", &[backend("hello").await]);
    // The CA cannot be asked for `later`: nothing answers for that name. It is planned all the same.
    let later =
        "[certificates.later]\ndomains = [\"later.example.test\"]\nissuer = \"pebble\"\n[server_groups.app]";
    let config = config
        .replace("agree_to_terms = true\n", limits)
        .replace("[server_groups.app]", later);
    let gateway = home.start(&config).await;
    gateway.published("www").await;

    let plan = gateway.client().plan(366, None).await.expect("a plan");
    // Pebble's certificates last for years.
    assert!(plan.steps.iter().all(|step| step.certificate.as_str() != "www"));
    let of_later = plan
        .steps
        .iter()
        .find(|step| step.certificate.as_str() == "later")
        .expect("an order");
    assert_eq!(
        (of_later.order.as_str(), of_later.issuer.as_str()),
        ("new", "pebble")
    );
    assert!(
        of_later.left.is_some() && of_later.limit.is_some(),
        "{of_later:?}"
    );
    assert!(plan.steps.is_sorted_by_key(|step| step.at));
    assert!(
        plan.issuers[0]
            .rate_limits
            .iter()
            .any(|limit| limit.limit == "orders of the account")
    );
    assert_eq!(plan.warnings, [""; 0]);

    let socket = gateway.socket().display().to_string();
    let (code, output, errors) = run(&["plan", "--certificate", "later", "--admin", &socket]).await;
    assert_eq!(code, 0, "{errors}");
    assert!(output.starts_with("AT") && output.contains("new"), "{output}");
    let (_, output, _) = run(&["plan", "--certificate", "www", "--admin", &socket]).await;
    assert!(
        output.starts_with("nothing is asked of any CA before"),
        "{output}"
    );
    let (_, output, _) = run(&["plan", "--output", "json", "--admin", &socket]).await;
    let printed: api::Plan = serde_json::from_str(&output).expect("a plan");
    assert!(
        printed
            .steps
            .iter()
            .any(|step| step.certificate.as_str() == "later")
    );
    let (code, _, errors) = run(&["plan", "--certificate", "nobody", "--admin", &socket]).await;
    assert_eq!(code, 1);
    assert!(errors.contains("there is no certificate `nobody`"), "{errors}");
    let (code, _, _) = run(&["plan", "--days", "367", "--admin", &socket]).await;
    assert_eq!(code, 2);
}

#[tokio::test]
async fn many_steps_are_shown_by_the_day() {
    let home = Home::new();
    let more: String = (0..50)
        .map(|n| format!("[certificates.c{n}]\ndomains = [\"c{n}.example.test\"]\nissuer = \"internal\"\n"))
        .collect();
    let gateway = home
        .start(&config(free_address(), backend("hello").await, &more))
        .await;
    client_of(&gateway).await;
    let socket = gateway.socket().display().to_string();
    let (code, output, errors) = run(&["plan", "--days", "300", "--admin", &socket]).await;
    assert_eq!(code, 0, "{errors}");
    assert!(output.starts_with("DAY"), "{output}");
    let issuer = output
        .lines()
        .skip_while(|line| !line.starts_with("ISSUER"))
        .nth(1);
    assert!(
        issuer.is_some_and(|line| line.starts_with("internal")),
        "{output}"
    );
}
