//! Server groups: which server the next connection goes to, which ones rest after failures, and connecting.

mod address;
mod balance;
mod group;

pub use self::group::{AttemptError, BackendError, Connected, FailedAttempt, Server, ServerGroup};
