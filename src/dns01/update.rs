//! Dynamic updates (RFC 2136): the message, and what its answer means.

use hickory_resolver::proto::ProtoError;
use hickory_resolver::proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::TXT;
use hickory_resolver::proto::rr::rdata::tsig::TsigError;
use hickory_resolver::proto::rr::{DNSClass, RData, Record, RecordType};

use crate::clock::Timestamp;
use crate::dns::fully_qualified;
use crate::inventory::PlacedRecord;

/// What is done with a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    /// It stands beside others of its owner (RFC 2136 §2.5.1).
    Add,
    /// It is taken away, and others stay (RFC 2136 §2.5.4). Where it is not there, nothing changes.
    Remove,
}

/// Why a server said no.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Refusal {
    pub(super) code: String,
    pub(super) meaning: String,
}

/// What a refusal is explained with.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) record: &'a PlacedRecord,
    pub(super) key: &'a str,
    pub(super) algorithm: &'a str,
    pub(super) key_file: &'a str,
    pub(super) now: Timestamp,
}

/// The message that changes `record`, not signed yet.
pub(super) fn update(record: &PlacedRecord, change: Change) -> Result<Message, ProtoError> {
    let data = RData::TXT(TXT::new(vec![record.value.clone()]));
    let mut changed = Record::from_rdata(fully_qualified(&record.owner)?, LIFETIME, data);
    if change == Change::Remove {
        changed.dns_class = DNSClass::NONE;
        changed.ttl = 0;
    }
    let mut message = Message::query();
    message.metadata.op_code = OpCode::Update;
    message.metadata.recursion_desired = false;
    message.add_query(Query::query(fully_qualified(&record.zone)?, RecordType::SOA));
    message.add_authority(changed);
    Ok(message)
}

/// Whether `answer` is one to the message with `id`.
pub(super) fn answers(answer: &Message, id: u16) -> bool {
    answer.metadata.id == id
        && answer.metadata.message_type == MessageType::Response
        && answer.metadata.op_code == OpCode::Update
}

/// Why `answer` is a no; `None` where it is none.
pub(super) fn refusal(answer: &Message, asked: Asked<'_>) -> Option<Refusal> {
    let tsig = answer.signature().map(|record| &record.data);
    let Asked {
        record,
        key,
        algorithm,
        key_file,
        now,
    } = asked;
    let (code, meaning) = match tsig.and_then(|tsig| tsig.error) {
        None => in_words(answer.metadata.response_code, record, key)?,
        Some(TsigError::BadKey) => (
            "BADKEY",
            format!(
                "it has no key `{key}` for {algorithm}, or none that may change a zone: `tsig_name` and `tsig_algorithm` \
                 have to be as they are there"
            ),
        ),
        Some(TsigError::BadSig) => (
            "BADSIG",
            format!("its key `{key}` is another one than that in `{key_file}`"),
        ),
        Some(TsigError::BadTime) => {
            let there = tsig.and_then(|tsig| server_time(&tsig.other));
            let there = there.map_or_else(|| "another time".to_owned(), |time| time.to_string());
            (
                "BADTIME",
                format!("its clock says {there}, and the clock here {now}: set the wrong one right"),
            )
        }
        Some(TsigError::BadTrunc) => ("BADTRUNC", "it wants another length of the signature".to_owned()),
        Some(TsigError::Unknown(code)) => {
            let meaning = "an error of the signature that is not known here".to_owned();
            return Some(Refusal {
                code: format!("TSIG error {code}"),
                meaning,
            });
        }
    };
    Some(Refusal {
        code: code.to_owned(),
        meaning,
    })
}

/// The code's name and meaning (RFC 2136 §2.2); `None` for success.
fn in_words(code: ResponseCode, record: &PlacedRecord, key: &str) -> Option<(&'static str, String)> {
    let PlacedRecord { owner, zone, .. } = record;
    Some(match code {
        ResponseCode::NoError => return None,
        ResponseCode::Refused => (
            "REFUSED",
            format!("the key `{key}` may not change TXT records at {owner} there"),
        ),
        ResponseCode::NotAuth => (
            "NOTAUTH",
            format!("it does not hold the zone {zone}, or does not let the key `{key}` change it"),
        ),
        ResponseCode::NotZone => ("NOTZONE", format!("{owner} is not in its zone {zone}")),
        ResponseCode::ServFail => ("SERVFAIL", "it has failed; its log says why".to_owned()),
        ResponseCode::NotImp => ("NOTIMP", "it takes no updates".to_owned()),
        ResponseCode::FormErr => ("FORMERR", "it does not understand the update".to_owned()),
        ResponseCode::NXDomain | ResponseCode::YXDomain | ResponseCode::YXRRSet | ResponseCode::NXRRSet => {
            ("a failed condition", "though the update has none".to_owned())
        }
        other => ("a code", format!("{} ({})", u16::from(other), other)),
    })
}

