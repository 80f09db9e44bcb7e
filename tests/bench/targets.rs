//! What certgate is to reach, and whether it does.

use std::fmt::Write;

use crate::measure::Measure::{self, *};
use crate::report::number;
use crate::results::Results;

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
}

use Bound::{Least, Most, TimesOwn, TimesPeers};

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
        bounds: &[(TwoWorkers, Least(1.9))],
    },
    Target {
        what: "fairness: 8 bulk transfers on one worker",
        bounds: &[(Fairness, Least(0.8))],
    },
    Target {
        what: "5,000 bulk connections under back-pressure",
        bounds: &[(BackPressure, Most(64.0)), (BackPressureTail, Most(50.0))],
    },
];

/// The table of targets as Markdown, for what `name` has measured; lines of which nothing was are left out.
/// Nothing when that is all of them.
pub(crate) fn markdown(name: &str, results: &Results) -> Option<String> {
    let mut lines = String::new();
    for target in &TARGETS {
        let checked: Vec<_> = target
            .bounds
            .iter()
            .filter_map(|(measure, bound)| bound.check(*measure, name, results))
            .collect();
        if checked.is_empty() {
            continue;
        }
        let met = checked.iter().all(|checked| checked.met);
        let join = |text: fn(&Checked) -> &str| checked.iter().map(text).collect::<Vec<_>>().join("; ");
        writeln!(
            lines,
            "| {} | {} | {} | {} |",
            target.what,
            join(|checked| &checked.target),
            join(|checked| &checked.measured),
            if met { "met" } else { "missed" }
        )
        .expect("a String takes everything");
    }
    let head = format!("| {name} | target | measured | |\n| --- | --- | --- | --- |\n");
    (!lines.is_empty()).then(|| head + &lines)
}

struct Checked {
    target: String,
    measured: String,
    met: bool,
}

impl Bound {
    /// Nothing when one of the two was not measured.
    fn check(&self, measure: Measure, name: &str, results: &Results) -> Option<Checked> {
        let median = |peer: &str, measure| results.cell(peer, measure)?.median();
        let own = median(name, measure)?;
        let (what, unit) = measure.title().rsplit_once(", ").unwrap_or((measure.title(), ""));
        let measured = format!("{} {unit}", number(own)).trim_end().to_owned();
        let what = what.rsplit_once(": ").map_or("", |(_, what)| what);
        let checked = match self {
            Most(limit) => Checked {
                target: format!("{what} ≤ {limit} {unit}"),
                measured,
                met: own <= *limit,
            },
            Least(limit) => Checked {
                target: format!("≥ {limit}"),
                measured,
                met: own >= *limit,
            },
            TimesOwn(limit, other) => {
                let ratio = own / median(name, *other)?;
                Checked {
                    target: format!("≤ {limit} × {}", other.title()),
                    measured: format!("{measured} = {ratio:.2} ×"),
                    met: ratio <= *limit,
                }
            }
            TimesPeers(limit, peers) => {
                let others: Option<Vec<_>> = peers.iter().map(|peer| median(peer, measure)).collect();
                let ratios: Vec<_> = others?.into_iter().map(|other| own / other).collect();
                let texts: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
                Checked {
                    target: format!("{} ≤ {limit} × {}", unit_name(measure), peers.join(", ")),
                    measured: format!("{measured} = {} ×", texts.join(", ")),
                    met: ratios.iter().all(|ratio| ratio <= limit),
                }
            }
        };
        Some(Checked {
            target: checked.target.trim_start().to_owned(),
            ..checked
        })
    }
}

/// What tells the bounds of one line apart.
fn unit_name(measure: Measure) -> &'static str {
    match measure {
        PingPong => "CPU",
        PingPongTail => "p99",
        _ => "",
    }
}
