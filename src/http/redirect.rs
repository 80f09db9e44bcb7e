//! Where a plain request is sent: the same host and path, by HTTPS.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::HOST;
use http::{HeaderMap, Uri};

use crate::name::DnsName;

/// The `https` URL for a request. `None` when it names no usable host (RFC 9112 §3.2): then a `400` is due.
pub(super) fn location(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let mut hosts = headers.get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return None;
    }
    let authority = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => first?.to_str().ok()?,
    };
    let host = checked_host(authority)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    // `*` of `OPTIONS *` and the empty path of CONNECT are no paths.
    let path = if path.starts_with('/') { path } else { "/" };
    Some(format!("https://{host}{path}"))
}

/// The host of `authority` without its port, in a form that can be sent back; the default port of HTTPS is meant.
fn checked_host(authority: &str) -> Option<String> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        let port_is_fine = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return port_is_fine.then(|| format!("[{address}]"));
    }
    let host = match authority.split_once(':') {
        Some((host, port)) if is_port(port) => host,
        Some(_) => return None,
        None => authority,
    };
    match host.parse::<Ipv4Addr>() {
        Ok(address) => Some(address.to_string()),
        Err(_) => DnsName::parse(host).ok().map(String::from),
    }
}

fn is_port(text: &str) -> bool {
    text.is_empty() || text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redirect(uri: &str, host: Option<&str>) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(HOST, host.parse().unwrap());
        }
        location(&uri.parse().unwrap(), &headers)
    }

    #[test]
    fn the_host_stays_and_its_port_goes() {
        for (host, expected) in [
            ("example.com", "https://example.com/a?b=c"),
            ("Example.com:8080", "https://example.com/a?b=c"),
            ("192.0.2.1:80", "https://192.0.2.1/a?b=c"),
            ("[2001:DB8::1]:80", "https://[2001:db8::1]/a?b=c"),
        ] {
            assert_eq!(redirect("/a?b=c", Some(host)).as_deref(), Some(expected));
        }
    }

    #[test]
    fn the_request_target_has_precedence_over_the_host_header() {
        let found = redirect("http://a.example/x", Some("b.example"));
        assert_eq!(found.as_deref(), Some("https://a.example/x"));
    }

    #[test]
    fn a_missing_or_unusable_host_is_redirected_nowhere() {
        assert_eq!(redirect("/", None), None);
        for host in [
            "",
            "a b",
            "evil.example/path",
            "user@example.com",
            "[::1",
            "example.com:99999",
            "a:b:c",
        ] {
            assert_eq!(redirect("/", Some(host)), None, "{host}");
        }
        let mut twice = HeaderMap::new();
        twice.append(HOST, "a.example".parse().unwrap());
        twice.append(HOST, "b.example".parse().unwrap());
        assert_eq!(location(&Uri::from_static("/"), &twice), None);
    }

    proptest! {
        #[test]
        fn whatever_the_host_the_location_is_a_url_of_one_line(host in "\\PC{0,40}") {
            if let Some(host) = checked_host(&host) {
                let url = format!("https://{host}/");
                prop_assert!(url.parse::<Uri>().is_ok(), "{}", url);
            }
        }
    }
}
