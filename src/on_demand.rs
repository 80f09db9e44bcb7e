//! Certificates that are obtained because a handshake asks for the name: which names may be, what was denied, and who
//! waits.
//!
//! Anybody on the internet can send a ClientHello with any name, as often as they like. So whatever a name that is not
//! known can cause has a bound: names looked into and handshakes that wait at a time, names looked into in a minute, names
//! ordered in an hour, and the memory of what was denied. A [`Desk`] is what a listener has of it. Nothing is asked or
//! ordered here: a [`Demand`] goes to whoever serves the [`Demands`] of the process.

mod denial;
mod denials;
mod desk;
mod latest;
mod quota;
mod rules;

pub use denial::Denial;
pub use desk::{Demand, Demands, Desk, Standing};
pub use latest::Refused;
pub use rules::{admitted, is_allowed};
