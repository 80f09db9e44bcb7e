//! What is measured: the rows of the table.

/// A row.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Measure {
    FullEcdsa,
    FullRsa,
    FullPq,
    Resumed,
    Download,
    Upload,
    PingPong,
    PingPongMedian,
    PingPongTail,
    Idle,
}

impl Measure {
    /// What people call it, with the unit.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::FullEcdsa => "full handshake ECDSA, µs",
            Self::FullRsa => "full handshake RSA-2048, µs",
            Self::FullPq => "full handshake X25519MLKEM768, µs",
            Self::Resumed => "resumed handshake, µs",
            Self::Download => "download, ns/B",
            Self::Upload => "upload, ns/B",
            Self::PingPong => "ping-pong, µs",
            Self::PingPongMedian => "ping-pong latency p50, µs",
            Self::PingPongTail => "ping-pong latency p99, µs",
            Self::Idle => "idle connection, KiB",
        }
    }

    /// What programs call it.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::FullEcdsa => "full_ecdsa_us",
            Self::FullRsa => "full_rsa_us",
            Self::FullPq => "full_pq_us",
            Self::Resumed => "resumed_us",
            Self::Download => "download_ns_per_byte",
            Self::Upload => "upload_ns_per_byte",
            Self::PingPong => "ping_pong_us",
            Self::PingPongMedian => "ping_pong_p50_us",
            Self::PingPongTail => "ping_pong_p99_us",
            Self::Idle => "idle_kib",
        }
    }
}
