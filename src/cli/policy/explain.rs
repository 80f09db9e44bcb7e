//! `certgate policy explain`: whom a policy admits, computed from what well-known clients offer.

use serde::Serialize;

use super::shown::Shown;
use crate::cli::Failure;
use crate::cli::arguments::{Form, OutputFormat};
use crate::cli::output::{Printed, Surplus};
use crate::policy::{Agreement, CertificateKey, Client, Policy, clients};

/// All of it, for programs.
#[derive(Serialize)]
struct Explanation<'a> {
    #[serde(flatten)]
    policy: Shown<'a>,
    clients: Vec<Verdict>,
}

/// What becomes of one kind of client.
#[derive(Serialize)]
struct Verdict {
    client: &'static str,
    /// `admitted`, `ecdsa-only`, `rsa-only` or `refused`: by the key of the listener's certificate.
    verdict: &'static str,
    ecdsa: Option<Agreement>,
    rsa: Option<Agreement>,
    reason: Option<String>,
    /// Where it is known from what the client offers.
    source: &'static str,
}

pub(super) fn explain(name: &str, policy: &Policy, source: &'static str, form: Form) -> Result<(), Failure> {
    let explanation = Explanation {
        policy: Shown::new(name, policy, source),
        clients: clients()
            .iter()
            .map(|client| Verdict::new(client, policy))
            .collect(),
    };
    match form.output {
        OutputFormat::Json => Printed::json(&explanation),
        OutputFormat::Text => explanation.print(),
    }
}

impl Verdict {
    fn new(client: &'static Client, policy: &Policy) -> Self {
        let ecdsa = client.meet(policy, CertificateKey::Ecdsa);
        let rsa = client.meet(policy, CertificateKey::Rsa);
        let verdict = match (&ecdsa, &rsa) {
            (Ok(_), Ok(_)) => "admitted",
            (Ok(_), Err(_)) => "ecdsa-only",
            (Err(_), Ok(_)) => "rsa-only",
            (Err(_), Err(_)) => "refused",
        };
        let reason = ecdsa.as_ref().err().or(rsa.as_ref().err());
        Self {
            client: &client.name,
            verdict,
            reason: reason.map(ToString::to_string),
            ecdsa: ecdsa.ok(),
            rsa: rsa.ok(),
            source: &client.source,
        }
    }

    /// What both sides use, or why there is nothing.
    fn outcome(&self) -> String {
        let agreed = match (self.ecdsa, self.rsa) {
            (Some(ecdsa), Some(rsa)) if ecdsa.cipher_suite != rsa.cipher_suite => format!(
                "{}, {}, {}",
                ecdsa.version,
                either(ecdsa.cipher_suite, rsa.cipher_suite),
                ecdsa.group
            ),
            (Some(one), _) | (None, Some(one)) => {
                format!("{}, {}, {}", one.version, one.cipher_suite, one.group)
            }
            (None, None) => String::new(),
        };
        let reason = self.reason.as_deref();
        let parts = [Some(agreed.as_str()).filter(|text| !text.is_empty()), reason];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

/// Suites of TLS 1.2 come in pairs, one for each kind of key.
fn either(ecdsa: &str, rsa: &str) -> String {
    match ecdsa.replace("_ECDSA_", "_RSA_") == rsa {
        true => ecdsa.replace("_ECDSA_", "_{ECDSA,RSA}_"),
        false => format!("{ecdsa} or {rsa}"),
    }
}

impl Explanation<'_> {
    fn print(&self) -> Result<(), Failure> {
        let policy = &self.policy;
        let why = policy.why;
        let is = policy.is.map(|is| format!(", today {is}")).unwrap_or_default();
        let secrecy = match policy.forward_secrecy {
            true => {
                "yes: each session has a key of its own, so a private key stolen later opens no recorded traffic"
            }
            false => "no: a private key stolen later opens what was recorded",
        };
        let post_quantum = match policy.post_quantum {
            "no" => "no: what is recorded today could be read with a quantum computer",
            "offered" => "offered: a client that lists such a group first gets it",
            "preferred" => "preferred: every client that has such a group gets it",
            _ => "required: whoever has no such group is refused",
        };
        let order = match policy.ignore_client_order {
            true => "the policy's order of suites decides",
            false => "the client's order of suites decides",
        };
        let with = |text: &str, why: &str| match why.is_empty() {
            true => text.to_owned(),
            false => format!("{text}\n{why}"),
        };
        Printed::labelled(
            [
                (
                    "policy",
                    with(&format!("{}{is} ({})", policy.name, policy.source), &why.policy),
                ),
                ("versions", with(&policy.versions.join(", "), &why.versions)),
                (
                    "cipher suites",
                    with(&policy.cipher_suites.join("\n"), &why.cipher_suites),
                ),
                ("groups", with(&policy.groups.join(", "), &why.groups)),
                ("order", with(order, &why.ignore_client_order)),
                ("forward secrecy", secrecy.to_owned()),
                ("post-quantum", post_quantum.to_owned()),
            ]
            .map(|(label, text)| (label.to_owned(), text)),
        )?;
        Printed::text("\n")?;
        let rows = self.clients.iter().map(|client| {
            let verdict = match client.verdict {
                "ecdsa-only" => "ECDSA only",
                "rsa-only" => "RSA only",
                verdict => verdict,
            };
            vec![client.client.to_owned(), verdict.to_owned(), client.outcome()]
        });
        Printed::table(&["CLIENT", "VERDICT", "WITH, OR WHY NOT"], rows, Surplus::Wrap)?;
        let count = |verdict: &str| {
            let clients = self.clients.iter();
            clients.filter(|client| client.verdict == verdict).count()
        };
        let either = count("ecdsa-only") + count("rsa-only");
        Printed::text(format!(
            "\n{} of {} well-known clients are admitted, {either} by the kind of the certificate's key, {} refused.\n",
            count("admitted"),
            self.clients.len(),
            count("refused")
        ))
    }
}
