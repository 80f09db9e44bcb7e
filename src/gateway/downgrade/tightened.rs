//! CA bundles that a change asks more of, and nothing else.

use std::collections::BTreeSet;

use super::admission::Admission;
use crate::config::{ResourceKind, ResourceTable};
use crate::inventory::{ResourceRecord, ResourceRecords};

/// The names of the CA bundles that have every CRL by `after` that they have by `before`, and others beside them, and differ in
/// nothing else: by that nobody comes in who did not.
pub(in crate::gateway) fn tightened_bundles(
    before: &ResourceRecords,
    after: &ResourceRecords,
) -> BTreeSet<String> {
    let tightened = after.iter().filter(|(id, record)| {
        let was = before.get(*id).and_then(ResourceRecord::in_force);
        id.kind == ResourceKind::CaBundle
            && was
                .zip(record.in_force())
                .is_some_and(|(was, is)| is_tightened(was, is))
    });
    tightened.map(|(id, _)| id.name.clone()).collect()
}

fn is_tightened(was: &ResourceTable, is: &ResourceTable) -> bool {
    let others = |table: &ResourceTable| {
        let mut others = table.clone();
        others.retain(|key, _| !CRL_KEYS.contains(&key.as_str()));
        others
    };
    let admission = |table| Admission::of(&ResourceTable::new(), Some(table));
    was != is && others(was) == others(is) && admission(is).unchecked(&admission(was)).is_empty()
}

const CRL_KEYS: [&str; 3] = ["crl_files", "crl_urls", "crls_pem"];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_bundle_is_tightened_by_more_crls_and_by_nothing_else() {
        let one = crate::certificate::crl_to_pem(&[0x30, 0]);
        let two = crate::certificate::crl_to_pem(&[0x30, 1, 0]);
        let (both, before) = (
            format!("{one}{two}"),
            json!({ "files": ["a.pem"], "crl_files": ["a.crl"], "crls_pem": one }),
        );
        for (after, expected) in [
            (
                json!({ "files": ["a.pem"], "crl_files": ["b.crl", "a.crl"], "crls_pem": one }),
                true,
            ),
            (
                json!({ "files": ["a.pem"], "crl_files": ["a.crl"], "crls_pem": both }),
                true,
            ),
            (
                json!({ "files": ["a.pem"], "crl_files": ["a.crl"], "crls_pem": one, "crl_urls": ["http://a/"] }),
                true,
            ),
            (
                json!({ "files": ["a.pem"], "crl_files": ["a.crl"], "crls_pem": two }),
                false,
            ),
            (
                json!({ "files": ["a.pem"], "crl_files": ["b.crl"], "crls_pem": both }),
                false,
            ),
            (json!({ "files": ["a.pem"], "crl_files": ["a.crl"] }), false),
            (
                json!({ "files": ["a.pem", "b.pem"], "crl_files": ["a.crl"], "crls_pem": both }),
                false,
            ),
            (
                json!({ "files": ["a.pem"], "crl_files": ["a.crl"], "crls_pem": both, "certificates_pem": "" }),
                false,
            ),
            (before.clone(), false),
        ] {
            let table = |value: &Value| value.as_object().cloned().unwrap_or_default();
            assert_eq!(is_tightened(&table(&before), &table(&after)), expected, "{after}");
        }
    }
}
