//! Commits, messages and documents in one transaction.

use azevents_core::{AppendOutcome, CommitFeed, ErrorKind, EventStore, ExpectedVersion, ReadOptions, Version};
use azevents_cosmos::{Append, CosmosCommitFeed, CosmosEventStore, DocumentWrite};
use azevents_emulator::{FaultKind, FaultPlan};
use futures::TryStreamExt;
use serde_json::{Value, json};

use crate::common::{EVENTS, Server};
use crate::support::{committed, event, events, large, message, read, stream};

async fn boundaries(store: &CosmosEventStore, name: &str) -> Vec<u64> {
    let mut commits: Vec<_> = read(store, &stream(name))
        .await
        .iter()
        .map(|event| event.commit.get())
        .collect();
    commits.dedup();
    commits
}

#[tokio::test]
async fn events_too_large_for_a_document_become_several_commits_of_one_transaction() {
    let server = Server::start().await;
    let store = server.store().await.with_commit_bytes(64 * 1024);
    let stream = stream("split-1");
    let given: Vec<_> = (0..10).map(|_| large(20_000)).collect();
    for (expected, first) in [(ExpectedVersion::NoStream, 1), (ExpectedVersion::Any, 11)] {
        let append = Append::new(stream.clone(), expected).events(given.clone());
        let append = if first == 1 {
            append
        } else {
            Append::new(stream.clone(), expected).events((0..10).map(|_| large(20_000)))
        };
        let appended = store.execute(append).await.expect("append");
        let commit = committed(appended.outcome);
        assert_eq!((commit.first.get(), commit.events.len()), (first, 10));
        // The head is that of the last of them, so the next append goes on without looking.
        assert_eq!(store.head(&stream).await.expect("head"), Some(commit.head()));
    }
    assert_eq!(boundaries(&store, "split-1").await, [1, 4, 7, 10, 11, 14, 17, 20]);
    // A repetition of the first finds all four commits, a late one of the second at the end, too.
    let again = store
        .append(&stream, ExpectedVersion::NoStream, given.clone())
        .await
        .expect("append");
    assert_eq!(committed(again).events.len(), 10);
    assert_eq!(read(&store, &stream).await.len(), 20);
}

#[tokio::test]
async fn a_repeated_append_at_any_version_is_recognised_by_the_last_of_its_commits() {
    let server = Server::start().await;
    let store = server.store().await;
    let stream = stream("any-1");
    committed(
        store
            .append(&stream, ExpectedVersion::Any, events(3))
            .await
            .expect("append"),
    );
    let append = Append::new(stream.clone(), ExpectedVersion::Any)
        .event(event(1))
        .next_commit()
        .events(events(2));
    for _ in 0..2 {
        let appended = store.execute(append.clone()).await.expect("append");
        let commit = committed(appended.outcome);
        assert_eq!((commit.first.get(), commit.events.len()), (4, 3));
    }
    assert_eq!(boundaries(&store, "any-1").await, [1, 4, 5]);
}

