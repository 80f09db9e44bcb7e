//! The dns01 room against BIND, Knot and commands: placed, seen everywhere, taken away.

mod acme_dns;
mod commands;
mod leftovers;
mod refusals;
mod rehearsals;
#[path = "../support/mod.rs"]
mod support;
mod waiting;
mod world;
mod zones;
