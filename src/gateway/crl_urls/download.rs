//! A file from a URL, in bounded time and size.

use std::time::Duration;

use http::{Request, StatusCode, Uri, header};

use crate::certificate::MAX_CRL_BYTES;
use crate::web::{Bounds, WebClient};

/// What is at `url`, an http or https URL; redirects are followed.
///
/// # Errors
/// In words, why it was not had.
pub(super) async fn download(url: &str) -> Result<Vec<u8>, String> {
    match tokio::time::timeout(TIME, follow(url)).await {
        Ok(result) => result,
        Err(_) => Err(format!("no whole answer within {} s", TIME.as_secs())),
    }
}

async fn follow(url: &str) -> Result<Vec<u8>, String> {
    let client = WebClient::new(None).await.map_err(|error| error.to_string())?;
    let bounds = Bounds {
        time: TIME,
        octets: usize::try_from(MAX_CRL_BYTES).unwrap_or(usize::MAX),
    };
    let mut url: Uri = url.parse().map_err(|_| format!("`{url}` is no URL"))?;
    for _ in 0..REDIRECTS {
        let answer = client.send(Request::get(&url), "", bounds).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status;
        if status.is_redirection() {
            let location = answer.headers.get(header::LOCATION);
            let location = location.and_then(|to| to.to_str().ok());
            let to: Option<Uri> = location.and_then(|to| to.parse().ok());
            let to = to.filter(|to| matches!(to.scheme_str(), Some("http" | "https")));
            url = to.ok_or_else(|| format!("{url} leads on ({status}) to no http or https URL"))?;
            continue;
        }
        if status != StatusCode::OK {
            return Err(format!("{url} answered {status}"));
        }
        return match answer.body {
            Ok(body) => Ok(body.into()),
            Err(error) => Err(format!("the answer of {url}: {error}")),
        };
    }
    Err(format!("{url} is the end of {REDIRECTS} redirects, and leads on"))
}

const REDIRECTS: usize = 4;
const TIME: Duration = Duration::from_secs(10);
