//! Many tenants in one container.

use std::collections::BTreeSet;

use azevents_core::{
    CategoryReader, Commit, CommitFeed, ErrorKind, EventStore, ExpectedVersion, Snapshot, SnapshotStore,
    StreamLifecycle,
};
use azevents_cosmos::{Append, CosmosCommitFeed, CosmosTenantFeed, DocumentWrite};
use serde_json::Value;

use crate::common::{Server, TENANT_EVENTS};
use crate::support::{committed, events, message, read, stream};

async fn drain(feed: &dyn CommitFeed) -> Vec<Commit> {
    let mut commits = Vec::new();
    for range in feed.ranges().await.expect("ranges") {
        let mut after = None;
        loop {
            let page = feed.next(&range, after.as_ref()).await.expect("next");
            if page.commits.is_empty() {
                break;
            }
            after = page.continuation;
            commits.extend(page.commits);
        }
    }
    commits
}

#[tokio::test]
async fn a_handle_bound_to_a_tenant_sees_nothing_of_another() {
    let server = Server::start().await;
    let tenants = server.tenants().await;
    let (acme, other) = (
        tenants.tenant("acme").expect("a name"),
        tenants.tenant("other").expect("a name"),
    );
    let name = stream("order-1");
    let append = |count| {
        Append::new(name.clone(), ExpectedVersion::NoStream)
            .events(events(count))
            .document(DocumentWrite::upsert("totals", &count).expect("JSON"))
    };
    let head = committed(acme.execute(append(2)).await.expect("append").outcome).head();
    // The same stream of another tenant is another stream.
    assert_eq!(other.head(&name).await.expect("head"), None);
    assert_eq!(other.next_commit(&name, None).await.expect("next"), None);
    assert!(read(&other, &name).await.is_empty());
    assert!(other.document::<Value>(&name, "totals").await.expect("read").is_none());
    let snapshot = Snapshot {
        stream: name.clone(),
        schema: "v1".into(),
        head,
        taken_at: time::OffsetDateTime::UNIX_EPOCH,
        content_type: "application/json".into(),
        state: "1".into(),
    };
    acme.save_snapshot(&snapshot).await.expect("save");
    assert_eq!(other.load_snapshot(&name, "v1").await.expect("load"), None);
    committed(other.execute(append(5)).await.expect("append").outcome);
    other.delete(&name).await.expect("delete");
    assert_eq!(read(&acme, &name).await.len(), 2);
    assert_eq!(acme.load_snapshot(&name, "v1").await.expect("load"), Some(snapshot));
}

#[tokio::test]
async fn categories_and_feeds_of_a_tenant_hold_its_own_commits_and_the_whole_feed_says_whose_they_are() {
    let server = Server::start().await;
    let tenants = server.tenants().await;
    for (name, streams) in [("acme", 3), ("beta", 5), ("gamma", 1)] {
        let store = tenants.tenant(name).expect("a name");
        for n in 0..streams {
            let append = Append::new(stream(&format!("order-{n}")), ExpectedVersion::NoStream)
                .events(events(2))
                .message(message(&format!("{name}-{n}")));
            committed(store.execute(append).await.expect("append").outcome);
        }
        let page = store.read_category("order", None, 100).await.expect("read");
        assert_eq!(page.commits.len(), streams);
        assert!(page.commits.iter().all(|commit| commit.tenant.as_deref() == Some(name)));
    }
    for (name, streams) in [("acme", 3), ("beta", 5), ("gamma", 1), ("nobody", 0)] {
        let feed = CosmosTenantFeed::open(&server.cosmos, TENANT_EVENTS, name)
            .await
            .expect("container");
        let commits = drain(&feed).await;
        assert_eq!(commits.len(), streams, "{name}");
        assert!(commits.iter().all(|commit| commit.tenant.as_deref() == Some(name)));
    }
    let whole = CosmosCommitFeed::open(&server.cosmos, TENANT_EVENTS)
        .await
        .expect("container");
    let keys: BTreeSet<_> = drain(&whole)
        .await
        .iter()
        .flat_map(Commit::messages)
        .map(|message| message.key)
        .collect();
    assert_eq!(
        keys.len(),
        3 + 5 + 1 + 3,
        "nine streams and three tenants' invoices: {keys:?}"
    );
    assert!(keys.contains("acme/order-0") && keys.contains("beta/invoices"));
}

#[tokio::test]
async fn a_tenants_name_that_could_be_mistaken_for_another_is_refused() {
    let server = Server::start().await;
    let tenants = server.tenants().await;
    for name in ["", "a/b", "a\nb", &"x".repeat(128)] {
        assert_eq!(tenants.tenant(name).expect_err(name).kind(), ErrorKind::InvalidInput);
    }
    let store = tenants.tenant(&"x".repeat(100)).expect("a name");
    let long = stream(&"y".repeat(28));
    let error = store
        .append(&long, ExpectedVersion::Any, events(1))
        .await
        .expect_err("too long together");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("129 bytes"), "{error}");
}
