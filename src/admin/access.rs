//! Who is calling, and what they may do.

use std::net::SocketAddr;

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::http::{HeaderMap, header};
use rustls::pki_types::CertificateDer;

use crate::admin::{Problem, Tls};
use crate::config::{AdminRights, AdminToken};
use crate::inventory::Caller;

/// Who may come in over TCP, and how TLS is spoken there. Every clone stands for the same.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    tokens: Arc<ArcSwap<Vec<AdminToken>>>,
    tls: Arc<ArcSwapOption<Tls>>,
}

impl Admission {
    /// Takes these tokens from the next request on, and no others; speaks TLS so from the next connection on.
    pub fn replace(&self, tokens: &[AdminToken], tls: Option<Tls>) {
        self.tls.store(tls.map(Arc::new));
        self.tokens.store(Arc::new(tokens.to_vec()));
    }

    pub(super) fn tokens(&self) -> Arc<Vec<AdminToken>> {
        self.tokens.load_full()
    }

    pub(super) fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.load_full()
    }
}

/// Where a connection comes from: put on each of its requests by the server.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// The Unix socket, which only its owner can open.
    Socket {
        /// The user id of the process at the other end.
        uid: u32,
        /// Its group id.
        gid: u32,
        /// Its process id, where the system tells it.
        pid: Option<i32>,
    },
    /// A TCP address, where a token is asked for.
    Tcp {
        /// The other end.
        address: SocketAddr,
        /// The client's chain, its own certificate first, which was verified in the handshake; empty without one.
        shown: Arc<[CertificateDer<'static>]>,
    },
}

/// What a route needs.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Right {
    /// Nothing: whoever reaches it may have it.
    Open,
    /// To look. Not audited, but a refusal is.
    Read,
    /// To change something, or to get a secret. Always audited.
    Operate,
}

/// The caller and the most they may do; or why there is no saying who it is.
pub(super) fn identify(
    origin: &Origin,
    headers: &HeaderMap,
    tokens: &[AdminToken],
) -> Result<(Caller, Right), Problem> {
    match origin {
        Origin::Socket { uid, gid, pid } => {
            let caller = Caller {
                name: format!("user:{}", user_name(*uid)),
                uid: Some(*uid),
                gid: Some(*gid),
                pid: *pid,
                ..Caller::default()
            };
            Ok((caller, Right::Operate))
        }
        Origin::Tcp { address, shown } => {
            let Some(token) = bearer(headers) else {
                return Err(Problem::unauthorized(
                    "a token is needed here: send it as `Authorization: Bearer TOKEN`",
                ));
            };
            let Some(found) = holder(token.as_bytes(), tokens) else {
                return Err(Problem::unauthorized(
                    "no such token is configured in [admin]; it may have been changed",
                ));
            };
            let caller = Caller {
                name: format!("token:{}", found.name),
                address: Some(address.to_string()),
                certificate: shown.first().map(subject),
                ..Caller::default()
            };
            let right = match found.rights {
                AdminRights::Operate => Right::Operate,
                AdminRights::Read => Right::Read,
            };
            Ok((caller, right))
        }
    }
}

fn subject(certificate: &CertificateDer<'_>) -> String {
    match x509_parser::parse_x509_certificate(certificate) {
        Ok((_, certificate)) => certificate.subject().to_string(),
        Err(_) => "unreadable".to_owned(),
    }
}

/// The scheme is case-insensitive (RFC 9110 §11.1), the token is not (RFC 6750 §2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (first, second) = (all.next()?, all.next());
    let (scheme, token) = first.to_str().ok()?.split_once(' ')?;
    (second.is_none() && scheme.eq_ignore_ascii_case("bearer")).then(|| token.trim())
}

/// Looks at every token, whichever it is: how long it takes says nothing of them.
fn holder<'t>(presented: &[u8], tokens: &'t [AdminToken]) -> Option<&'t AdminToken> {
    let presented = digest(&SHA256, presented);
    tokens.iter().fold(None, |found, token| {
        match verify_slices_are_equal(presented.as_ref(), &token.digest) {
            Ok(()) => Some(token),
            Err(_) => found,
        }
    })
}

/// The name of a user of this machine, or the number where it has none.
fn user_name(uid: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_in(&users, uid).map_or_else(|| uid.to_string(), str::to_owned)
}

fn name_in(users: &str, uid: u32) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str, secret: &str, rights: AdminRights) -> AdminToken {
        let digest = digest(&SHA256, secret.as_bytes());
        AdminToken {
            name: name.to_owned(),
            rights,
            digest: digest.as_ref().try_into().unwrap(),
        }
    }

    fn asked(headers: &[&str]) -> Result<(Caller, Right), Problem> {
        let tokens = [
            token("ops", "first", AdminRights::Operate),
            token("board", "second", AdminRights::Read),
        ];
        let origin = Origin::Tcp {
            address: "127.0.0.1:5000".parse().unwrap(),
            shown: Arc::from([]),
        };
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        identify(&origin, &map, &tokens)
    }

    #[test]
    fn a_token_says_who_is_calling_and_what_they_may_do() {
        let (caller, right) = asked(&["Bearer first"]).unwrap();
        assert_eq!((caller.name.as_str(), right), ("token:ops", Right::Operate));
        let (caller, right) = asked(&["bearer second"]).unwrap();
        assert_eq!((caller.name.as_str(), right), ("token:board", Right::Read));
    }

    #[test]
    fn without_exactly_one_known_token_nobody_is_let_in() {
        for headers in [
            &[][..],
            &["Bearer third"],
            &["Bearer "],
            &["Bearer"],
            &["Basic first"],
            &["Bearer first", "Bearer first"],
            &["Bearer firs"],
            &["Bearer first second"],
        ] {
            let problem = asked(headers).unwrap_err();
            assert_eq!(problem.status, 401, "{headers:?}");
        }
    }

    #[test]
    fn users_are_known_by_name_where_they_have_one() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:33::/var/www:\n";
        assert_eq!(name_in(users, 33), Some("web"));
        assert_eq!(name_in(users, 34), None);
    }
}
