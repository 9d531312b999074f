//! Transactions of one entity and of a group, as far as our own client doesn't drive them.

use fe2o3_amqp::transaction::{
    Controller, ControllerSendError, Transaction, TransactionDischarge, TransactionPosting, TransactionRetirement,
};
use fe2o3_amqp::types::{messaging::MessageAnnotations, transaction::TransactionError};

use super::*;

impl Broker {
    /// With queues `q`, `a` and `b`.
    fn with_more_queues() -> Self {
        let broker = Self::start();
        for name in ["a", "b"] {
            broker.namespace.create_queue(&QueueConfig::new(name)).unwrap();
        }
        broker
    }

    /// The client library doesn't wait for the answer to a settlement; a commit does, whatever happens meanwhile.
    async fn enlisted(&self, messages: usize) {
        let all = async {
            while self.service.transactions.messages() < messages {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, all).await.unwrap();
    }

    fn active(&self, path: &str) -> usize {
        let node = self.namespace.resolve(path).unwrap();
        node.outlet().unwrap().counts().active
    }
}

impl Client {
    async fn sender(&mut self, to: &str) -> Sender {
        let name = format!("sender-{to}");
        timeout(PATIENCE, Sender::attach(&mut self.session, name, to))
            .await
            .unwrap()
            .unwrap()
    }

