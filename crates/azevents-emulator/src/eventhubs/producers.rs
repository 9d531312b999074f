//! Idempotent publishers: what a partition remembers of them, so that an event sent twice is stored once.
//!
//! A publisher has an id, an epoch, and numbers its events one by one (as Kafka's producers do, on whose brokers the
//! service built this). Names and conditions are those of the constants of azure-sdk-for-js
//! (`event-hubs/src/util/constants.ts`, `error.ts`); what happens when is from its live tests
//! (`eventHubProducerClient.idem.spec.ts`). ADR 42 says what of it is a guess.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::amqp::error::{self, Error};

/// What a publisher desires that numbers its events.
pub(super) const CAPABILITY: &str = "com.microsoft:idempotent-producer";
/// Link properties, and annotations of each event: a long, a short, an int.
pub(super) const ID: &str = "com.microsoft:producer-id";
pub(super) const EPOCH: &str = "com.microsoft:producer-epoch";
pub(super) const SEQUENCE: &str = "com.microsoft:producer-sequence-number";

/// Publications of a publisher that are recognized when they come again, as many as Kafka's brokers have.
const REMEMBERED: usize = 5;
/// Publishers that a partition remembers; beyond, who has been silent for longest is forgotten.
const MOST: usize = 1_000;

/// What a publisher asks for when it attaches; what it leaves out is given to it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) id: Option<i64>,
    pub(super) epoch: Option<i16>,
    /// The last number it has used.
    pub(super) after: Option<i32>,
}

/// Who a link publishes as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) id: i64,
    pub(super) epoch: i16,
    /// The number before the first one, where the partition doesn't know the publisher.
    pub(super) after: i32,
}

/// The numbers of one publication's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Numbers {
    pub(super) first: i32,
    pub(super) last: i32,
}

/// What becomes of a publication that isn't refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    New,
    /// It is stored already, or being stored.
    Again,
}

/// One publisher, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Producer {
    id: i64,
    epoch: i16,
    /// Number of its last event.
    last: i32,
    publications: VecDeque<Numbers>,
}

#[derive(Debug, Default)]
pub(super) struct Producers {
    by_id: HashMap<i64, (Producer, u64)>,
    /// Goes up with every use.
    uses: u64,
}

impl Producers {
    /// Lets a publisher in; older epochs of it are out from then on. Who says nothing goes on with the epoch there is.
    pub(super) fn begin(&self, wanted: Wanted) -> Result<Identity, Error> {
        let negative = wanted.id.is_some_and(|id| id < 0)
            || wanted.epoch.is_some_and(|epoch| epoch < 0)
            || wanted.after.is_some_and(|after| after < 0);
        if negative {
            return Err(error::custom(
                "com.microsoft:argument-out-of-range",
                "Invalid range for idempotent producer state. Producer Id, Epoch, and Sequence Number must be zero or \
                 positive.",
            ));
        }
        let id = wanted.id.unwrap_or_else(new_id);
        let known = self.by_id.get(&id).map(|(producer, _)| producer);
        Ok(Identity {
            id,
            // A lower one than there is may attach and not publish: the JavaScript client understands the error only there.
            epoch: wanted.epoch.or(known.map(|known| known.epoch)).unwrap_or(0),
            // What the publisher says stands: it sends again what it doesn't know to be stored, under the same numbers.
            after: wanted.after.or(known.map(|known| known.last)).unwrap_or(0),
        })
    }

    /// Whether older epochs have to be fenced off for this publisher, which [`fence`](Self::fence) does.
    pub(super) fn is_newer(&self, identity: &Identity) -> bool {
        let known = self.by_id.get(&identity.id).map(|(producer, _)| producer.epoch);
        identity.epoch > known.unwrap_or(0)
    }

    /// Starts an epoch. Its numbers go on where the publisher says.
    pub(super) fn fence(&mut self, identity: &Identity) {
        if self.is_newer(identity) {
            self.put(Producer::new(identity));
        }
    }

    /// Whether these events may be stored.
    pub(super) fn admit(&self, identity: &Identity, numbers: Numbers) -> Result<Admitted, Error> {
        let unknown = Producer::new(identity);
        let producer = match self.by_id.get(&identity.id) {
            Some((known, _)) if known.epoch >= identity.epoch => known,
            _ => &unknown,
        };
        producer.check_epoch(identity.epoch)?;
        if numbers.first == next(producer.last) {
            return Ok(Admitted::New);
        }
        if producer.publications.contains(&numbers) {
            return Ok(Admitted::Again);
        }
        let what = if numbers.first <= producer.last {
            "an old sequence number"
        } else {
            "a gap in the sequence"
        };
        Err(error::custom(
            "com.microsoft:out-of-order-sequence",
            format!(
                "The events {} to {} of producer {} have {what}: {} is next.",
                numbers.first,
                numbers.last,
                identity.id,
                next(producer.last)
            ),
        ))
    }

    /// Notes events that were admitted as new. Harmless where they are noted already.
    pub(super) fn note(&mut self, identity: &Identity, numbers: Numbers) {
        let producer = self.by_id.remove(&identity.id).map(|(producer, _)| producer);
        let mut producer = match producer {
            Some(producer) if producer.epoch >= identity.epoch => producer,
            _ => Producer::new(identity),
        };
        if producer.epoch == identity.epoch && !producer.publications.contains(&numbers) {
            producer.last = numbers.last;
            producer.publications.push_back(numbers);
            if producer.publications.len() > REMEMBERED {
                producer.publications.pop_front();
            }
        }
        self.put(producer);
    }

