//! Aggregates: state folded from a stream's events, which decides what may happen next.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use futures::TryStreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind, Result};
use crate::event::{Commit, NewEvent, RecordedEvent};
use crate::store::{AppendOutcome, EventStore, ReadOptions};
use crate::stream::StreamId;
use crate::version::{ExpectedVersion, StreamHead};

/// Something that decides by what has happened to it.
///
/// Events are an enum; each variant's name is its event type, and the variant's content is the JSON that
/// is stored:
///
/// ```
/// use azevents_core::Aggregate;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// enum CounterEvent { Counted { by: u32 } }
///
/// #[derive(Default)]
/// struct Counter { total: u32 }
///
/// impl Aggregate for Counter {
///     type Event = CounterEvent;
///     type Command = u32;
///     type Refusal = String;
///
///     fn decide(&self, by: &u32) -> Result<Vec<CounterEvent>, String> {
///         if *by == 0 { return Err("nothing to count".into()) }
///         Ok(vec![CounterEvent::Counted { by: *by }])
///     }
///
///     fn evolve(&mut self, event: &CounterEvent) {
///         let CounterEvent::Counted { by } = event;
///         self.total += by;
///     }
/// }
/// ```
pub trait Aggregate: Default + Send + 'static {
    /// What can happen: an enum with the serde representation that is the default (externally tagged).
    type Event: Serialize + DeserializeOwned + Send;
    /// What can be asked for.
    type Command: Sync;
    /// Why it is refused.
    type Refusal: Send;

    /// The events that carrying out `command` leads to; none when it has already been carried out.
    ///
    /// # Errors
    /// The reason when the state does not allow it.
    fn decide(&self, command: &Self::Command) -> Result<Vec<Self::Event>, Self::Refusal>;

    /// The state after `event`. Must not fail: the event has happened.
    fn evolve(&mut self, event: &Self::Event);
}

/// An aggregate as it is now.
#[derive(Debug, Clone, Default)]
pub struct Loaded<A> {
    /// The state folded from all events.
    pub state: A,
    /// The stream's end; `None` where it has no events.
    pub head: Option<StreamHead>,
}

/// What became of a command.
#[derive(Debug)]
pub enum Executed<A: Aggregate> {
    /// Its events were stored, or were stored by an earlier attempt.
    Committed(Commit),
    /// There was nothing to do.
    Unchanged,
    /// The aggregate refused.
    Refused(A::Refusal),
}

/// Loads aggregates of one type and carries out commands on them.
pub struct Aggregates<A> {
    store: Arc<dyn EventStore>,
    attempts: u32,
    aggregate: PhantomData<fn() -> A>,
}

impl<A> Clone for Aggregates<A> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            attempts: self.attempts,
            aggregate: PhantomData,
        }
    }
}

impl<A: Aggregate> Aggregates<A> {
    /// Aggregates kept in `store`. A command is decided again on up to 10 conflicts.
    pub fn new(store: Arc<dyn EventStore>) -> Self {
        Self {
            store,
            attempts: 10,
            aggregate: PhantomData,
        }
    }

    /// Folds a stream.
    ///
    /// # Errors
    /// What the store reports; [`ErrorKind::Corrupt`] for an event that isn't one of `A::Event`.
    pub async fn load(&self, stream: &StreamId) -> Result<Loaded<A>> {
        let mut loaded = Loaded {
            state: A::default(),
            head: None,
        };
        let mut events = self.store.read(stream, ReadOptions::default());
        while let Some(event) = events.try_next().await? {
            loaded.absorb(&event)?;
        }
        Ok(loaded)
    }

    /// Loads, decides, appends. When somebody else appended first, the command is decided again on what
    /// they appended. `identify` may set ids and metadata of the new events.
    ///
    /// # Errors
    /// What the store reports; [`ErrorKind::Conflict`] when others were first every time.
    pub async fn execute(
        &self,
        stream: &StreamId,
        command: &A::Command,
        identify: impl Fn(&A::Event, NewEvent) -> NewEvent + Send,
    ) -> Result<Executed<A>> {
        let loaded = self.load(stream).await?;
        self.execute_on(loaded, stream, command, identify).await
    }

