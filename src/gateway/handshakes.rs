//! What the admin API can ask about handshakes: what clients offer, and what they would get.

use std::sync::Arc;

use async_trait::async_trait;
use rustls::AlertDescription;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::admin::{HandshakeOperations, Problem, api};
use crate::backend::ServerGroup;
use crate::clock::Timestamp;
use crate::gateway::control_plane::ControlPlane;
use crate::gateway::operations::servers;
use crate::listener::{ListenerSettings, Rehearsal, Service, rehearse};
use crate::name::DnsName;
use crate::pem::flaw;
use crate::policy::{self, CertificateKey, Client, Policy, clients, cloud_policy};
use crate::tls::{Chosen, Counts, KeyKind, MatchedBy, Offer, Preview, Reason, ServerTls, client_hello};

#[async_trait]
impl HandshakeOperations for ControlPlane {
    fn client_hellos(&self, listener: &str) -> Result<api::ClientHellos, Problem> {
        let (_, counts) = self.tls_listener(listener)?;
        Ok(api::ClientHellos {
            listener: listener.to_owned(),
            handshakes: counts.handshakes,
            since: self.since(&counts),
            unknown: counts.other,
            versions: offered(counts.by(Offer::versions)),
            cipher_suites: offered(counts.by(Offer::cipher_suites)),
            groups: offered(counts.by(Offer::groups)),
            signature_schemes: offered(counts.by(Offer::signature_schemes)),
            alpn: offered(counts.by(Offer::protocols)),
        })
    }

    fn preview(&self, listener: &str, policy: Option<&str>) -> Result<api::PolicyPreview, Problem> {
        let (tls, counts) = self.tls_listener(listener)?;
        let in_force = tls.tls.policy();
        let policy = match policy {
            Some(name) => self.policy(name)?,
            None => in_force.clone(),
        };
        let preview = Preview::of(&counts, &policy, in_force);
        Ok(api::PolicyPreview {
            listener: listener.to_owned(),
            policy: policy.name().to_owned(),
            in_force: in_force.name().to_owned(),
            handshakes: preview.handshakes,
            since: self.since(&counts),
            would_fail: preview.would_fail,
            fail_now: preview.fail_now,
            unknown: preview.unknown,
            reasons: preview.reasons.into_iter().map(shown).collect(),
            regardless: offered(preview.regardless),
        })
    }

    async fn explain(
        &self,
        listener: &str,
        request: api::ExplainRequest,
    ) -> Result<api::Explanation, Problem> {
        let (listening, _) = self.tls_listener(listener)?;
        let client = well_known(request.client.as_deref())?;
        let server_name = request.server_name.as_deref().map(DnsName::parse).transpose();
        let server_name = server_name.map_err(|error| Problem::bad_request(error.to_string()))?;
        let protocols = request.alpn.iter().map(|name| protocol(name));
        let protocols = protocols.collect::<Result<Vec<_>, _>>()?;
        let shown = request
            .client_certificate_pem
            .as_deref()
            .map_or(Ok(Vec::new()), chain)?;
        let hello = client_hello(client, server_name.as_ref(), &protocols)
            .map_err(|error| Problem::internal(&error))?;
        let rehearsal = rehearse(&listening.tls, hello).await;
        let authentication = listening.authentication(&shown, self.clock.now());
        let policy = listening.tls.policy();
        let mut explanation = api::Explanation {
            listener: listener.to_owned(),
            server_name: request.server_name,
            client: client.name.clone(),
            outcome: "refused".to_owned(),
            reason: None,
            alert: None,
            certificate: None,
            policy: api::ExplainedPolicy {
                name: policy.name().to_owned(),
                version: None,
                cipher_suite: None,
                group: None,
            },
            alpn: None,
            authentication,
            backend: listening.backend(),
        };
        match rehearsal {
            Rehearsal::Answered { chosen, agreed } => {
                explanation.certificate = Some(certificate(&chosen));
                explanation.policy.version = Some(agreed.version.to_owned());
                explanation.policy.cipher_suite = Some(agreed.cipher_suite.to_owned());
                explanation.policy.group = Some(agreed.group.to_owned());
                let protocol = agreed.protocol.as_deref();
                explanation.alpn = protocol.map(|name| String::from_utf8_lossy(name).into_owned());
                match explanation.authentication.admitted {
                    true => explanation.outcome = "served".to_owned(),
                    false => explanation.reason.clone_from(&explanation.authentication.detail),
                }
            }
            Rehearsal::Challenge => explanation.outcome = "challenge".to_owned(),
            Rehearsal::Refused(refusal) => {
                explanation.reason = Some(refusal.to_string());
                explanation.alert = alert_name(refusal.alert());
            }
            Rehearsal::Failed { chosen, error, alert } => {
                let words = chosen.as_ref().and_then(|chosen| misfit(client, policy, chosen));
                explanation.reason = Some(words.unwrap_or(error));
                explanation.alert = alert.and_then(alert_name);
                explanation.certificate = chosen.as_ref().map(certificate);
            }
        }
        Ok(explanation)
    }
}

