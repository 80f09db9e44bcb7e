//! The whole table of failures as an operator meets it: a gateway, a CA that does one thing wrong, and what `status` says.

use std::time::Duration;

use certgate::admin::api::Status;
use certgate::clock::{Clock, SystemClock};
use futures_util::StreamExt;
use serde_json::Value;

use crate::ca_faults::Scene;
use crate::gateway::{Home, run};
use crate::peer::backend;
use crate::support::failures::{Failure, Next, TABLE};

#[tokio::test]
async fn status_says_of_every_failure_what_it_was_what_it_cost_and_when_the_next_attempt_is() {
    let rows = futures_util::stream::iter(&TABLE);
    let wrongs: Vec<_> = rows.map(wrongs).buffer_unordered(AT_A_TIME).concat().await;
    assert!(wrongs.is_empty(), "{wrongs:#?}");
}

/// What is not as the row says.
async fn wrongs(row: &Failure) -> Vec<String> {
    let scene = Scene::new().await;
    (row.arrange)(&scene.ca, SystemClock.now());
    let home = Home::new();
    let config = scene.config_with_www(&home, backend("hello").await);
    let gateway = home.start(&config).await;
    // An attempt of the usual length is longer than a test should be.
    let state = match row.lasts() {
        true => "obtaining",
        false => row.next.state(),
    };
    let is_over = |status: &Status| {
        let www = &status.certificates[0];
        let waits = |reason: &String| reason.contains(row.says[0]);
        match row.lasts() {
            true => www.reason.as_ref().is_some_and(waits),
            false => !matches!(www.state.as_str(), "wanted" | "obtaining"),
        }
    };
    gateway.status_until("has made its attempt", is_over).await;

    let socket = gateway.socket().display().to_string();
    let (_, json, _) = run(&["status", "--output", "json", "--admin", &socket]).await;
    let (_, table, _) = run(&["status", "--admin", &socket]).await;
    let shown: Value = serde_json::from_str(&json).expect("JSON");
    let www = &shown["certificates"][0];
    let reason = www["reason"].as_str().unwrap_or_default();
    let mut wrongs = Vec::new();
    if www["state"] != state {
        wrongs.push(format!("{}: {}, not {state}: {reason}", row.name, www["state"]));
    }
    if !table.contains(reason) || !table.contains(state) {
        wrongs.push(format!("{}: {reason:?} is not in\n{table}", row.name));
    }
    if row.lasts() {
        return wrongs;
    }
    wrongs.extend(row.wrong_requests(&scene.ca));
    wrongs.extend(row.wrong_reason(reason));
    let at = |value: &Value| {
        let at = value.as_str().and_then(|text| text.to_owned().try_into().ok());
        at.unwrap_or_else(|| certgate::clock::Timestamp::from_unix_seconds(0))
    };
    let wait = at(&www["next_attempt"]).since(at(&shown["now"]));
    let (shortest, longest) = bounds(row.next);
    if wait < shortest.saturating_sub(A_LITTLE) || wait > longest {
        wrongs.push(format!("{}: the next attempt in {wait:?}", row.name));
    }
    wrongs
}

/// How long after an attempt the next one is.
fn bounds(next: Next) -> (Duration, Duration) {
    let minute = Duration::from_secs(60);
    let around = |wait: Duration| (wait.mul_f64(0.9), wait.mul_f64(1.1));
    match next {
        Next::Ladder => around(minute),
        Next::AsSaid(wait) | Next::AsSaidToTheLibrary(wait) => (wait, wait + minute),
        Next::Stopped => around(24 * 60 * minute),
        Next::Clock => (5 * minute, 5 * minute),
    }
}

/// Gateways beside each other.
const AT_A_TIME: usize = 4;
/// From an attempt to the look at it.
const A_LITTLE: Duration = Duration::from_secs(20);
