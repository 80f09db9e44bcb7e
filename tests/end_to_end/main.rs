//! The program as its users run it: the real binary, real sockets, real servers around it.

mod admin_api;
mod admin_tcp;
mod bad_pem;
mod ca_faults;
mod commands;
mod crash;
mod dns;
mod examples;
mod explain;
mod files;
mod foreign_clients;
mod gateway;
mod help;
mod instructions;
mod issuance;
mod logging;
mod mutual;
mod mutual_sessions;
mod pair;
mod peer;
mod policies;
mod policy_commands;
mod policy_preview;
mod recheck;
mod reload;
mod requests;
mod runtime;
mod runtime_bad_input;
mod runtime_files;
mod scale;
mod soak;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
mod toggling;
mod unread_log;