    /// Puts one back that was kept.
    pub(super) fn put(&mut self, producer: Producer) {
        self.uses += 1;
        self.by_id.insert(producer.id, (producer, self.uses));
        if self.by_id.len() > MOST
            && let Some(silent) = self.by_id.values().min_by_key(|(_, used)| *used).map(|(p, _)| p.id)
        {
            self.by_id.remove(&silent);
        }
    }

    /// All there are, the one that was silent for longest first.
    pub(super) fn all(&self) -> Vec<Producer> {
        let mut all: Vec<_> = self.by_id.values().collect();
        all.sort_by_key(|(_, used)| *used);
        all.into_iter().map(|(producer, _)| producer.clone()).collect()
    }
}

impl Producer {
    fn new(identity: &Identity) -> Self {
        Self {
            id: identity.id,
            epoch: identity.epoch,
            last: identity.after,
            publications: VecDeque::new(),
        }
    }

    fn check_epoch(&self, received: i16) -> Result<(), Error> {
        if received >= self.epoch {
            return Ok(());
        }
        Err(error::custom(
            "com.microsoft:producer-epoch-stolen",
            format!(
                "Producer {} goes on with a higher owner level. Received:{received} Current:{}",
                self.id, self.epoch
            ),
        ))
    }
}

/// Numbers begin anew after the last one there is.
pub(super) fn next(number: i32) -> i32 {
    number.checked_add(1).unwrap_or(0)
}

/// An id that nobody has. JavaScript has no larger integers than 53 bits.
fn new_id() -> i64 {
    const BITS: u64 = (1 << 53) - 1;
    (uuid::Uuid::new_v4().as_u64_pair().0 & BITS) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(id: i64) -> Wanted {
        Wanted {
            id: Some(id),
            ..Wanted::default()
        }
    }

    fn numbers(first: i32, last: i32) -> Numbers {
        Numbers { first, last }
    }

    /// Admits and notes, as the partition does.
    fn publish(producers: &mut Producers, identity: &Identity, numbers: Numbers) -> Result<Admitted, String> {
        let admitted = producers.admit(identity, numbers).map_err(|e| error::condition(&e))?;
        if admitted == Admitted::New {
            producers.note(identity, numbers);
        }
        Ok(admitted)
    }

    #[test]
    fn what_comes_again_is_recognized_and_what_is_missing_is_refused() {
        let mut producers = Producers::default();
        let identity = producers.begin(wanted(7)).unwrap();
        let out_of_order = Err("com.microsoft:out-of-order-sequence".to_owned());
        assert_eq!(publish(&mut producers, &identity, numbers(1, 5)), Ok(Admitted::New));
        assert_eq!(publish(&mut producers, &identity, numbers(1, 5)), Ok(Admitted::Again));
        assert_eq!(publish(&mut producers, &identity, numbers(7, 7)), out_of_order);
        assert_eq!(publish(&mut producers, &identity, numbers(2, 2)), out_of_order);
        assert_eq!(publish(&mut producers, &identity, numbers(5, 6)), out_of_order);
        for n in 6..12 {
            assert_eq!(publish(&mut producers, &identity, numbers(n, n)), Ok(Admitted::New));
        }
        assert_eq!(publish(&mut producers, &identity, numbers(7, 7)), Ok(Admitted::Again));
        assert_eq!(publish(&mut producers, &identity, numbers(6, 6)), out_of_order);
    }

    #[test]
    fn a_higher_epoch_fences_the_lower_one_off() {
        let mut producers = Producers::default();
        let first = producers.begin(wanted(7)).unwrap();
        publish(&mut producers, &first, numbers(1, 1)).unwrap();
        let second = producers
            .begin(Wanted {
                epoch: Some(1),
                ..wanted(7)
            })
            .unwrap();
        producers.fence(&second);
        let stolen = Err("com.microsoft:producer-epoch-stolen".to_owned());
        assert_eq!(publish(&mut producers, &first, numbers(2, 2)), stolen);
        assert_eq!(publish(&mut producers, &second, numbers(2, 2)), Ok(Admitted::New));
        let late = Wanted {
            epoch: Some(0),
            ..wanted(7)
        };
        let late = producers.begin(late).unwrap();
        assert!(!producers.is_newer(&late));
        assert_eq!(publish(&mut producers, &late, numbers(3, 3)), stolen);
        assert_eq!(producers.begin(wanted(7)).unwrap().epoch, 1);
    }

    #[test]
    fn numbers_go_on_with_zero_after_the_largest() {
        let mut producers = Producers::default();
        let identity = producers
            .begin(Wanted {
                after: Some(i32::MAX - 1),
                ..wanted(7)
            })
            .unwrap();
        assert_eq!(
            publish(&mut producers, &identity, numbers(i32::MAX, 0)),
            Ok(Admitted::New)
        );
        assert_eq!(publish(&mut producers, &identity, numbers(1, 1)), Ok(Admitted::New));
    }

    #[test]
    fn who_was_silent_for_longest_is_forgotten_first() {
        let mut producers = Producers::default();
        for id in 0..=MOST as i64 {
            let identity = producers.begin(wanted(id)).unwrap();
            publish(&mut producers, &identity, numbers(1, 1)).unwrap();
            let first = producers.begin(wanted(0)).unwrap();
            publish(&mut producers, &first, numbers(id as i32 + 2, id as i32 + 2)).ok();
        }
        let all = producers.all();
        assert_eq!((all.len(), all[0].id), (MOST, 2));
    }
}
