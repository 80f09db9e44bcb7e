//! What a listener does with a ClientHello.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{ClientHello, NoServerSessionStorage};
use rustls::{AlertDescription, ServerConfig};

use super::challenge::{ACME_TLS_ALPN, ChallengeTable, is_challenge};
use super::chosen::{Chosen, Resolver};
use super::client_auth::{
    AuthenticationGeneration, ClientVerifier, Observations, Place, RejectionReason, Verdict,
};
use super::published::PublishedCertificates;
use super::selection::{Choice, ClientOffer, Selection, select};
use super::table::Lookup;
use crate::certificate::CaBundle;
use crate::clock::Timestamp;
use crate::config::{AlpnMismatch, Authentication, ListenerConfig};
use crate::on_demand::{Denial, Desk};
use crate::policy::Policy;

/// Everything about TLS that a listener needs. Built once for a listener's configuration and never changed;
/// certificates and challenges are read through it when they are needed.
#[derive(Debug)]
pub struct ServerTls {
    configs: Configs,
    /// For clients that can do what the policy prefers.
    post_quantum: Option<Configs>,
    policy: Policy,
    alpn_mismatch: AlpnMismatch,
    published: Arc<PublishedCertificates>,
    selection: Selection,
    challenges: Arc<ChallengeTable>,
    generation: AuthenticationGeneration,
    clients: Option<Arc<ClientVerifier>>,
    observed: Option<Observations>,
    /// Versions, suites and groups: a session of other ones is not gone on with.
    rules: String,
    /// Where names without a certificate are asked for.
    desk: Option<Arc<Desk>>,
}

/// One configuration as it is, and for clients with which no ALPN protocol is shared.
#[derive(Debug)]
struct Configs {
    with_alpn: Arc<ServerConfig>,
    without_alpn: Arc<ServerConfig>,
}

impl ServerTls {
    /// Builds it for `listener`. `client_ca` is the bundle that its mutual authentication names; tickets are
    /// valid for the value that is built here and for no other.
    ///
    /// # Errors
    /// [`TlsError`]; above all a listener with mutual authentication is never built without its bundle.
    pub fn build(
        listener: &ListenerConfig,
        policy: &Policy,
        client_ca: Option<&CaBundle>,
        published: Arc<PublishedCertificates>,
        challenges: Arc<ChallengeTable>,
    ) -> Result<Self, TlsError> {
        if listener.alpn.iter().any(|protocol| protocol == ACME_TLS_ALPN) {
            return Err(TlsError::ReservedProtocol {
                listener: listener.name.clone(),
            });
        }
        let clients = client_verifier(listener, policy, client_ca)?;
        let config = server_config(listener, policy, policy.provider(), clients.as_ref())?;
        let mut post_quantum = None;
        if let Some(provider) = policy.post_quantum_provider() {
            let mut preferring = server_config(listener, policy, provider, clients.as_ref())?;
            // A client may offer other groups when it comes back.
            preferring.ticketer = config.ticketer.clone();
            post_quantum = Some(Configs::new(preferring, &listener.alpn));
        }
        Ok(Self {
            configs: Configs::new(config, &listener.alpn),
            post_quantum,
            policy: policy.clone(),
            alpn_mismatch: listener.alpn_mismatch,
            published,
            selection: Selection::new(&listener.certificates, listener.unknown_sni),
            challenges,
            generation: AuthenticationGeneration::of(listener, client_ca),
            clients,
            observed: matches!(listener.authentication, Authentication::Observe { .. })
                .then(|| Observations::from(Instant::now())),
            rules: rules(policy),
            desk: None,
        })
    }

    /// Has names without a certificate asked for at `desk`, if there is one. Not for one that was built before.
    #[must_use]
    pub fn on_demand(mut self, desk: Option<Desk>) -> Self {
        if let Some(desk) = desk {
            self.selection = self.selection.with_on_demand();
            self.desk = Some(Arc::new(desk));
        }
        self
    }

    /// Where names without a certificate are asked for, if they are.
    pub fn desk(&self) -> Option<&Arc<Desk>> {
        self.desk.as_ref()
    }

