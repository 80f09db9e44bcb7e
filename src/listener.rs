//! Listeners: sockets, accepting, and the life of one connection from its ClientHello to its closing line.
//!
//! A listener has one socket on every worker (`SO_REUSEPORT`), and a connection stays on the worker that accepted
//! it. Workers are threads with a runtime of their own; nothing of the control plane runs on them.
//!
//! Two phases: [`Workers::bind`] takes the address, and is the only step that can fail; [`Workers::serve`] begins
//! to accept. A running listener is changed by [`RunningListener::replace`]: connections that are open keep the
//! settings they began with.

mod accept;
mod admitted;
mod bind;
mod client_hello;
mod connection;
mod copy;
mod handshake;
mod linger;
mod rehearsal;
mod report;
mod running;
mod scratch;
mod socket;
mod tallies;
mod workers;

pub use self::admitted::Admission;
pub use self::bind::{BoundListener, ListenerError};
pub use self::rehearsal::{Agreed, Rehearsal, rehearse};
pub use self::running::{ListenerSettings, RunningListener, Service};
pub use self::workers::Workers;
