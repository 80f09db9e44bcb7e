//! What is measured: the rows of the tables.

/// Declares the rows in the order of the tables: what programs call each, and what people call it, with the unit.
macro_rules! measures {
    ($($measure:ident $key:literal $title:literal)+) => {
        /// A row.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub(crate) enum Measure { $($measure),+ }

        impl Measure {
            /// All of them, in the order of the tables.
            pub(crate) const ALL: &[Self] = &[$(Self::$measure),+];

            /// What programs call it.
            pub(crate) fn key(self) -> &'static str {
                match self { $(Self::$measure => $key),+ }
            }

            /// What people call it, with the unit; indented where it explains the row above.
            pub(crate) fn title(self) -> &'static str {
                match self { $(Self::$measure => $title),+ }
            }
        }
    };
}

measures! {
    FullEcdsa "full_ecdsa_us" "full handshake ECDSA, µs"
    FullEcdsaGenerator "full_ecdsa_generator_percent" "  generator, % of its core"
    Tickets "tickets" "  tickets of each"
    FullRsa "full_rsa_us" "full handshake RSA-2048, µs"
    FullPq "full_pq_us" "full handshake X25519MLKEM768, µs"
    Resumed "resumed_us" "resumed handshake, µs"
    Download "download_ns_per_byte" "download, ns/B"
    DownloadGenerator "download_generator_percent" "  generator, % of its core"
    Upload "upload_ns_per_byte" "upload, ns/B"
    UploadGenerator "upload_generator_percent" "  generator, % of its core"
    PingPong "ping_pong_us" "ping-pong, µs"
    PingPongMedian "ping_pong_p50_us" "ping-pong latency p50, µs"
    PingPongTail "ping_pong_p99_us" "ping-pong latency p99, µs"
    Idle "idle_kib" "idle connection, KiB"
    IdleConnections "idle_connections" "  of so many"
    Fairness "fairness" "8 bulk: slowest / mean"
    BackPressure "back_pressure_kib" "unread bulk connection, KiB"
    BackPressureConnections "back_pressure_connections" "  of so many"
    BackPressureTail "back_pressure_p99_ms" "handshake beside them p99, ms"
    UnreadUpload "unread_upload_kib" "unread upload, KiB"
    TwoWorkers "two_workers" "two workers: rate / one"
    TwoWorkersCost "two_workers_cost" "two workers: CPU each / one"
    TwoWorkersGenerator "two_workers_generator_percent" "  generator, % of its core"
    TenThousandFirst "certs_10k_first_ms" "10k certs: first handshake, ms"
    TenThousandMemory "certs_10k_mib" "10k certs: memory, MiB"
    TenThousandOne "certs_10k_one_us" "10k certs: one alone, µs"
    TenThousandRandom "certs_10k_random_us" "10k certs: random names, µs"
    ChangeServed "change_one_ms" "10k certs: one changed, ms"
    ChangeCpu "change_one_cpu_ms" "10k certs: one changed, CPU ms"
    ReloadCpu "reload_cpu_ms" "reload with 100 listeners, CPU ms"
    MillionFirst "certs_1m_first_ms" "1M certs: first handshake, ms"
    MillionMemory "certs_1m_mib" "1M certs: memory, MiB"
    MillionCold "certs_1m_cold_ms" "1M certs: cold name, ms"
    MillionColdTail "certs_1m_cold_p99_ms" "1M certs: cold name p99, ms"
    MillionOne "certs_1m_one_us" "1M certs: one alone, µs"
    MillionWarm "certs_1m_warm_us" "1M certs: warm names, µs"
    MillionChange "certs_1m_change_ms" "1M certs: one changed, ms"
    MillionChangeCpu "certs_1m_change_cpu_ms" "1M certs: one changed, CPU ms"
    EcdsaSign "ecdsa_p256_sign_us" "ECDSA P-256 signature, µs"
    RsaSign "rsa_2048_sign_us" "RSA-2048 signature, µs"
    X25519Generate "x25519_generate_us" "X25519 key pair, µs"
    X25519Agree "x25519_agree_us" "X25519 agreement, µs"
    MlKemEncapsulate "ml_kem_768_encapsulate_us" "ML-KEM-768 encapsulation, µs"
    AesSeal "aes_128_gcm_seal_gb_per_s" "AES-128-GCM, 16 KiB sealed, GB/s"
    TcpConnection "tcp_connection_us" "TCP connect + accept + close, µs"
}

impl Measure {
    /// The one that programs call `key`.
    pub(crate) fn named(key: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|measure| measure.key() == key).copied()
    }

    /// Whether it only explains the row above, so that ratios say nothing.
    pub(crate) fn is_detail(self) -> bool {
        self.title().starts_with(' ')
    }
}
