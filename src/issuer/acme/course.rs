//! How far an attempt has come.

use std::sync::Mutex;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::issuer::acme::lock;
use crate::issuer::ledger::Bucket;
use crate::issuer::{IssueError, IssueRequest, Step};

/// How far an attempt has come; outlives the attempt when time runs out.
pub(super) struct Course<'a> {
    request: &'a IssueRequest<'a>,
    reached: Mutex<Reached>,
}

#[derive(Default)]
struct Reached {
    order: Option<String>,
    step: Option<Step>,
    spent: Vec<Bucket>,
}

impl<'a> Course<'a> {
    pub(super) fn new(request: &'a IssueRequest<'a>) -> Self {
        Self {
            request,
            reached: Mutex::default(),
        }
    }

    pub(super) fn step(&self, step: Step) {
        lock(&self.reached).step = Some(step.clone());
        self.request.progress.step(&self.request.desired.name, step);
    }

    pub(super) fn at(&self, order: &str) {
        lock(&self.reached).order = Some(order.to_owned());
    }

    /// Whether there is an order at the CA.
    pub(super) fn has_order(&self) -> bool {
        lock(&self.reached).order.is_some()
    }

    /// Takes note of what the order costs of the CA's rate limits.
    pub(super) fn spent(&self, buckets: &[Bucket]) {
        lock(&self.reached).spent = buckets.to_vec();
    }

    /// Whether that is paid.
    pub(super) fn has_spent(&self) -> bool {
        !lock(&self.reached).spent.is_empty()
    }

    /// What was paid in this attempt, to be given back.
    pub(super) fn take_spent(&self) -> Vec<Bucket> {
        std::mem::take(&mut lock(&self.reached).spent)
    }

    pub(super) fn unfinished(&self, after: Duration, retry_after: Option<Timestamp>) -> IssueError {
        let reached = lock(&self.reached);
        IssueError::Unfinished {
            order: reached.order.clone().unwrap_or_else(|| "being placed".to_owned()),
            step: reached
                .step
                .as_ref()
                .map_or("asking the CA".to_owned(), ToString::to_string),
            after,
            retry_after,
        }
    }
}
