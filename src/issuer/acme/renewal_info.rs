//! Asking the CA when to renew (RFC 9773 §4).

use http::Method;
use http::header::RETRY_AFTER;
use instant_acme::CertificateIdentifier;
use rustls::pki_types::CertificateDer;
use serde::Deserialize;

use crate::certificate::RenewalWindow;
use crate::clock::Timestamp;
use crate::issuer::acme::AcmeIssuer;
use crate::issuer::acme::directory::request;
use crate::issuer::acme::http::{RequestFailure, retry_after};
use crate::issuer::{IssueError, RenewalInfo};

impl AcmeIssuer {
    /// What the CA says of `certificate`. No account is needed, and none is made for it.
    pub(super) async fn ask_renewal_info(
        &self,
        certificate: &CertificateDer<'_>,
    ) -> Result<RenewalInfo, IssueError> {
        // One that the CA cannot have signed, for its issuer is not named in it.
        let Ok(identifier) = CertificateIdentifier::try_from(certificate) else {
            return Ok(RenewalInfo::default());
        };
        let Some(session) = self.accounts.known().await? else {
            return Ok(RenewalInfo::default());
        };
        let doing = "ask when to renew";
        let directory = session
            .directory()
            .await
            .map_err(|failure| failure.during(doing))?;
        let Some(base) = &directory.renewal_info else {
            return Ok(RenewalInfo::default());
        };
        let url = format!("{}/{identifier}", base.trim_end_matches('/'));
        let asked = request(&url, Method::GET).map_err(|failure| failure.during(doing))?;
        match session.http.send(asked).await {
            Ok(answer) => {
                let ask_at = answer
                    .headers()
                    .get(RETRY_AFTER)
                    .and_then(|value| retry_after(value, self.clock.now()));
                let window = window(answer.body());
                if window.is_none() {
                    tracing::warn!(
                        issuer = self.name,
                        url,
                        "what the CA says of when to renew makes no sense"
                    );
                }
                Ok(RenewalInfo { window, ask_at })
            }
            // It does not know the certificate, or gives no such answers after all.
            Err(RequestFailure::Refused {
                status: 400..=428 | 430..=499,
                retry_after,
                ..
            }) => Ok(RenewalInfo {
                window: None,
                ask_at: retry_after,
            }),
            Err(failure) => Err(failure.during(doing)),
        }
    }
}

fn window(body: &[u8]) -> Option<RenewalWindow> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        suggested_window: Window,
        #[serde(rename = "explanationURL")]
        explanation: Option<String>,
    }
    #[derive(Deserialize)]
    struct Window {
        start: Timestamp,
        end: Timestamp,
    }
    let Answer {
        suggested_window: Window { start, end },
        explanation,
    } = serde_json::from_slice(body).ok()?;
    let sound = |url: &String| {
        url.starts_with("https://") && url.len() <= 2048 && url.chars().all(|c| c.is_ascii_graphic())
    };
    (start < end).then_some(RenewalWindow {
        start,
        end,
        explanation: explanation.filter(sound),
    })
}
