//! The community's Service Bus client for Rust on the emulator.
//!
//! Usage: azservicebus-client CONNECTION_STRING, of an emulator on port 5672: over plain TCP this client knows no other.
//! Needs: queue `work` (3 deliveries), session queue `sessions`, topic `orders` with the subscription `billing`.

use std::error::Error;
use std::future::Future;
use std::time::{Duration, SystemTime};

use azservicebus::administration::{CorrelationRuleFilter, SqlRuleFilter};
use azservicebus::core::BasicRetryPolicy;
use azservicebus::receiver::DeadLetterOptions;
use azservicebus::{
    CreateMessageBatchOptions, ServiceBusClient, ServiceBusClientOptions, ServiceBusMessage, ServiceBusReceivedMessage,
    ServiceBusReceiver, ServiceBusReceiverOptions, SubQueue,
};

type Client = ServiceBusClient<BasicRetryPolicy>;
type Kept = Result<(), Box<dyn Error>>;

/// An answer comes at once, or something is broken.
const WAIT: Duration = Duration::from_secs(20);

async fn connect(connection_string: &str) -> Result<Client, Box<dyn Error>> {
    let client = ServiceBusClient::unsecured();
    Ok(client
        .new_from_connection_string(connection_string, ServiceBusClientOptions::default())
        .await?)
}

async fn send(client: &mut Client, entity: &str, messages: Vec<ServiceBusMessage>) -> Kept {
    let mut sender = client.create_sender(entity, Default::default()).await?;
    sender.send_messages(messages).await?;
    sender.dispose().await?;
    Ok(())
}

fn message(text: &str) -> ServiceBusMessage {
    ServiceBusMessage::new(text)
}

async fn take(
    receiver: &mut ServiceBusReceiver,
    count: usize,
) -> Result<Vec<ServiceBusReceivedMessage>, Box<dyn Error>> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let more = (count - taken.len()) as u32;
        let some = receiver.receive_messages_with_max_wait_time(more, WAIT).await?;
        if some.is_empty() {
            return Err(format!("{} of {count} messages came", taken.len()).into());
        }
        taken.extend(some);
    }
    Ok(taken)
}

fn text(message: &ServiceBusReceivedMessage) -> String {
    String::from_utf8_lossy(message.body().unwrap_or_default()).into_owned()
}

