//! What the benchmark computes, on numbers that are known: `tests/bench` has no test harness of its own.

#![allow(dead_code, reason = "what only the benchmark itself uses")]

#[path = "../bench/cpu.rs"]
mod cpu;
#[path = "../bench/kind.rs"]
mod kind;
#[path = "../bench/machine.rs"]
mod machine;
#[path = "../bench/measure.rs"]
mod measure;
#[path = "../bench/pace.rs"]
mod pace;
#[path = "../bench/record.rs"]
mod record;
#[path = "../bench/report.rs"]
mod report;
#[path = "../bench/results.rs"]
mod results;
#[path = "../bench/scenario.rs"]
mod scenario;
#[path = "../bench/statistics.rs"]
mod statistics;
#[path = "../bench/table.rs"]
mod table;
#[path = "../bench/targets.rs"]
mod targets;

mod figures;
mod keeping;
mod known;
mod meter;
mod printing;
mod verdicts;
