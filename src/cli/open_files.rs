//! How many files the process may have open: a connection takes two, one to the client and one to the server.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit to the highest that the system allows, as HAProxy does: most start a program with 1,024, which are
/// 500 connections.
pub(super) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let text = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let (from, to) = (text(limit.current), text(limit.maximum));
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => tracing::info!(%from, %to, "raised the limit of open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays at {from}, allowed are {to}"),
    }
}
