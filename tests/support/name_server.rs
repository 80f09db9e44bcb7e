//! A name server in the test's own process, by UDP and TCP: it speaks for a zone, or resolves, and fails as told.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use hickory_resolver::proto::op::{Edns, Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::opt::EdnsOption;
use hickory_resolver::proto::rr::rdata::{CAA, NULL, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType, rdata};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// Answers until its runtime ends. Clones are the same server.
#[derive(Clone)]
pub(crate) struct NameServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// What it says, and how it fails.
#[derive(Default)]
pub(crate) struct State {
    records: Vec<Record>,
    /// Answers as a resolver does: for everybody, and along aliases.
    pub(crate) resolves: bool,
    /// Answers REFUSED to everything.
    pub(crate) lame: bool,
    /// Answers without speaking for the zone, as one that has it from hearsay.
    pub(crate) hearsay: bool,
    /// Answers nothing.
    pub(crate) silent: bool,
    /// Does not understand EDNS (RFC 6891 §7).
    pub(crate) old: bool,
    /// Has no room for an answer in a datagram.
    pub(crate) truncates: bool,
    /// Gets no answer for names that end so, and says it in the end.
    pub(crate) lost: Option<&'static str>,
    /// The same, and goes on waiting.
    pub(crate) waiting: Option<&'static str>,
    /// Answers SERVFAIL to these.
    pub(crate) failing: BTreeSet<(String, RecordType)>,
    /// Answers SERVFAIL to these once each.
    pub(crate) failing_once: BTreeSet<(String, RecordType)>,
    /// Holds the names that end so for wrongly signed: hands them out only to who does not want them checked.
    pub(crate) bogus: Option<&'static str>,
    /// Questions so far.
    pub(crate) questions: Vec<(String, RecordType)>,
}

impl NameServer {
    /// A server at 127.0.0.`host` that speaks for the zone `example.com` and has no record but the SOA.
    pub(crate) async fn authority(host: u8) -> Self {
        Self::of("example.com", host).await
    }

    /// The same for another zone.
    pub(crate) async fn of(zone: &str, host: u8) -> Self {
        let server = Self::start(Ipv4Addr::new(127, 0, 0, host).into()).await;
        server.add(&format!("{zone} SOA 1"));
        server
    }

    /// A resolver at 127.0.0.`host` that knows what it is told.
    pub(crate) async fn resolver(host: u8) -> Self {
        let server = Self::authority(host).await;
        server.change(|state| state.resolves = true);
        server
    }

    /// The same, where only IPv6 leads to it.
    pub(crate) async fn resolver_by_ipv6() -> Self {
        let server = Self::start(Ipv6Addr::LOCALHOST.into()).await;
        server.add("example.com SOA 1");
        server.change(|state| state.resolves = true);
        server
    }

    async fn start(ip: IpAddr) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((ip, 0)).await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        tokio::spawn(serve_udp(udp, state.clone()));
        tokio::spawn(serve_tcp(tcp, state.clone()));
        Self { address, state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
    }

    /// Adds a record: owner, type and data, as in `www.example.com A 192.0.2.1`; all live for 300 s.
    pub(crate) fn add(&self, record: &str) {
        self.put(parsed(record));
    }

    /// The same, where the record cannot be written so.
    pub(crate) fn put(&self, record: Record) {
        self.state().records.push(record);
    }

    /// Takes every record of an owner away.
    pub(crate) fn remove(&self, owner: &str) {
        let owner = name(owner);
        self.state().records.retain(|record| record.name != owner);
    }

    /// Gives an owner these texts, and no other record.
    pub(crate) fn set_texts(&self, owner: &str, texts: &[&str]) {
        let records: Vec<_> = texts
            .iter()
            .map(|text| parsed(&format!("{owner} TXT {text}")))
            .collect();
        let owner = name(owner);
        let mut state = self.state();
        state.records.retain(|record| record.name != owner);
        state.records.extend(records);
    }

    /// The texts that an owner has, sorted.
    pub(crate) fn texts(&self, owner: &str) -> Vec<String> {
        let owner = name(owner);
        let state = self.state();
        let here = state.records.iter().filter(|record| record.name == owner);
        let texts = here.filter_map(|record| match &record.data {
            RData::TXT(text) => String::from_utf8(text.txt_data.concat()).ok(),
            _ => None,
        });
        let mut texts: Vec<_> = texts.collect();
        texts.sort();
        texts
    }

