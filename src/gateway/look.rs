//! What a look at DNS means for an order: all names together, at one issuer after the other.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::dns::{DomainVerdict, Verdict};
use crate::issuer::ChallengeChoices;
use crate::name::NamePattern;

/// What was found of all names.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// The issuer that nothing speaks against, or else the first one.
    pub(super) issuer: String,
    /// What was found as that one needs it.
    pub(super) verdicts: Vec<DomainVerdict>,
    /// What speaks against an order; nothing where nothing does.
    pub(super) against: Option<Against>,
    /// The issuers before it, each with what DNS has against it.
    pub(super) passed_over: Vec<(String, String)>,
}

/// What speaks against an order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Against {
    /// Every reason, once.
    pub(super) reason: String,
    /// The records to change, each once, in zone-file form.
    pub(super) remedy: Vec<String>,
    /// When it will be otherwise by itself, where that is known.
    pub(super) until: Option<Timestamp>,
    /// Whether it will not be otherwise before somebody changes something.
    pub(super) is_definite: bool,
}

impl Look {
    /// What `verdicts` mean for an order at `issuer`.
    pub(super) fn new(issuer: String, verdicts: Vec<DomainVerdict>) -> Self {
        Self {
            against: Against::of(&verdicts),
            issuer,
            verdicts,
            passed_over: Vec::new(),
        }
    }

    /// What `verdicts` for another issuer are for a CA of our own.
    pub(super) fn at_local_ca(verdicts: &[DomainVerdict]) -> Vec<DomainVerdict> {
        verdicts.iter().cloned().map(DomainVerdict::at_local_ca).collect()
    }

    /// Of looks at one issuer after the other: the last one, if nothing speaks against an order there; otherwise the
    /// first, with what speaks against all of them.
    pub(super) fn of_all(mut looks: Vec<Self>) -> Self {
        match looks.pop() {
            None => Self::default(),
            Some(mut chosen) if chosen.against.is_none() => {
                for look in looks {
                    chosen.pass_over(look);
                }
                chosen
            }
            Some(last) => {
                looks.push(last);
                let against = Against::all(&looks);
                let first = looks.into_iter().next().unwrap_or_default();
                Self { against, ..first }
            }
        }
    }

    /// Whether the next issuer is looked at: DNS is against this one until somebody changes something, or lets an order wait
    /// and the time for that is over.
    pub(super) fn gives_way(&self, is_waiting_over: bool) -> bool {
        let against = self.against.as_ref();
        against.is_some_and(|against| against.is_definite || is_waiting_over)
    }

    /// The challenges that can work.
    pub(super) fn challenges(&self) -> ChallengeChoices {
        let choices = self
            .verdicts
            .iter()
            .filter(|verdict| !verdict.challenges.is_empty());
        let choices = choices.map(|verdict| (verdict.domain.clone(), verdict.challenges.clone()));
        choices.collect()
    }

    fn pass_over(&mut self, other: Self) {
        let Some(against) = other.against else { return };
        let reasons: BTreeMap<&NamePattern, &str> = other
            .verdicts
            .iter()
            .filter(|verdict| !verdict.verdict.allows_order())
            .map(|verdict| (&verdict.domain, verdict.reason_text.as_str()))
            .collect();
        for verdict in &mut self.verdicts {
            if let Some(reason) = reasons.get(&verdict.domain) {
                let note = format!("`{}` is passed over: {reason}", other.issuer);
                verdict.notes.push(note);
            }
        }
        self.passed_over.push((other.issuer, against.reason));
    }
}

impl Against {
    /// What `verdicts` say together.
    pub(super) fn of(verdicts: &[DomainVerdict]) -> Option<Self> {
        let against: Vec<&Verdict> = verdicts
            .iter()
            .map(|verdict| &verdict.verdict)
            .filter(|verdict| !verdict.allows_order())
            .collect();
        if against.is_empty() {
            return None;
        }
        let obstacles = against.iter().flat_map(|verdict| verdict.obstacles());
        let changes = against.iter().flat_map(|verdict| verdict.remedy());
        Some(Self {
            reason: once_each(obstacles.map(ToString::to_string)).join("; "),
            remedy: once_each(changes.map(ToString::to_string)),
            // Of several, the last; but where one has to be put right by hand, nobody knows.
            until: against
                .iter()
                .map(|verdict| verdict.until())
                .collect::<Option<Vec<_>>>()
                .and_then(|all| all.into_iter().max()),
            is_definite: against
                .iter()
                .any(|verdict| matches!(verdict, Verdict::Stop { .. })),
        })
    }

    /// What speaks against every one of `looks`. To have one of them put right is enough: the first, where somebody has
    /// to do it, and the one that is right soonest, where nobody has.
    fn all(looks: &[Look]) -> Option<Self> {
        let against = || {
            looks
                .iter()
                .filter_map(|look| Some((&look.issuer, look.against.as_ref()?)))
        };
        let (_, first) = against().next()?;
        let is_same = against().all(|(_, other)| other.reason == first.reason);
        let reason = match is_same {
            true => first.reason.clone(),
            false => {
                let reasons: Vec<_> = against()
                    .map(|(issuer, against)| format!("`{issuer}`: {}", against.reason))
                    .collect();
                reasons.join("; ")
            }
        };
        Some(Self {
            reason,
            until: against().filter_map(|(_, against)| against.until).min(),
            ..first.clone()
        })
    }
}

