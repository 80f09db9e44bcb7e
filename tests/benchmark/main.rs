//! What the benchmark computes, on numbers that are known: `tests/bench` has no test harness of its own.

#![allow(dead_code, reason = "what only the benchmark itself uses")]

#[path = "../bench/cpu.rs"]
mod cpu;

mod meter;
