//! Whether a set of CAA records lets a CA issue (RFC 8659 §4, RFC 8657): a pure function.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{CaaRecord, IssueValue};
use crate::dns::obstacle::Obstacle;
use crate::dns::presentation::{absolute, quoted};
use crate::dns::remedy::Change;
use crate::name::NamePattern;

/// Who would be asked to issue.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CaIdentity {
    /// The names by which CAA records mean the CA (RFC 8555 §7.1.1, `caaIdentities`); empty where they are not known.
    pub domains: Vec<String>,
    /// The account's URL (RFC 8657 §3); absent as long as there is none.
    pub account: Option<String>,
}

/// What CAA records say about a CA.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::dns) enum Permission {
    /// It may issue.
    Granted(Grant),
    /// It may not.
    Denied {
        obstacle: Obstacle,
        /// What would let it.
        remedy: Vec<Change>,
    },
    /// The CA's name in CAA records is not known.
    Unknown,
}

/// On what terms a CA may issue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::dns) struct Grant {
    /// The property that decides: `issue` or `issuewild`.
    pub tag: &'static str,
    /// By these validation methods only (RFC 8657 §4); absent: by any.
    pub methods: Option<BTreeSet<String>>,
    /// To this account, where no record grants it to any (RFC 8657 §3).
    pub account: Option<String>,
}

impl Grant {
    /// Without terms: nothing is said of the property.
    pub(in crate::dns) const fn any(tag: &'static str) -> Self {
        Self {
            tag,
            methods: None,
            account: None,
        }
    }

    /// The data of a record that grants the same to `ca` by `methods`.
    pub(in crate::dns) fn extended(&self, ca: &str, methods: &[&str]) -> String {
        let account = self.account.as_ref();
        let account = account.map_or_else(String::new, |account| format!("; accounturi={account}"));
        let (tag, methods) = (self.tag, methods.join(","));
        property(tag, &format!("{ca}{account}; validationmethods={methods}"))
    }
}