    /// Goes on with the tickets of what it replaces, if both authenticate clients in the same way and under the same policy;
    /// otherwise without. Who would have been refused stays known as long as clients are observed, by whatever rules; what was
    /// denied on demand, while its rules stay.
    #[must_use]
    pub fn continuing(mut self, before: &Self) -> Self {
        if let (Some(desk), Some(before)) = (&mut self.desk, &before.desk)
            && desk.config() == before.config()
        {
            desk.clone_from(before);
        }
        let is_same_generation = self.generation == before.generation;
        if let (Some(observed), Some(before)) = (&mut self.observed, &before.observed) {
            observed.continue_with(before, is_same_generation);
        }
        if !is_same_generation || self.rules != before.rules {
            return self;
        }
        for configs in self.post_quantum.iter_mut().chain([&mut self.configs]) {
            for config in [&mut configs.with_alpn, &mut configs.without_alpn] {
                Arc::make_mut(config).ticketer = before.configs.with_alpn.ticketer.clone();
            }
        }
        self
    }

    /// What its sessions belong to.
    pub fn generation(&self) -> AuthenticationGeneration {
        self.generation
    }

    /// Who would have been refused; only where clients are observed.
    pub fn observed(&self) -> Option<&Observations> {
        self.observed.as_ref()
    }