impl ControlPlane {
    /// A listener that shakes hands, and what it has counted.
    fn tls_listener(&self, name: &str) -> Result<(Listening, Counts), Problem> {
        let look = |listener: &crate::listener::RunningListener| (listener.settings(), listener.hellos());
        let Some((settings, counts)) = self.data_plane.listener(name, look) else {
            let known = self.config.load().listeners.contains_key(name);
            return Err(match known {
                true => Problem::conflict(format!(
                    "listener `{name}` is disabled; `certgate listener enable {name}` has it accept connections"
                )),
                false => Problem::not_found(format!("there is no listener `{name}`")),
            });
        };
        match &settings.service {
            Service::Http { .. } => Err(Problem::conflict(format!(
                "listener `{name}` speaks plain HTTP; there are no handshakes"
            ))),
            Service::Tls { tls, server_group } => {
                let listening = Listening {
                    tls: tls.clone(),
                    server_group: server_group.clone(),
                    settings: settings.clone(),
                };
                Ok((listening, counts))
            }
        }
    }

    fn policy(&self, name: &str) -> Result<Policy, Problem> {
        self.data_plane.policy(name).ok_or_else(|| {
            if let Some(cloud) = cloud_policy(name) {
                return Problem::not_found(format!(
                    "`{name}` is a policy of {}, and certgate has not all of it; `certgate policy import {name}` shows \
                     what is missing",
                    cloud.service
                ));
            }
            let own = self.data_plane.own_policies();
            let all: Vec<_> = own.iter().map(String::as_str).chain(policy::names()).collect();
            Problem::not_found(format!(
                "there is no TLS security policy `{name}`; there are: {}",
                all.join(", ")
            ))
        })
    }

    fn since(&self, counts: &Counts) -> Option<Timestamp> {
        let since = counts.since?;
        Some(self.clock.now() - since.elapsed())
    }
}

/// What a handshake is decided by.
struct Listening {
    tls: Arc<ServerTls>,
    server_group: Arc<ServerGroup>,
    settings: Arc<ListenerSettings>,
}

impl Listening {
    fn authentication(&self, shown: &[CertificateDer<'_>], now: Timestamp) -> api::ExplainedAuthentication {
        let authentication = &self.settings.config.authentication;
        let verdict = self.tls.judge(shown, now);
        let rejection = verdict.as_ref().and_then(|verdict| verdict.rejection());
        let identity = verdict.as_ref().and_then(|verdict| verdict.identity());
        api::ExplainedAuthentication {
            mode: authentication.word().to_owned(),
            client_ca: authentication.client_ca().map(ToOwned::to_owned),
            verdict: verdict.as_ref().map(|verdict| verdict.label().to_owned()),
            detail: rejection.map(|reason| reason.to_string()),
            subject: identity.map(|identity| identity.subject.clone()),
            admitted: rejection.is_none() || self.tls.observed().is_some(),
        }
    }

    fn backend(&self) -> api::ExplainedBackend {
        api::ExplainedBackend {
            server_group: self.server_group.name().to_owned(),
            next: self.server_group.next().map(|server| server.to_string()),
            servers: servers(&self.server_group),
        }
    }
}

/// The client whose name begins so; without a name, the first of all.
fn well_known(name: Option<&str>) -> Result<&'static Client, Problem> {
    let wanted = name.unwrap_or_default().to_lowercase();
    let mut fitting = clients()
        .iter()
        .filter(|client| client.name.to_lowercase().starts_with(&wanted));
    fitting.next().ok_or_else(|| {
        let names: Vec<_> = clients().iter().map(|client| client.name.as_str()).collect();
        Problem::bad_request(format!(
            "no well-known client's name begins with `{}`; there are: {}",
            name.unwrap_or_default(),
            names.join("; ")
        ))
    })
}