/// What a server that answers BADTIME takes for the time (RFC 8945 §5.2.3).
fn server_time(other: &[u8]) -> Option<Timestamp> {
    let [a, b, c, d, e, f] = *<&[u8; 6]>::try_from(other).ok()?;
    let seconds = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    Some(Timestamp::from_unix_seconds(i64::try_from(seconds).ok()?))
}

/// Seconds that resolvers may remember the record: shorter than any wait for another.
const LIFETIME: u32 = 60;

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::Name;
    use hickory_resolver::proto::rr::rdata::tsig::{TSIG, TsigAlgorithm, make_tsig_record};

    use super::*;
    use crate::inventory::Secret;
    use crate::name::DnsName;

    fn record() -> PlacedRecord {
        PlacedRecord {
            issuer: "ca".to_owned(),
            provider: String::new(),
            domain: DnsName::parse("example.com").unwrap(),
            owner: "_acme-challenge.example.com".to_owned(),
            zone: "example.com".to_owned(),
            value: "v".repeat(43),
            token: "token".to_owned(),
            key_authorization: Secret::new("token.thumbprint".to_owned()),
            placed_at: Timestamp::from_unix_seconds(0),
        }
    }

    fn said(code: ResponseCode, error: Option<TsigError>) -> String {
        let mut answer = Message::response(7, OpCode::Update);
        answer.metadata.response_code = code;
        if let Some(error) = error {
            let time = 1_795_219_200_u64.to_be_bytes()[2..].to_vec();
            let tsig = TSIG::new(
                TsigAlgorithm::HmacSha256,
                0,
                300,
                Vec::new(),
                7,
                Some(error),
                time,
            );
            let key = Name::from_ascii("certgate.").unwrap();
            answer.set_signature(Box::new(make_tsig_record(key, tsig)));
        }
        let record = record();
        let asked = Asked {
            record: &record,
            key: "certgate",
            algorithm: "hmac-sha256",
            key_file: "tsig.key",
            now: Timestamp::from_unix_seconds(0),
        };
        match refusal(&answer, asked) {
            Some(Refusal { code, meaning }) => format!("{code}, {meaning}"),
            None => String::new(),
        }
    }

    #[test]
    fn each_refusal_says_what_is_wrong_and_where() {
        use ResponseCode::{NoError, NotAuth, NotZone, Refused};
        for (code, error, expected) in [
            (NoError, None, ""),
            (
                NotAuth,
                Some(TsigError::BadKey),
                "BADKEY, it has no key `certgate` for hmac-sha256",
            ),
            (
                NotAuth,
                Some(TsigError::BadSig),
                "BADSIG, its key `certgate` is another one than that in `tsig.key`",
            ),
            (
                NotAuth,
                Some(TsigError::BadTime),
                "BADTIME, its clock says 2026-11-21T00:00:00Z, and the clock here 1970-01-01T00:00:00Z",
            ),
            (NotAuth, Some(TsigError::BadTrunc), "BADTRUNC, "),
            (NotAuth, Some(TsigError::Unknown(99)), "TSIG error 99, "),
            (NotAuth, None, "NOTAUTH, it does not hold the zone example.com"),
            (
                NotZone,
                None,
                "NOTZONE, _acme-challenge.example.com is not in its zone example.com",
            ),
            (
                Refused,
                None,
                "REFUSED, the key `certgate` may not change TXT records at _acme-challenge.example.com",
            ),
            (ResponseCode::Unknown(77), None, "a code, 77"),
        ] {
            let said = said(code, error);
            assert!(
                said.starts_with(expected) && said.is_empty() == expected.is_empty(),
                "{said}"
            );
        }
    }

    #[test]
    fn one_record_is_removed_and_not_its_neighbours() {
        let message = update(&record(), Change::Remove).unwrap();
        let removed = &message.authorities[0];
        assert_eq!((removed.dns_class, removed.ttl), (DNSClass::NONE, 0));
        assert!(matches!(removed.data, RData::TXT(_)), "the value is named");
        let message = update(&record(), Change::Add).unwrap();
        assert_eq!(message.authorities[0].dns_class, DNSClass::IN);
    }
}