    /// The policy by which handshakes are done.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The verdict on a client that shows `certificates`, its own first, at `now`; nothing where none is asked for. That
    /// the client has the key of it cannot be told.
    pub fn judge(&self, certificates: &[CertificateDer<'_>], now: Timestamp) -> Option<Verdict> {
        let clients = self.clients.as_ref()?;
        let seconds = now.unix_seconds().try_into().unwrap_or(0);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        Some(match certificates {
            [] => Verdict::of_no_certificate(),
            [own, others @ ..] => clients.judge(own, others, now),
        })
    }

    /// Why a client that has shown `certificates`, its own first, would not be let in at `now`; nothing where it would.
    pub fn rejection(&self, certificates: &[CertificateDer<'_>], now: Timestamp) -> Option<RejectionReason> {
        self.clients.as_ref().filter(|clients| clients.enforces())?;
        self.judge(certificates, now)?.rejection()
    }

    /// Whether the certificate that the listener serves by default is published.
    pub fn is_ready(&self) -> bool {
        let table = self.published.load();
        if !self.selection.has_default() {
            return true;
        }
        self.selection
            .default(&table)
            .is_ok_and(|mut default| default.next().is_some())
    }

    /// What to do with the client that sent `hello`, once everything has been looked up that this depends on.
    pub async fn decide_loaded(&self, hello: &ClientHello<'_>) -> Decision {
        let mut looked_up = None;
        for _ in 0..LOOKUPS {
            let lookup = match self.decide(hello) {
                Decision::LookUp(lookup) if looked_up.as_ref() != Some(&lookup) => lookup,
                // It was looked up, and is not stored; or has left the cache already, which is not likely twice.
                Decision::LookUp(Lookup::Entry(_) | Lookup::First(_)) => {
                    return Decision::Refuse(Refusal::NothingPublished);
                }
                Decision::LookUp(lookup) => lookup,
                decision => return decision,
            };
            if !self.published.look_up(lookup.clone()).await {
                break;
            }
            looked_up = Some(lookup);
        }
        Decision::Refuse(Refusal::NotLoaded)
    }

    /// Has the certificate for `server_name` obtained, of which there is none, and waits for it as long as the listener says.
    ///
    /// # Errors
    /// What the client is refused with.
    pub async fn obtain(&self, server_name: &str) -> Result<(), Refusal> {
        match &self.desk {
            Some(desk) => desk.obtain(server_name).await.map_err(Refusal::NotObtained),
            None => Err(Refusal::UnknownName),
        }
    }

    /// What a client that asks for `server_name`, of which there is no certificate, would be refused with at once.
    pub fn foresee(&self, server_name: &str) -> Refusal {
        match &self.desk {
            Some(desk) => Refusal::NotObtained(desk.foresee(server_name)),
            None => Refusal::UnknownName,
        }
    }

    /// What to do with the client that sent `hello`, as far as what is loaded can tell.
    pub fn decide(&self, hello: &ClientHello<'_>) -> Decision {
        if is_challenge(hello) {
            return match self.challenges.answer(hello) {
                Some(config) => Decision::Challenge(config),
                None => Decision::Refuse(Refusal::NoChallenge),
            };
        }
        let table = self.published.load();
        let (candidate, by, is_verifiable) = match select(&table, &self.selection, &ClientOffer::from(hello))
        {
            Choice::Certificate {
                candidate,
                by,
                is_verifiable,
            } => (candidate, by, is_verifiable),
            Choice::Missing(lookup) => return Decision::LookUp(lookup),
            Choice::NothingYet => return Decision::Refuse(Refusal::NothingPublished),
            Choice::OnDemand => return Decision::Obtain,
            Choice::UnknownName => return Decision::Refuse(Refusal::UnknownName),
        };
        if let Some(desk) = &self.desk
            && candidate.certificate().is_on_demand()
            && candidate.is_first_use_in(desk.round())
        {
            desk.note_use(candidate.certificate());
        }
        let configs = match &self.post_quantum {
            Some(preferred) if self.can_be_post_quantum(hello) => preferred,
            _ => &self.configs,
        };
        let config = match self.alpn_mismatch {
            _ if self.shares_a_protocol(hello) => &configs.with_alpn,
            AlpnMismatch::Alert => return Decision::Refuse(Refusal::NoCommonProtocol),
            AlpnMismatch::Continue => &configs.without_alpn,
        };
        Decision::Handshake {
            config: config.clone(),
            chosen: Chosen {
                candidate: candidate.clone(),
                by,
                is_verifiable,
                client: self.clients.as_ref().map(|_| Arc::<Place>::default()),
            },
        }
    }

    fn can_be_post_quantum(&self, hello: &ClientHello<'_>) -> bool {
        let groups = hello.named_groups().unwrap_or_default();
        self.policy.can_be_post_quantum(hello.cipher_suites(), groups)
    }

    /// Whether ALPN gives an answer both sides can live with: a common protocol, or one side that does not ask.
    fn shares_a_protocol(&self, hello: &ClientHello<'_>) -> bool {
        let ours = &self.configs.with_alpn.alpn_protocols;
        match hello.alpn() {
            Some(mut theirs) if !ours.is_empty() => {
                theirs.any(|protocol| ours.iter().any(|our| our == protocol))
            }
            _ => true,
        }
    }
}

impl Configs {
    fn new(mut config: ServerConfig, alpn: &[Vec<u8>]) -> Self {
        let without_alpn = Arc::new(config.clone());
        config.alpn_protocols = alpn.to_vec();
        Self {
            with_alpn: Arc::new(config),
            without_alpn,
        }
    }
}

/// What to do with a client.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Answer the challenge of a CA with this configuration, then close: nothing is forwarded.
    Challenge(Arc<ServerConfig>),
    /// Shake hands, then forward.
    Handshake {
        /// With this configuration.
        config: Arc<ServerConfig>,
        /// Each step of it [`during`](Chosen::during) this.
        chosen: Chosen,
    },
    /// Have this [looked up](PublishedCertificates::look_up), then decide again.
    LookUp(Lookup),
    /// Have the certificate [obtained](ServerTls::obtain), then decide again.
    Obtain,
    /// Send [`Refusal::alert_record`] and close.
    Refuse(Refusal),
}

/// Why a client is refused before the handshake.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// It offers `acme-tls/1` and nothing else, but no challenge is pending for its server name.
    #[error("no tls-alpn-01 challenge is pending for the server name")]
    NoChallenge,
    /// It offers application protocols, none of which the listener has.
    #[error("no application protocol in common")]
    NoCommonProtocol,
    /// The store could not be read, or not in time.
    #[error("the certificate for the server name could not be loaded")]
    NotLoaded,
    /// The listener was disabled, removed or moved, and nothing stands in its place.
    #[error("the listener is gone")]
    ListenerGone,
    /// None is there, and none was obtained on demand.
    #[error(transparent)]
    NotObtained(Denial),
    /// The certificate it would get is not there yet.
    #[error("no certificate is published for the server name yet")]
    NothingPublished,
    /// It asks for a name, or none, that the listener refuses.
    #[error("the listener has no certificate for the server name")]
    UnknownName,
}

