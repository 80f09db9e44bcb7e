//! The program as its users run it: the real binary, real sockets, real servers around it.

mod ca_faults;
mod commands;
mod crash;
mod dns;
mod foreign_clients;
mod gateway;
mod issuance;
mod log;
mod mutual;
mod peer;
mod reload;
mod scale;
#[path = "../support/mod.rs"]
mod support;
