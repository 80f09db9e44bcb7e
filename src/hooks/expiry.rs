//! Tells that certificates come to their end without a successor: once for each fraction of their life that is left.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::certificate::{CertificateName, DesiredCertificate, Leaf};
use crate::clock::Timestamp;
use crate::config::{Fraction, HookEvent};
use crate::hooks::Hooks;
use crate::inventory::{CertificateRecord, InventoryError, Notice, Source, Stale, ToldExpiring};

/// What a certificate's end asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Expiry {
    /// What is to be told now.
    tell: Option<Fraction>,
    /// When there will be more to tell.
    next: Option<Timestamp>,
}

/// What is to be told of `leaf` at `now`, of `fractions` with the greatest first, where `told` is what was. Several that
/// have passed are told as one: the smallest.
fn expiry(leaf: &Leaf, fractions: &[Fraction], told: Option<&ToldExpiring>, now: Timestamp) -> Expiry {
    let life = leaf.not_after.since(leaf.not_before);
    let reached_at = |fraction: &Fraction| leaf.not_after - fraction.of(life);
    let told = told.filter(|told| told.fingerprint == leaf.fingerprint);
    let is_news = |fraction: &Fraction| told.is_none_or(|told| fraction.of(life) < told.left.of(life));
    Expiry {
        tell: fractions
            .iter()
            .rfind(|fraction| reached_at(fraction) <= now)
            .filter(|fraction| is_news(fraction))
            .copied(),
        next: fractions.iter().map(reached_at).find(|at| *at > now),
    }
}

/// Looks at every certificate when one of them has come so far, until `stop` is done.
pub async fn watch_expiry(mut hooks: Hooks, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    let mut hints = hooks.inventory.hints();
    let (mut stale, mut next) = (Stale::Everything, None);
    let (mut wanted, mut fractions) = hooks.demands();
    loop {
        let begun = Instant::now();
        let looked = hooks.look(std::mem::take(&mut stale), &mut next).await;
        if let Err(error) = &looked {
            tracing::error!(%error, "whether certificates are about to expire is not known for the moment");
            next = earlier(next, Some(hooks.clock.now() + STORE_PAUSE));
        }
        // However many there are, looking at all of them is a small part of what is done.
        let rest = (begun.elapsed() * 50).clamp(SHORTEST, LONGEST);
        let now = hooks.clock.now();
        let again = next.map_or(now + LONGEST, |next: Timestamp| {
            next.clamp(now + rest.min(LONGEST), now + LONGEST)
        });
        tokio::select! {
            () = &mut stop => return,
            hint = hints.changed() => stale.add_hint(&hint),
            Ok(()) = hooks.desired.changed() => {
                let (wanted_now, fractions_now) = hooks.demands();
                match fractions_now == fractions {
                    true => stale.add(newly_wanted(&wanted, &wanted_now).cloned()),
                    false => stale = Stale::Everything,
                }
                (wanted, fractions) = (wanted_now, fractions_now);
            }
            () = hooks.clock.sleep_until(again) => stale = Stale::Everything,
        }
    }
}

impl Hooks {
    /// Tells what is to be told of certificates that `stale` names; `next` becomes the moment at which there is more.
    async fn look(&self, stale: Stale, next: &mut Option<Timestamp>) -> Result<(), InventoryError> {
        let names: Vec<_> = match stale {
            Stale::Names(names) => names.into_iter().collect(),
            Stale::Everything => {
                *next = None;
                let (mut all, fractions) = (Vec::new(), self.config.load().expiring.clone());
                let (wanted, now) = (self.wanted(), self.clock.now());
                let look = |record: CertificateRecord| {
                    let Some(leaf) = leaf_of_interest(&record, &wanted) else {
                        return;
                    };
                    let expiry = expiry(leaf, &fractions, None, now);
                    *next = earlier(*next, expiry.next);
                    if expiry.tell.is_some() {
                        all.push(record.name);
                    }
                };
                self.inventory.visit_certificates(look).await?;
                all
            }
        };
        let wanted = self.wanted();
        // Thousands may be due at once, after a start above all; a commit for each would keep the disk busy for minutes.
        for some in names.chunks(AT_ONCE) {
            let mut news = Vec::new();
            for name in some {
                let Ok(Some(record)) = self.inventory.certificate(name).await else {
                    continue;
                };
                if let Some(leaf) = leaf_of_interest(&record.value, &wanted) {
                    let (tell, reached) = self.news_of(name, leaf, &record.value).await;
                    news.extend(tell);
                    *next = earlier(*next, reached);
                }
            }
            if !news.is_empty() {
                self.inventory.tell_expiring(&news).await?;
                news.iter().for_each(|(notice, _)| (self.told)(notice));
            }
        }
        Ok(())
    }

    /// What is to be told of `leaf` now, and when there will be more.
    async fn news_of(
        &self,
        name: &CertificateName,
        leaf: &Leaf,
        record: &CertificateRecord,
    ) -> (Option<(Notice, ToldExpiring)>, Option<Timestamp>) {
        let (config, now) = (self.config.load_full(), self.clock.now());
        // Damaged, it was told nothing: once too often is better than never.
        let told = self.inventory.told_expiring(name).await.unwrap_or_default();
        let Expiry { tell, next } = expiry(leaf, &config.expiring, told.as_ref(), now);
        let Some(left) = tell else { return (None, next) };
        let detail = match now < leaf.not_after {
            true => format!(
                "less than {left} of its life is left, it ends at {}",
                leaf.not_after
            ),
            false => format!("it has ended at {}", leaf.not_after),
        };
        let detail = match record.state.problem() {
            Some(problem) => format!("{detail}; there is no successor: {problem}"),
            None => detail,
        };
        tracing::warn!(certificate = %name, "{detail}");
        let notice = Notice {
            leaf: Some(leaf.clone()),
            issuer: record.current.as_ref().map(|current| current.issuer.clone()),
            next_attempt: record.state.next_wake(),
            ..Notice::new(HookEvent::Expiring, name.clone(), now, detail)
        };
        let told = ToldExpiring {
            fingerprint: leaf.fingerprint.clone(),
            left,
        };
        (Some((notice, told)), next)
    }

