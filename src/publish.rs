//! The bridge from the half that obtains certificates to the half that serves them.
//!
//! [`Publisher`] follows the store: what changed there is read, checked, and swapped into the table that listeners
//! serve from, so that the next handshake gets it. What cannot be read or does not fit keeps its predecessor and is
//! reported in [`Problems`]. Serving needs neither the store nor a CA: both may be gone for as long as certificates
//! are valid. [`PublishedChallenges`] brings the answers to a CA's challenges to the same listeners.

mod cache;
mod candidate;
mod challenges;
mod change;
mod lookup;
mod problem;
mod publisher;
mod sweep;

pub use candidate::Unfit;
pub use challenges::PublishedChallenges;
pub use problem::{Problem, Problems};
pub use publisher::Publisher;

#[cfg(test)]
mod tests;
