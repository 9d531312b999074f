//! What several test programs need.

#![allow(dead_code, reason = "each test program uses its part")]

use std::net::SocketAddr;

use azevents_emulator::Emulator;
use azure_core::credentials::Secret;
use azure_data_cosmos::{
    AccountEndpoint, AccountReference, ContainerClient, CosmosClient, CosmosRuntime, RoutingStrategy,
    models::ContainerProperties, options::Region,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A client with connections of its own: the shared ones would outlive this test's runtime.
pub(crate) async fn cosmos_client(emulator: &Emulator) -> CosmosClient {
    let key = emulator
        .ready()
        .cosmos
        .as_ref()
        .expect("Cosmos DB is served")
        .key
        .clone();
    cosmos_client_with(emulator, key).await.expect("a client")
}

/// The same with a key that may be wrong.
pub(crate) async fn cosmos_client_with(emulator: &Emulator, key: String) -> azure_data_cosmos::Result<CosmosClient> {
    let address = emulator.ready().cosmos.as_ref().expect("Cosmos DB is served");
    let endpoint: AccountEndpoint = address.endpoint.parse().expect("an endpoint");
    let account = AccountReference::with_authentication_key(endpoint, Secret::from(key));
    let runtime = CosmosRuntime::builder().build().await.expect("a runtime");
    CosmosClient::builder()
        .with_runtime(runtime)
        .build(account, RoutingStrategy::ProximityTo(Region::WEST_EUROPE))
        .await
}

/// A new container `events` with partition key `/stream` in a new database `test`.
pub(crate) async fn events_container(client: &CosmosClient) -> ContainerClient {
    client.create_database("test", None).await.expect("a database");
    let database = client.database_client("test");
    let properties = ContainerProperties::new("events", "/stream".into());
    database.create_container(properties, None).await.expect("a container");
    database
        .container_client("events", None)
        .await
        .expect("a container client")
}

/// One HTTP request on a connection of its own, with a token that Cosmos DB takes: status and body.
pub(crate) async fn http(endpoint: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
    http_with(
        endpoint,
        method,
        path,
        "Authorization: type=aad&ver=1.0&sig=e30.e30.c2ln",
        body,
    )
    .await
}

/// The same with one header that the test chooses.
pub(crate) async fn http_with(endpoint: &str, method: &str, path: &str, header: &str, body: &str) -> (u16, Value) {
    let host = endpoint.trim_start_matches("http://").trim_end_matches('/');
    let address: SocketAddr = host.parse().expect("an address");
    let mut socket = TcpStream::connect(address).await.expect("a connection");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         {header}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}
