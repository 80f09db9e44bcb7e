//! One question to one server, as a resolver would ask it or as a CA's resolver would ask the zone's own servers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::tcp::TcpClientStream;
use hickory_resolver::net::udp::UdpClientStream;
use hickory_resolver::net::xfer::{DnsHandle, DnsRequestSender};
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::proto::serialize::binary::BinDecodable;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::evidence::LookupFailure;

/// Whom a question is for, which decides about the header's bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Manner {
    /// A server of the zone: it is asked for what it holds itself.
    Authoritative,
    /// A server of a zone above: it is asked whom it hands the name on to.
    Delegation,
    /// A resolver.
    Recursive,
    /// A resolver that is to hand out what does not verify, too (RFC 4035 §3.2.2).
    Unchecked,
}

/// An answer that says something about the name.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    /// The answer section.
    pub(super) records: Vec<Record>,
    /// The authority section.
    pub(super) authorities: Vec<Record>,
    /// The additional section.
    pub(super) additionals: Vec<Record>,
    /// Whether the name does not exist.
    pub(super) no_such_name: bool,
    /// Whether the server speaks for the zone.
    pub(super) authoritative: bool,
}

impl Reply {
    /// For how many seconds whoever heard it may go on saying so (RFC 2308 §5 where it says that there is nothing).
    pub(super) fn lifetime(&self) -> u32 {
        let negative = |record: &Record| match &record.data {
            RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
            _ => None,
        };
        let positive = self.records.iter().map(|record| record.ttl).min();
        positive
            .or_else(|| self.authorities.iter().find_map(negative))
            .unwrap_or(0)
    }

    /// The target of the CNAME record of `owner`, if it has one.
    pub(super) fn alias(&self, owner: &Name) -> Option<&Name> {
        self.records.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == *owner => Some(&target.0),
            _ => None,
        })
    }

    /// The DNAME record that makes `owner` an alias (RFC 6672 §3.1), if one does: its owner and its target.
    pub(super) fn dname(&self, owner: &Name) -> Option<(&Name, Name)> {
        self.records.iter().find_map(|record| match &record.data {
            RData::Unknown { code, rdata } if *code == RecordType::DNAME => {
                let is_above = record.name != *owner && record.name.zone_of(owner);
                // Its target is never compressed (RFC 6672 §2.5), so it can be read by itself.
                let target = Name::from_bytes(&rdata.anything).ok().filter(|_| is_above)?;
                Some((&record.name, target))
            }
            _ => None,
        })
    }
}

/// Asks `server` by UDP, and by TCP where the answer has no room; until `deadline`, and not longer than a server
/// needs that answers at all.
pub(super) async fn ask(
    server: SocketAddr,
    name: &Name,
    record: RecordType,
    manner: Manner,
    deadline: Instant,
) -> Result<Reply, LookupFailure> {
    let deadline = deadline.min(Instant::now() + PATIENCE);
    let exchange = async {
        let mut asked = request(name, record, manner, true);
        let mut answer = by_udp(server, asked.clone()).await?;
        if answer.metadata.response_code == ResponseCode::FormErr {
            // A server from before EDNS, or behind something that is (RFC 6891 §7).
            asked = request(name, record, manner, false);
            answer = by_udp(server, asked.clone()).await?;
        }
        match answer.metadata.truncation {
            true => by_tcp(server, asked).await,
            false => Ok(answer),
        }
    };
    let ended = tokio::select! {
        ended = timeout_at(deadline, exchange) => ended,
        error = refusal(server, request(name, record, manner, true)) => {
            return Err(LookupFailure::Unreachable { cause: error.kind().to_string() });
        }
    };
    match ended {
        Ok(Ok(answer)) => read(answer, name, manner),
        Ok(Err(NetError::Timeout)) | Err(_) => Err(LookupFailure::TimedOut),
        Ok(Err(error)) => Err(LookupFailure::Unreachable {
            cause: error.to_string(),
        }),
    }
}

/// Why nobody answers, where the machine knows: that nothing listens there, or no way leads there. Else it never ends. The
/// library's sockets are not connected, so they are not told.
async fn refusal(server: SocketAddr, request: DnsRequest) -> io::Error {
    tokio::time::sleep(Duration::from_millis(RETRY_AFTER_MS)).await;
    match told(server, &request).await {
        Err(error) => error,
        Ok(()) => std::future::pending().await,
    }
}

async fn told(server: SocketAddr, request: &DnsRequest) -> io::Result<()> {
    let anywhere: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let Ok(question) = request.to_vec() else {
        return Ok(());
    };
    let socket = UdpSocket::bind((anywhere, 0)).await?;
    socket.connect(server).await?;
    socket.send(&question).await?;
    socket.recv(&mut [0; 1]).await.map(drop)
}

fn request(name: &Name, record: RecordType, manner: Manner, extended: bool) -> DnsRequest {
    let mut options = DnsRequestOptions::default();
    options.use_edns = extended;
    options.recursion_desired = !matches!(manner, Manner::Authoritative | Manner::Delegation);
    let request = DnsRequest::from_query(Query::query(name.clone(), record), options);
    let (mut message, options) = request.into_parts();
    message.metadata.checking_disabled = manner == Manner::Unchecked;
    DnsRequest::new(message, options)
}