    pub(crate) fn questions(&self) -> Vec<(String, RecordType)> {
        self.state().questions.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn answer(&mut self, query: &Message, by_udp: bool) -> Option<Message> {
        let question = query.queries.first()?;
        let (owner, kind) = (question.name().to_lowercase(), question.query_type());
        let text = owner.to_ascii().trim_end_matches('.').to_owned();
        self.questions.push((text.clone(), kind));
        let is_below = |end: Option<&str>| end.is_some_and(|end| text.ends_with(end));
        if self.silent || is_below(self.waiting) {
            return None;
        }
        let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
        answer.metadata.message_type = MessageType::Response;
        answer.metadata.recursion_desired = query.metadata.recursion_desired;
        answer.metadata.recursion_available = self.resolves;
        answer.metadata.authoritative = !self.resolves && !self.lame && !self.hearsay;
        answer.add_query(question.clone());
        if self.old && query.edns.is_some() {
            answer.metadata.response_code = ResponseCode::FormErr;
            return Some(answer);
        }
        let asks_the_zone = !query.metadata.recursion_desired;
        if self.lame || (asks_the_zone && self.resolves) {
            answer.metadata.response_code = ResponseCode::Refused;
            return Some(answer);
        }
        if self.bogus.is_some_and(|end| text.ends_with(end)) && !query.metadata.checking_disabled {
            answer.metadata.response_code = ResponseCode::ServFail;
            let mut edns = Edns::new();
            edns.options_mut()
                .insert(EdnsOption::Unknown(15, [&[0, 7][..], b"RRSIG too old"].concat()));
            answer.set_edns(edns);
            return Some(answer);
        }
        let is_lost = is_below(self.lost);
        let question = (text, kind);
        if is_lost || self.failing_once.remove(&question) || self.failing.contains(&question) {
            answer.metadata.response_code = ResponseCode::ServFail;
            return Some(answer);
        }
        if self.truncates && by_udp {
            answer.metadata.truncation = true;
            return Some(answer);
        }
        self.fill(&mut answer, owner, kind);
        Some(answer)
    }

    fn fill(&self, answer: &mut Message, mut owner: Name, kind: RecordType) {
        for _ in 0..16 {
            let here = self.of(&owner);
            let asked: Vec<_> = here
                .iter()
                .filter(|record| record.record_type() == kind)
                .cloned()
                .collect();
            let alias = here.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if kind != RecordType::CNAME => Some((record.clone(), target.0.clone())),
                _ => None,
            });
            match alias {
                Some((record, target)) => {
                    answer.add_answer(record);
                    if !self.resolves {
                        return;
                    }
                    owner = target.to_lowercase();
                }
                None if asked.is_empty() => {
                    let is_below = |record: &&Record| owner.zone_of(&record.name);
                    if here.is_empty() && !self.records.iter().any(|record| is_below(&record)) {
                        answer.metadata.response_code = ResponseCode::NXDomain;
                    }
                    let soa = |record: &&Record| {
                        record.record_type() == RecordType::SOA && record.name.zone_of(&owner)
                    };
                    answer.add_authorities(self.records.iter().filter(soa).cloned().collect::<Vec<_>>());
                    return;
                }
                None => {
                    answer.add_answers(asked);
                    return;
                }
            }
        }
    }

    /// The records of an owner, or where there is no such name, those of the wildcard below the nearest name above it
    /// that there is (RFC 4592 §3.3.1).
    fn of(&self, owner: &Name) -> Vec<Record> {
        let at = |owner: &Name| -> Vec<Record> {
            self.records
                .iter()
                .filter(|record| record.name == *owner)
                .cloned()
                .collect()
        };
        let exists = |name: &Name| self.records.iter().any(|record| name.zone_of(&record.name));
        if exists(owner) {
            return at(owner);
        }
        let mut encloser = owner.base_name();
        while !encloser.is_root() && !exists(&encloser) {
            encloser = encloser.base_name();
        }
        let mut wild = at(&encloser.prepend_label("*").unwrap());
        for record in &mut wild {
            record.name = owner.clone();
        }
        wild
    }
}

async fn serve_udp(socket: UdpSocket, state: Arc<Mutex<State>>) {
    let mut buffer = [0; 4096];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        let Ok(query) = Message::from_vec(&buffer[..length]) else {
            continue;
        };
        let answer = state.lock().unwrap().answer(&query, true);
        if let Some(answer) = answer {
            let _ = socket.send_to(&answer.to_vec().unwrap(), client).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let state = state.clone();
        tokio::spawn(async move {
            while let Ok(length) = stream.read_u16().await {
                let mut message = vec![0; length.into()];
                if stream.read_exact(&mut message).await.is_err() {
                    return;
                }
                let Ok(query) = Message::from_vec(&message) else {
                    return;
                };
                let answer = state.lock().unwrap().answer(&query, false);
                let Some(answer) = answer else { return };
                let answer = answer.to_vec().unwrap();
                let length = u16::try_from(answer.len()).unwrap();
                if stream.write_u16(length).await.is_err() || stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn parsed(text: &str) -> Record {
    let (owner, rest) = text.split_once(' ').expect("an owner");
    let (kind, data) = rest.split_once(' ').expect("a type");
    let data = match kind {
        "A" => RData::A(rdata::A(data.parse().unwrap())),
        "AAAA" => RData::AAAA(rdata::AAAA(data.parse().unwrap())),
        "CNAME" => RData::CNAME(rdata::CNAME(name(data))),
        "NS" => RData::NS(rdata::NS(name(data))),
        "TXT" => RData::TXT(TXT::new(vec![data.to_owned()])),
        "SOA" => {
            let serial = data.parse().unwrap();
            let (primary, mailbox) = (name("ns1.example.com"), name("hostmaster.example.com"));
            RData::SOA(SOA::new(primary, mailbox, serial, 3600, 600, 86_400, 60))
        }
        "DS" => RData::Unknown {
            code: RecordType::DS,
            rdata: NULL::with(vec![0x30, 0x39, 13, 2, 0xab, 0xcd]),
        },
        "CAA" => {
            let mut parts = data.splitn(3, ' ');
            let flags: u8 = parts.next().unwrap().parse().unwrap();
            let mut caa = CAA::new_issue(flags & 128 != 0, None, Vec::new());
            caa.tag = parts.next().unwrap().to_owned();
            caa.value = parts.next().unwrap().trim_matches('"').as_bytes().to_vec();
            RData::CAA(caa)
        }
        other => panic!("no such type here: {other}"),
    };
    Record::from_rdata(name(owner), 300, data)
}

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).unwrap()
}
