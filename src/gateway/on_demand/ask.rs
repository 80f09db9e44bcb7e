//! The question to an ask URL.

use std::time::Duration;

use http::{Request, StatusCode, Uri};
use tokio::sync::OnceCell;

use crate::name::DnsName;
use crate::web::{Bounds, WebClient};

/// Asks; connections are kept between two questions.
#[derive(Default)]
pub(in crate::gateway) struct Asker {
    client: OnceCell<WebClient>,
}

/// What an ask URL says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::gateway) enum Answer {
    /// 2xx.
    Allowed,
    /// 4xx.
    Denied,
    /// Anything else, or nothing; why.
    None(String),
}

impl Asker {
    /// Asks `url` whether a certificate may be obtained for `name`.
    pub(in crate::gateway) async fn ask(&self, url: &str, name: &DnsName) -> Answer {
        match self.status(url, name).await {
            Ok(status) if status.is_success() => Answer::Allowed,
            // That is no answer about the name.
            Ok(StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) => {
                Answer::None(format!("{url} has no time to answer"))
            }
            Ok(status) if status.is_client_error() => Answer::Denied,
            Ok(status) => Answer::None(format!(
                "{url} answered {status}; 2xx allows a name, 4xx denies it, and redirects are not followed"
            )),
            Err(error) => Answer::None(error),
        }
    }

    async fn status(&self, url: &str, name: &DnsName) -> Result<StatusCode, String> {
        let client = self.client.get_or_try_init(|| WebClient::new(None)).await;
        let client = client.map_err(|error| error.to_string())?;
        let request = Request::get(question(url, name)?);
        // Its status is the whole answer: what else it says is read only so that the connection can be used again.
        match client.send(request, "", BOUNDS).await {
            Ok(answer) => Ok(answer.status),
            Err(error) => Err(format!("{url}: {error}")),
        }
    }
}

/// `url` with the name in its query.
fn question(url: &str, name: &DnsName) -> Result<Uri, String> {
    let mut parts = url
        .parse::<Uri>()
        .map_err(|_| format!("`{url}` is no URL"))?
        .into_parts();
    let before = parts
        .path_and_query
        .as_ref()
        .map_or("/", |before| before.as_str());
    let joint = if before.contains('?') { '&' } else { '?' };
    // A host name needs no escapes.
    let with_name = format!("{before}{joint}domain={name}");
    parts.path_and_query = Some(
        with_name
            .parse()
            .map_err(|_| format!("`{with_name}` is no path"))?,
    );
    Uri::from_parts(parts).map_err(|error| error.to_string())
}

const BOUNDS: Bounds = Bounds {
    time: Duration::from_secs(5),
    octets: 64 * 1024,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_in_the_query_beside_what_was_there() {
        let name = DnsName::parse("shop.example").unwrap();
        for (url, asked) in [
            (
                "http://127.0.0.1:9000",
                "http://127.0.0.1:9000/?domain=shop.example",
            ),
            (
                "http://[::1]:9000/allowed",
                "http://[::1]:9000/allowed?domain=shop.example",
            ),
            (
                "https://hq.example/ask?key=1&b=%20",
                "https://hq.example/ask?key=1&b=%20&domain=shop.example",
            ),
        ] {
            assert_eq!(question(url, &name).unwrap().to_string(), asked);
        }
    }
}
