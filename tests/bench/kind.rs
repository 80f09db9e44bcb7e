//! The programs that are known: their names, where they are, how to get them, and what they can do.

use std::path::PathBuf;

/// A program that ends TLS.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    Certgate,
    Nginx,
    Haproxy,
    Hitch,
    Sozu,
}

impl Kind {
    /// All of them, in the order of the table.
    pub(crate) const ALL: [Self; 5] = [
        Self::Certgate,
        Self::Nginx,
        Self::Haproxy,
        Self::Hitch,
        Self::Sozu,
    ];

    /// Its name in arguments and tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Certgate => "certgate",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Hitch => "hitch",
            Self::Sozu => "sozu",
        }
    }

    /// The one with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What makes it say its version.
    pub(crate) fn version_argument(self) -> &'static str {
        match self {
            Self::Nginx | Self::Haproxy => "-v",
            Self::Certgate | Self::Hitch | Self::Sozu => "--version",
        }
    }

    /// Where it is, unless something else is said.
    pub(crate) fn usual_program(self) -> PathBuf {
        match self {
            Self::Certgate => "target/dist/certgate".into(),
            Self::Nginx => "/usr/sbin/nginx".into(),
            Self::Haproxy => "/usr/sbin/haproxy".into(),
            Self::Hitch => "/usr/sbin/hitch".into(),
            Self::Sozu => "target/bench/peers/bin/sozu".into(),
        }
    }

    /// What brings it there.
    pub(crate) fn how_to_get(self) -> &'static str {
        match self {
            Self::Certgate => "cargo build --profile dist --bin certgate, or --certgate PATH",
            Self::Nginx => "apt-get install nginx libnginx-mod-stream",
            Self::Haproxy => "apt-get install haproxy",
            Self::Hitch => "apt-get install hitch",
            Self::Sozu => {
                "./tests/bench/run builds it with cargo install; it needs cmake and protobuf-compiler"
            }
        }
    }

    /// Whether it knows X25519MLKEM768. OpenSSL 3.0, which Debian builds its packages with, does not.
    pub(crate) fn is_post_quantum(self) -> bool {
        matches!(self, Self::Certgate | Self::Sozu)
    }

    /// Whether it can serve many certificates by server name here.
    pub(crate) fn serves_many(self) -> bool {
        self != Self::Sozu
    }
}
