//! Microsoft's emulator behind one call that always has an answer.

use azure_core::http::{
    AsyncRawResponse, Request, StatusCode,
    headers::{HeaderName, Headers},
};
use azure_data_cosmos_driver::in_memory_emulator::{
    ConsistencyLevel, InMemoryEmulatorHttpClient, ReplicationConfig, VirtualAccountConfig, VirtualRegion,
};
use bytes::Bytes;
use tracing::warn;
use url::Url;

/// Region names must be Azure's, or clients that sort regions by distance ignore the account's.
const REGION: &str = "East US";

/// An answer whose body is complete.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Headers,
    pub(super) body: Bytes,
}

impl Answer {
    /// An error the way Cosmos DB words it: a code and a message in JSON.
    pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "code": code, "message": message }).to_string();
        let mut headers = Headers::new();
        headers.insert("content-type", "application/json");
        headers.insert("x-ms-activity-id", uuid::Uuid::new_v4().to_string());
        Self {
            status,
            headers,
            body: body.into(),
        }
    }

    pub(super) fn header(&self, name: &'static str) -> Option<&str> {
        self.headers.get_optional_str(&HeaderName::from_static(name))
    }
}

/// The account's contents and what each request does to them.
#[derive(Debug)]
pub(super) struct Engine {
    emulator: InMemoryEmulatorHttpClient,
    endpoint: Url,
}

impl Engine {
    /// An empty account with one region, whose document names `endpoint`.
    pub(super) fn new(endpoint: Url) -> azure_data_cosmos_driver::error::Result<Self> {
        let region = VirtualRegion::new(REGION, endpoint.clone());
        let config = VirtualAccountConfig::new(vec![region])?
            .with_account_id("azevents-emulator")
            .with_consistency(ConsistencyLevel::Session)
            .with_replication_config(ReplicationConfig::immediate());
        let emulator = InMemoryEmulatorHttpClient::try_new(config)?;
        Ok(Self { emulator, endpoint })
    }

    /// Where clients connect.
    pub(super) fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// Executes one request that is addressed to [`endpoint`](Self::endpoint).
    pub(super) async fn execute(&self, request: &Request) -> Answer {
        let failed = |error: &dyn std::fmt::Display| {
            warn!(%error, method = ?request.method(), path = request.url().path(), "not answered");
            Answer::error(
                StatusCode::InternalServerError,
                "InternalServerError",
                &format!("The in-memory emulator could not answer: {error}"),
            )
        };
        match self.emulator.execute_request(request).await {
            Ok(answer) => read(answer).await.unwrap_or_else(|error| failed(&error)),
            Err(error) => failed(&error),
        }
    }
}

async fn read(answer: AsyncRawResponse) -> azure_core::Result<Answer> {
    let (status, headers, body) = answer.try_into_raw_response().await?.deconstruct();
    Ok(Answer {
        status,
        headers,
        body: Bytes::from(body),
    })
}