impl Refusal {
    /// What the client is told.
    pub fn alert(self) -> AlertDescription {
        match self {
            Self::NoChallenge | Self::NoCommonProtocol => AlertDescription::NoApplicationProtocol,
            Self::ListenerGone => AlertDescription::AccessDenied,
            Self::NothingPublished | Self::NotLoaded => AlertDescription::InternalError,
            Self::NotObtained(_) | Self::UnknownName => AlertDescription::UnrecognisedName,
        }
    }

    /// What is to be sent: see [`alert_record`].
    pub fn alert_record(self) -> [u8; 7] {
        alert_record(self.alert())
    }
}

/// A fatal alert as one plaintext record, for a connection that has no keys yet (RFC 8446 §5.1 and §6.2).
pub fn alert_record(alert: AlertDescription) -> [u8; 7] {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    [ALERT, 3, 3, 0, 2, FATAL, alert.into()]
}

/// Why a listener's TLS cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Clients are asked for certificates, but the bundle to verify them against is not there.
    #[error(
        "listener `{listener}`: clients are asked for certificates, but CA bundle `{client_ca}` is not there; without \
         it nobody can be verified"
    )]
    MissingClientCa {
        /// The listener.
        listener: Arc<str>,
        /// The bundle that it names.
        client_ca: String,
    },
    /// The policy cannot be used.
    #[error("listener `{listener}`: policy `{policy}` cannot be used")]
    Policy {
        /// The listener.
        listener: Arc<str>,
        /// The policy.
        policy: String,
        /// What rustls found.
        source: rustls::Error,
    },
    /// The challenge's protocol among the listener's own.
    #[error(
        "listener `{listener}`: `alpn` holds `acme-tls/1`, which is for ACME challenges and answered on every listener \
         without it; take it out"
    )]
    ReservedProtocol {
        /// The listener.
        listener: Arc<str>,
    },
    /// No randomness for ticket keys.
    #[error("listener `{listener}`: no keys for session tickets")]
    Tickets {
        /// The listener.
        listener: Arc<str>,
        /// What rustls found.
        source: rustls::Error,
    },
}

fn client_verifier(
    listener: &ListenerConfig,
    policy: &Policy,
    client_ca: Option<&CaBundle>,
) -> Result<Option<Arc<ClientVerifier>>, TlsError> {
    let Some(name) = listener.authentication.client_ca() else {
        return Ok(None);
    };
    let bundle = client_ca.filter(|bundle| bundle.name() == name);
    let bundle = bundle.ok_or_else(|| TlsError::MissingClientCa {
        listener: listener.name.clone(),
        client_ca: name.to_owned(),
    })?;
    let algorithms = policy.provider().signature_verification_algorithms;
    let verifier = ClientVerifier::new(listener, bundle.clone(), algorithms);
    Ok(Some(Arc::new(verifier)))
}

fn server_config(
    listener: &ListenerConfig,
    policy: &Policy,
    provider: Arc<CryptoProvider>,
    clients: Option<&Arc<ClientVerifier>>,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(policy.protocol_versions())
        .map_err(|source| TlsError::Policy {
            listener: listener.name.clone(),
            policy: policy.name().to_owned(),
            source,
        })?;
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Resolver));
    config.ignore_client_order = policy.ignore_client_order();
    config.max_early_data_size = 0;
    // Sessions would be kept under a lock, and for one worker's clients only by chance.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // The listener takes the keys over once the handshake is complete.
    config.enable_secret_extraction = true;
    match listener.authentication {
        // A resumed session's client certificate is not verified again.
        Authentication::Mutual { .. } | Authentication::Observe { .. } => config.send_tls13_tickets = 0,
        Authentication::OneWay => {
            config.send_tls13_tickets = 1;
            config.ticketer = Ticketer::new().map_err(|source| TlsError::Tickets {
                listener: listener.name.clone(),
                source,
            })?;
        }
    }
    Ok(config)
}

/// What a policy says of sessions.
fn rules(policy: &Policy) -> String {
    let versions = policy.protocol_versions().iter().map(|version| version.version);
    let mut rules: Vec<String> = versions.map(|version| format!("{version:?}")).collect();
    rules.extend(
        policy
            .cipher_suites()
            .chain(policy.groups())
            .map(ToOwned::to_owned),
    );
    rules.join(" ")
}

/// The name, then the default; and again, if what was looked up has left the cache already.
const LOOKUPS: usize = 4;
