//! An append with more to it than events: several commits, messages, documents, all or nothing.

use azevents_core::{AppendOutcome, Cost, ExpectedVersion, Message, NewEvent, StreamId};

use crate::documents::DocumentWrite;

/// What is to be written to one stream in one transaction.
///
/// The rules of [`EventStore::append`](azevents_core::EventStore::append) hold for the whole: on a
/// conflict nothing is written, and repeating it with the same events changes nothing. Streams are
/// logical partitions and transactions end there, so there is no append to several of them.
///
/// At most 100 operations and 2 MB: one for each commit and each document, and one more unless the
/// stream is new. More is refused before it is sent.
///
/// ```no_run
/// use azevents_core::{ExpectedVersion, Message, NewEvent, StreamId};
/// use azevents_cosmos::{Append, CosmosEventStore, DocumentWrite};
///
/// # async fn doc(store: CosmosEventStore, invoice: Message) -> azevents_core::Result<()> {
/// let stream = StreamId::new("order-536365")?;
/// let append = Append::new(stream, ExpectedVersion::NoStream)
///     .event(NewEvent::json("OrderPlaced", &serde_json::json!({ "country": "France" }))?)
///     .message(invoice)
///     .document(DocumentWrite::create("totals", &serde_json::json!({ "pence": 1530 }))?);
/// let appended = store.execute(append).await?;
/// println!("{}", appended.cost);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is written before it is executed"]
pub struct Append {
    pub(super) stream: StreamId,
    pub(super) expected: ExpectedVersion,
    pub(super) commits: Vec<Vec<NewEvent>>,
    pub(super) messages: Vec<Message>,
    pub(super) documents: Vec<DocumentWrite>,
}

impl Append {
    /// An append to `stream`, without anything yet.
    pub fn new(stream: StreamId, expected: ExpectedVersion) -> Self {
        Self {
            stream,
            expected,
            commits: vec![Vec::new()],
            messages: Vec::new(),
            documents: Vec::new(),
        }
    }

    /// Adds an event to the commit.
    pub fn event(self, event: NewEvent) -> Self {
        self.events([event])
    }

    /// Adds events to the commit.
    pub fn events(mut self, events: impl IntoIterator<Item = NewEvent>) -> Self {
        if let Some(commit) = self.commits.last_mut() {
            commit.extend(events);
        }
        self
    }

    /// Lets what follows go to a commit, and so a document, of its own. Still one transaction.
    pub fn next_commit(mut self) -> Self {
        self.commits.push(Vec::new());
        self
    }

    /// Adds a message, which the relay publishes after the events, in the order of its key.
    pub fn message(mut self, message: Message) -> Self {
        self.messages.push(message);
        self
    }

    /// Adds a change to a document that lies beside the stream:
    /// [`CosmosEventStore::document`](crate::CosmosEventStore::document) reads it.
    pub fn document(mut self, document: DocumentWrite) -> Self {
        self.documents.push(document);
        self
    }
}

/// What became of an append, and what it has cost.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a conflict is not an error, so it has to be looked at"]
pub struct Appended {
    /// Committed, or a conflict. Where there were several commits it holds the events of all.
    pub outcome: AppendOutcome,
    /// All requests together, those that a conflict or a lost answer took included.
    pub cost: Cost,
}
