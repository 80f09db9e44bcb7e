//! What certgate is to reach, and whether it does.

use std::fmt::Write;

use crate::measure::Measure::{self, *};
use crate::results::Results;
use crate::table::number;

/// One line of the table of targets.
struct Target {
    what: &'static str,
    bounds: &'static [(Measure, Bound)],
}

/// What a median of certgate's is compared with.
enum Bound {
    /// At most so much.
    Most(f64),
    /// At least so much.
    Least(f64),
    /// At most so many times another median of its own.
    TimesOwn(f64, Measure),
    /// At most so many times what these peers have.
    TimesPeers(f64, &'static [&'static str]),
    /// With nothing: it explains the others.
    Nothing,
}

use Bound::{Least, Most, Nothing, TimesOwn, TimesPeers};

/// The whole process: the cache of loaded certificates, which is bounded by 256 MiB unless another size is configured,
/// and as much again for what no setting bounds: the index of a million names at under 100 bytes each, the store's own
/// index and cache, and what the allocator keeps.
const MILLION_MIB: f64 = 512.0;

const TARGETS: [Target; 16] = [
    Target {
        what: "full handshake, ECDSA",
        bounds: &[
            (FullEcdsa, TimesPeers(0.84, &["sozu"])),
            (FullEcdsa, TimesPeers(0.46, &["nginx"])),
        ],
    },
    Target {
        what: "full handshake, X25519MLKEM768",
        bounds: &[
            (FullPq, TimesPeers(0.84, &["sozu"])),
            (FullPq, TimesOwn(1.08, FullEcdsa)),
        ],
    },
    Target {
        what: "full handshake, RSA-2048",
        bounds: &[
            (FullRsa, TimesPeers(0.92, &["sozu"])),
            (FullRsa, TimesPeers(0.66, &["nginx"])),
        ],
    },
    Target {
        what: "resumed handshake (tickets)",
        bounds: &[
            (Resumed, TimesPeers(0.80, &["sozu"])),
            (Resumed, TimesPeers(0.47, &["nginx"])),
        ],
    },
    Target {
        what: "download, per byte",
        bounds: &[
            (Download, TimesPeers(0.82, &["sozu"])),
            (Download, TimesPeers(0.45, &["nginx"])),
        ],
    },
    Target {
        what: "upload, per byte",
        bounds: &[
            (Upload, TimesPeers(0.80, &["sozu"])),
            (Upload, TimesPeers(0.55, &["nginx"])),
        ],
    },
    Target {
        what: "small requests on open connections",
        bounds: &[
            (PingPong, TimesPeers(0.85, &["nginx", "haproxy"])),
            (PingPongTail, TimesPeers(1.0, &["nginx", "haproxy"])),
        ],
    },
    Target {
        what: "idle connection after traffic",
        bounds: &[(Idle, Most(3.0))],
    },
    Target {
        what: "10,000 certificates",
        bounds: &[
            (TenThousandFirst, Most(100.0)),
            (TenThousandRandom, TimesOwn(1.05, TenThousandOne)),
        ],
    },
    Target {
        what: "1,000,000 certificates",
        bounds: &[
            (MillionFirst, Most(1000.0)),
            (MillionMemory, Most(MILLION_MIB)),
            (MillionCold, Most(2.0)),
            (MillionWarm, TimesOwn(1.1, MillionOne)),
        ],
    },
    Target {
        what: "one certificate changed among 1,000,000",
        bounds: &[(MillionChange, Most(50.0)), (MillionChangeCpu, Most(5.0))],
    },
    Target {
        what: "one certificate changed among 10,000",
        bounds: &[(ChangeServed, Most(50.0)), (ChangeCpu, Most(5.0))],
    },
    Target {
        what: "reload with 10,000 certificates and 100 listeners, one field changed",
        bounds: &[(ReloadCpu, Most(100.0))],
    },
    Target {
        what: "two workers on two cores, or the generator is the limit",
        bounds: &[
            (TwoWorkers, Least(1.9)),
            (TwoWorkersCost, Nothing),
            (TwoWorkersGenerator, Nothing),
        ],
    },
    Target {
        what: "fairness: 8 bulk transfers on one worker",
        bounds: &[(Fairness, Least(0.8))],
    },
    Target {
        what: "5,000 bulk connections under back-pressure",
        bounds: &[
            (BackPressure, Most(64.0)),
            (UnreadUpload, Most(64.0)),
            (BackPressureTail, Most(50.0)),
        ],
    },
];

/// What a table of targets has: those of which something was measured, or all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lines {
    Measured,
    All,
}

