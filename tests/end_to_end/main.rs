//! The program as its users run it: the real binary, real sockets, real servers around it.

mod admin_api;
mod admin_tcp;
mod bad_pem;
mod ca_faults;
mod commands;
mod crash;
mod dns;
mod examples;
mod files;
mod foreign_clients;
mod gateway;
mod help;
mod issuance;
mod logging;
mod mutual;
mod pair;
mod peer;
mod reload;
mod requests;
mod scale;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
mod unread_log;
