//! The issuer room against CAs: an in-process one that can be made to misbehave, and Pebble.

#[path = "../support/mod.rs"]
mod support;

mod account;
mod account_limits;
mod answers;
mod challenges;
mod clients;
mod files;
mod fixture;
mod identities;
mod journal;
mod limits;
mod local_ca;
mod options;
mod pebble;
mod rounds;
mod upkeep;
mod world;
