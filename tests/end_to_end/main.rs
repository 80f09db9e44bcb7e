//! The program as its users run it: the real binary, real sockets, real servers around it.

mod crash;
mod gateway;
mod issuance;
mod peer;
#[path = "../support/mod.rs"]
mod support;
