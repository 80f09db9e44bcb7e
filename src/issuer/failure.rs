//! What a CA's refusal means for the next attempt, and for the order that it was about: one table.

use instant_acme::Problem;

use crate::clock::Timestamp;

/// When to try again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FailureClass {
    /// The CA said when.
    At(Timestamp),
    /// By our own back-off.
    Later,
    /// Not before somebody has changed something here: the configuration, or the account at the CA.
    Stop,
}

impl FailureClass {
    /// The one of two failures that allows less: both have to be over.
    pub(super) fn stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Stop, _) | (_, Self::Stop) => Self::Stop,
            (Self::At(one), Self::At(other)) => Self::At(one.max(other)),
            (Self::At(at), Self::Later) | (Self::Later, Self::At(at)) => Self::At(at),
            (Self::Later, Self::Later) => Self::Later,
        }
    }
}

/// What becomes of an order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Order {
    /// It leads nowhere; the next attempt places another.
    Ends,
    /// It is taken up again: the refusal says nothing about it.
    Stays,
}

/// Every type of RFC 8555 §6.7 and RFC 9773 §7.4. *Stop* is only for what this gateway's operator must change; what is
/// put right in the DNS, at the network or at the CA is found right by trying again. A time that the CA gives, in
/// `Retry-After` or in its words, goes before the class; a paused account, which is a `rateLimited` without a time,
/// stops.
const TABLE: [(&str, FailureClass, Order); 27] = {
    use FailureClass::{Later, Stop};
    use Order::{Ends, Stays};
    [
        ("accountDoesNotExist", Later, Stays),
        ("alreadyReplaced", Later, Ends),
        ("alreadyRevoked", Later, Ends),
        ("badCSR", Stop, Ends),
        ("badNonce", Later, Stays),
        ("badPublicKey", Stop, Ends),
        ("badRevocationReason", Stop, Ends),
        ("badSignatureAlgorithm", Stop, Ends),
        ("caa", Later, Ends),
        ("compound", Later, Ends),
        ("connection", Later, Ends),
        ("dns", Later, Ends),
        ("externalAccountRequired", Stop, Ends),
        ("incorrectResponse", Later, Ends),
        ("invalidContact", Stop, Ends),
        ("invalidProfile", Stop, Ends),
        ("malformed", Later, Ends),
        ("orderNotReady", Later, Stays),
        ("rateLimited", Later, Stays),
        ("rejectedIdentifier", Stop, Ends),
        ("serverInternal", Later, Stays),
        ("tls", Later, Ends),
        ("unauthorized", Later, Ends),
        ("unsupportedContact", Stop, Ends),
        ("unsupportedIdentifier", Stop, Ends),
        ("userActionRequired", Stop, Stays),
        ("neverHeardOf", Later, Ends),
    ]
};

/// When to try again after `problem`.
pub(super) fn class(problem: &Problem) -> FailureClass {
    if let Some(at) = moment(problem) {
        return FailureClass::At(at);
    }
    let below = problem.subproblems.iter().filter_map(|sub| sub.r#type.as_deref());
    let stops = |kind: &str| matches!(row(kind).1, FailureClass::Stop);
    // Of several names one that the CA rejects for good is enough.
    match is_paused(problem) || stops(kind(problem)) || below.map(short).any(stops) {
        true => FailureClass::Stop,
        false => FailureClass::Later,
    }
}

/// Whether the order that met `problem` is worth taking up again.
pub(super) fn leaves_order(problem: &Problem) -> bool {
    row(kind(problem)).2 == Order::Stays
}

/// A problem as operators want to read it: each name concerned, the CA's own words, the type.
pub(super) fn describe(problem: &Problem) -> String {
    let mut text = problem
        .detail
        .clone()
        .unwrap_or_else(|| "no detail given".to_owned());
    if let Some(kind) = &problem.r#type {
        text.push_str(&format!(" ({})", short(kind)));
    }
    for sub in &problem.subproblems {
        let name = sub
            .identifier
            .as_ref()
            .map(|name| name.authorized(false).to_string());
        text.push_str(&format!(
            "; {}: {} ({})",
            name.as_deref().unwrap_or("?"),
            sub.detail.as_deref().unwrap_or("no detail given"),
            sub.r#type.as_deref().map_or("no type given", short),
        ));
    }
    text
}

