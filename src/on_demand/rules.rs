//! Which names may be obtained.

use super::denial::Denial;
use crate::certificate::CertificateName;
use crate::config::OnDemandConfig;
use crate::name::{DnsName, NamePattern};

/// The server name `text` as one that may perhaps be obtained.
///
/// # Errors
/// The [`Denial`] that it gets whoever is asked.
pub fn admitted(config: &OnDemandConfig, text: &str) -> Result<DnsName, Denial> {
    let name = DnsName::parse(text).ok().filter(|name| name.as_str() == text);
    let name = name.filter(is_host_name).ok_or(Denial::InvalidName)?;
    if config.except.iter().any(|tree| name.is_within(tree)) {
        return Err(Denial::Excluded);
    }
    match config.ask.is_some() || is_allowed(config, &name) {
        true => Ok(name),
        false => Err(Denial::NotAllowed),
    }
}

/// Whether nobody need be asked about `name`, which was admitted.
pub fn is_allowed(config: &OnDemandConfig, name: &DnsName) -> bool {
    config.names.iter().any(|pattern| pattern.matches(name))
}

/// Whether a certificate can be for it, and can be kept. The trees of `arpa` are names of addresses, which are ordered by
/// other rules; no host is called so.
fn is_host_name(name: &DnsName) -> bool {
    let is_certifiable = NamePattern::Exact(name.clone()).check_certifiable().is_ok();
    is_certifiable && !name.as_str().ends_with(".arpa") && CertificateName::on_demand(name).is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::certificate::KeyType;

    fn config(ask: bool, names: &[&str], except: &[&str]) -> OnDemandConfig {
        OnDemandConfig {
            ask: ask.then(|| "http://127.0.0.1:9/allowed".to_owned()),
            names: names
                .iter()
                .map(|name| NamePattern::parse(name).unwrap())
                .collect(),
            except: except.iter().map(|name| DnsName::parse(name).unwrap()).collect(),
            issuers: vec!["internal".to_owned()],
            key_type: KeyType::default(),
            wait: Duration::ZERO,
            denied_ttl: Duration::from_secs(600),
            unused_after: Duration::from_secs(86_400),
            max_asks_per_minute: 1,
            max_orders_per_hour: 1,
        }
    }

    #[test]
    fn what_is_excluded_or_no_host_name_is_denied_whoever_would_be_asked() {
        let config = config(
            true,
            &["*.shops.example"],
            &["internal.shops.example", "evil.example"],
        );
        let denial = |name: &str| admitted(&config, name).err();
        assert_eq!(denial("a.shops.example"), None);
        assert_eq!(denial("elsewhere.example"), None);
        for excluded in ["internal.shops.example", "evil.example", "a.b.evil.example"] {
            assert_eq!(denial(excluded), Some(Denial::Excluded), "{excluded}");
        }
        assert_eq!(denial("notevil.example"), None);
        for invalid in [
            "127.0.0.1",
            "::1",
            "1.2.0.192.in-addr.arpa",
            "8.b.d.0.1.0.0.2.ip6.arpa",
            "a.1",
            "256.1.1.1",
            "a.0x1f",
            "_acme-challenge.shops.example",
            "*.shops.example",
            "a..example",
            "a.example.",
            "A.example",
            "",
            &format!("{}.example", ["a".repeat(60), "b".repeat(60)].join(".")),
        ] {
            assert_eq!(denial(invalid), Some(Denial::InvalidName), "{invalid}");
        }
    }

    #[test]
    fn without_an_ask_url_only_the_patterns_allow() {
        let config = config(false, &["*.shops.example", "one.example"], &[]);
        let denial = |name: &str| admitted(&config, name).err();
        assert_eq!((denial("a.shops.example"), denial("one.example")), (None, None));
        for other in [
            "shops.example",
            "a.b.shops.example",
            "two.example",
            "a.one.example",
        ] {
            assert_eq!(denial(other), Some(Denial::NotAllowed), "{other}");
        }
    }

    fn label() -> impl Strategy<Value = String> {
        "[a-c]{1,2}"
    }

    fn name() -> impl Strategy<Value = String> {
        proptest::collection::vec(label(), 1..5).prop_map(|labels| labels.join("."))
    }

    proptest! {
        /// Told label by label, without the code for patterns and trees.
        #[test]
        fn a_name_is_admitted_exactly_when_a_pattern_fits_it_and_no_tree_holds_it(
            asked in name(),
            exact in name(),
            base in (label(), name()).prop_map(|(label, name)| format!("{label}.{name}")),
            tree in name(),
        ) {
            let wildcard = format!("*.{base}");
            let config = config(false, &[&exact, &wildcard], &[&tree]);
            fn labels(name: &str) -> Vec<&str> {
                name.split('.').rev().collect()
            }
            let (of_asked, of_base) = (labels(&asked), labels(&base));
            let fits = asked == exact
                || of_asked.starts_with(&of_base) && of_asked.len() == of_base.len() + 1;
            let is_held = of_asked.starts_with(&labels(&tree));
            let expected = match (is_held, fits) {
                (true, _) => Some(Denial::Excluded),
                (false, true) => None,
                (false, false) => Some(Denial::NotAllowed),
            };
            prop_assert_eq!(admitted(&config, &asked).err(), expected);
        }

        #[test]
        fn no_server_name_makes_it_panic_or_is_admitted_in_another_form(text in any::<String>()) {
            if let Ok(name) = admitted(&config(true, &[], &[]), &text) {
                prop_assert_eq!(name.as_str(), text.as_str());
            }
        }
    }
}
