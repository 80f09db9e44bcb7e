//! What is measured: the rows of the table.

/// A row.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Measure {
    FullEcdsa,
    FullEcdsaGenerator,
    Tickets,
    FullRsa,
    FullPq,
    Resumed,
    Download,
    DownloadGenerator,
    Upload,
    UploadGenerator,
    PingPong,
    PingPongMedian,
    PingPongTail,
    Idle,
    Fairness,
    BackPressure,
    BackPressureTail,
    TwoWorkers,
    TwoWorkersCost,
    TwoWorkersGenerator,
    TenThousandFirst,
    TenThousandMemory,
    TenThousandOne,
    TenThousandRandom,
    ChangeServed,
    ChangeCpu,
    ReloadCpu,
    MillionFirst,
    MillionMemory,
    MillionCold,
    MillionColdTail,
    MillionOne,
    MillionWarm,
    MillionChange,
    MillionChangeCpu,
}

impl Measure {
    /// What people call it, with the unit.
    pub(crate) fn title(self) -> &'static str {
        self.texts().0
    }

    /// What programs call it.
    pub(crate) fn key(self) -> &'static str {
        self.texts().1
    }

    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::FullEcdsa => ("full handshake ECDSA, µs", "full_ecdsa_us"),
            Self::FullEcdsaGenerator => ("  generator, % of its core", "full_ecdsa_generator_percent"),
            Self::Tickets => ("  tickets of each", "tickets"),
            Self::FullRsa => ("full handshake RSA-2048, µs", "full_rsa_us"),
            Self::FullPq => ("full handshake X25519MLKEM768, µs", "full_pq_us"),
            Self::Resumed => ("resumed handshake, µs", "resumed_us"),
            Self::Download => ("download, ns/B", "download_ns_per_byte"),
            Self::DownloadGenerator => ("  generator, % of its core", "download_generator_percent"),
            Self::Upload => ("upload, ns/B", "upload_ns_per_byte"),
            Self::UploadGenerator => ("  generator, % of its core", "upload_generator_percent"),
            Self::PingPong => ("ping-pong, µs", "ping_pong_us"),
            Self::PingPongMedian => ("ping-pong latency p50, µs", "ping_pong_p50_us"),
            Self::PingPongTail => ("ping-pong latency p99, µs", "ping_pong_p99_us"),
            Self::Idle => ("idle connection, KiB", "idle_kib"),
            Self::Fairness => ("8 bulk: slowest / mean", "fairness"),
            Self::BackPressure => ("unread bulk connection, KiB", "back_pressure_kib"),
            Self::BackPressureTail => ("handshake beside them p99, ms", "back_pressure_p99_ms"),
            Self::TwoWorkers => ("two workers, rate / one", "two_workers"),
            Self::TwoWorkersCost => ("two workers, CPU each / one", "two_workers_cost"),
            Self::TwoWorkersGenerator => ("  generator, % of its core", "two_workers_generator_percent"),
            Self::TenThousandFirst => ("10k certs: first handshake, ms", "certs_10k_first_ms"),
            Self::TenThousandMemory => ("10k certs: memory, MiB", "certs_10k_mib"),
            Self::TenThousandOne => ("10k certs: one name, µs", "certs_10k_one_us"),
            Self::TenThousandRandom => ("10k certs: random names, µs", "certs_10k_random_us"),
            Self::ChangeServed => ("10k certs: one changed, ms", "change_one_ms"),
            Self::ChangeCpu => ("10k certs: one changed, CPU ms", "change_one_cpu_ms"),
            Self::ReloadCpu => ("reload with 100 listeners, CPU ms", "reload_cpu_ms"),
            Self::MillionFirst => ("1M certs: first handshake, ms", "certs_1m_first_ms"),
            Self::MillionMemory => ("1M certs: memory, MiB", "certs_1m_mib"),
            Self::MillionCold => ("1M certs: cold name, ms", "certs_1m_cold_ms"),
            Self::MillionColdTail => ("1M certs: cold name p99, ms", "certs_1m_cold_p99_ms"),
            Self::MillionOne => ("1M certs: one name, µs", "certs_1m_one_us"),
            Self::MillionWarm => ("1M certs: warm names, µs", "certs_1m_warm_us"),
            Self::MillionChange => ("1M certs: one changed, ms", "certs_1m_change_ms"),
            Self::MillionChangeCpu => ("1M certs: one changed, CPU ms", "certs_1m_change_cpu_ms"),
        }
    }
}
