//! Server groups: which server the next connection goes to, which ones rest after failures, and connecting.

mod address;
mod balance;
mod group;

pub use self::group::{
    AttemptError, BackendError, Connected, FailedAttempt, Server, ServerGroup, ServerStatus,
};

/// Bytes that the kernel holds of a stream that certgate sends before it takes no more (`TCP_NOTSENT_LOWAT`), beyond what
/// is under way to the peer, which is as much as the way there takes. Towards clients it is the same.
///
/// The kernel says that there is room again when less than half is left. Then there is room for all that a connection
/// sends in its slice of a worker's time, 128 KiB; and as much goes on being sent while it waits for that: at 1 Gbit/s,
/// for a millisecond.
pub const MOST_UNSENT: u32 = 256 * 1024;
