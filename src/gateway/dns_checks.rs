//! What operators ask of DNS: names of several certificates at once, in bounded time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, timeout_at};

use crate::admin::{Problem, api};
use crate::certificate::DesiredCertificate;
use crate::dns::DomainVerdict;
use crate::gateway::lookout::{Lookout, first_of};
use crate::inventory::InventoryError;
use crate::name::NamePattern;

/// The names that `request` is about, where it names none, those of `desired`, each once.
pub(super) fn asked_about(
    request: &api::DnsCheckRequest,
    desired: &[DesiredCertificate],
) -> Result<Vec<NamePattern>, Problem> {
    const MOST: usize = api::DnsCheckRequest::MOST;
    let mut known = BTreeSet::new();
    if request.names.is_empty() {
        let all = desired.iter().flat_map(|desired| &desired.domains);
        let all: Vec<_> = all.filter(|name| known.insert(*name)).cloned().collect();
        return match all.len() {
            found if found > MOST => Err(Problem::bad_request(format!(
                "`names` is empty, and the certificates have {found} names; {MOST} are allowed at a time, so list some of them"
            ))),
            _ => Ok(all),
        };
    }
    let found = request.names.len();
    if found > MOST {
        return Err(Problem::bad_request(format!(
            "`names` has {found} names; {MOST} are allowed at a time"
        )));
    }
    for name in &request.names {
        name.check_certifiable()
            .map_err(|error| Problem::bad_request(error.to_string()))?;
        if !known.insert(name) {
            return Err(Problem::bad_request(format!(
                "`names` holds `{name}` twice; name it once"
            )));
        }
    }
    Ok(request.names.clone())
}

impl Lookout {
    /// Looks at names that an operator asks about, each as the certificate that holds it has it. Takes 25 seconds at
    /// most: what is not found out by then is told to wait.
    pub(super) async fn check_names(
        &self,
        names: &[NamePattern],
        issuer: Option<&str>,
        desired: &[DesiredCertificate],
    ) -> Result<Vec<DomainVerdict>, InventoryError> {
        let mut groups = BTreeMap::<_, Vec<_>>::new();
        for (place, name) in names.iter().enumerate() {
            let of = desired.iter().find(|desired| desired.domains.contains(name));
            let usual = self.issuers_of(of);
            let named = issuer.map(|issuer| self.subject_to_dns(&[issuer.to_owned()]));
            let issuers = named.unwrap_or_else(|| usual.clone());
            // One of several says little of whether there will be a certificate, and a CA of our own signs in any case.
            let is_as_ordered = issuers == usual && !issuers.is_empty();
            let certificate = of.map(|of| (&of.name, is_as_ordered));
            groups
                .entry((certificate, issuers))
                .or_default()
                .push((place, name.clone()));
        }
        let now = Instant::now();
        let (checker, deadline) = (self.checker().until(now + QUESTIONS), now + WHOLE_CHECK);
        let checker = &checker;
        let looks: Vec<_> = groups
            .into_iter()
            .map(|((certificate, issuers), group)| async move {
                let (places, patterns): (Vec<_>, Vec<_>) = group.into_iter().unzip();
                let name = certificate.map(|(name, _)| name);
                let candidates = match certificate {
                    Some((name, true)) => self.in_the_end(name, &issuers),
                    _ => first_of(&issuers),
                };
                let look = self.find(checker, (name, name.is_some()), &patterns, &candidates);
                let Ok(look) = timeout_at(deadline, look).await else {
                    let late = patterns
                        .iter()
                        .map(|name| DomainVerdict::overdue(name, WHOLE_CHECK));
                    return Ok(places.into_iter().zip(late.collect::<Vec<_>>()).collect());
                };
                let mut look = look?;
                let mut verdicts = std::mem::take(&mut look.verdicts);
                if let Some((certificate, is_as_ordered)) = certificate {
                    verdicts = self.with_certificates(certificate, verdicts).await?;
                    if issuers.is_empty() {
                        verdicts.iter_mut().for_each(DomainVerdict::keep_issued);
                    }
                    if is_as_ordered {
                        // What an operator has put right is right at once, and not with the next round.
                        verdicts = self.note(certificate, verdicts).await;
                        let of = desired.iter().find(|desired| desired.name == *certificate);
                        if of.is_some_and(|of| of.domains.iter().all(|domain| patterns.contains(domain))) {
                            self.note_issuers(certificate, &look);
                        }
                    }
                }
                Ok::<Vec<_>, InventoryError>(places.into_iter().zip(verdicts).collect())
            })
            .collect();
        let found: Vec<Vec<_>> = stream::iter(looks)
            .buffer_unordered(AT_A_TIME)
            .try_collect()
            .await?;
        let found: BTreeMap<usize, DomainVerdict> = found.into_iter().flatten().collect();
        Ok(found.into_values().collect())
    }
}

/// For the questions of all names.
const QUESTIONS: Duration = Duration::from_secs(10);

/// With what else is looked at: the CAs' directories, and whoever would put records into zones.
const WHOLE_CHECK: Duration = Duration::from_secs(25);

/// Certificates whose names are looked at side by side.
const AT_A_TIME: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{CertificateName, KeyType};

    fn request(names: &[String]) -> api::DnsCheckRequest {
        api::DnsCheckRequest {
            names: names
                .iter()
                .map(|name| NamePattern::parse(name).unwrap())
                .collect(),
            issuer: None,
        }
    }

    fn certificate(name: &str, domains: Vec<NamePattern>) -> DesiredCertificate {
        DesiredCertificate {
            name: CertificateName::parse(name).unwrap(),
            domains,
            issuers: Vec::new(),
            key_type: KeyType::default(),
            reuse_key: false,
            tags: Default::default(),
            spare_of: None,
        }
    }

    fn numbered(count: usize) -> Vec<String> {
        (0..count)
            .map(|number| format!("n{number}.example.com"))
            .collect()
    }

    #[test]
    fn a_hundred_names_are_allowed_each_once_and_each_such_as_a_certificate_has() {
        let refusal = |names: &[String]| asked_about(&request(names), &[]).map_err(|problem| problem.detail);
        assert_eq!(refusal(&numbered(100)).map(|names| names.len()), Ok(100));
        let says = |names: &[&str], expected: &str| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let detail = refusal(&names).unwrap_err();
            assert!(detail.contains(expected), "{detail}");
        };
        assert_eq!(
            refusal(&numbered(101)).unwrap_err(),
            "`names` has 101 names; 100 are allowed at a time"
        );
        says(
            &["a.example", "b.example", "A.example."],
            "`names` holds `a.example` twice",
        );
        says(&["_x.example.com"], "`_x.example.com` cannot be in a certificate");
        says(&["256.1.1.1"], "it ends in the number `1`");
    }

    #[test]
    fn the_names_of_all_certificates_are_asked_about_once_each_and_not_when_they_are_too_many() {
        let names = request(&numbered(100)).names;
        let desired = [certificate("a", names.clone()), certificate("b", names.clone())];
        assert_eq!(asked_about(&request(&[]), &desired).unwrap(), names);
        let more = [
            certificate("a", names),
            certificate("b", request(&["other.example".to_owned()]).names),
        ];
        let problem = asked_about(&request(&[]), &more).unwrap_err();
        assert!(
            problem
                .detail
                .contains("the certificates have 101 names; 100 are allowed"),
            "{problem:?}"
        );
    }
}
