//! What is to be done about one export.

use crate::clock::Timestamp;
use crate::inventory::ExportRecord;

/// What comes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// To write what is not written, and to run the command: for the so manieth time.
    Attempt(u32),
    /// Nothing before this moment, or before something has changed.
    Rest(Option<Timestamp>),
}

/// What comes next for the certificate of `fingerprint`, where `known` is how far its export has come and `is_written`
/// whether the files show it.
pub(super) fn next(
    known: Option<&ExportRecord>,
    fingerprint: &str,
    is_written: bool,
    now: Timestamp,
) -> Next {
    let Some(known) = known.filter(|known| known.fingerprint == fingerprint) else {
        return Next::Attempt(1);
    };
    match known.next_attempt {
        Some(at) if at <= now => Next::Attempt(known.attempts + 1),
        Some(at) => Next::Rest(Some(at)),
        // Done or given up, but somebody has laid hands on the files.
        None if !is_written => Next::Attempt(1),
        None => Next::Rest(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::CertificateName;

    #[test]
    fn an_export_is_made_once_and_again_only_where_it_is_needed() {
        let now = Timestamp::from_unix_seconds(1_795_000_000);
        let soon = Timestamp::from_unix_seconds(1_795_000_010);
        let record = |attempts, next_attempt| ExportRecord {
            certificate: CertificateName::parse("www").unwrap(),
            fingerprint: "aa".to_owned(),
            attempts,
            done_at: None,
            next_attempt,
            error: None,
        };
        for (what, known, fingerprint, is_written, expected) in [
            ("the first time", None, "aa", false, Next::Attempt(1)),
            // By somebody else, or by a store that was lost: whether anybody was told is not known.
            ("written, not recorded", None, "aa", true, Next::Attempt(1)),
            ("done", Some(record(1, None)), "aa", true, Next::Rest(None)),
            ("files gone", Some(record(1, None)), "aa", false, Next::Attempt(1)),
            ("renewed", Some(record(1, None)), "bb", false, Next::Attempt(1)),
            (
                "renewed in a pause",
                Some(record(3, Some(soon))),
                "bb",
                false,
                Next::Attempt(1),
            ),
            (
                "a pause",
                Some(record(3, Some(soon))),
                "aa",
                true,
                Next::Rest(Some(soon)),
            ),
            (
                "a pause, files gone",
                Some(record(3, Some(soon))),
                "aa",
                false,
                Next::Rest(Some(soon)),
            ),
            (
                "its end, or a crash",
                Some(record(3, Some(now))),
                "aa",
                true,
                Next::Attempt(4),
            ),
        ] {
            assert_eq!(
                next(known.as_ref(), fingerprint, is_written, now),
                expected,
                "{what}"
            );
        }
    }
}
