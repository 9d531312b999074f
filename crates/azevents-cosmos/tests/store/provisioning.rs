//! Containers that exist already.

use azevents_core::ErrorKind;
use azevents_cosmos::ContainerSpec;
use azure_data_cosmos::models::{
    ContainerProperties, IndexingMode, IndexingPolicy, ThroughputProperties, TimeToLive, UniqueKey, UniqueKeyPolicy,
};
use azure_data_cosmos::options::CreateContainerOptions;

use crate::common::Server;

async fn create(server: &Server, properties: ContainerProperties, throughput: Option<u64>) {
    let database = server.cosmos.client().database_client("test".to_owned());
    let options =
        throughput.map(|units| CreateContainerOptions::default().with_throughput(ThroughputProperties::manual(units)));
    database.create_container(properties, options).await.expect("created");
}

#[tokio::test]
async fn what_was_provisioned_is_verified_and_may_be_provisioned_again() {
    let server = Server::start().await;
    let specs = [
        ContainerSpec::events("e").with_throughput(1000),
        ContainerSpec::tenant_events("t"),
        ContainerSpec::leases("l"),
        ContainerSpec::inbox("i"),
        ContainerSpec::read_model("r"),
        ContainerSpec::dead_letters("d"),
    ];
    for _ in 0..2 {
        server.cosmos.provision(&specs).await.expect("provisioned");
    }
    server.cosmos.verify(&specs).await.expect("as specified");
    let error = server
        .cosmos
        .verify(&[ContainerSpec::events("nowhere")])
        .await
        .expect_err("not there");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_container_that_is_not_as_it_has_to_be_is_refused_with_every_difference() {
    let server = Server::start().await;
    let unique = UniqueKeyPolicy::default().with_unique_key(UniqueKey::default().with_path("/category"));
    let none = IndexingPolicy::default()
        .with_indexing_mode(IndexingMode::Consistent)
        .with_excluded_path("/*");
    let wrong = ContainerProperties::new("wrong", "/category".into())
        .with_unique_key_policy(unique)
        .with_indexing_policy(none)
        .with_default_ttl(TimeToLive::Seconds(60));
    create(&server, wrong, Some(400)).await;
    let error = server
        .cosmos
        .provision(&[ContainerSpec::events("wrong").with_throughput(1000)])
        .await;
    let error = error.expect_err("not as specified");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    for says in [
        "test/wrong",
        "partition key is /category",
        "has to be /stream",
        "default time to live is 60 s",
        "unique keys (/category)",
        "/category/? is not indexed",
        "throughput is 400 RU/s, has to be 1000 RU/s",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
}

#[tokio::test]
async fn a_container_that_indexes_more_is_only_dearer_and_one_without_time_to_live_is_refused() {
    let server = Server::start().await;
    let properties = |name: &'static str| ContainerProperties::new(name, "/stream".into());
    create(
        &server,
        properties("dearer").with_default_ttl(TimeToLive::NoDefault),
        None,
    )
    .await;
    server
        .cosmos
        .verify(&[ContainerSpec::events("dearer")])
        .await
        .expect("it works");
    create(&server, properties("forever"), None).await;
    let error = server
        .cosmos
        .verify(&[ContainerSpec::events("forever")])
        .await
        .expect_err("no time to live");
    assert!(error.to_string().contains("time to live is off"), "{error}");
    let error = server
        .cosmos
        .verify(&[ContainerSpec::tenant_events("dearer")])
        .await
        .expect_err("other key");
    assert!(error.to_string().contains("has to be /tenant, /stream"), "{error}");
}