/// Judges `records`, which stand at `owner` and are never empty, for a certificate of `ca` for `pattern`. `possible` are
/// the validation methods that could prove the right to it, as far as that is known.
pub(in crate::dns) fn permission(
    pattern: &NamePattern,
    owner: &str,
    records: &BTreeSet<CaaRecord>,
    ca: Option<&CaIdentity>,
    possible: &[&str],
) -> Permission {
    let record =
        |change: fn(String) -> Change, data: String| change(format!("{} IN CAA {data}", absolute(owner)));
    let is_known = |record: &CaaRecord| KNOWN.iter().any(|tag| record.tag.eq_ignore_ascii_case(tag));
    let unknown = records
        .iter()
        .find(|record| record.flags & CRITICAL != 0 && !is_known(record));
    if let Some(unknown) = unknown {
        return Permission::Denied {
            obstacle: Obstacle::CriticalProperty {
                owner: owner.to_owned(),
                tag: unknown.tag.clone(),
            },
            remedy: vec![record(Change::Remove, unknown.to_string())],
        };
    }
    let tagged = |tag: &str| -> Vec<&CaaRecord> {
        let all = records.iter();
        all.filter(|record| record.tag.eq_ignore_ascii_case(tag))
            .collect()
    };
    let (wild, plain) = (tagged("issuewild"), tagged("issue"));
    let (tag, decisive) = match pattern.is_wildcard() && !wild.is_empty() {
        true => ("issuewild", wild),
        false => ("issue", plain),
    };
    if decisive.is_empty() {
        return Permission::Granted(Grant::any(tag));
    }
    let values: Vec<IssueValue> = decisive
        .iter()
        .filter_map(|record| std::str::from_utf8(&record.value).ok()?.parse().ok())
        .collect();
    let nobody = values.iter().all(|value| value.issuer.is_none());
    let identities = ca.map_or(&[][..], |ca| &ca.domains);
    if identities.is_empty() && !nobody {
        return Permission::Unknown;
    }
    let is_meant = |value: &&IssueValue| {
        let issuer = value.issuer.as_deref();
        issuer.is_some_and(|issuer| identities.iter().any(|known| known.eq_ignore_ascii_case(issuer)))
    };
    let meant: Vec<&IssueValue> = values.iter().filter(is_meant).collect();
    let account = ca.and_then(|ca| ca.account.as_deref());
    let name = identities.first().map_or("the CA's domain", String::as_str);
    if meant.is_empty() {
        return Permission::Denied {
            obstacle: Obstacle::CaaForbids {
                owner: owner.to_owned(),
                records: decisive.iter().map(|record| record.to_string()).collect(),
                identities: identities.to_vec(),
            },
            remedy: match identities.is_empty() {
                true => Vec::new(),
                false => {
                    let granted = as_narrow(name, values.iter(), account, possible);
                    vec![record(Change::Add, property(tag, &granted))]
                }
            },
        };
    }
    let of_us: Vec<&IssueValue> = meant
        .iter()
        .copied()
        .filter(|value| {
            let mut pinned = value.values("accounturi");
            match (pinned.next(), pinned.next()) {
                (None, _) => true,
                (Some(pinned), None) => account == Some(pinned),
                // Two can never both be met (RFC 8657 §3).
                (Some(_), Some(_)) => false,
            }
        })
        .collect();
    if of_us.is_empty() {
        let pinned = meant.iter().flat_map(|value| value.values("accounturi"));
        let granted = property(tag, &as_narrow(name, meant.iter().copied(), account, possible));
        return Permission::Denied {
            obstacle: Obstacle::OtherAccount {
                owner: owner.to_owned(),
                pinned: pinned.map(ToOwned::to_owned).collect(),
                account: account.map(ToOwned::to_owned),
            },
            // Without an account to name, a record would let the CA issue to anybody.
            remedy: match account {
                Some(_) => vec![record(Change::Add, granted)],
                None => Vec::new(),
            },
        };
    }
    let is_pinned = |value: &&IssueValue| value.values("accounturi").next().is_some();
    let pinned = of_us.iter().all(is_pinned);
    let mut methods = BTreeSet::new();
    for value in of_us {
        let mut listed = value.values("validationmethods").peekable();
        if listed.peek().is_none() {
            return Permission::Granted(Grant::any(tag));
        }
        methods.extend(listed.flat_map(|list| list.split(',')).map(ToOwned::to_owned));
    }
    Permission::Granted(Grant {
        tag,
        methods: Some(methods),
        account: account.filter(|_| pinned).map(ToOwned::to_owned),
    })
}

/// The value that lets `ca` issue and opens no more of the zone than `beside` do: where one of these names an account, to
/// `account` only, and where one names methods, by those of them that are `possible`.
fn as_narrow<'v>(
    ca: &str,
    beside: impl Iterator<Item = &'v IssueValue> + Clone,
    account: Option<&str>,
    possible: &[&str],
) -> String {
    let mut value = ca.to_owned();
    let is_pinned = |value: &IssueValue| value.values("accounturi").next().is_some();
    if let Some(account) = account.filter(|_| beside.clone().any(is_pinned)) {
        let _ = write!(value, "; accounturi={account}");
    }
    let listed: BTreeSet<&str> = beside
        .flat_map(|value| value.values("validationmethods"))
        .flat_map(|list| list.split(','))
        .collect();
    if !listed.is_empty() {
        let both: Vec<&str> = possible
            .iter()
            .copied()
            .filter(|word| listed.contains(word))
            .collect();
        let methods = match (both.is_empty(), possible.is_empty()) {
            (false, _) => both,
            (true, false) => possible.to_vec(),
            (true, true) => listed.into_iter().collect(),
        };
        let _ = write!(value, "; validationmethods={}", methods.join(","));
    }
    value
}

/// The data of a CAA record.
fn property(tag: &str, value: &str) -> String {
    format!("0 {tag} {}", quoted(value.as_bytes()))
}

/// The flag of RFC 8659 §4.1, and the bit at the other end: so many take that for it that CAs take either.
const CRITICAL: u8 = 128 | 1;