/// The type of `problem` without its prefix.
pub(super) fn kind(problem: &Problem) -> &str {
    problem.r#type.as_deref().map_or("", short)
}

fn short(kind: &str) -> &str {
    kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind)
}

fn row(kind: &str) -> &'static (&'static str, FailureClass, Order) {
    const UNKNOWN: (&str, FailureClass, Order) = TABLE[TABLE.len() - 1];
    TABLE.iter().find(|row| row.0 == kind).unwrap_or(&UNKNOWN)
}

/// Let's Encrypt pauses what has failed for months. Only a human can end that, on a page that the CA names.
fn is_paused(problem: &Problem) -> bool {
    let detail = problem.detail.as_deref().unwrap_or_default();
    kind(problem) == "rateLimited" && (detail.contains("unpause") || detail.contains("temporarily prevented"))
}

/// Let's Encrypt ends the text of a rate limit with `retry after 2026-11-21 00:10:00 UTC`.
fn moment(problem: &Problem) -> Option<Timestamp> {
    if kind(problem) != "rateLimited" {
        return None;
    }
    let (_, rest) = problem.detail.as_deref()?.split_once("retry after ")?;
    let text = rest.get(.."2026-11-21 00:10:00".len())?;
    Timestamp::try_from(format!("{}Z", text.replace(' ', "T"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str, detail: &str) -> Problem {
        let kind = format!("urn:ietf:params:acme:error:{kind}");
        serde_json::from_value(serde_json::json!({ "type": kind, "detail": detail })).unwrap()
    }

    #[test]
    fn every_problem_type_has_one_row() {
        assert!(TABLE[..TABLE.len() - 1].is_sorted_by(|one, other| one.0 < other.0));
        for (kind, expected, order) in TABLE {
            let problem = problem(kind, "because");
            assert_eq!(class(&problem), expected, "{kind}");
            assert_eq!(leaves_order(&problem), order == Order::Stays, "{kind}");
        }
    }

    #[test]
    fn a_time_in_the_words_of_a_rate_limit_is_the_next_time() {
        let detail = "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, \
                      retry after 2026-11-21 00:10:00 UTC: see https://letsencrypt.org/docs/rate-limits/";
        let at = Timestamp::from_unix_seconds(1_795_219_800);
        assert_eq!(class(&problem("rateLimited", detail)), FailureClass::At(at));
        for detail in [
            "retry after lunch",
            "retry after ",
            "retry after 2026-11-21 00:10:0ü UTC",
            "slow",
        ] {
            assert_eq!(class(&problem("rateLimited", detail)), FailureClass::Later);
        }
    }

    #[test]
    fn a_paused_account_stops_and_shows_where_to_go() {
        let detail = "Your account is temporarily prevented from requesting certificates for a.example and possibly others. \
                      Please visit: https://portal.ca.example/sfe/v1/unpause?jwt=abc";
        let problem = problem("rateLimited", detail);
        assert_eq!(class(&problem), FailureClass::Stop);
        assert!(describe(&problem).contains("https://portal.ca.example/sfe/v1/unpause?jwt=abc"));
    }

    #[test]
    fn one_rejected_name_among_several_stops_the_order() {
        let mut problem = problem("compound", "because");
        problem.subproblems = serde_json::from_str(
            r#"[{"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"no","identifier":{"type":"dns","value":"a.example"}}]"#,
        )
        .unwrap();
        assert_eq!(
            describe(&problem),
            "because (compound); a.example: no (rejectedIdentifier)"
        );
        assert_eq!(class(&problem), FailureClass::Stop);
    }
}