    /// As [`execute`](Self::execute), from a state the caller already has. With `Loaded::default()` it
    /// bets on a stream that doesn't exist yet, and saves the request that would find out.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn execute_on(
        &self,
        mut loaded: Loaded<A>,
        stream: &StreamId,
        command: &A::Command,
        identify: impl Fn(&A::Event, NewEvent) -> NewEvent + Send,
    ) -> Result<Executed<A>> {
        for _ in 0..self.attempts {
            let events = match loaded.state.decide(command) {
                Ok(events) if events.is_empty() => return Ok(Executed::Unchanged),
                Ok(events) => events,
                Err(refusal) => return Ok(Executed::Refused(refusal)),
            };
            let events = events
                .iter()
                .map(|event| encode(event).map(|new| identify(event, new)))
                .collect::<Result<Vec<_>>>()?;
            match self
                .store
                .append(stream, ExpectedVersion::from(loaded.head), events)
                .await?
            {
                AppendOutcome::Committed(commit) => return Ok(Executed::Committed(commit)),
                AppendOutcome::Conflict(conflict) => {
                    for event in &conflict.unseen {
                        loaded.absorb(event)?;
                    }
                }
            }
        }
        Err(Error::new(ErrorKind::Conflict, "execute", stream)
            .with_message(format!("others were first {} times; try again later", self.attempts)))
    }
}

impl<A: Aggregate> Loaded<A> {
    fn absorb(&mut self, event: &RecordedEvent) -> Result<()> {
        self.state.evolve(&decode(event)?);
        self.head = Some(StreamHead {
            version: event.version,
            last_commit: event.commit,
        });
        Ok(())
    }
}

/// Encodes one variant of an event enum: its name is the event type, its content the data.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] for what has no JSON form, or isn't an externally tagged enum.
pub fn encode<E: Serialize>(event: &E) -> Result<NewEvent> {
    let refuse =
        |why: String| Error::new(ErrorKind::InvalidInput, "encode event", std::any::type_name::<E>()).with_message(why);
    let json = serde_json::to_string(event).map_err(|e| refuse(e.to_string()))?;
    // A unit variant is written as its bare name.
    if let Ok(name) = serde_json::from_str::<String>(&json) {
        return Ok(NewEvent::new(name, crate::event::JSON, "null"));
    }
    let tagged: BTreeMap<String, &RawValue> =
        serde_json::from_str(&json).map_err(|_| refuse("events must be an externally tagged enum".into()))?;
    let mut entries = tagged.into_iter();
    match (entries.next(), entries.next()) {
        (Some((name, data)), None) => Ok(NewEvent::new(name, crate::event::JSON, data.get().to_owned())),
        _ => Err(refuse("events must be an externally tagged enum".into())),
    }
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
/// [`ErrorKind::Corrupt`], naming the event, for an unknown type or other content.
pub fn decode<E: DeserializeOwned>(event: &RecordedEvent) -> Result<E> {
    decode_parts(&event.event_type, &event.data).map_err(|e| {
        Error::new(
            ErrorKind::Corrupt,
            "decode event",
            format_args!("{}@{}", event.stream, event.version),
        )
        .with_source(e)
    })
}

/// As [`decode`], for an event that arrived as a message.
///
/// # Errors
/// [`ErrorKind::Corrupt`], naming the message.
pub fn decode_message<E: DeserializeOwned>(message: &crate::Message) -> Result<E> {
    decode_parts(&message.event_type, &message.body)
        .map_err(|e| Error::new(ErrorKind::Corrupt, "decode message", &message.id).with_source(e))
}

fn decode_parts<E: DeserializeOwned>(event_type: &str, data: &[u8]) -> Result<E, serde_json::Error> {
    let name = serde_json::to_string(event_type)?;
    if data == b"null"
        && let Ok(unit) = serde_json::from_str(&name)
    {
        return Ok(unit);
    }
    let mut tagged = Vec::with_capacity(name.len() + data.len() + 3);
    tagged.push(b'{');
    tagged.extend_from_slice(name.as_bytes());
    tagged.push(b':');
    tagged.extend_from_slice(data);
    tagged.push(b'}');
    serde_json::from_slice(&tagged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Sample {
        Opened,
        Moved { by: i32 },
        Renamed(String),
    }

    #[test]
    fn the_variant_is_the_event_type_and_its_content_the_data() {
        let event = encode(&Sample::Moved { by: 3 }).unwrap();
        assert_eq!(
            (event.event_type.as_str(), event.data.as_ref()),
            ("Moved", br#"{"by":3}"#.as_slice())
        );
    }

    #[test]
    fn every_kind_of_variant_survives_the_round_trip() {
        for sample in [Sample::Opened, Sample::Moved { by: -1 }, Sample::Renamed("null".into())] {
            let event = encode(&sample).unwrap();
            assert_eq!(decode_parts::<Sample>(&event.event_type, &event.data).unwrap(), sample);
        }
    }

    #[test]
    fn what_is_not_a_tagged_enum_is_refused() {
        #[derive(Serialize)]
        struct Two {
            a: u8,
            b: u8,
        }
        assert_eq!(encode(&Two { a: 1, b: 2 }).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
