//! BIND 9 and Knot: secondary servers, which have a zone as their primary had it when they were last told of a change.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use tempfile::TempDir;

use super::own_network::name_server_address;
use super::primary::{ANSWERING, Kind, PATIENCE, Primary, answer, bind, knot, serial, texts};
use super::process::{Process, free_address};

/// A running server. Nobody but [`Self::catch_up`] tells it that a zone has changed, and by the zones' SOA records it is
/// long before it looks by itself. It is ended when this is dropped.
pub(crate) struct Secondary {
    process: Process,
    address: SocketAddr,
    primary: SocketAddr,
    _folder: TempDir,
}

impl Secondary {
    /// One that has these zones of `primary` as they are now.
    pub(crate) fn start(kind: Kind, primary: &Primary, zones: &[&str]) -> Self {
        // The port is free when chosen and may be taken a moment later, so a failed start is tried again.
        let mut started = (0..5).filter_map(|_| Self::started(kind, free_address(), primary, zones));
        started
            .next()
            .unwrap_or_else(|| panic!("{kind:?} was not ready in five attempts"))
    }

    /// BIND at port 53 of 127.0.0.`host`, where the test has a network of its own.
    pub(crate) fn at(host: u8, primary: &Primary, zones: &[&str]) -> Self {
        Self::started(Kind::Bind, name_server_address(host), primary, zones).expect("it is ready")
    }

    fn started(kind: Kind, address: SocketAddr, primary: &Primary, zones: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let primary = primary.address();
        let mut process = Process::start(
            &mut match kind {
                Kind::Bind => bind(folder.path(), address, ANSWERING, &bind_zones(primary, zones)),
                Kind::Knot => knot(folder.path(), address, &knot_zones(folder.path(), primary, zones)),
            },
            folder.path().join("log"),
        );
        let has_them = || zones.iter().all(|zone| serial(address, zone).is_some());
        if process.is_ready(PATIENCE, has_them) {
            return Some(Self {
                process,
                address,
                primary,
                _folder: folder,
            });
        }
        eprintln!("{kind:?} did not start:\n{}", process.log());
        None
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The TXT records at `owner`, sorted.
    pub(crate) fn texts(&self, owner: &str) -> Vec<String> {
        texts(self.address, owner)
    }

    /// Waits until BIND has been asked for the TXT records at `owner` so many times from now on; Knot does not tell.
    pub(crate) async fn is_asked(&self, owner: &str, times: usize) {
        let question = format!("query: {owner} IN TXT ");
        let asked = || self.process.log().matches(&question).count();
        let before = asked();
        becomes(&format!("asked {times} times for {owner}"), || {
            asked() >= before + times
        })
        .await;
    }

    /// Tells it that `zone` has changed (RFC 1996), and waits until it has what the primary has.
    pub(crate) async fn catch_up(&self, zone: &str) {
        let current = serial(self.primary, zone).expect("the primary holds the zone");
        let mut notify = Message::query();
        notify.metadata.op_code = OpCode::Notify;
        notify.metadata.authoritative = true;
        notify.metadata.recursion_desired = false;
        let name = Name::from_ascii(format!("{zone}.")).unwrap();
        notify.add_query(Query::query(name, RecordType::SOA));
        becomes("told", || {
            let answer = answer(self.address, &notify);
            answer.is_some_and(|answer| answer.metadata.response_code == ResponseCode::NoError)
        })
        .await;
        becomes(&format!("at {current} of {zone}"), || {
            serial(self.address, zone).is_some_and(|serial| serial >= current)
        })
        .await;
    }
}

async fn becomes(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "the secondary is not {what} in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn bind_zones(primary: SocketAddr, zones: &[&str]) -> String {
    let (ip, port) = (primary.ip(), primary.port());
    let mut clauses = String::new();
    for zone in zones {
        let _ = writeln!(
            clauses,
            "zone \"{zone}\" {{ type secondary; primaries {{ {ip} port {port}; }}; allow-notify {{ 127.0.0.1; }}; }};"
        );
    }
    clauses
}

fn knot_zones(folder: &Path, primary: SocketAddr, zones: &[&str]) -> String {
    let mut sections = format!(
        "remote:\n  - id: primary\n    address: {}@{}\n\
         acl:\n  - id: news\n    address: 127.0.0.1\n    action: notify\nzone:\n",
        primary.ip(),
        primary.port()
    );
    for zone in zones {
        let _ = write!(
            sections,
            "  - domain: {zone}\n    storage: {}\n    master: primary\n    acl: news\n",
            folder.display()
        );
    }
    sections
}
