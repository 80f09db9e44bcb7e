//! BIND 9 and Knot: primary servers of zones that take updates signed with a key.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::{Message, Query};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tempfile::TempDir;

use super::own_network::name_server_address;
use super::process::{Process, free_address};

/// The key that may change TXT records; its secret is in [`Primary::key_file`].
pub(crate) const KEY: &str = "certgate";
/// A key that the server knows, and that may change nothing.
pub(crate) const POWERLESS: &str = "powerless";
/// The secret of both.
pub(crate) const SECRET: &str = "Y2VydGdhdGUncyB0ZXN0cyBrbm93IHRoaXMgb25lLi4=";

/// How long a state is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Which program it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Bind,
    Knot,
}

/// Its name, its records in zone-file form, and whether [`KEY`] may change TXT records in it.
type Zone<'a> = (&'a str, &'a str, bool);

/// A running server. It is ended when this is dropped.
pub(crate) struct Primary {
    process: Process,
    address: SocketAddr,
    folder: TempDir,
}

impl Primary {
    /// One that holds these zones: each with its records in zone-file form beside SOA and NS, and whether the key may
    /// change TXT records in it.
    pub(crate) fn start(kind: Kind, zones: &[Zone<'_>]) -> Self {
        // The address is of none of the servers, or two of them at one address would bear the same name.
        let named = Ipv4Addr::new(127, 0, 0, 53).into();
        // The port is free when chosen and may be taken a moment later, so a failed start is tried again.
        let mut started = (0..5).filter_map(|_| Self::started(kind, free_address(), named, zones));
        started
            .next()
            .unwrap_or_else(|| panic!("{kind:?} was not ready in five attempts"))
    }

    /// BIND at port 53 of 127.0.0.`host`, where the test has a network of its own. So its zones lead there.
    pub(crate) fn at(host: u8, zones: &[Zone<'_>]) -> Self {
        let address = name_server_address(host);
        Self::started(Kind::Bind, address, address.ip(), zones).expect("it is ready")
    }

    fn started(kind: Kind, address: SocketAddr, named: IpAddr, zones: &[Zone<'_>]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        private(&folder.path().join("tsig.key"), SECRET);
        for (zone, records, _) in zones {
            let head = format!(
                "$TTL 60\n@ IN SOA ns1 hostmaster 1 3600 600 86400 60\n@ IN NS ns1\nns1 IN A {named}\n"
            );
            let file = folder.path().join(format!("{zone}.zone"));
            fs::write(file, format!("{head}{records}\n")).unwrap();
        }
        let mut process = Process::start(
            &mut match kind {
                Kind::Bind => bind(folder.path(), address, ANSWERING, &bind_zones(zones)),
                Kind::Knot => knot(folder.path(), address, &knot_zones(folder.path(), zones)),
            },
            folder.path().join("log"),
        );
        let answers = || zones.iter().all(|(zone, ..)| serial(address, zone).is_some());
        if process.is_ready(PATIENCE, answers) {
            return Some(Self {
                process,
                address,
                folder,
            });
        }
        eprintln!("{kind:?} did not start:\n{}", process.log());
        None
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The secret of [`KEY`], in a file of mode 0600.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.folder.path().join("tsig.key")
    }

    /// Another secret, in such a file.
    pub(crate) fn wrong_key_file(&self) -> PathBuf {
        let path = self.folder.path().join("wrong.key");
        private(&path, "c29tZXRoaW5nIGVsc2UgdGhhbiB3aGF0IGl0IGtub3dz");
        path
    }

    /// The TXT records at `owner`, sorted.
    pub(crate) fn texts(&self, owner: &str) -> Vec<String> {
        texts(self.address, owner)
    }

    /// Waits until there are `count` TXT records at `owner`, and returns them.
    pub(crate) async fn texts_become(&self, owner: &str, count: usize) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let texts = self.texts(owner);
            if texts.len() == count {
                return texts;
            }
            assert!(
                Instant::now() < deadline,
                "{owner} has {texts:?} and not {count} texts"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Changes `zone` by somebody else's hand: a line as `nsupdate` takes it after `update`. It goes by TCP and without a
    /// search for the zone, for `nsupdate` gives up when one datagram of that is lost.
    pub(crate) fn change(&self, zone: &str, line: &str) {
        let mut nsupdate = Command::new("nsupdate")
            .args(["-v", "-y"])
            .arg(format!("hmac-sha256:{KEY}:{SECRET}"))
            .stdin(Stdio::piped())
            .spawn()
            .expect("nsupdate is installed");
        let (ip, port) = (self.address.ip(), self.address.port());
        let input = nsupdate.stdin.take().unwrap();
        write!(&input, "server {ip} {port}\nzone {zone}\nupdate {line}\nsend\n").unwrap();
        drop(input);
        assert!(nsupdate.wait().unwrap().success(), "{line}");
    }

    /// How often `zone` was changed, in a way.
    pub(crate) fn serial(&self, zone: &str) -> u32 {
        serial(self.address, zone).expect("it holds the zone")
    }

    /// What it wrote so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Takes it off the air, for good.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }
}

/// The TXT records at `owner` as the server at `address` has them, sorted.
pub(crate) fn texts(address: SocketAddr, owner: &str) -> Vec<String> {
    let Some(answer) = ask(address, owner, RecordType::TXT) else {
        return Vec::new();
    };
    let text = |data: &RData| match data {
        RData::TXT(text) => Some(String::from_utf8(text.txt_data.concat()).unwrap()),
        _ => None,
    };
    let mut texts: Vec<_> = answer
        .answers
        .iter()
        .filter_map(|record| text(&record.data))
        .collect();
    texts.sort();
    texts
}

/// Writes a file that only its owner can read.
pub(crate) fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// Which version of `zone` the server at `address` has, if any.
pub(super) fn serial(address: SocketAddr, zone: &str) -> Option<u32> {
    let answer = ask(address, zone, RecordType::SOA)?;
    answer.answers.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    })
}

/// What the server at `address` answers, if it does.
pub(crate) fn ask(address: SocketAddr, owner: &str, kind: RecordType) -> Option<Message> {
    let name = Name::from_ascii(format!("{}.", owner.trim_end_matches('.'))).unwrap();
    let mut message = Message::query();
    message.add_query(Query::query(name, kind));
    answer(address, &message)
}

/// What the server at `address` answers to this message, if it does.
pub(super) fn answer(address: SocketAddr, message: &Message) -> Option<Message> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket.connect(address).unwrap();
    socket.send(&message.to_vec().unwrap()).ok()?;
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).ok()?;
    Message::from_vec(&buffer[..length]).ok()
}

