//! The CA's limits of new accounts, and of failures of one name that never end.

use std::time::Duration;

use certgate::clock::Clock;
use certgate::config::RateLimits;
use certgate::issuer::ledger::Bucket;
use certgate::issuer::{Account, FailureClass, IssueError, RateLimit};

use crate::fixture::{Gateway, desired, www};
use crate::support::acme_double::{Endpoint, Fault};

const HOUR: Duration = Duration::from_secs(3600);
const NEW_ACCOUNTS: &str = "new accounts from one address";

async fn limited() -> Gateway {
    let mut gateway = Gateway::start().await;
    gateway.config.rate_limits = RateLimits::LetsEncrypt;
    gateway
}

/// What is left of the limit with these words; all of it where it is not told of.
async fn left(gateway: &Gateway, words: &str) -> Option<u32> {
    let limits = gateway.issuer().used_limits().await.unwrap();
    let mut limits = limits.into_iter();
    limits
        .find(|RateLimit { limit, .. }| limit == words)
        .map(|limit| limit.left)
}

/// A certificate of its own, by a process that has just started, at a CA that has forgotten the account.
async fn with_another_account(gateway: &Gateway, number: usize) -> Result<(), IssueError> {
    gateway.ca.forget_accounts();
    let name = format!("c{number}");
    let wanted = desired(&name, &[&format!("{name}.example.com")]);
    gateway.issue(&wanted).await.map(drop)
}

#[tokio::test]
async fn an_eleventh_account_in_three_hours_is_not_registered() {
    let gateway = limited().await;
    for number in 0..10 {
        assert_eq!(left(&gateway, NEW_ACCOUNTS).await.unwrap_or(10), 10 - number);
        with_another_account(&gateway, number as usize).await.unwrap();
    }
    let error = with_another_account(&gateway, 10).await.unwrap_err();
    let at = gateway.clock.now() + HOUR * 3 / 10;
    assert_eq!(error.class(), FailureClass::At(at));
    assert!(error.to_string().contains(NEW_ACCOUNTS), "{error}");
    assert_eq!(gateway.ca.count(Endpoint::NewAccount), 10);
    assert_eq!(left(&gateway, NEW_ACCOUNTS).await, Some(0));
    let nearby = "new accounts from one IPv6 network of 48 bits";
    assert_eq!(left(&gateway, nearby).await, Some(490));

    gateway.clock.set(at);
    with_another_account(&gateway, 10).await.unwrap();
    assert_eq!(gateway.ca.count(Endpoint::NewAccount), 11);
}

#[tokio::test]
async fn what_the_ca_says_of_new_accounts_holds_until_it_said() {
    for (count, of, words) in [
        (10, "this IP address", NEW_ACCOUNTS),
        (
            500,
            "this /48 subnet of IPv6 addresses",
            "new accounts from one IPv6 network of 48 bits",
        ),
    ] {
        let gateway = limited().await;
        let detail = format!(
            "too many new registrations ({count}) from {of} in the last 3h0m0s, retry after 2026-11-21 06:00:00 UTC"
        );
        let kind = "urn:ietf:params:acme:error:rateLimited";
        let problem = serde_json::json!({"type": kind, "detail": detail}).to_string();
        gateway
            .ca
            .fault(Endpoint::NewAccount, Fault::answer(429, &problem));
        let at = FailureClass::At(gateway.clock.now() + 6 * HOUR);
        assert_eq!(gateway.issue(&www()).await.unwrap_err().class(), at);
        let error = gateway.issue(&www()).await.unwrap_err();
        assert_eq!(error.class(), at);
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(gateway.ca.count(Endpoint::NewAccount), 1);
        gateway.clock.advance(6 * HOUR);
        gateway.issue(&www()).await.unwrap();
    }
}

#[tokio::test]
async fn an_account_that_was_not_made_costs_none() {
    let gateway = limited().await;
    for fault in [
        Fault::problem(400, "invalidContact"),
        Fault::answer(502, "<html>Bad Gateway</html>"),
    ] {
        gateway.ca.fault(Endpoint::NewAccount, fault);
        gateway.issue(&www()).await.unwrap_err();
        assert_eq!(left(&gateway, NEW_ACCOUNTS).await, None);
    }
    for _ in 0..12 {
        gateway.ca.fault(Endpoint::Directory, Fault::Reset);
        gateway.issue(&www()).await.unwrap_err();
    }
    assert_eq!(left(&gateway, NEW_ACCOUNTS).await, None);
    // One whose answer is lost may be there.
    gateway.ca.fault(Endpoint::NewAccount, Fault::Lost);
    gateway.issue(&www()).await.unwrap_err();
    assert_eq!(left(&gateway, NEW_ACCOUNTS).await, Some(9));
    gateway.issue(&www()).await.unwrap();
    assert_eq!(left(&gateway, NEW_ACCOUNTS).await, Some(8));
}

const IN_A_ROW: &str = "failed authorizations of www.example.com without one that succeeds";

#[tokio::test]
async fn failures_in_a_row_are_counted_for_days_until_one_attempt_succeeds() {
    let gateway = limited().await;
    gateway.ca.change(|ca| {
        ca.failing.insert("www.example.com".to_owned());
    });
    let wanted = desired("www", &["www.example.com"]);
    for failures in 1..=5 {
        gateway.issue(&wanted).await.unwrap_err();
        assert_eq!(left(&gateway, IN_A_ROW).await, Some(1_152 - failures));
    }
    // Those of an hour are forgotten by then, these are not.
    gateway.clock.advance(2 * HOUR);
    gateway.issue(&wanted).await.unwrap_err();
    assert_eq!(left(&gateway, IN_A_ROW).await, Some(1_152 - 6));
    gateway.ca.change(|ca| ca.failing.clear());
    gateway.issue(&wanted).await.unwrap();
    assert_eq!(left(&gateway, IN_A_ROW).await, None);
}

#[tokio::test]
async fn a_name_that_has_failed_1152_times_in_a_row_is_ordered_once_a_day() {
    let gateway = limited().await;
    gateway
        .issue(&desired("first", &["first.example.com"]))
        .await
        .unwrap();
    let account = gateway.issuer().info().await.unwrap().unwrap().url;
    let (ca, _) = account
        .strip_prefix("https://")
        .and_then(|rest| rest.split_once('/'))
        .unwrap();
    let key = Bucket::FailuresInARow("www.example.com".to_owned()).key(&account);
    let full_at = gateway.clock.now() + 24 * HOUR * 1_152;
    let used_up = |_: &str, _| Ok::<_, IssueError>(Some(full_at));
    gateway
        .inventory
        .change_rate_limits(ca, &[key], used_up)
        .await
        .unwrap();

    let wanted = desired("www", &["www.example.com"]);
    let orders = gateway.ca.count(Endpoint::NewOrder);
    let error = gateway.issue(&wanted).await.unwrap_err();
    let at = gateway.clock.now() + 24 * HOUR;
    assert_eq!(error.class(), FailureClass::At(at));
    assert!(error.to_string().contains(IN_A_ROW), "{error}");
    assert_eq!(gateway.ca.count(Endpoint::NewOrder), orders);
    gateway.clock.set(at);
    gateway.issue(&wanted).await.unwrap();
    assert_eq!(left(&gateway, IN_A_ROW).await, None);
}
