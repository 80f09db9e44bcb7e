//! What the headers of an answer say: when to come back, where to look.

use std::time::Duration;

use http::header::LINK;
use http::{HeaderMap, HeaderValue, Uri};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::clock::Timestamp;

/// Reads a `Retry-After` of either form (RFC 9110 §10.2.3). No CA makes us wait longer than a week.
pub(in crate::issuer::acme) fn retry_after(value: &HeaderValue, now: Timestamp) -> Option<Timestamp> {
    let text = value.to_str().ok()?.trim();
    let at = match text.parse::<u64>() {
        Ok(seconds) => now + Duration::from_secs(seconds.min(LONGEST_WAIT.as_secs())),
        Err(_) => http_date(text)?,
    };
    Some(at.clamp(now, now + LONGEST_WAIT))
}

/// An HTTP date (RFC 9110 §5.6.7): one of RFC 2822 whose zone is always written `GMT`, as that grammar never has it.
pub(in crate::issuer::acme) fn http_date(text: &str) -> Option<Timestamp> {
    let date = format!("{}+0000", text.trim().strip_suffix("GMT")?);
    Some(OffsetDateTime::parse(&date, &Rfc2822).ok()?.into())
}

/// What the CA wants a human to visit: the problem's `instance`, or a link that helps (RFC 8555 §6.7, §7.3.3).
pub(super) fn page(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Instance {
        instance: String,
    }
    let instance = serde_json::from_slice(body).map(|Instance { instance }| instance);
    let page = instance.ok().or_else(|| {
        let linked = ["help", "terms-of-service"]
            .iter()
            .find_map(|relation| links(headers, relation).next());
        linked.map(ToOwned::to_owned)
    })?;
    let is_sound =
        page.starts_with("https://") && page.len() <= 2048 && page.chars().all(|c| c.is_ascii_graphic());
    is_sound.then_some(page)
}

/// The targets of the links with this relation (RFC 8288), which may be relative.
pub(in crate::issuer::acme) fn links<'h>(
    headers: &'h HeaderMap,
    relation: &str,
) -> impl Iterator<Item = &'h str> {
    let values = headers
        .get_all(LINK)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let links = values.flat_map(|value| value.split(','));
    links.filter_map(move |link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_it = |p: &str| {
            let value = p.trim().strip_prefix("rel=");
            value.is_some_and(|value| value.trim_matches('"') == relation)
        };
        parameters.split(';').any(is_it).then_some(target)
    })
}

/// The https URL of a link, which may be relative to `base`.
pub(in crate::issuer::acme) fn absolute(target: &str, base: &str) -> Option<String> {
    if target.starts_with("https://") {
        return Some(target.to_owned());
    }
    let base: Uri = base.parse().ok()?;
    let path = match target.starts_with('?') {
        true => format!("{}{target}", base.path()),
        false => target.to_owned(),
    };
    let authority = base.authority().filter(|_| path.starts_with('/'))?;
    Some(format!("https://{authority}{path}"))
}

const LONGEST_WAIT: Duration = Duration::from_secs(7 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date() {
        let now = Timestamp::from_unix_seconds(1_795_219_200);
        let read = |text: &'static str| retry_after(&HeaderValue::from_static(text), now);
        assert_eq!(read("120"), Some(now + Duration::from_secs(120)));
        assert_eq!(
            read("Sat, 21 Nov 2026 01:00:00 GMT"),
            Some(now + Duration::from_secs(3600))
        );
        assert_eq!(read("Fri, 20 Nov 2026 01:00:00 GMT"), Some(now));
        assert_eq!(read("99999999999"), Some(now + LONGEST_WAIT));
        assert_eq!(read("soon"), None);
        assert_eq!(read("-1"), None);
    }

    #[test]
    fn what_a_human_should_visit_is_the_instance_or_a_link_and_always_https() {
        let headers = |link: &'static str| HeaderMap::from_iter([(LINK, HeaderValue::from_static(link))]);
        let linked = headers("</directory>;rel=\"index\", <https://ca.example/help>;rel=help");
        assert_eq!(page(&linked, b"{}").as_deref(), Some("https://ca.example/help"));
        let instance = br#"{"instance":"https://ca.example/terms"}"#;
        assert_eq!(
            page(&linked, instance).as_deref(),
            Some("https://ca.example/terms")
        );
        assert_eq!(page(&headers("<javascript:x>;rel=\"help\""), b""), None);
    }
}
