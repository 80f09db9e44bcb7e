//! The question to an ask URL.

use std::sync::OnceLock;
use std::time::Duration;

use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;

use crate::cause::with_causes;
use crate::gateway::web::{self, WebClient};
use crate::name::DnsName;

/// Asks; connections are kept between two questions.
#[derive(Default)]
pub(in crate::gateway) struct Asker {
    client: OnceLock<Result<WebClient, String>>,
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
        let asked = tokio::time::timeout(TIME, self.status(url, name)).await;
        match asked {
            Ok(Ok(status)) if status.is_success() => Answer::Allowed,
            // That is no answer about the name.
            Ok(Ok(StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)) => {
                Answer::None(format!("{url} has no time to answer"))
            }
            Ok(Ok(status)) if status.is_client_error() => Answer::Denied,
            Ok(Ok(status)) => Answer::None(format!(
                "{url} answered {status}; 2xx allows a name, 4xx denies it, and redirects are not followed"
            )),
            Ok(Err(error)) => Answer::None(error),
            Err(_) => Answer::None(format!("{url} has not answered within {} s", TIME.as_secs())),
        }
    }

    async fn status(&self, url: &str, name: &DnsName) -> Result<StatusCode, String> {
        let client = self
            .client
            .get_or_init(web::client)
            .as_ref()
            .map_err(Clone::clone)?;
        let request = Request::get(question(url, name)?).header(header::USER_AGENT, web::USER_AGENT);
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let answer = client.request(request).await;
        let answer = answer.map_err(|error| format!("{url}: {}", with_causes(&error)))?;
        let status = answer.status();
        // Read to its end the connection can be used again; what it says, or that it is too long, is of no interest.
        let _ = Limited::new(answer.into_body(), LONGEST_BODY).collect().await;
        Ok(status)
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

/// For one question, to the end of its answer.
const TIME: Duration = Duration::from_secs(5);
const LONGEST_BODY: usize = 64 * 1024;

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
