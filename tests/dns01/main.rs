//! The dns01 room against BIND, Knot and commands: placed, seen everywhere, taken away.

mod commands;
mod leftovers;
mod refusals;
#[path = "../support/mod.rs"]
mod support;
mod waiting;
mod world;
mod zones;
