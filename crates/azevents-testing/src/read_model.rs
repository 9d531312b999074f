//! The promises of [`ReadModel`].

use azevents_core::{ErrorKind, Handled, InboxKey, ReadModel, Update};
use futures::TryStreamExt;
use futures::future::join_all;

/// Runs all checks.
pub async fn check(model: &dyn ReadModel) {
    a_change_is_made_once_per_message(model).await;
    concurrent_updates_all_count_and_copies_do_not(model).await;
    updates_apply_in_the_order_they_started(model).await;
    an_update_that_fails_changes_nothing_and_disturbs_no_other(model).await;
    documents_are_listed_and_marks_are_not(model).await;
}

fn partition() -> String {
    format!("United Kingdom/{}", uuid::Uuid::new_v4().simple())
}

fn add(partition: &str, message: usize, document: &str, by: i64) -> Update {
    Update::new(InboxKey::new("billing", format!("{partition}#{message}")), partition)
        .change(document, move |total: &mut i64| *total += by)
}

async fn total(model: &dyn ReadModel, partition: &str, document: &str) -> Option<i64> {
    let document = model.get(partition, document).await.expect("get")?;
    Some(document.parse().expect("a number"))
}

/// The second copy is a duplicate, and changes nothing.
pub async fn a_change_is_made_once_per_message(model: &dyn ReadModel) {
    let place = partition();
    assert_eq!(total(model, &place, "total").await, None);
    assert_eq!(
        model.apply(add(&place, 1, "total", 5)).await.expect("apply"),
        Handled::Done
    );
    assert_eq!(
        model.apply(add(&place, 1, "total", 5)).await.expect("apply"),
        Handled::Duplicate
    );
    assert_eq!(
        model.apply(add(&place, 2, "total", 7)).await.expect("apply"),
        Handled::Done
    );
    assert_eq!(total(model, &place, "total").await, Some(12));
    let other = Update::new(InboxKey::new("analytics", format!("{place}#1")), place.clone())
        .change("total", |total: &mut i64| *total += 100);
    assert_eq!(
        model.apply(other).await.expect("apply"),
        Handled::Done,
        "consumers are independent"
    );
}

/// 300 messages, each three times, all at once, over three documents of one partition.
pub async fn concurrent_updates_all_count_and_copies_do_not(model: &dyn ReadModel) {
    let place = partition();
    let documents = ["a", "b", "c"];
    let updates = (0..900).map(|n| model.apply(add(&place, n % 300, documents[n % 3], 1)));
    let results = join_all(updates).await;
    let done = results
        .iter()
        .filter(|result| matches!(result, Ok(Handled::Done)))
        .count();
    let copies = results
        .iter()
        .filter(|result| matches!(result, Ok(Handled::Duplicate)))
        .count();
    assert_eq!(
        (done, copies),
        (300, 600),
        "{:?}",
        results.iter().find(|result| result.is_err())
    );
    for document in documents {
        assert_eq!(total(model, &place, document).await, Some(100), "{document}");
    }
}

/// First started, first applied.
pub async fn updates_apply_in_the_order_they_started(model: &dyn ReadModel) {
    let place = partition();
    let updates = (0..200).map(|n: usize| {
        let key = InboxKey::new("order", format!("{place}#{n}"));
        model.apply(Update::new(key, place.clone()).change("seen", move |seen: &mut Vec<usize>| seen.push(n)))
    });
    // `join_all` polls in order, and so starts them in order.
    for result in join_all(updates).await {
        assert_eq!(result.expect("apply"), Handled::Done);
    }
    let seen: Vec<usize> = model
        .get(&place, "seen")
        .await
        .expect("get")
        .expect("there")
        .parse()
        .expect("a list");
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
}

/// A document of another type is the failing update's problem alone, and its message can come again.
pub async fn an_update_that_fails_changes_nothing_and_disturbs_no_other(model: &dyn ReadModel) {
    let place = partition();
    model.apply(add(&place, 0, "total", 1)).await.expect("apply");
    let wrong = || {
        Update::new(InboxKey::new("billing", format!("{place}#wrong")), place.clone())
            .change("fine", |total: &mut i64| *total += 1)
            .change("total", |text: &mut String| text.push('x'))
    };
    let (before, failed, after) = futures::join!(
        model.apply(add(&place, 1, "total", 1)),
        model.apply(wrong()),
        model.apply(add(&place, 2, "total", 1))
    );
    assert_eq!(
        (before.expect("apply"), after.expect("apply")),
        (Handled::Done, Handled::Done)
    );
    assert_eq!(failed.expect_err("a number is no text").kind(), ErrorKind::Corrupt);
    assert_eq!(total(model, &place, "total").await, Some(3));
    assert_eq!(total(model, &place, "fine").await, None);
    assert_eq!(
        model.apply(wrong()).await.expect_err("still no text").kind(),
        ErrorKind::Corrupt,
        "it left no mark"
    );
}

/// `documents` yields each document once, by partition or over all.
pub async fn documents_are_listed_and_marks_are_not(model: &dyn ReadModel) {
    let (here, there) = (partition(), partition());
    for n in 0..5 {
        model.apply(add(&here, n, &format!("d{n}"), 1)).await.expect("apply");
    }
    model.apply(add(&there, 0, "elsewhere", 1)).await.expect("apply");
    let mut listed: Vec<_> = model
        .documents(Some(&here))
        .map_ok(|document| document.id)
        .try_collect()
        .await
        .expect("list");
    listed.sort();
    assert_eq!(listed, ["d0", "d1", "d2", "d3", "d4"]);
    let all: Vec<_> = model.documents(None).try_collect().await.expect("list");
    let ours = all
        .iter()
        .filter(|document| document.partition == here || document.partition == there);
    assert_eq!(ours.count(), 6);
}
