//! The typed client's calls about issuers.

use hyper::Method;

use crate::admin::client::{certificate_path, encoded};
use crate::admin::{Client, ClientError, api};
use crate::certificate::{CertificateName, RevocationReason};

impl Client {
    /// `POST /v1/issuers/{name}/rollover`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn roll_over(&self, issuer: &str) -> Result<(), ClientError> {
        let path = format!("/v1/issuers/{}/rollover", encoded(issuer));
        self.send(Method::POST, &path, None::<&()>, None).await.map(drop)
    }

    /// `POST /v1/issuers/{name}/deactivate`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn deactivate(&self, issuer: &str) -> Result<(), ClientError> {
        let path = format!("/v1/issuers/{}/deactivate", encoded(issuer));
        self.send(Method::POST, &path, None::<&()>, None).await.map(drop)
    }

    /// `POST /v1/certificates/{name}/revoke`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn revoke(
        &self,
        name: &CertificateName,
        reason: RevocationReason,
    ) -> Result<api::Certificate, ClientError> {
        let request = api::RevocationRequest { reason };
        self.call(Method::POST, &certificate_path(name, "/revoke"), Some(&request))
            .await
    }
}