/// A server that follows aliases between its zones as a resolver would; of others it asks nobody that answers.
pub(super) const ANSWERING: &str = "recursion yes; forward only; forwarders { 127.0.0.1 port 9; }";

/// BIND with these options beside its usual ones, and these clauses after them.
pub(super) fn bind(folder: &Path, address: SocketAddr, options: &str, clauses: &str) -> Command {
    let shown = folder.display();
    let config = format!(
        "options {{ directory \"{shown}\"; pid-file \"{shown}/pid\"; session-keyfile \"{shown}/session.key\";\n\
         lock-file none; listen-on port {} {{ {}; }}; listen-on-v6 {{ none; }}; notify no; querylog yes;\n\
         {options}; allow-query {{ any; }}; dnssec-validation no; check-names primary ignore; }};\ncontrols {{ }};\n{clauses}",
        address.port(),
        address.ip(),
    );
    private(&folder.join("named.conf"), &config);
    let mut command = Command::new("/usr/sbin/named");
    command
        .arg("-g")
        .args(["-n", "1", "-c"])
        .arg(folder.join("named.conf"));
    command
}

/// The zones of a primary, with its keys.
fn bind_zones(zones: &[Zone<'_>]) -> String {
    let mut clauses = String::new();
    for key in [KEY, POWERLESS] {
        let _ = writeln!(
            clauses,
            "key \"{key}\" {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};"
        );
    }
    for (zone, _, changeable) in zones {
        let policy = match changeable {
            true => format!("update-policy {{ grant {KEY} zonesub TXT; }};"),
            false => String::new(),
        };
        let _ = writeln!(
            clauses,
            "zone \"{zone}\" {{ type primary; file \"{zone}.zone\"; allow-transfer {{ 127.0.0.1; }}; {policy} }};"
        );
    }
    clauses
}

/// Knot with these sections after its own.
pub(super) fn knot(folder: &Path, address: SocketAddr, sections: &str) -> Command {
    let shown = folder.display();
    let config = format!(
        "server:\n  rundir: {shown}\n  listen: {}@{}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         log:\n  - target: stderr\n    any: info\ndatabase:\n  storage: {shown}\n\
         control:\n  listen: {shown}/knot.sock\n{sections}",
        address.ip(),
        address.port(),
    );
    private(&folder.join("knot.conf"), &config);
    let mut command = Command::new("/usr/sbin/knotd");
    command.arg("-c").arg(folder.join("knot.conf"));
    command
}

fn knot_zones(folder: &Path, zones: &[Zone<'_>]) -> String {
    let mut sections = "key:\n".to_owned();
    for key in [KEY, POWERLESS] {
        let _ = write!(
            sections,
            "  - id: {key}\n    algorithm: hmac-sha256\n    secret: {SECRET}\n"
        );
    }
    let _ = write!(
        sections,
        "acl:\n  - id: texts\n    key: {KEY}\n    action: update\n    update-type: TXT\n  \
         - id: secondaries\n    address: 127.0.0.1\n    action: transfer\nzone:\n"
    );
    for (zone, _, changeable) in zones {
        let acl = if *changeable {
            "texts, secondaries"
        } else {
            "secondaries"
        };
        let _ = write!(
            sections,
            "  - domain: {zone}\n    storage: {}\n    file: {zone}.zone\n    acl: [{acl}]\n",
            folder.display()
        );
    }
    sections
}
