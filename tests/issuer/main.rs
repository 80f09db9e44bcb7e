//! The issuer room against CAs: an in-process one that can be made to misbehave, and Pebble.

#[path = "../support/acme_double.rs"]
mod acme_double;
#[path = "../support/pebble.rs"]
mod pebble_server;

mod account;
mod answers;
mod challenges;
mod files;
mod fixture;
mod journal;
mod local_ca;
mod pebble;
