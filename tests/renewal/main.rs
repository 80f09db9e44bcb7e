//! The renewal loop against a store, a clock that is set by hand and a CA that does as it is told.

#[path = "../support/mod.rs"]
mod support;

mod failing;
mod failure_table;
mod obtaining;
mod passed_over;
mod scene;
mod sharing;
mod suggested;
mod turns;
mod world;
