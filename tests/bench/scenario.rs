//! The scenarios by name.

use clap::ValueEnum;

use crate::peers::{Kind, Peer};

/// Something that is done with a proxy while it is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Scenario {
    FullEcdsa,
    FullRsa,
    FullPq,
    Resumed,
    Download,
    Upload,
    PingPong,
    Idle,
    Fairness,
    BackPressure,
    TwoWorkers,
    #[value(name = "certs-10k")]
    Certs10k,
    ChangeOne,
    Reload,
    #[value(name = "certs-1m")]
    Certs1m,
}

impl Scenario {
    /// All of them, in the order in which they run.
    pub(crate) const ALL: [Self; 15] = [
        Self::FullEcdsa,
        Self::FullRsa,
        Self::FullPq,
        Self::Resumed,
        Self::Download,
        Self::Upload,
        Self::PingPong,
        Self::Idle,
        Self::Fairness,
        Self::BackPressure,
        Self::TwoWorkers,
        Self::Certs10k,
        Self::ChangeOne,
        Self::Reload,
        Self::Certs1m,
    ];

    /// Whether it is short enough for `--quick`.
    pub(crate) fn is_quick(self) -> bool {
        !matches!(
            self,
            Self::TwoWorkers | Self::Certs10k | Self::ChangeOne | Self::Reload | Self::Certs1m
        )
    }

    /// Whether `peer` can do it.
    pub(crate) fn suits(self, peer: &Peer) -> bool {
        match self {
            Self::Certs1m => peer.kind == Kind::Certgate,
            // The others would load ten thousand for each of a hundred listeners.
            Self::Reload => matches!(peer.kind, Kind::Certgate | Kind::Nginx),
            Self::Certs10k | Self::ChangeOne => peer.serves_many(),
            Self::FullPq => peer.is_post_quantum(),
            _ => true,
        }
    }
}
