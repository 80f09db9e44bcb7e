//! The typed client's calls about versions of certificates.

use hyper::Method;

use crate::admin::client::certificate_path;
use crate::admin::{Client, ClientError, api};
use crate::certificate::CertificateName;

impl Client {
    /// `POST /v1/certificates/{name}/activate`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn activate(
        &self,
        name: &CertificateName,
        serve: api::Served,
    ) -> Result<api::Certificate, ClientError> {
        let request = api::ActivateRequest { serve };
        self.call(Method::POST, &certificate_path(name, "/activate"), Some(&request))
            .await
    }

    /// `GET /v1/certificates/{name}/history`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn history(&self, name: &CertificateName) -> Result<Vec<api::CertificateVersion>, ClientError> {
        self.call(Method::GET, &certificate_path(name, "/history"), None::<&()>)
            .await
    }

    /// `POST /v1/certificates/{name}/rollback`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn roll_back(&self, name: &CertificateName) -> Result<api::Certificate, ClientError> {
        self.call(Method::POST, &certificate_path(name, "/rollback"), None::<&()>)
            .await
    }

    /// `DELETE /v1/certificates/{name}`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete_certificate(&self, name: &CertificateName) -> Result<(), ClientError> {
        let path = certificate_path(name, "");
        self.send(Method::DELETE, &path, None::<&()>, None)
            .await
            .map(drop)
    }
}