    /// A session that begins with a coordinator.
    async fn group(&mut self) -> Controller {
        timeout(PATIENCE, Controller::attach(&mut self.session, "coordinator"))
            .await
            .unwrap()
            .unwrap()
    }
}

fn why(error: &ControllerSendError) -> &Error {
    match error {
        ControllerSendError::Rejected(rejected) => rejected.error.as_ref().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn failure(error: &Error) -> TransactionError {
    match &error.condition {
        ErrorCondition::TransactionError(error) => error.clone(),
        other => panic!("{other:?}"),
    }
}

async fn post(transaction: &Transaction<'_>, sender: &mut Sender, body: &str) -> Result<(), Error> {
    match transaction.post(sender, body.to_owned()).await {
        Ok(Outcome::Accepted(_)) => Ok(()),
        Ok(Outcome::Rejected(rejected)) => Err(rejected.error.unwrap()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_group_completes_at_one_entity_and_sends_to_others() {
    let broker = Broker::with_more_queues();
    let mut client = broker.connect().await;
    client.send("a", None, &["1", "2"]).await;
    let mut client = broker.connect().await;
    let controller = client.group().await;
    let mut receiver = client.receiver("r", "a").await;
    let (mut to_b, mut to_q) = (client.sender("b").await, client.sender("q").await);
    let (first, second) = (recv(&mut receiver).await, recv(&mut receiver).await);

    let transaction = Transaction::declare(&controller, None).await.unwrap();
    transaction.accept(&mut receiver, &first).await.unwrap();
    post(&transaction, &mut to_b, "b").await.unwrap();
    post(&transaction, &mut to_q, "q").await.unwrap();
    assert_eq!([broker.active("a"), broker.active("b"), broker.active("q")], [2, 0, 0]);
    transaction.commit().await.unwrap();
    assert_eq!([broker.active("a"), broker.active("b"), broker.active("q")], [1, 1, 1]);

    let transaction = Transaction::declare(&controller, None).await.unwrap();
    transaction.accept(&mut receiver, &second).await.unwrap();
    post(&transaction, &mut to_b, "b").await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!([broker.active("a"), broker.active("b"), broker.active("q")], [1, 1, 1]);
}

#[tokio::test]
async fn a_group_receives_from_the_entity_it_began_with_only() {
    let broker = Broker::with_more_queues();
    let mut client = broker.connect().await;
    let _controller = client.group().await;
    let _receiver = client.receiver("r", "a").await;
    let _below = client.receiver("dead", "a/$DeadLetterQueue").await;
    match client.attach("elsewhere", source("b", None)).await {
        Err(ReceiverAttachError::RemoteClosedWithError(error)) => {
            let text = error.description.unwrap();
            assert!(text.contains("multiple top-level entities"), "{text}");
        }
        // The client library lost the error; see `Broker::refusal`.
        Err(ReceiverAttachError::IllegalState) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn without_a_group_a_transaction_is_of_one_entity_unless_a_link_names_where_it_goes() {
    let broker = Broker::with_more_queues();
    let mut client = broker.connect().await;
    let (mut to_a, mut to_b) = (client.sender("a").await, client.sender("b").await);
    let mut properties = Fields::default();
    let destination = Value::String("b".into());
    properties.insert(Symbol::from("com.microsoft:transfer-destination-address"), destination);
    let via = Sender::builder().name("via").target("a").properties(properties);
    let mut to_b_via_a = via.attach(&mut client.session).await.unwrap();
    let controller = client.group().await;
    let transaction = Transaction::declare(&controller, None).await.unwrap();
    post(&transaction, &mut to_a, "a").await.unwrap();
    let error = post(&transaction, &mut to_b, "b").await.unwrap_err();
    let text = error.description.unwrap();
    assert!(text.contains("cannot span multiple entities"), "{text}");
    post(&transaction, &mut to_b_via_a, "b").await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!([broker.active("a"), broker.active("b")], [1, 1]);
}

#[tokio::test]
async fn a_commit_settles_in_a_queue_and_its_dead_letter_queue_at_once_or_in_neither() {
    let broker = Broker::with_more_queues();
    let mut client = broker.connect().await;
    client.send("a", None, &["1", "2"]).await;
    let mut receiver = client.receiver("r", "a").await;
    let (first, second) = (recv(&mut receiver).await, recv(&mut receiver).await);
    receiver.reject(&first, None).await.unwrap();
    let mut dead = client.receiver("dead", "a/$DeadLetterQueue").await;
    let dead_letter = recv(&mut dead).await;
    let controller = client.group().await;

    let transaction = Transaction::declare(&controller, None).await.unwrap();
    transaction.accept(&mut dead, &dead_letter).await.unwrap();
    transaction.reject(&mut receiver, &second, None).await.unwrap();
    broker.enlisted(2).await;
    // Its lock ends before the commit.
    broker.namespace.clock().advance(Duration::from_secs(61));
    let error = transaction.commit().await.unwrap_err();
    assert_eq!(failure(why(&error)), TransactionError::Rollback);
    assert_eq!([broker.active("a"), broker.active("a/$DeadLetterQueue")], [1, 1]);

    let (second, dead_letter) = (recv(&mut receiver).await, recv(&mut dead).await);
    // The client library rolls back once more after a refused commit, and takes the answer to that for one of
    // the next.
    let controller = Controller::attach(&mut client.session, "another").await.unwrap();
    let transaction = Transaction::declare(&controller, None).await.unwrap();
    transaction.accept(&mut dead, &dead_letter).await.unwrap();
    transaction.reject(&mut receiver, &second, None).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!([broker.active("a"), broker.active("a/$DeadLetterQueue")], [0, 1]);
}

#[tokio::test]
async fn a_transaction_of_more_than_two_minutes_is_rolled_back() {
    let broker = Broker::with_more_queues();
    let mut client = broker.connect().await;
    let controller = client.group().await;
    let mut sender = client.sender("a").await;
    let transaction = Transaction::declare(&controller, None).await.unwrap();
    // It begins with its first operation.
    broker.namespace.clock().advance(Duration::from_secs(121));
    post(&transaction, &mut sender, "1").await.unwrap();
    broker.namespace.clock().advance(Duration::from_secs(121));
    let error = post(&transaction, &mut sender, "2").await.unwrap_err();
    assert_eq!(failure(&error), TransactionError::Timeout);
    let error = transaction.commit().await.unwrap_err();
    assert_eq!(failure(why(&error)), TransactionError::Timeout);
    assert_eq!(broker.active("a"), 0);
}

#[tokio::test]
async fn a_transaction_takes_a_hundred_messages() {
    let broker = Broker::with_more_queues();
    let mut client = broker.connect().await;
    let controller = client.group().await;
    let mut sender = client.sender("a").await;
    let transaction = Transaction::declare(&controller, None).await.unwrap();
    for _ in 0..100 {
        post(&transaction, &mut sender, "m").await.unwrap();
    }
    let error = post(&transaction, &mut sender, "one more").await.unwrap_err();
    assert!(error.description.unwrap().contains("at most 100 messages"));
    transaction.commit().await.unwrap();
    assert_eq!(broker.active("a"), 100);
}

#[tokio::test]
async fn a_transaction_sends_to_one_partition_of_an_entity() {
    let broker = Broker::with_more_queues();
    let config = QueueConfig {
        partitioned: true,
        ..QueueConfig::new("p")
    };
    broker.namespace.create_queue(&config).unwrap();
    let mut client = broker.connect().await;
    let controller = client.group().await;
    let mut sender = client.sender("p").await;
    let transaction = Transaction::declare(&controller, None).await.unwrap();
    for (key, accepted) in [("k", true), ("other", false), ("k", true)] {
        let mut annotations = MessageAnnotations::default();
        annotations.insert(Symbol::from("x-opt-partition-key").into(), Value::String(key.into()));
        let message = Message::builder()
            .message_annotations(annotations)
            .value(Value::String("m".into()))
            .build();
        let outcome = transaction.post(&mut sender, message).await.unwrap();
        assert_eq!(matches!(outcome, Outcome::Accepted(_)), accepted, "{outcome:?}");
    }
    let error = post(&transaction, &mut sender, "without").await.unwrap_err();
    assert!(error.description.unwrap().contains("the same partition key"));
    transaction.commit().await.unwrap();
    assert_eq!(broker.active("p"), 2);
}

#[tokio::test]
async fn a_transaction_ends_with_the_session_of_its_coordinator() {
    let broker = Broker::with_more_queues();
    let mut client = broker.connect().await;
    let mut sender = client.sender("a").await;
    let mut session = Session::begin(&mut client.connection).await.unwrap();
    let controller = Controller::attach(&mut session, "coordinator").await.unwrap();
    let mut transaction = Transaction::declare(&controller, None).await.unwrap();
    transaction.set_rollback_on_drop_trials(0);
    post(&transaction, &mut sender, "1").await.unwrap();
    session.end().await.unwrap();
    let error = post(&transaction, &mut sender, "2").await.unwrap_err();
    assert_eq!(failure(&error), TransactionError::UnknownId);
    assert_eq!(broker.active("a"), 0);
}
