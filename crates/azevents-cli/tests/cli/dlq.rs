//! `azevents dlq`.

use std::process::Output;

use azevents_core::failures::{ATTEMPTS, CONSUMER, LAST_ERROR};
use azevents_emulator::{Emulator, Queue};
use azevents_servicebus::{ServiceBusClient, ServiceBusMessage};
use tokio::process::Command;

/// A queue `orders` with three dead letters, one of them `Poison`.
async fn emulator() -> (Emulator, ServiceBusClient) {
    let emulator = Emulator::builder().queue(Queue::new("orders")).start().await.unwrap();
    let connection_string = &emulator.ready().servicebus.connection_string;
    let client = ServiceBusClient::from_connection_string(connection_string).unwrap();
    let sender = client.create_sender("orders");
    let receiver = client.create_receiver("orders");
    for n in 1..=3 {
        let story = [
            (ATTEMPTS, "60"),
            (CONSUMER, "billing"),
            (LAST_ERROR, "no route to host"),
        ];
        let message = story
            .into_iter()
            .fold(ServiceBusMessage::new(format!("body {n}")), |message, (name, value)| {
                message.with_property(name, value)
            })
            .with_message_id(n.to_string())
            .with_subject("OrderPlaced");
        sender.send(&message).await.unwrap();
        let received = receiver.receive().await.unwrap();
        let reason = if n == 2 { "Poison" } else { "Busy" };
        receiver.dead_letter(&received, reason, "as told").await.unwrap();
    }
    receiver.close().await;
    (emulator, client)
}

async fn dlq(emulator: &Emulator, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_azevents"))
        .arg("dlq")
        .args(args)
        .env(
            "SERVICEBUS_CONNECTION_STRING",
            &emulator.ready().servicebus.connection_string,
        )
        .kill_on_drop(true)
        .output()
        .await
        .unwrap()
}

async fn succeeds(emulator: &Emulator, args: &[&str]) -> String {
    let output = dlq(emulator, args).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn json(emulator: &Emulator, args: &[&str]) -> serde_json::Value {
    serde_json::from_str(&succeeds(emulator, &[args, &["--json"]].concat()).await).unwrap()
}

#[tokio::test]
async fn dead_letters_are_listed_shown_redriven_and_purged() {
    let (emulator, client) = emulator().await;
    let table = succeeds(&emulator, &["list", "-e", "orders", "--reason", "Poison"]).await;
    assert!(table.contains("OrderPlaced") && table.contains("as told"), "{table}");
    assert!(!table.contains("Busy"), "{table}");

    let listed = json(&emulator, &["list", "-e", "orders"]).await;
    assert_eq!(listed.as_array().unwrap().len(), 3);
    let number = listed[1]["sequenceNumber"].to_string();
    let shown = json(&emulator, &["show", "-e", "orders", &number]).await;
    assert_eq!(
        (&shown["body"], &shown["deadLetterReason"]),
        (&"body 2".into(), &"Poison".into())
    );

    let failures = &shown["failures"];
    assert_eq!(
        (&failures["attempts"], &failures["consumer"], &failures["lastError"]),
        (&60.into(), &"billing".into(), &"no route to host".into())
    );
    let table = succeeds(&emulator, &["show", "-e", "orders", &number]).await;
    assert!(table.contains("failures.attempts"), "{table}");

    let redrive = ["redrive", "-e", "orders", "--reason", "Busy", "--rate", "100"];
    let dry = json(&emulator, &[redrive.as_slice(), &["--dry-run"]].concat()).await;
    assert_eq!((&dry["chosen"], &dry["moved"]), (&2.into(), &0.into()));
    let done = json(&emulator, &redrive).await;
    assert_eq!(
        (&done["chosen"], &done["moved"], &done["left"]),
        (&2.into(), &2.into(), &0.into())
    );
    assert_eq!(client.create_receiver("orders").peek(0, 10).await.unwrap().len(), 2);

    let text = succeeds(&emulator, &["purge", "-e", "orders", "--yes"]).await;
    assert!(text.starts_with("1 of 1 thrown away"), "{text}");
    assert!(
        json(&emulator, &["list", "-e", "orders"])
            .await
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn errors_say_what_to_do_and_end_with_a_status() {
    let (emulator, _client) = emulator().await;
    for (args, says) in [
        (vec!["list", "-e", "nowhere"], "create the entity or correct its name"),
        (vec!["show", "-e", "orders", "999999"], "see `azevents dlq list`"),
        (vec!["purge", "-e", "orders"], "--yes"),
        (
            vec!["list", "-e", "orders", "--since", "yesterday"],
            "2026-01-31T12:00:00Z",
        ),
        (vec!["redrive", "-e", "orders", "-s", "billing"], "single subscription"),
    ] {
        let output = dlq(&emulator, &args).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(says), "{args:?}: {stderr}");
    }
}
