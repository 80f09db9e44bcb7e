//! The typed client's calls about hooks.

use hyper::Method;

use crate::admin::client::encoded;
use crate::admin::{Client, ClientError, api};

impl Client {
    /// `GET /v1/hooks`.
    ///
    /// # Errors
    /// [`ClientError`], as every call here.
    pub async fn hooks(&self) -> Result<Vec<api::Hook>, ClientError> {
        self.call(Method::GET, "/v1/hooks", None::<&()>).await
    }

    /// `POST /v1/hooks/{name}/test`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn test_hook(&self, name: &str) -> Result<api::HookTest, ClientError> {
        let path = format!("/v1/hooks/{}/test", encoded(name));
        self.call(Method::POST, &path, None::<&()>).await
    }
}
