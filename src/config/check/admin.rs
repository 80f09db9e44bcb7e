//! `[admin]`: where the API listens, and who is let in there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use aws_lc_rs::digest::{SHA256, digest};

use super::Checker;
use crate::certificate::CertificateName;
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::reader::Key;
use crate::config::settings::{AdminConfig, AdminRights, AdminToken, StoreConfig};
use crate::config::source::{Located, Place};
use crate::config::text::AdminAddress;
use crate::config::written::Admin;

impl Checker<'_> {
    pub(super) fn admin(&mut self, store: &StoreConfig) -> Option<AdminConfig> {
        let document = self.document;
        let written = match &document.admin {
            Key::Absent => None,
            Key::Invalid => return None,
            Key::Present(admin, _) => Some(&admin.value),
        };
        let (socket, addresses) = self.admin_addresses(store, written)?;
        let Some(written) = written else {
            return Some(AdminConfig {
                socket,
                ..AdminConfig::default()
            });
        };
        let tokens = self.tokens(written);
        let certificate = self.admin_certificate(written);
        let client_ca = match &written.client_ca {
            Key::Absent => Some(None),
            Key::Invalid => None,
            Key::Present(name, place) => {
                let known = self.refers(
                    &document.ca_bundles,
                    "ca_bundles",
                    "CA bundle",
                    &name.value,
                    &name.place,
                );
                let encrypted = !written.certificate.is_absent() || self.needs_certificate(place);
                (known && encrypted).then(|| Some(name.value.clone()))
            }
        };
        let reachable = self.admin_is_guarded(written, &addresses);
        Some(AdminConfig {
            socket,
            addresses: addresses.iter().map(|address| address.value).collect(),
            tokens: tokens?,
            certificate: certificate?,
            client_ca: client_ca?,
        })
        .filter(|_| reachable)
    }

    /// The Unix socket and the TCP addresses; the socket in the store's directory where nothing is written.
    fn admin_addresses(
        &mut self,
        store: &StoreConfig,
        admin: Option<&Admin>,
    ) -> Option<(Option<PathBuf>, Vec<Located<std::net::SocketAddr>>)> {
        let listen = match admin.map_or(&Key::Absent, |admin| &admin.listen) {
            Key::Absent => {
                let written = self.document.store.value();
                let written = written.and_then(|store| store.value.path.value());
                let socket = store.path.join("admin.sock");
                let socket = self.socket(socket, written.map(|path| &path.place))?;
                return Some((Some(socket), Vec::new()));
            }
            Key::Invalid => return None,
            Key::Present(list, _) => &list.value.0,
        };
        let shown = listen.iter().map(|item| (&item.value, &item.place));
        let mut sound = self.no_repetition("`listen`", shown);
        let (mut socket, mut addresses) = (None, Vec::new());
        for item in listen {
            match &item.value {
                AdminAddress::Tcp(address) => addresses.push(item.with(*address)),
                AdminAddress::Unix(_) if socket.is_some() => {
                    sound = false;
                    self.report.push(
                        Diagnostic::new(Code::InvalidValue, "`listen` in [admin] names two Unix sockets")
                            .at(&item.place, "the second one")
                            .help("keep one of them"),
                    );
                }
                AdminAddress::Unix(path) => {
                    let path = self.sources.resolve(&item.with(path.clone()));
                    socket = Some(self.socket(path, Some(&item.place))?);
                }
            }
        }
        sound.then_some((socket, addresses))
    }

    fn socket(&mut self, socket: PathBuf, place: Option<&Place>) -> Option<PathBuf> {
        let length = socket.as_os_str().len();
        if length <= SOCKET_PATH_MAX {
            return Some(socket);
        }
        let mut diagnostic = Diagnostic::new(
            Code::OutOfRange,
            format!(
                "the admin socket's path `{}` has {length} octets; a Unix socket's path has {SOCKET_PATH_MAX} at most",
                socket.display()
            ),
        )
        .help("name a shorter path as `listen` in [admin]");
        if let Some(place) = place {
            diagnostic = diagnostic.at(place, "makes the socket's path too long");
        }
        self.report.push(diagnostic);
        None
    }

    /// Whoever reaches a TCP address must show a token, and send it in the clear only on this machine.
    fn admin_is_guarded(&mut self, admin: &Admin, addresses: &[Located<std::net::SocketAddr>]) -> bool {
        let mut sound = true;
        let has_token = !admin.token_file.is_absent() || !admin.tokens.is_absent();
        for Located { value, place } in addresses {
            if !has_token {
                sound = false;
                self.report.push(
                    Diagnostic::new(
                        Code::MissingKey,
                        format!("the admin API on {value} would be open to everybody who reaches it"),
                    )
                    .at(place, "needs a token")
                    .help("add [admin.tokens.NAME] with `file` and `rights`, or listen on a Unix socket"),
                );
            }
            if !value.ip().is_loopback() && admin.certificate.is_absent() {
                sound = false;
                self.report.push(
                    Diagnostic::new(
                        Code::MissingKey,
                        format!("tokens would be sent to {value} in the clear"),
                    )
                    .at(place, "needs TLS: not an address of this machine alone")
                    .help("add `certificate`, the name of the certificate to show there, to [admin]"),
                );
            }
        }
        sound
    }

    fn needs_certificate(&mut self, place: &Place) -> bool {
        self.report.push(
            Diagnostic::new(
                Code::MissingKey,
                "`client_ca` in [admin] needs `certificate` beside it",
            )
            .at(place, "client certificates are asked for in TLS only")
            .help("add `certificate`, the name of the certificate to show, to [admin]"),
        );
        false
    }

    fn admin_certificate(&mut self, admin: &Admin) -> Option<Option<CertificateName>> {
        let document = self.document;
        let name = match &admin.certificate {
            Key::Absent => return Some(None),
            Key::Invalid => return None,
            Key::Present(name, _) => name,
        };
        let Ok(certificate) = CertificateName::parse(&name.value) else {
            self.report.push(
                Diagnostic::new(
                    Code::InvalidValue,
                    format!("`{}` cannot be the name of a certificate", name.value),
                )
                .at(&name.place, "not a name"),
            );
            return None;
        };
        let known = match name.value.split_once('/') {
            None => self.refers(
                &document.certificates,
                "certificates",
                "certificate",
                &name.value,
                &name.place,
            ),
            Some((directory, _)) => self.refers(
                &document.certificate_directories,
                "certificate_directories",
                "certificate directory",
                directory,
                &name.place,
            ),
        };
        known.then_some(Some(certificate))
    }

    fn tokens(&mut self, admin: &Admin) -> Option<Vec<AdminToken>> {
        let mut wanted = Vec::new();
        match &admin.token_file {
            Key::Absent => {}
            Key::Invalid => return None,
            Key::Present(file, _) => wanted.push(("admin".to_owned(), file, AdminRights::Operate)),
        }
        if matches!(admin.tokens, Key::Invalid) {
            return None;
        }
        let mut sound = true;
        for entry in admin.tokens.entries() {
            let table = entry.table.as_ref();
            let file = table.and_then(|table| table.file.value());
            let rights = table.and_then(|table| table.rights.value());
            match file.zip(rights) {
                Some((file, rights)) => wanted.push((entry.name.value.clone(), file, rights.value)),
                None => sound = false,
            }
        }
        let mut tokens = Vec::new();
        let mut seen = BTreeMap::new();
        for (name, file, rights) in wanted {
            let Some(digest) = self.token(file) else {
                sound = false;
                continue;
            };
            if let Some(first) = seen.insert(digest, &file.place) {
                sound = false;
                self.report.push(
                    Diagnostic::new(
                        Code::ListedTwice,
                        format!("the token `{name}` is also another one"),
                    )
                    .at(&file.place, "the same secret")
                    .and(first, "as here")
                    .help("make a secret for each, so that it is known who is calling"),
                );
            }
            tokens.push(AdminToken { name, rights, digest });
        }
        sound.then_some(tokens)
    }

    /// The digest of the token in a file that only its owner can read.
    fn token(&mut self, written: &Located<PathBuf>) -> Option<[u8; 32]> {
        let (path, octets) = self.private_file(written, "token file")?;
        let secret = octets.trim_ascii();
        if !is_strong(secret) {
            let shown = path.display();
            self.report.push(
                Diagnostic::new(
                    Code::InvalidValue,
                    format!("the token file `{shown}` holds no token of at least 32 random bytes"),
                )
                .at(&written.place, "this file")
                .help(format!("make one: openssl rand -hex 32 > {shown}")),
            );
            return None;
        }
        digest(&SHA256, secret).as_ref().try_into().ok()
    }
}

/// Whether a token can hold 32 random bytes: as base64 they have 43 characters at least. What was typed by a person or
/// repeats itself is not random.
pub(super) fn is_strong(secret: &[u8]) -> bool {
    let mut different = secret.to_vec();
    different.sort_unstable();
    different.dedup();
    let is_token = (43..=1024).contains(&secret.len()) && secret.iter().all(u8::is_ascii_graphic);
    is_token && different.len() >= 10
}

/// `sun_path` of unix(7) without its closing zero.
const SOCKET_PATH_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use super::is_strong;

    #[test]
    fn a_token_is_taken_when_it_can_hold_32_random_bytes() {
        let hex = b"8f1d0a3c5b7e9246d8f0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6";
        assert!(is_strong(hex));
        assert!(is_strong(b"q2X9yH0v+Zr7Lr3m1sT8uN5wB6cD4eF/kJgPaQiYxWo="));
        for weak in [
            &b""[..],
            b"secret",
            &hex[..42],
            &[b'a'; 64],
            b"two words two words two words two words two words",
        ] {
            assert!(!is_strong(weak), "{weak:?}");
        }
    }
}