/// The properties that public CAs understand: RFC 8659 §4, RFC 9495, and contacts of the CA/Browser Forum.
const KNOWN: [&str; 6] = [
    "contactemail",
    "contactphone",
    "iodef",
    "issue",
    "issuemail",
    "issuewild",
];

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "https://ca.example/acct/1";

    fn judged(pattern: &str, records: &[(u8, &str, &str)], identities: &[&str]) -> String {
        let records = records.iter().map(|(flags, tag, value)| CaaRecord {
            flags: *flags,
            tag: (*tag).to_owned(),
            value: value.as_bytes().to_vec(),
        });
        let ca = CaIdentity {
            domains: identities.iter().map(|name| (*name).to_owned()).collect(),
            account: Some(ACCOUNT.to_owned()),
        };
        let pattern = NamePattern::parse(pattern).unwrap();
        match permission(
            &pattern,
            "example.com",
            &records.collect(),
            Some(&ca),
            &["dns-01"],
        ) {
            Permission::Granted(Grant { methods: None, .. }) => "any".to_owned(),
            Permission::Granted(Grant {
                methods: Some(methods),
                ..
            }) => methods.into_iter().collect::<Vec<_>>().join(" "),
            Permission::Unknown => "unknown".to_owned(),
            Permission::Denied { remedy, .. } => {
                let changes: Vec<_> = remedy.iter().map(ToString::to_string).collect();
                format!("no: {}", changes.join(", "))
            }
        }
    }

    #[test]
    fn every_rule_of_the_rfcs_decides_as_it_should() {
        let (www, wild, ca) = ("www.example.com", "*.example.com", &["ca.example"][..]);
        let add = r#"no: example.com. IN CAA 0 issue "ca.example""#;
        let add_wild = r#"no: example.com. IN CAA 0 issuewild "ca.example""#;
        let pinned = format!("ca.example; accounturi={ACCOUNT}");
        let other = "ca.example; accounturi=https://ca.example/acct/2";
        let twice = format!("{pinned}; accounturi={ACCOUNT}");
        let add_account = format!(r#"no: example.com. IN CAA 0 issue "{pinned}""#);
        for (pattern, records, identities, expected) in [
            (www, vec![(0, "issue", "ca.example")], ca, "any"),
            (www, vec![(0, "issue", "CA.Example")], ca, "any"),
            (www, vec![(0, "issue", "other.example")], ca, add),
            (
                www,
                vec![(0, "issue", "other.example"), (0, "issue", "ca.example")],
                ca,
                "any",
            ),
            (www, vec![(0, "issue", ";")], ca, add),
            (www, vec![(0, "issue", "%%%")], ca, add),
            (www, vec![(0, "iodef", "mailto:a@example.com")], ca, "any"),
            (www, vec![(0, "issuewild", ";")], ca, "any"),
            (
                wild,
                vec![(0, "issuewild", ";"), (0, "issue", "ca.example")],
                ca,
                add_wild,
            ),
            (
                wild,
                vec![(0, "issuewild", "ca.example"), (0, "issue", ";")],
                ca,
                "any",
            ),
            (wild, vec![(0, "issue", "ca.example")], ca, "any"),
            (
                www,
                vec![(128, "tbs", "x"), (0, "issue", "ca.example")],
                ca,
                r#"no: remove: example.com. IN CAA 128 tbs "x""#,
            ),
            (
                www,
                vec![(1, "TBS", "x\u{e9}\"")],
                ca,
                r#"no: remove: example.com. IN CAA 1 TBS "x\195\169\"""#,
            ),
            (www, vec![(64, "tbs", "x")], ca, "any"),
            (
                www,
                vec![(128, "IssueWild", ";"), (0, "ISSUE", " ca.example ;")],
                ca,
                "any",
            ),
            (
                wild,
                vec![(0, "IssueWild", ";"), (0, "ISSUE", "ca.example")],
                ca,
                add_wild,
            ),
            (
                www,
                vec![(0, "tbs", "x"), (128, "issue", "ca.example")],
                ca,
                "any",
            ),
            (www, vec![(0, "issue", &pinned)], ca, "any"),
            (www, vec![(0, "issue", other)], ca, &add_account),
            (www, vec![(0, "issue", &twice)], ca, &add_account),
            (
                www,
                vec![(0, "issue", other), (0, "issue", "ca.example")],
                ca,
                "any",
            ),
            (
                www,
                vec![(0, "issue", "ca.example; validationmethods=dns-01,http-01")],
                ca,
                "dns-01 http-01",
            ),
            (
                www,
                vec![
                    (0, "issue", "ca.example; validationmethods=dns-01"),
                    (0, "issue", "ca.example; validationmethods=http-01"),
                ],
                ca,
                "dns-01 http-01",
            ),
            (www, vec![(0, "issue", "ca.example")], &[], "unknown"),
            (www, vec![(0, "issue", ";")], &[], "no: "),
            (
                www,
                vec![(0, "issue", "two.example")],
                &["one.example", "two.example"],
                "any",
            ),
        ] {
            assert_eq!(
                judged(pattern, &records, identities),
                expected,
                "{pattern} {records:?}"
            );
        }
    }

    #[test]
    fn a_record_that_grants_more_methods_grants_them_by_the_same_property_to_nobody_else() {
        let pinned = format!("ca.example; accounturi={ACCOUNT}; validationmethods=http-01");
        let unpinned = "ca.example; validationmethods=http-01";
        for (pattern, records, expected) in [
            (
                "*.example.com",
                vec![("issuewild", unpinned), ("issue", "ca.example")],
                r#"0 issuewild "ca.example; validationmethods=dns-01""#,
            ),
            (
                "*.example.com",
                vec![("issue", unpinned)],
                r#"0 issue "ca.example; validationmethods=dns-01""#,
            ),
            (
                "www.example.com",
                vec![("issuewild", ";"), ("issue", unpinned), ("issue", &pinned)],
                r#"0 issue "ca.example; validationmethods=dns-01""#,
            ),
            (
                "www.example.com",
                vec![("issue", pinned.as_str())],
                &format!(r#"0 issue "ca.example; accounturi={ACCOUNT}; validationmethods=dns-01""#),
            ),
        ] {
            let set = records.iter().map(|(tag, value)| CaaRecord {
                flags: 0,
                tag: (*tag).to_owned(),
                value: value.as_bytes().to_vec(),
            });
            let ca = CaIdentity {
                domains: vec!["ca.example".to_owned()],
                account: Some(ACCOUNT.to_owned()),
            };
            let pattern = NamePattern::parse(pattern).unwrap();
            match permission(&pattern, "example.com", &set.collect(), Some(&ca), &[]) {
                Permission::Granted(grant) => {
                    assert_eq!(grant.extended("ca.example", &["dns-01"]), expected, "{records:?}");
                }
                other => panic!("{records:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn where_no_account_is_known_no_record_is_to_be_added_that_names_none() {
        let pinned = CaaRecord {
            flags: 0,
            tag: "issue".to_owned(),
            value: format!("ca.example; accounturi={ACCOUNT}").into_bytes(),
        };
        let ca = CaIdentity {
            domains: vec!["ca.example".to_owned()],
            account: None,
        };
        let pattern = NamePattern::parse("www.example.com").unwrap();
        let judged = permission(&pattern, "example.com", &BTreeSet::from([pinned]), Some(&ca), &[]);
        let Permission::Denied { obstacle, remedy } = judged else {
            panic!("{judged:?}");
        };
        assert_eq!(remedy, []);
        let said = obstacle.to_string();
        assert!(
            said.contains("has none yet") && said.contains("`certgate issuer list` shows its URL"),
            "{said}"
        );
    }

    #[test]
    fn a_record_to_add_opens_no_more_of_a_zone_than_those_that_are_there() {
        let ours = format!("ca.example; accounturi={ACCOUNT}");
        for (value, expected) in [
            ("other.example", "ca.example".to_owned()),
            ("other.example; accounturi=https://other.example/1", ours.clone()),
            (
                "other.example; validationmethods=dns-01,http-01",
                "ca.example; validationmethods=dns-01".to_owned(),
            ),
            (
                "other.example; validationmethods=http-01",
                "ca.example; validationmethods=dns-01".to_owned(),
            ),
            (
                "other.example; accounturi=https://other.example/1; validationmethods=dns-01",
                format!("{ours}; validationmethods=dns-01"),
            ),
            (
                "ca.example; accounturi=https://ca.example/acct/2; validationmethods=dns-01",
                format!("{ours}; validationmethods=dns-01"),
            ),
        ] {
            assert_eq!(
                judged("www.example.com", &[(0, "issue", value)], &["ca.example"]),
                format!(r#"no: example.com. IN CAA 0 issue "{expected}""#),
                "{value}"
            );
        }
    }
}
