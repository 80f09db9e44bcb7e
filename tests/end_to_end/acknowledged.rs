//! What was acknowledged holds: over SIGKILL at that moment, and when others change the same listener at the same time.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::reload::reloaded;
use crate::runtime::{Stage, mutual, request};

const LISTENER: &str = "server_group = \"app\"\n";

#[tokio::test]
async fn a_toggle_is_in_force_after_a_sigkill_right_after_it_was_acknowledged_in_whatever_way() {
    const ROUNDS: usize = 21;
    let mut stage = Stage::new("").await;
    let plain = stage.config.clone();
    for round in 0..ROUNDS {
        let wanted = if round % 2 == 0 { "mutual" } else { "one-way" };
        match (round % 3, wanted) {
            (0, "mutual") => {
                let auth = ["listener", "auth", "web", "mutual", "--client-ca", "partners"];
                stage.done(&auth).await;
            }
            (0, _) => drop(stage.done(&["listener", "auth", "web", "one-way"]).await),
            (1, "mutual") => drop(stage.patch(mutual()).await.expect("changed")),
            (1, _) => {
                let keys = json!({ "authentication": "one-way" });
                stage.patch(keys).await.expect("changed");
            }
            (_, wanted) => {
                // Something new, so that it is the file that holds.
                let keys = format!(
                    "{LISTENER}idle_timeout = \"{}s\"\nauthentication = {wanted:?}\nclient_ca = \"partners\"\n",
                    60 + round
                );
                stage.config = plain.replace(LISTENER, &keys);
                stage.home.configure(&stage.config);
                if wanted == "mutual" {
                    assert_eq!(reloaded(&stage.gateway).await, None);
                } else {
                    let path = stage.file().display().to_string();
                    let apply = ["apply", "--config", &path, "--allow-downgrade"];
                    stage.done(&apply).await;
                }
            }
        }
        stage.killed_and_started().await;
        assert_eq!(stage.seen().await, wanted, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_clients_that_change_one_listener_one_is_told_that_it_read_something_old_and_nothing_is_lost()
{
    const ROUNDS: usize = 100;
    let stage = Stage::new("").await;
    let socket: Arc<Path> = stage.gateway.socket().into();
    let start = Arc::new(Barrier::new(2));
    let mut won = [0, 0];
    for round in 1..=ROUNDS {
        let (tag, _) = read(&socket).await;
        let change = |who: &'static str| {
            let (socket, start, tag) = (socket.clone(), start.clone(), tag.clone());
            tokio::spawn(async move {
                start.wait().await;
                patch(&socket, &tag, who, round).await
            })
        };
        let (one, other) = (change("one"), change("other"));
        let answers = [one.await.expect("answered"), other.await.expect("answered")];
        let winner = usize::from(answers[0].0 != 200);
        let (gains, refused) = (&answers[winner], &answers[1 - winner]);
        assert_eq!((gains.0, refused.0), (200, 412), "round {round}: {answers:?}");
        assert!(refused.1.contains("application/problem+json"), "{refused:?}");
        assert_eq!(refused.2["status"], 412);
        let (tag, now) = read(&socket).await;
        assert_eq!(now, gains.2, "round {round}");
        won[winner] += 1;

        // Who was refused reads it again, and changes what is there now.
        let again = patch(&socket, &tag, ["one", "other"][1 - winner], round).await;
        assert_eq!(again.0, 200, "{again:?}");
        let (_, now) = read(&socket).await;
        let (one, other) = (&now["tags"]["one"], &now["tags"]["other"]);
        assert_eq!(
            (one, other),
            (&json!(round.to_string()), &json!(round.to_string()))
        );
    }
    eprintln!("rounds won: {won:?}");
    assert_eq!(stage.seen().await, "one-way");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_changes_without_a_condition_made_at_the_same_time_none_is_lost() {
    const CHANGES: usize = 32;
    let stage = Stage::new("").await;
    let socket: Arc<Path> = stage.gateway.socket().into();
    let start = Arc::new(Barrier::new(CHANGES));
    let change = |number: usize| {
        let (socket, start) = (socket.clone(), start.clone());
        tokio::spawn(async move {
            start.wait().await;
            patch(&socket, "*", &format!("client-{number}"), number).await.0
        })
    };
    let changes: Vec<_> = (0..CHANGES).map(change).collect();
    for change in changes {
        assert_eq!(change.await.expect("answered"), 200);
    }
    let (_, now) = read(&socket).await;
    assert_eq!(
        now["tags"].as_object().map(serde_json::Map::len),
        Some(CHANGES),
        "{now}"
    );
}

/// The listener's entity tag and keys.
async fn read(socket: &Path) -> (String, Value) {
    let (status, head, keys) = request(socket, "GET /v1/listeners/web", &[], b"").await;
    assert_eq!(status, 200);
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: "));
    (tag.expect("an entity tag").to_owned(), keys)
}

/// Writes into the listener's tag `who` which round it is, if the listener is as it was read.
async fn patch(socket: &Path, tag: &str, who: &str, round: usize) -> (u16, String, Value) {
    let headers = [
        ("if-match", tag),
        ("content-type", "application/merge-patch+json"),
    ];
    let body = json!({ "tags": { who: round.to_string() } }).to_string();
    request(socket, "PATCH /v1/listeners/web", &headers, body.as_bytes()).await
}