    fn wanted(&self) -> Arc<[DesiredCertificate]> {
        self.desired.borrow().clone()
    }

    /// What is wanted, and at which fractions something is told of it.
    fn demands(&mut self) -> (Arc<[DesiredCertificate]>, Vec<Fraction>) {
        let wanted = self.desired.borrow_and_update().clone();
        (wanted, self.config.load().expiring.clone())
    }
}

/// What `now` has and `before` had not, both sorted by name: the configuration is often replaced, by hardly another one.
fn newly_wanted<'n>(
    before: &[DesiredCertificate],
    now: &'n [DesiredCertificate],
) -> impl Iterator<Item = &'n CertificateName> {
    let mut before = before.iter().map(|desired| &desired.name).peekable();
    let names = now.iter().map(|desired| &desired.name);
    names.filter(move |name| {
        while before.next_if(|known| known < name).is_some() {}
        before.next_if_eq(name).is_none()
    })
}

/// What is stored of a certificate that nobody wants any more may expire in peace.
fn leaf_of_interest<'r>(record: &'r CertificateRecord, wanted: &[DesiredCertificate]) -> Option<&'r Leaf> {
    // Sorted by name, and there may be a million.
    let found = || wanted.binary_search_by(|desired| desired.name.cmp(&record.name));
    let is_wanted = record.source != Source::Issued || found().is_ok();
    let current = record.current.as_ref().filter(|_| is_wanted)?;
    Some(&current.leaf)
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

/// Certificates whose notices are one commit: two keys each, which a hint of the store still names one by one.
const AT_ONCE: usize = 32;
const STORE_PAUSE: Duration = Duration::from_secs(10);
/// Between two looks at everything.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn leaf() -> Leaf {
        let begin = Timestamp::from_unix_seconds(1_795_000_000);
        Leaf {
            names: Vec::new(),
            not_before: begin,
            not_after: begin + 90 * DAY,
            serial: "1".to_owned(),
            issuer: "CN=ca".to_owned(),
            key: "ECDSA P-256".to_owned(),
            fingerprint: "aa".to_owned(),
        }
    }

    fn told(fingerprint: &str, left: &str) -> ToldExpiring {
        ToldExpiring {
            fingerprint: fingerprint.to_owned(),
            left: Fraction::parse(left).unwrap(),
        }
    }

    #[test]
    fn each_fraction_is_told_once_and_of_several_that_passed_the_smallest() {
        let parsed = |text| Fraction::parse(text).unwrap();
        let (leaf, fractions) = (leaf(), ["1/3", "1/6", "1/12"].map(parsed));
        for (day, known, tell, next) in [
            (0, None, None, Some(60.0)),
            (59, None, None, Some(60.0)),
            (60, None, Some("1/3"), Some(75.0)),
            (61, Some(told("aa", "1/3")), None, Some(75.0)),
            (75, Some(told("aa", "1/3")), Some("1/6"), Some(82.5)),
            (76, Some(told("aa", "1/6")), None, Some(82.5)),
            // The gateway was off for weeks.
            (83, None, Some("1/12"), None),
            (84, Some(told("aa", "1/12")), None, None),
            (200, Some(told("aa", "1/6")), Some("1/12"), None),
            // That was the one before.
            (61, Some(told("bb", "1/12")), Some("1/3"), Some(75.0)),
        ] {
            let now = leaf.not_before + day * DAY;
            let found = expiry(&leaf, &fractions, known.as_ref(), now);
            let next = next.map(|days| leaf.not_before + DAY.mul_f64(days));
            let tell = tell.and_then(Fraction::parse);
            assert_eq!(found, Expiry { tell, next }, "on day {day} with {known:?}");
        }
    }

    #[test]
    fn a_certificate_of_minutes_is_told_of_in_seconds() {
        let leaf = Leaf {
            not_after: leaf().not_before + Duration::from_secs(120),
            ..leaf()
        };
        let found = expiry(&leaf, &Fraction::USUAL_EXPIRING, None, leaf.not_before);
        assert_eq!(found.next, Some(leaf.not_after - Duration::from_secs(24)));
    }

    #[test]
    fn another_configuration_has_only_what_it_wants_anew_looked_at() {
        let wanted = |names: &[&str]| {
            let names = names.iter().map(|name| DesiredCertificate {
                name: CertificateName::parse(name).unwrap(),
                domains: Vec::new(),
                issuers: Vec::new(),
                key_type: crate::certificate::KeyType::EcdsaP256,
                reuse_key: false,
                tags: Default::default(),
                spare_of: None,
            });
            names.collect::<Vec<_>>()
        };
        for (before, now, anew) in [
            (&[][..], &["a", "b"][..], &["a", "b"][..]),
            (&["a", "b"], &["a", "b"], &[]),
            (&["b", "d"], &["a", "b", "c", "d", "e"], &["a", "c", "e"]),
            (&["a", "b", "c"], &["b"], &[]),
            (&["a", "b"], &["c"], &["c"]),
        ] {
            let (before_wanted, now_wanted) = (wanted(before), wanted(now));
            let found = newly_wanted(&before_wanted, &now_wanted).map(CertificateName::as_str);
            assert_eq!(found.collect::<Vec<_>>(), anew, "{before:?} to {now:?}");
        }
    }
}