/// Several names may have the same against them.
fn once_each(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut all = Vec::new();
    for text in texts {
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Change, DomainState, Obstacle};

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn verdict(domain: &str, verdict: Verdict) -> DomainVerdict {
        DomainVerdict {
            domain: NamePattern::parse(domain).unwrap(),
            reason_text: verdict.reason(),
            verdict,
            state: DomainState::Declared,
            challenges: Vec::new(),
            not_pointed: None,
            fallback: Default::default(),
            notes: Vec::new(),
            rows: Vec::new(),
        }
    }

    fn forbidden(by: &str) -> Verdict {
        Verdict::Stop {
            obstacles: vec![Obstacle::CaaForbids {
                owner: "example.com".to_owned(),
                records: vec![format!("0 issue \"{by}\"")],
                identities: vec!["ca.example".to_owned()],
            }],
            remedy: vec![Change::Add(
                "example.com. IN CAA 0 issue \"ca.example\"".to_owned(),
            )],
            alternative: Vec::new(),
        }
    }

    fn absent(name: &str) -> Verdict {
        Verdict::Stop {
            obstacles: vec![Obstacle::NoSuchName {
                name: name.to_owned(),
            }],
            remedy: vec![Change::Add(format!("{name}. IN A 203.0.113.10"))],
            alternative: Vec::new(),
        }
    }

    fn stale(until: Option<Timestamp>) -> Verdict {
        Verdict::Wait {
            obstacles: vec![Obstacle::Stale {
                resolver: "192.0.2.53:53".to_owned(),
                said: "something else".to_owned(),
                seconds: 60,
            }],
            until,
        }
    }

    #[test]
    fn what_several_names_have_in_common_is_said_once() {
        let look = Look::new(
            "one".to_owned(),
            vec![
                verdict("a.example.com", forbidden("other.example")),
                verdict("b.example.com", forbidden("other.example")),
                verdict("c.example.com", absent("c.example.com")),
                verdict("d.example.com", Verdict::Go),
            ],
        );
        let against = look.against.unwrap();
        assert_eq!(
            against.reason,
            "the CAA records of example.com let no certificate be issued by ca.example: 0 issue \"other.example\"; \
             c.example.com does not exist (NXDOMAIN)"
        );
        assert_eq!(
            against.remedy,
            [
                "example.com. IN CAA 0 issue \"ca.example\"",
                "c.example.com. IN A 203.0.113.10"
            ]
        );
        assert!(against.is_definite && against.until.is_none());
    }

    #[test]
    fn the_next_issuer_is_taken_with_a_word_on_the_one_before() {
        let (name, looks) = (
            "www.example.com",
            [("one", forbidden("two.example")), ("two", Verdict::Go)],
        );
        let looks = looks.map(|(issuer, found)| Look::new(issuer.to_owned(), vec![verdict(name, found)]));
        let look = Look::of_all(looks.into());
        assert_eq!((look.issuer.as_str(), look.against), ("two", None));
        assert_eq!(look.passed_over[0].0, "one");
        assert!(
            look.verdicts[0].notes[0].starts_with("`one` is passed over: the CAA records of example.com")
        );
    }

    #[test]
    fn a_local_ca_is_taken_whatever_was_found_for_the_issuer_before() {
        let name = "www.example.com";
        for found in [forbidden("two.example"), absent(name), stale(Some(NOW))] {
            let first = Look::new("one".to_owned(), vec![verdict(name, found)]);
            let reason = first.verdicts[0].reason_text.clone();
            let local = Look::new("internal".to_owned(), Look::at_local_ca(&first.verdicts));
            let look = Look::of_all(vec![first, local]);
            assert_eq!((look.issuer.as_str(), look.against), ("internal", None));
            let seen = look.verdicts[0].clone().with_certificate();
            assert_eq!(seen.state, DomainState::Issued);
            assert_eq!(seen.notes, [format!("`one` is passed over: {reason}")]);
        }
    }

    #[test]
    fn an_order_is_waited_for_at_one_issuer_until_that_has_taken_long_enough() {
        let name = "www.example.com";
        for (found, expected) in [
            (Verdict::Go, [false, false]),
            (stale(None), [false, true]),
            (absent(name), [true, true]),
        ] {
            let look = Look::new("one".to_owned(), vec![verdict(name, found.clone())]);
            assert_eq!(
                [false, true].map(|over| look.gives_way(over)),
                expected,
                "{found:?}"
            );
        }
        let looks = [("one", stale(None)), ("two", Verdict::Go)];
        let looks = looks.map(|(issuer, found)| Look::new(issuer.to_owned(), vec![verdict(name, found)]));
        let look = Look::of_all(looks.into());
        assert_eq!((look.issuer.as_str(), look.against), ("two", None));
    }

    #[test]
    fn with_all_issuers_against_it_the_first_is_to_be_put_right_and_each_reason_is_told() {
        let look = |found: Vec<(&str, Verdict)>| {
            let looks = found.into_iter();
            let looks = looks
                .map(|(issuer, found)| Look::new(issuer.to_owned(), vec![verdict("www.example.com", found)]));
            Look::of_all(looks.collect())
        };
        let same = look(vec![
            ("one", absent("www.example.com")),
            ("two", absent("www.example.com")),
        ]);
        assert_eq!(same.issuer, "one");
        assert_eq!(
            same.against.unwrap().reason,
            "www.example.com does not exist (NXDOMAIN)"
        );
        let until = Some(NOW);
        let others = look(vec![("one", absent("www.example.com")), ("two", stale(until))]);
        let against = others.against.unwrap();
        assert!(
            against
                .reason
                .starts_with("`one`: www.example.com does not exist")
                && against.reason.contains("; `two`: 192.0.2.53:53 still says"),
            "{}",
            against.reason
        );
        assert_eq!(against.remedy, ["www.example.com. IN A 203.0.113.10"]);
        assert_eq!(against.until, until);
    }
}
