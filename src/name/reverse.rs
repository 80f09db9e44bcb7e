//! IP addresses as names of the reverse tree (RFC 1035 §3.5, RFC 3596 §2.5). That is what a CA sends as server name when
//! it validates an address (RFC 8738 §6), so one form serves certificates, challenges and lookups.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The name of an address.
pub(super) fn name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}{V4}")
        }
        IpAddr::V6(address) => {
            let mut text = String::new();
            for octet in address.octets().iter().rev() {
                // Writing to a text never fails.
                let _ = write!(text, "{:x}.{:x}.", octet & 15, octet >> 4);
            }
            text.truncate(text.len() - 1);
            text + V6
        }
    }
}

/// The address that `name` stands for; `None` for any other name, and for a part of the tree.
pub(super) fn address(name: &str) -> Option<IpAddr> {
    let found = match (name.strip_suffix(V4), name.strip_suffix(V6)) {
        (Some(labels), _) => {
            let mut octets = [0; 4];
            let mut labels = labels.split('.');
            for octet in octets.iter_mut().rev() {
                *octet = labels.next()?.parse().ok()?;
            }
            IpAddr::V4(Ipv4Addr::from(octets))
        }
        (_, Some(labels)) => {
            let mut bits = 0_u128;
            for label in labels.rsplit('.') {
                let digit = u8::from_str_radix(label, 16).ok().filter(|digit| *digit < 16)?;
                bits = bits.checked_mul(16)? | u128::from(digit);
            }
            IpAddr::V6(Ipv6Addr::from(bits))
        }
        (None, None) => return None,
    };
    // Leading zeros, too few or too many labels: not the name of an address, but one beside it.
    (self::name(found) == name).then_some(found)
}

const V4: &str = ".in-addr.arpa";
const V6: &str = ".ip6.arpa";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_have_the_names_of_the_rfcs() {
        let of = |text: &str| name(text.parse().unwrap());
        assert_eq!(of("192.0.2.34"), "34.2.0.192.in-addr.arpa");
        assert_eq!(
            of("2001:db8::567:89ab"),
            "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }

    #[test]
    fn a_name_beside_the_tree_is_no_address() {
        for name in [
            "2.0.192.in-addr.arpa",
            "034.2.0.192.in-addr.arpa",
            "1.34.2.0.192.in-addr.arpa",
            "0.ip6.arpa",
            "in-addr.arpa",
            ".ip6.arpa",
            "example.com",
        ] {
            assert_eq!(address(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn an_address_comes_back_from_its_name(v4 in any::<u32>(), v6 in any::<u128>()) {
            for found in [IpAddr::V4(v4.into()), IpAddr::V6(v6.into())] {
                prop_assert_eq!(address(&name(found)), Some(found));
            }
        }
    }
}
