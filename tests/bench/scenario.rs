//! The scenarios by name.

use clap::ValueEnum;

use crate::kind::Kind;

/// Something that is done with a proxy, or with the machine, while it is measured.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
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
    UnreadUpload,
    TwoWorkers,
    #[value(name = "certs-10k")]
    Certs10k,
    ChangeOne,
    Reload,
    #[value(name = "certs-1m")]
    Certs1m,
    Primitives,
}

impl Scenario {
    /// All of them, in the order in which they run.
    pub(crate) fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Its name in arguments and results.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The one with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::from_str(name, false).ok()
    }

    /// Whether it is short enough for `--quick`.
    pub(crate) fn is_quick(self) -> bool {
        !matches!(
            self,
            Self::TwoWorkers | Self::Certs10k | Self::ChangeOne | Self::Reload | Self::Certs1m
        )
    }

    /// Whether a program of this kind can do it.
    pub(crate) fn suits(self, kind: Kind) -> bool {
        match self {
            Self::Certs1m => kind == Kind::Certgate,
            // The others would load ten thousand for each of a hundred listeners.
            Self::Reload => matches!(kind, Kind::Certgate | Kind::Nginx),
            Self::Certs10k | Self::ChangeOne => kind.serves_many(),
            Self::FullPq => kind.is_post_quantum(),
            Self::Primitives => false,
            _ => true,
        }
    }
}
