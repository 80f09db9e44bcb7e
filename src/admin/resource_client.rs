//! The typed client's calls about resources, files and handshakes.

use hyper::{Method, header};

use crate::admin::client::encoded;
use crate::admin::{Client, ClientError, api};
use crate::config::{ResourceId, ResourceKind, ResourceTable};

impl Client {
    /// `GET /v1/listeners` and its like: those that are in force.
    ///
    /// # Errors
    /// [`ClientError`], as every call here.
    pub async fn resources(&self, kind: ResourceKind) -> Result<Vec<api::Resource>, ClientError> {
        self.call(Method::GET, &format!("/v1/{}", kind.path()), None::<&()>)
            .await
    }

    /// `PUT /v1/listeners/{name}` and its like: these are its keys. With an entity tag only if it is as it was read.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn put_resource(
        &self,
        id: &ResourceId,
        keys: &ResourceTable,
        condition: Option<&str>,
    ) -> Result<ResourceTable, ClientError> {
        let condition = condition.map(|tag| (header::IF_MATCH, tag));
        self.call_if(Method::PUT, &path(id), Some(keys), condition).await
    }

    /// `PUT /v1/listeners/{name}` and its like, only where there is none of that name yet.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn create_resource(
        &self,
        id: &ResourceId,
        keys: &ResourceTable,
    ) -> Result<ResourceTable, ClientError> {
        let condition = Some((header::IF_NONE_MATCH, "*"));
        self.call_if(Method::PUT, &path(id), Some(keys), condition).await
    }

    /// `PATCH /v1/listeners/{name}` and its like: some keys change, those that are null go.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn patch_resource(
        &self,
        id: &ResourceId,
        keys: &ResourceTable,
        condition: Option<&str>,
    ) -> Result<ResourceTable, ClientError> {
        let condition = condition.map(|tag| (header::IF_MATCH, tag));
        self.call_if(Method::PATCH, &path(id), Some(keys), condition)
            .await
    }

    /// `PUT` where another listener than it may come to ask less of clients.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn put_allowing_downgrade(
        &self,
        id: &ResourceId,
        keys: &ResourceTable,
    ) -> Result<ResourceTable, ClientError> {
        self.call(Method::PUT, &allowing_downgrade(id), Some(keys)).await
    }

    /// `PATCH` where another listener than it may come to ask less of clients.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn patch_allowing_downgrade(
        &self,
        id: &ResourceId,
        keys: &ResourceTable,
    ) -> Result<ResourceTable, ClientError> {
        self.call(Method::PATCH, &allowing_downgrade(id), Some(keys))
            .await
    }

    /// `DELETE /v1/listeners/{name}` and its like.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete_resource(&self, id: &ResourceId) -> Result<(), ClientError> {
        self.send(Method::DELETE, &path(id), None::<&()>, None)
            .await
            .map(drop)
    }

    /// `GET /v1/ca-bundles/{name}/contents`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn ca_bundle_contents(&self, name: &str) -> Result<api::CaBundleContents, ClientError> {
        let path = format!("/v1/ca-bundles/{}/contents", encoded(name));
        self.call(Method::GET, &path, None::<&()>).await
    }

    /// `POST /v1/listeners/{name}/recheck`: which open connections would not be let in now; unless `dry_run` they are
    /// closed, `per_second` each second.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn recheck(
        &self,
        listener: &str,
        dry_run: bool,
        per_second: u16,
    ) -> Result<api::Recheck, ClientError> {
        let listener = encoded(listener);
        let path = format!("/v1/listeners/{listener}/recheck?dry_run={dry_run}&per_second={per_second}");
        self.call(Method::POST, &path, None::<&()>).await
    }

    /// `POST /v1/apply`: bring the gateway to files, or ask what that would change.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn apply(&self, request: &api::ApplyRequest) -> Result<api::ApplyReport, ClientError> {
        self.call(Method::POST, "/v1/apply", Some(request)).await
    }

    /// `GET /v1/listeners/{name}/client-hellos`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn client_hellos(&self, listener: &str) -> Result<api::ClientHellos, ClientError> {
        let path = about(listener, "client-hellos");
        self.call(Method::GET, &path, None::<&()>).await
    }

    /// `GET /v1/listeners/{name}/preview`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn preview(&self, listener: &str, policy: &str) -> Result<api::PolicyPreview, ClientError> {
        let path = format!("{}?policy={}", about(listener, "preview"), encoded(policy));
        self.call(Method::GET, &path, None::<&()>).await
    }

    /// `POST /v1/listeners/{name}/explain`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn explain(
        &self,
        listener: &str,
        request: &api::ExplainRequest,
    ) -> Result<api::Explanation, ClientError> {
        self.call(Method::POST, &about(listener, "explain"), Some(request))
            .await
    }
}

fn about(listener: &str, what: &str) -> String {
    format!("/v1/listeners/{}/{what}", encoded(listener))
}

fn allowing_downgrade(id: &ResourceId) -> String {
    format!("{}?allow_downgrade=true", path(id))
}

fn path(id: &ResourceId) -> String {
    format!("/v1/{}/{}", id.kind.path(), encoded(&id.name))
}
