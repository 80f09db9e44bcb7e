//! The issuer room against CAs: an in-process one that can be made to misbehave, and Pebble.

#[path = "../support/acme_double.rs"]
mod acme_double;

mod account;
mod answers;
mod challenges;
mod fixture;
mod journal;
