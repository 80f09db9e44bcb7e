//! The typed client's calls about issuers.

use hyper::Method;

use crate::admin::client::encoded;
use crate::admin::{Client, ClientError, api};
use crate::certificate::RevocationReason;

impl Client {
    /// `GET /v1/issuers`.
    ///
    /// # Errors
    /// [`ClientError`], as every call here.
    pub async fn issuers(&self) -> Result<Vec<api::Issuer>, ClientError> {
        self.call(Method::GET, "/v1/issuers", None::<&()>).await
    }

    /// `GET /v1/issuers/{name}`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn issuer(&self, name: &str) -> Result<api::Issuer, ClientError> {
        self.call(Method::GET, &path(name, ""), None::<&()>).await
    }

    /// `POST /v1/issuers/{name}/root`: make a local CA that is only configured so far.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn create_local_ca(&self, name: &str) -> Result<api::Issuer, ClientError> {
        self.call(Method::POST, &path(name, "/root"), None::<&()>).await
    }

    /// `GET /v1/issuers/{name}/certificates`: all of them, by serial number.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn client_certificates(&self, name: &str) -> Result<Vec<api::ClientCertificate>, ClientError> {
        let path = path(name, "/certificates");
        self.rest(&path, Vec::new(), |last: &api::ClientCertificate| {
            last.serial.clone()
        })
        .await
    }

    /// `POST /v1/issuers/{name}/certificates`: sign for a client.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn issue_client_certificate(
        &self,
        name: &str,
        request: &api::ClientCertificateRequest,
    ) -> Result<api::IssuedClientCertificate, ClientError> {
        self.call(Method::POST, &path(name, "/certificates"), Some(request))
            .await
    }

    /// `POST /v1/issuers/{name}/certificates/{serial}/revoke`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn revoke_client_certificate(
        &self,
        name: &str,
        serial: &str,
        reason: RevocationReason,
    ) -> Result<api::ClientCertificate, ClientError> {
        let path = path(name, &format!("/certificates/{}/revoke", encoded(serial)));
        let request = api::RevocationRequest { reason };
        self.call(Method::POST, &path, Some(&request)).await
    }

    /// `GET /v1/issuers/{name}/crl`, as PEM.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn crl(&self, name: &str) -> Result<String, ClientError> {
        self.text(&path(name, "/crl")).await
    }
}

fn path(issuer: &str, rest: &str) -> String {
    format!("/v1/issuers/{}{rest}", encoded(issuer))
}