/// The table of targets as Markdown, with what `name` has measured. Nothing when it would have no lines.
pub(crate) fn markdown(name: &str, results: &Results, wanted: Lines) -> Option<String> {
    let mut lines = String::new();
    for target in &TARGETS {
        let checked = target
            .bounds
            .iter()
            .map(|(measure, bound)| bound.check(*measure, name, results));
        let checked: Vec<_> = checked.collect();
        let is_decided = |checked: &Checked| matches!(checked.verdict, Verdict::Met | Verdict::Missed);
        if wanted == Lines::Measured && !checked.iter().any(is_decided) {
            continue;
        }
        let join = |text: fn(&Checked) -> &str| {
            let texts = checked.iter().map(text).filter(|text| !text.is_empty());
            texts.collect::<Vec<_>>().join("; ")
        };
        writeln!(
            lines,
            "| {} | {} | {} | {} |",
            target.what,
            join(|checked| &checked.target),
            join(|checked| &checked.measured),
            verdict(&checked),
        )
        .expect("a String takes everything");
    }
    let head = format!("| {name} | target | measured | |\n| --- | --- | --- | --- |\n");
    (!lines.is_empty()).then(|| head + &lines)
}

/// Of a whole line.
fn verdict(checked: &[Checked]) -> &'static str {
    let any = |verdict| checked.iter().any(|checked| checked.verdict == verdict);
    match (any(Verdict::Missed), any(Verdict::Met), any(Verdict::NotMeasured)) {
        (true, _, _) => "missed",
        (false, true, false) => "met",
        (false, true, true) => "met as far as measured",
        (false, false, _) => "not measured",
    }
}

struct Checked {
    target: String,
    measured: String,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Met,
    Missed,
    /// Or not in one run with what it is compared with.
    NotMeasured,
    /// There is no bound.
    Told,
}

impl Bound {
    fn check(&self, measure: Measure, name: &str, results: &Results) -> Checked {
        let (title, unit) = measure.title().rsplit_once(", ").unwrap_or((measure.title(), ""));
        let target = match self {
            Most(limit) => format!("{} ≤ {limit} {unit}", what(measure, title)),
            Least(limit) => format!("≥ {limit}"),
            TimesOwn(limit, other) => format!("{} ≤ {limit} × {}", what(measure, title), own_name(*other)),
            TimesPeers(limit, peers) => format!("{} ≤ {limit} × {}", what(measure, title), peers.join(", ")),
            Nothing => String::new(),
        };
        let own = results.cell(name, measure).and_then(|cell| cell.samples.median());
        let ratios: Option<Vec<f64>> = match self {
            TimesOwn(_, other) => results
                .ratio((name, measure), (name, *other))
                .map(|ratio| vec![ratio]),
            TimesPeers(_, peers) => {
                let ratio = |peer: &&str| results.ratio((name, measure), (peer, measure));
                peers.iter().map(ratio).collect()
            }
            Most(_) | Least(_) | Nothing => Some(Vec::new()),
        };
        let is_met = |own: f64, ratios: &[f64]| match self {
            Most(limit) => own <= *limit,
            Least(limit) => own >= *limit,
            TimesOwn(limit, _) | TimesPeers(limit, _) => ratios.iter().all(|ratio| ratio <= limit),
            Nothing => true,
        };
        let mut measured = match own {
            Some(own) => format!("{} {unit}", number(own)).trim_end().to_owned(),
            None => "–".to_owned(),
        };
        if let (Some(_), Some([first, others @ ..])) = (own, ratios.as_deref()) {
            measured += &format!(" = {first:.2}");
            measured.extend(others.iter().map(|ratio| format!(", {ratio:.2}")));
            measured += " ×";
        }
        let verdict = match (self, own, &ratios) {
            (Nothing, ..) => Verdict::Told,
            (_, Some(own), Some(ratios)) if is_met(own, ratios) => Verdict::Met,
            (_, Some(_), Some(_)) => Verdict::Missed,
            _ => Verdict::NotMeasured,
        };
        if let Nothing = self {
            let what = Some(what(measure, title)).filter(|what| !what.is_empty());
            measured = format!("{}: {measured}", what.unwrap_or(title).trim());
        }
        Checked {
            target: target.trim().to_owned(),
            measured,
            verdict,
        }
    }
}

/// What tells the bounds of one line apart.
fn what(measure: Measure, title: &'static str) -> &'static str {
    match measure {
        PingPong => "CPU",
        PingPongTail => "p99",
        BackPressure => "memory",
        UnreadUpload => "memory of an upload",
        BackPressureTail => "handshake p99",
        _ => title.rsplit_once(": ").map_or("", |(_, what)| what),
    }
}

/// What a median of its own is called where it is compared with.
fn own_name(measure: Measure) -> &'static str {
    match measure {
        FullEcdsa => "its own X25519",
        TenThousandOne | MillionOne => "one certificate",
        _ => measure.title(),
    }
}
