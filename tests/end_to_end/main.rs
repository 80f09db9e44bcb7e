//! The program as its users run it: the real binary, real sockets, real servers around it.

mod bad_pem;
mod commands;
mod crash;
mod dns;
mod examples;
mod files;
mod gateway;
mod help;
mod issuance;
mod logging;
mod pair;
mod peer;
mod reload;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