async fn completed_messages_are_gone(client: &mut Client) -> Kept {
    let messages = (0..5).map(|n| message(&format!("m{n}"))).collect();
    send(client, "work", messages).await?;
    let mut receiver = client.create_receiver_for_queue("work", Default::default()).await?;
    let taken = take(&mut receiver, 5).await?;
    assert_eq!(
        taken.iter().map(text).collect::<Vec<_>>(),
        ["m0", "m1", "m2", "m3", "m4"]
    );
    for message in &taken {
        receiver.complete_message(message).await?;
    }
    // This client doesn't wait for the broker's word on a settlement.
    let until = SystemTime::now() + WAIT;
    while !receiver.peek_messages(10, None).await?.is_empty() {
        assert!(SystemTime::now() < until, "completed messages are still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(receiver.dispose().await?)
}

async fn a_batch_arrives_as_its_messages(client: &mut Client) -> Kept {
    let mut sender = client.create_sender("work", Default::default()).await?;
    let mut batch = sender.create_message_batch(CreateMessageBatchOptions::default())?;
    for n in 0..100 {
        assert!(batch.try_add_message(format!("b{n}")).is_ok());
    }
    sender.send_message_batch(batch).await?;
    sender.dispose().await?;
    let options = ServiceBusReceiverOptions {
        prefetch_count: 50,
        ..Default::default()
    };
    let mut receiver = client.create_receiver_for_queue("work", options).await?;
    // It waits for as many as are asked for, and gets no more before it settles than it prefetches.
    for _ in 0..5 {
        for message in take(&mut receiver, 20).await? {
            receiver.complete_message(message).await?;
        }
    }
    Ok(receiver.dispose().await?)
}

async fn an_abandoned_message_comes_again_until_its_deliveries_are_used_up(client: &mut Client) -> Kept {
    send(client, "work", vec![message("poison")]).await?;
    let mut receiver = client.create_receiver_for_queue("work", Default::default()).await?;
    for _ in 0..3 {
        let taken = take(&mut receiver, 1).await?;
        receiver.abandon_message(&taken[0], None).await?;
    }
    receiver.dispose().await?;
    assert_eq!(dead_letter(client).await?.as_deref(), Some("MaxDeliveryCountExceeded"));
    Ok(())
}

async fn a_dead_letter_keeps_its_reason(client: &mut Client) -> Kept {
    send(client, "work", vec![message("bad")]).await?;
    let mut receiver = client.create_receiver_for_queue("work", Default::default()).await?;
    let taken = take(&mut receiver, 1).await?;
    let why = DeadLetterOptions {
        dead_letter_reason: Some("Undecodable".into()),
        dead_letter_error_description: Some("no total".into()),
        properties_to_modify: None,
    };
    receiver.dead_letter_message(&taken[0], why).await?;
    receiver.dispose().await?;
    assert_eq!(dead_letter(client).await?.as_deref(), Some("Undecodable"));
    Ok(())
}

/// Takes a message off the dead-letter queue of `work`, and tells why it was there.
async fn dead_letter(client: &mut Client) -> Result<Option<String>, Box<dyn Error>> {
    let options = ServiceBusReceiverOptions {
        sub_queue: SubQueue::DeadLetter,
        ..Default::default()
    };
    let mut dead = client.create_receiver_for_queue("work", options).await?;
    let taken = take(&mut dead, 1).await?;
    let reason = taken[0].dead_letter_reason().map(str::to_owned);
    dead.complete_message(&taken[0]).await?;
    dead.dispose().await?;
    Ok(reason)
}

async fn a_deferred_message_waits_until_it_is_asked_for(client: &mut Client) -> Kept {
    send(client, "work", vec![message("deferred")]).await?;
    let mut receiver = client.create_receiver_for_queue("work", Default::default()).await?;
    let taken = take(&mut receiver, 1).await?;
    receiver.defer_message(&taken[0], None).await?;
    let again = receiver.receive_deferred_message(taken[0].sequence_number()).await?;
    let mut again = again.ok_or("it is not there")?;
    let until = again.locked_until();
    tokio::time::sleep(Duration::from_millis(20)).await;
    receiver.renew_message_lock(&mut again).await?;
    assert!(again.locked_until() > until);
    receiver.complete_message(&again).await?;
    Ok(receiver.dispose().await?)
}

async fn a_scheduled_message_waits_and_can_be_cancelled(client: &mut Client) -> Kept {
    let mut sender = client.create_sender("work", Default::default()).await?;
    let soon = SystemTime::now() + Duration::from_secs(1);
    let never = sender.schedule_message(message("never"), soon.into()).await?;
    sender.schedule_message(message("later"), soon.into()).await?;
    sender.cancel_scheduled_message(never).await?;
    sender.dispose().await?;
    let mut receiver = client.create_receiver_for_queue("work", Default::default()).await?;
    let taken = take(&mut receiver, 1).await?;
    assert_eq!(text(&taken[0]), "later");
    receiver.complete_message(&taken[0]).await?;
    Ok(receiver.dispose().await?)
}

async fn a_session_keeps_its_order_and_its_state(client: &mut Client) -> Kept {
    let in_session = |n: usize| {
        let mut message = message(&format!("s{n}"));
        message.set_session_id("azservicebus".to_owned()).map(|()| message)
    };
    let messages = (0..3).map(in_session).collect::<Result<Vec<_>, _>>()?;
    send(client, "sessions", messages).await?;
    let mut session = client
        .accept_session_for_queue("sessions", "azservicebus", Default::default())
        .await?;
    for n in 0..3 {
        let message = session
            .receive_message_with_max_wait_time(WAIT)
            .await?
            .ok_or("no message")?;
        assert_eq!(text(&message), format!("s{n}"));
        session.complete_message(&message).await?;
    }
    session.set_session_state(b"done".to_vec()).await?;
    assert_eq!(session.session_state().await?, b"done");
    session.renew_session_lock().await?;
    Ok(session.dispose().await?)
}

async fn rules_decide_what_a_subscription_gets(client: &mut Client) -> Kept {
    let mut rules = client.create_rule_manager("orders", "billing").await?;
    for rule in rules.get_rules().await? {
        rules.delete_rule(rule.name).await?;
    }
    let mine = CorrelationRuleFilter::builder().subject("mine").build();
    rules.create_rule("mine", mine).await?;
    rules
        .create_rule("end", SqlRuleFilter::new("sys.Label = 'end'"))
        .await?;
    assert_eq!(rules.get_rules().await?.len(), 2);
    rules.dispose().await?;
    let labelled = |label: &str| {
        let mut message = message(label);
        message.set_subject(label.to_owned());
        message
    };
    let messages = ["other", "mine", "end"].map(labelled).into();
    send(client, "orders", messages).await?;
    let mut receiver = client
        .create_receiver_for_subscription("orders", "billing", Default::default())
        .await?;
    let taken = take(&mut receiver, 2).await?;
    assert_eq!(taken.iter().map(text).collect::<Vec<_>>(), ["mine", "end"]);
    for message in taken {
        receiver.complete_message(message).await?;
    }
    Ok(receiver.dispose().await?)
}

/// Says whether a promise was kept.
async fn kept(title: &str, promise: impl Future<Output = Kept>) -> bool {
    match promise.await {
        Ok(()) => println!("ok      {}", title.replace('_', " ")),
        Err(error) => {
            println!("BROKEN  {}\n{error:?}", title.replace('_', " "));
            return false;
        }
    }
    true
}

#[tokio::main]
async fn main() -> Kept {
    let connection_string = std::env::args()
        .nth(1)
        .ok_or("usage: azservicebus-client CONNECTION_STRING")?;
    let mut client = connect(&connection_string).await?;
    let (mut asked, mut broken) = (0, 0);
    macro_rules! promises {
        ($($promise:ident),* $(,)?) => {
            $(
                asked += 1;
                broken += usize::from(!kept(stringify!($promise), $promise(&mut client)).await);
            )*
        };
    }
    promises!(
        completed_messages_are_gone,
        a_batch_arrives_as_its_messages,
        an_abandoned_message_comes_again_until_its_deliveries_are_used_up,
        a_dead_letter_keeps_its_reason,
        a_deferred_message_waits_until_it_is_asked_for,
        a_scheduled_message_waits_and_can_be_cancelled,
        a_session_keeps_its_order_and_its_state,
        rules_decide_what_a_subscription_gets,
    );
    println!("{asked} checks, {broken} failed");
    client.dispose().await?;
    if broken > 0 {
        return Err(format!("{broken} promises are broken").into());
    }
    Ok(())
}