#[tokio::test]
async fn what_passes_the_services_limits_is_refused_with_the_sizes_and_nothing_is_sent() {
    let server = Server::start().await;
    let (store, meter) = server.store().await.with_commit_bytes(500_000).metered();
    let name = stream("limits-1");
    let new = || Append::new(name.clone(), ExpectedVersion::NoStream);
    let many = (0..101).fold(new(), |append, n| append.event(event(n)).next_commit());
    let documents = (0..100).fold(new().event(event(0)), |append, n| {
        append.document(DocumentWrite::upsert(n.to_string(), &n).expect("JSON"))
    });
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    for (append, kind, says) in [
        (many, ErrorKind::TooLarge, "101 operations"),
        (
            documents,
            ErrorKind::TooLarge,
            "101 operations (1 commit(s), 100 document(s))",
        ),
        (
            new().events((0..5).map(|_| large(450_000))),
            ErrorKind::TooLarge,
            "in 5 commit(s)",
        ),
        (
            new().event(large(3_000_000)),
            ErrorKind::TooLarge,
            "1 event(s) and 0 message(s) make a document of 3000",
        ),
        (new(), ErrorKind::InvalidInput, "no events"),
        (new().next_commit(), ErrorKind::InvalidInput, "no events"),
        (
            new()
                .event(event(1))
                .document(DocumentWrite::upsert("x".repeat(1022), &1).expect("JSON")),
            ErrorKind::InvalidInput,
            "1024 bytes",
        ),
        (
            new()
                .event(event(1))
                .document(DocumentWrite::upsert("deep", &deep).expect("JSON")),
            ErrorKind::InvalidInput,
            "nested 201 levels",
        ),
        (
            new()
                .event(event(1))
                .document(DocumentWrite::upsert("big", &"x".repeat(2_100_000)).expect("JSON")),
            ErrorKind::TooLarge,
            "2100",
        ),
    ] {
        let error = store.execute(append).await.expect_err(says);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    assert_eq!(meter.total().requests, 0);
    // As many as fit are stored.
    let most = (0..100).fold(new(), |append, n| append.event(event(n)).next_commit());
    committed(store.execute(most).await.expect("append").outcome);
    assert_eq!(boundaries(&store, "limits-1").await.len(), 100);
}

#[tokio::test]
async fn json_nested_deeper_than_a_document_may_be_is_stored_all_the_same() {
    let server = Server::start().await;
    let store = server.store().await;
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let event = azevents_core::NewEvent::json("Deep", &deep).expect("JSON");
    committed(
        store
            .append(&stream("deep-1"), ExpectedVersion::NoStream, vec![event])
            .await
            .expect("append"),
    );
    assert_eq!(read(&store, &stream("deep-1")).await[0].data, deep.to_string());
}

#[tokio::test]
async fn documents_and_messages_are_written_with_the_events_or_not_at_all() {
    let server = Server::start().await;
    let store = server.store().await;
    let stream = stream("mixed-1");
    let append = Append::new(stream.clone(), ExpectedVersion::NoStream)
        .events(events(2))
        .message(message("m1"))
        .document(DocumentWrite::create("totals/1", &json!({ "pence": 1 })).expect("JSON"));
    let head = committed(store.execute(append.clone()).await.expect("append").outcome).head();
    let kept = store
        .document::<Value>(&stream, "totals/1")
        .await
        .expect("read")
        .expect("there");
    assert_eq!(kept.content["pence"], 1);
    // The same again is recognised before the document is in the way.
    committed(store.execute(append).await.expect("append").outcome);

    let next = |document| {
        Append::new(stream.clone(), ExpectedVersion::Head(head))
            .event(event(3))
            .message(message("m2"))
            .document(document)
    };
    let content = json!({ "pence": 2 });
    for (document, kind) in [
        (
            DocumentWrite::create("totals/1", &content).expect("JSON"),
            ErrorKind::Conflict,
        ),
        (
            DocumentWrite::replace("totals/1", &content, Some("\"stale\"")).expect("JSON"),
            ErrorKind::Conflict,
        ),
        (
            DocumentWrite::replace("nothing", &content, None).expect("JSON"),
            ErrorKind::NotFound,
        ),
        (DocumentWrite::delete("nothing", None), ErrorKind::NotFound),
    ] {
        let id = document.id().to_owned();
        let error = store.execute(next(document)).await.expect_err("refused");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(&id), "{error}");
    }
    assert_eq!(
        read(&store, &stream).await.len(),
        2,
        "nothing was written with a refused document"
    );

    let replace = DocumentWrite::replace("totals/1", &content, Some(&kept.etag)).expect("JSON");
    committed(store.execute(next(replace)).await.expect("append").outcome);
    let kept = store
        .document::<Value>(&stream, "totals/1")
        .await
        .expect("read")
        .expect("there");
    assert_eq!(kept.content, content);
    // A conflict of versions is a value, and leaves the document alone.
    let outcome = store
        .execute(next(DocumentWrite::delete("totals/1", None)))
        .await
        .expect("append")
        .outcome;
    assert!(matches!(outcome, AppendOutcome::Conflict(_)));
    assert!(
        store
            .document::<Value>(&stream, "totals/1")
            .await
            .expect("read")
            .is_some()
    );

    // The feed has the messages with their commits, reads of the stream leave them and the document out.
    let feed = CosmosCommitFeed::open(&server.cosmos, EVENTS).await.expect("container");
    let mut published = Vec::new();
    for range in feed.ranges().await.expect("ranges") {
        for commit in feed.next(&range, None).await.expect("next").commits {
            published.extend(commit.messages().map(|message| (message.key, message.event_type)));
        }
    }
    let event = ("mixed-1".to_owned(), "Counted".to_owned());
    let due = ("invoices".to_owned(), "InvoiceDue".to_owned());
    assert_eq!(published, [event.clone(), event.clone(), due.clone(), event, due]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_happens_once_when_answers_are_lost() {
    let server = Server::start().await;
    let store = server.store().await;
    server.misbehave(FaultPlan::new(5).with(FaultKind::CosmosLoseResponse, 0.3, 100));
    for n in 0..10 {
        let stream = stream(&format!("lost-{n}"));
        let mut expected = ExpectedVersion::NoStream;
        for round in 0..3u64 {
            let append = Append::new(stream.clone(), expected)
                .events(events(2))
                .next_commit()
                .event(event(3))
                .document(DocumentWrite::create(format!("round-{round}"), &round).expect("JSON"));
            let commit = committed(store.execute(append).await.expect("append").outcome);
            assert_eq!(commit.first, Version::new(round * 3 + 1));
            expected = ExpectedVersion::Head(commit.head());
        }
        let events: Vec<_> = store
            .read(&stream, ReadOptions::default())
            .try_collect()
            .await
            .expect("read");
        assert_eq!(events.len(), 9);
    }
    assert!(server.injected(FaultKind::CosmosLoseResponse) > 5, "answers were lost");
}