async fn by_udp(server: SocketAddr, request: DnsRequest) -> Result<DnsResponse, NetError> {
    let mut stream = UdpClientStream::builder(server, TokioRuntimeProvider::default())
        .with_timeout(Some(PATIENCE))
        .with_max_retries(1)
        .with_retry_interval_floor(RETRY_AFTER_MS)
        .build();
    let answer = stream.send_message(request).next().await;
    answer.unwrap_or(Err(NetError::Timeout))
}

async fn by_tcp(server: SocketAddr, request: DnsRequest) -> Result<DnsResponse, NetError> {
    // The connection lives as long as this.
    let provider = TokioRuntimeProvider::default();
    let exchange = TcpClientStream::exchange(server, None, PATIENCE, None, provider.clone()).await?;
    let answer = exchange.send(request).next().await;
    answer.unwrap_or(Err(NetError::Timeout))
}

fn read(answer: DnsResponse, name: &Name, manner: Manner) -> Result<Reply, LookupFailure> {
    let code = answer.metadata.response_code;
    let authoritative = answer.metadata.authoritative;
    if manner == Manner::Authoritative {
        let is_below = |record: &Record| {
            matches!(record.data, RData::NS(_)) && !record.name.is_root() && record.name.zone_of(name)
        };
        let refers = !authoritative && answer.answers.is_empty() && answer.authorities.iter().any(is_below);
        match code {
            ResponseCode::NoError | ResponseCode::NXDomain if authoritative => {}
            ResponseCode::NoError if refers => return Err(LookupFailure::Referral),
            ResponseCode::NoError | ResponseCode::NXDomain => {
                return Err(LookupFailure::Lame {
                    answer: "an answer that is not authoritative".to_owned(),
                });
            }
            ResponseCode::Refused | ResponseCode::NotAuth => {
                return Err(LookupFailure::Lame {
                    answer: mnemonic(code),
                });
            }
            _ => {}
        }
    }
    match code {
        ResponseCode::NoError | ResponseCode::NXDomain => {
            let message = answer.into_message();
            Ok(Reply {
                records: message.answers,
                authorities: message.authorities,
                additionals: message.additionals,
                no_such_name: code == ResponseCode::NXDomain,
                authoritative,
            })
        }
        code => Err(LookupFailure::ResponseCode {
            code: mnemonic(code),
            explanation: explanation(&answer),
        }),
    }
}

/// What an Extended DNS Error says (RFC 8914), where there is one.
fn explanation(answer: &DnsResponse) -> Option<String> {
    let edns = answer.edns.as_ref()?;
    let Some(EdnsOption::Unknown(_, bytes)) = edns.option(EdnsCode::Unknown(EXTENDED_ERROR)) else {
        return None;
    };
    let (code, text) = bytes.split_first_chunk::<2>()?;
    let code = u16::from_be_bytes(*code);
    let meaning = EXTENDED_ERRORS
        .iter()
        .find(|(known, _)| *known == code)
        .map_or_else(
            || format!("extended error {code}"),
            |(_, text)| (*text).to_owned(),
        );
    let text: String = String::from_utf8_lossy(text)
        .chars()
        .filter(|character| !character.is_control())
        .take(200)
        .collect();
    Some(match text.is_empty() {
        true => meaning,
        false => format!("{meaning}: {text}"),
    })
}

/// Whether an explanation says that the zone's servers could not be asked.
pub(super) fn is_out_of_reach(explanation: &str) -> bool {
    OUT_OF_REACH
        .iter()
        .any(|meaning| explanation.starts_with(meaning))
}

fn mnemonic(code: ResponseCode) -> String {
    match code {
        ResponseCode::ServFail => SERVFAIL.to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::NotAuth => "NOTAUTH".to_owned(),
        other => other.to_string(),
    }
}

/// The name of RCODE 2 (RFC 1035 §4.1.1).
pub(super) const SERVFAIL: &str = "SERVFAIL";

/// For one question to one server; a resolver that has to walk from the root needs a second or two.
const PATIENCE: Duration = Duration::from_secs(2);

/// A lost datagram is asked for once more.
const RETRY_AFTER_MS: u64 = 800;

/// The EDNS option of RFC 8914.
const EXTENDED_ERROR: u16 = 15;

/// The codes of RFC 8914 §4 that tell an operator something about a zone.
const EXTENDED_ERRORS: [(u16, &str); 14] = [
    (1, "unsupported DNSKEY algorithm"),
    (2, "unsupported DS digest type"),
    (5, "DNSSEC indeterminate"),
    (6, "DNSSEC bogus"),
    (7, "signature expired"),
    (8, "signature not yet valid"),
    (9, "DNSKEY missing"),
    (10, "signatures missing"),
    (11, "no zone key"),
    (12, "NSEC missing"),
    (18, "prohibited"),
    (20, "not authoritative"),
    (22, OUT_OF_REACH[0]),
    (23, OUT_OF_REACH[1]),
];

const OUT_OF_REACH: [&str; 2] = ["no reachable authority", "network error"];
