//! The scenarios by name.

use clap::ValueEnum;

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
}

impl Scenario {
    /// All of them, in the order in which they run.
    pub(crate) const ALL: [Self; 8] = [
        Self::FullEcdsa,
        Self::FullRsa,
        Self::FullPq,
        Self::Resumed,
        Self::Download,
        Self::Upload,
        Self::PingPong,
        Self::Idle,
    ];

    /// Whether it is short enough for `--quick`.
    pub(crate) fn is_quick(self) -> bool {
        true
    }
}
