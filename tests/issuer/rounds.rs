//! Answers that cannot all be given at once.

use std::sync::atomic::Ordering;

use certgate::certificate::DesiredCertificate;
use certgate::issuer::IssueError;

use crate::fixture::{Gateway, HASTY, desired, eventually};
use crate::support::acme_double::Endpoint;

fn five() -> DesiredCertificate {
    let names = ["a", "b", "c", "d", "e"].map(|name| format!("{name}.example.com"));
    desired("five", &names.each_ref().map(String::as_str))
}

async fn two_at_a_time() -> Gateway {
    let gateway = Gateway::start().await;
    gateway.solver.at_a_time.store(2, Ordering::SeqCst);
    gateway
}

fn has_a_turn(gateway: &Gateway) -> bool {
    gateway.solver.turn.try_lock().is_err()
}

#[tokio::test]
async fn an_order_answers_in_rounds_what_it_cannot_answer_at_once() {
    let gateway = two_at_a_time().await;
    gateway.issue(&five()).await.unwrap();
    assert_eq!(gateway.solver.presented().len(), 5);
    assert_eq!(gateway.solver.most.load(Ordering::SeqCst), 2);
    assert_eq!((gateway.solver.left(), has_a_turn(&gateway)), (0, false));
    assert_eq!(gateway.ca.orders().len(), 1);
}

#[tokio::test]
async fn a_failure_in_the_first_round_ends_the_order_and_the_turn() {
    let gateway = two_at_a_time().await;
    gateway
        .ca
        .change(|ca| ca.failing.extend(["a.example.com".to_owned()]));
    let error = gateway.issue(&five()).await.unwrap_err();
    assert!(
        matches!(&error, IssueError::OrderInvalid { .. }) && error.to_string().contains("a.example.com"),
        "{error}"
    );
    assert_eq!(gateway.solver.presented().len(), 2);
    assert_eq!((gateway.solver.left(), has_a_turn(&gateway)), (0, false));
}

#[tokio::test]
async fn an_order_that_waits_for_its_turn_says_so_and_waits_no_longer_than_an_attempt() {
    let mut gateway = two_at_a_time().await;
    gateway.limits = HASTY;
    let held = gateway.solver.turn.clone().lock_owned().await;
    let error = gateway.issue(&five()).await.unwrap_err();
    let said = error.to_string();
    let waits = "while waiting for other certificates whose records go to the same place (5 names are to be validated)";
    assert!(said.contains(waits), "{said}");
    assert!(gateway.solver.presented().is_empty());
    drop(held);
    gateway.issue(&five()).await.unwrap();
    assert_eq!(gateway.ca.orders().len(), 1, "the order was taken up again");
}

#[tokio::test]
async fn a_turn_ends_when_an_attempt_is_cut_off_and_its_answers_are_gone() {
    let gateway = two_at_a_time().await;
    gateway.ca.change(|ca| ca.validating = true);
    let asked = gateway.ca.asked(Endpoint::Challenge, 2);
    gateway.crash_at(&five(), asked).await;
    eventually("nothing is left", || {
        gateway.solver.left() == 0 && !has_a_turn(&gateway)
    })
    .await;
}
