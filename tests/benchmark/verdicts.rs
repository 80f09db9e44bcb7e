//! The table of targets: met, missed, not measured.

use crate::known::{add, once, run};
use crate::measure::Measure::{self, *};
use crate::results::Results;
use crate::scenario::Scenario;
use crate::targets::{Lines, markdown};

type Found<'a> = (Scenario, &'a str, Measure, f64);

#[test]
fn a_most_is_met_up_to_the_limit() {
    let idle = |value| line("idle connection", &once(&[certgate(Scenario::Idle, Idle, value)]));
    assert_eq!(
        idle(3.0),
        "| idle connection after traffic | ≤ 3 KiB | 3.00 KiB | met |"
    );
    assert_eq!(
        idle(3.1),
        "| idle connection after traffic | ≤ 3 KiB | 3.10 KiB | missed |"
    );
    let nothing = line("idle connection", &Results::default());
    assert_eq!(
        nothing,
        "| idle connection after traffic | ≤ 3 KiB | – | not measured |"
    );
}

#[test]
fn a_least_is_met_from_the_limit_on() {
    let fairness = |value| {
        line(
            "fairness",
            &once(&[certgate(Scenario::Fairness, Fairness, value)]),
        )
    };
    assert!(
        fairness(0.8).ends_with("| ≥ 0.8 | 0.800 | met |"),
        "{}",
        fairness(0.8)
    );
    assert!(fairness(0.79).ends_with("| ≥ 0.8 | 0.790 | missed |"));
    assert!(line("fairness", &Results::default()).ends_with("| – | not measured |"));
}

#[test]
fn times_its_own_needs_the_other_measure_of_the_same_run() {
    let one = certgate(Scenario::Certs10k, TenThousandOne, 100.0);
    let first = certgate(Scenario::Certs10k, TenThousandFirst, 90.0);
    let random = |value| certgate(Scenario::Certs10k, TenThousandRandom, value);
    let of = |found: &[Found<'_>]| line("10,000 certificates |", &once(found));
    let met = of(&[first, one, random(105.0)]);
    assert!(
        met.contains("random names ≤ 1.05 × one certificate | 90.0 ms; 105 µs = 1.05 × | met"),
        "{met}"
    );
    assert!(of(&[first, one, random(106.0)]).ends_with("106 µs = 1.06 × | missed |"));
    assert!(of(&[first, random(105.0)]).ends_with("105 µs | met as far as measured |"));
    let mut apart = once(&[certgate(Scenario::FullPq, FullPq, 160.0)]);
    add(
        &mut apart,
        &run(9),
        (Scenario::FullEcdsa, "certgate"),
        &[(FullEcdsa, &[155.0])],
    );
    assert!(line("X25519MLKEM768", &apart).ends_with("| not measured |"));
}

#[test]
fn times_peers_needs_each_of_them() {
    let of = |found: &[Found<'_>]| line("small requests", &once(found));
    let (own, tail) = (
        ping_pong("certgate", PingPong, 8.5),
        ping_pong("certgate", PingPongTail, 700.0),
    );
    let nginx = [
        ping_pong("nginx", PingPong, 10.0),
        ping_pong("nginx", PingPongTail, 710.0),
    ];
    let haproxy = |cpu| {
        [
            ping_pong("haproxy", PingPong, cpu),
            ping_pong("haproxy", PingPongTail, 700.0),
        ]
    };
    let all = |cpu| of(&[&[own, tail][..], &nginx, &haproxy(cpu)].concat());
    assert!(
        all(10.0).contains(
            "| CPU ≤ 0.85 × nginx, haproxy; p99 ≤ 1 × nginx, haproxy | 8.50 µs = 0.85, 0.85 ×; 700 µs = 0.99, 1.00 × | met |"
        ),
        "{}",
        all(10.0)
    );
    assert!(all(9.9).ends_with("| missed |"));
    let without = of(&[&[own, tail][..], &nginx].concat());
    assert!(
        without.ends_with("| 8.50 µs; 700 µs | not measured |"),
        "{without}"
    );
}

#[test]
fn what_has_no_bound_explains_and_decides_nothing() {
    let of = |rate| {
        let two = |measure, value| certgate(Scenario::TwoWorkers, measure, value);
        let found = [
            two(TwoWorkers, rate),
            two(TwoWorkersCost, 1.09),
            two(TwoWorkersGenerator, 74.0),
        ];
        line("two workers", &once(&found))
    };
    assert!(
        of(1.9).ends_with("| ≥ 1.9 | 1.90; CPU each / one: 1.09; generator: 74.0 % of its core | met |"),
        "{}",
        of(1.9)
    );
    assert!(of(0.9).ends_with("| missed |"));
    let alone = once(&[certgate(Scenario::TwoWorkers, TwoWorkersGenerator, 74.0)]);
    assert!(line("two workers", &alone).ends_with("| not measured |"));
}

#[test]
fn one_bound_missed_is_a_target_missed() {
    let missed = once(&[
        certgate(Scenario::Certs1m, MillionFirst, 300.0),
        certgate(Scenario::Certs1m, MillionMemory, 513.0),
        certgate(Scenario::Certs1m, MillionCold, 0.6),
    ]);
    let line = line("1,000,000 certificates |", &missed);
    assert!(
        line.contains("memory ≤ 512 MiB") && line.ends_with("| missed |"),
        "{line}"
    );
}

#[test]
fn every_target_stands_in_the_whole_table_and_only_measured_ones_in_the_short() {
    let results = once(&[certgate(Scenario::Idle, Idle, 2.9)]);
    let lines = |wanted| markdown("certgate", &results, wanted).unwrap().lines().count();
    assert_eq!(lines(Lines::Measured), 3);
    assert_eq!(lines(Lines::All), 2 + 16);
    assert_eq!(markdown("certgate", &Results::default(), Lines::Measured), None);
}

fn certgate(scenario: Scenario, measure: Measure, value: f64) -> Found<'static> {
    (scenario, "certgate", measure, value)
}

fn ping_pong(name: &str, measure: Measure, value: f64) -> Found<'_> {
    (Scenario::PingPong, name, measure, value)
}

/// The line of the whole table in which `what` stands.
fn line(what: &str, results: &Results) -> String {
    let table = markdown("certgate", results, Lines::All).unwrap();
    let mut lines = table.lines().filter(|line| line.contains(what));
    let line = lines.next().unwrap_or_else(|| panic!("no {what}:\n{table}"));
    line.to_owned()
}