fn protocol(name: &str) -> Result<Vec<u8>, Problem> {
    match name.len() {
        1..=255 => Ok(name.as_bytes().to_vec()),
        found => Err(Problem::bad_request(format!(
            "a name in `alpn` has {found} octets; 1 to 255 are allowed"
        ))),
    }
}

fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, Problem> {
    if PrivateKeyDer::from_pem_slice(pem.as_bytes()).is_ok() {
        return Err(Problem::bad_request(
            "`client_certificate_pem` holds a private key, which is nobody else's to know; send the certificates only",
        ));
    }
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match certificates {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Problem::bad_request(
            "`client_certificate_pem` holds no certificate; PEM is expected",
        )),
        Err(error) => Err(Problem::bad_request(format!(
            "`client_certificate_pem` is not PEM: {}",
            flaw(&error)
        ))),
    }
}

/// In the words of `policy explain`, where the policy is the reason.
fn misfit(client: &Client, policy: &Policy, chosen: &Chosen) -> Option<String> {
    let key = match chosen.candidate().key() {
        KeyKind::Rsa => CertificateKey::Rsa,
        KeyKind::Scheme(_) => CertificateKey::Ecdsa,
    };
    let refusal = client.meet(policy, key).err()?;
    Some(format!(
        "policy `{}` refuses the client: {refusal}",
        policy.name()
    ))
}

fn certificate(chosen: &Chosen) -> api::ExplainedCertificate {
    let candidate = chosen.candidate();
    let leaf = candidate.credential().leaf();
    api::ExplainedCertificate {
        name: candidate.certificate().clone(),
        by: match chosen.by() {
            MatchedBy::Default => "default",
            MatchedBy::Exact => "exact",
            MatchedBy::Wildcard => "wildcard",
        }
        .to_owned(),
        domains: leaf.names.clone(),
        key: leaf.key.clone(),
        verifiable: chosen.is_verifiable(),
        not_after: leaf.not_after,
        fingerprint: leaf.fingerprint.clone(),
    }
}

/// As RFC 8446 §6 writes it: `protocol_version`.
fn alert_name(alert: AlertDescription) -> Option<String> {
    let mut name = String::new();
    for letter in alert.as_str()?.replace("Unrecognised", "Unrecognized").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    Some(name)
}

fn offered(names: impl IntoIterator<Item = (impl Into<String>, u64)>) -> Vec<api::Offered> {
    let names = names.into_iter();
    names
        .map(|(name, handshakes)| api::Offered {
            name: name.into(),
            handshakes,
        })
        .collect()
}

fn shown(reason: Reason) -> api::PreviewReason {
    fn names(names: impl Iterator<Item = &'static str>) -> Vec<String> {
        names.map(ToOwned::to_owned).collect()
    }
    let offers = reason.offers.iter().take(MOST_OFFERS);
    api::PreviewReason {
        reason: reason.label.to_owned(),
        detail: reason.why,
        handshakes: reason.handshakes,
        fail_now: reason.fail_now,
        offers: offers
            .map(|(offer, handshakes)| api::OfferedTogether {
                handshakes: *handshakes,
                versions: names(offer.versions()),
                cipher_suites: names(offer.cipher_suites()),
                groups: names(offer.groups()),
                signature_schemes: names(offer.signature_schemes()),
                alpn: names(offer.protocols()),
            })
            .collect(),
    }
}

/// Kinds of offers shown for a reason.
const MOST_OFFERS: usize = 8;
