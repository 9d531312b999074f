//! The engine against a model that is too simple to be wrong: a list of messages per session, and
//! what each receiver was given.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::{AcceptedSession, Engine, LockToken, ReceiveMode, Rules, Settlement};
use crate::servicebus::{
    clock::Timestamp,
    config::QueueConfig,
    message::testing::{Sample, body, decode},
};

const SESSIONS: [&str; 3] = ["A", "B", "C"];
const LOCK: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
enum Step {
    Send {
        session: usize,
    },
    /// Accept the next available session.
    Accept,
    Receive {
        holder: prop::sample::Index,
        max: usize,
    },
    Settle {
        message: prop::sample::Index,
        complete: bool,
    },
    Renew {
        holder: prop::sample::Index,
    },
    Release {
        holder: prop::sample::Index,
    },
    Wait {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (0..SESSIONS.len()).prop_map(|session| Step::Send { session }),
        3 => Just(Step::Accept),
        4 => (index(), 1..4_usize).prop_map(|(holder, max)| Step::Receive { holder, max }),
        5 => (index(), any::<bool>()).prop_map(|(message, complete)| Step::Settle { message, complete }),
        1 => index().prop_map(|holder| Step::Renew { holder }),
        1 => index().prop_map(|holder| Step::Release { holder }),
        2 => (1..12_u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

#[derive(Debug, Default)]
struct ModelSession {
    /// Numbers of the messages that are not completed, in order.
    left: Vec<usize>,
    /// Those of them the holder has, with the token it has for each.
    given: BTreeMap<usize, LockToken>,
}

struct Holder {
    session: usize,
    accepted: AcceptedSession,
    until: Timestamp,
}

struct World {
    engine: Engine,
    now: Timestamp,
    sent: usize,
    sessions: [ModelSession; 3],
    holders: Vec<Holder>,
}

impl World {
    fn new() -> Self {
        let mut config = QueueConfig::new("q");
        config.requires_session = true;
        config.lock_duration = LOCK;
        config.max_delivery_count = u32::MAX;
        Self {
            engine: Engine::new(Rules::of_queue(&config), None),
            now: Timestamp::from_millis(0),
            sent: 0,
            sessions: Default::default(),
            holders: Vec::new(),
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Send { session } => {
                let sample = Sample::body(self.sent.to_string()).session(SESSIONS[*session]);
                self.engine.enqueue(sample.message(), self.now);
                self.sessions[*session].left.push(self.sent);
                self.sent += 1;
            }
            Step::Accept => self.accept(),
            Step::Receive { holder, max } if !self.holders.is_empty() => {
                self.receive(holder.index(self.holders.len()), *max);
            }
            Step::Settle { message, complete } => self.settle(*message, *complete),
            Step::Renew { holder } if !self.holders.is_empty() => {
                let at = holder.index(self.holders.len());
                let held = &mut self.holders[at];
                let renewed = self
                    .engine
                    .renew_session(&held.accepted.id, held.accepted.holder, self.now);
                held.until = self.now + LOCK;
                assert_eq!(renewed, Ok(held.until));
            }
            Step::Release { holder } if !self.holders.is_empty() => {
                let held = self.holders.remove(holder.index(self.holders.len()));
                self.sessions[held.session].given.clear();
                self.engine
                    .release_session(&held.accepted.id, held.accepted.holder, self.now);
            }
            Step::Wait { seconds } => {
                self.now = self.now + Duration::from_secs(*seconds);
                let (lost, kept) = std::mem::take(&mut self.holders)
                    .into_iter()
                    .partition(|held: &Holder| held.until <= self.now);
                self.holders = kept;
                for held in lost {
                    self.sessions[held.session].given.clear();
                }
            }
            Step::Receive { .. } | Step::Renew { .. } | Step::Release { .. } => {}
        }
    }

    fn accept(&mut self) {
        let is_held = |at: usize| self.holders.iter().any(|held| held.session == at);
        let free = (0..3).any(|at| !is_held(at) && !self.sessions[at].left.is_empty());
        let accepted = self.engine.accept_session(None, self.now).unwrap();
        assert_eq!(accepted.is_some(), free, "on offer exactly when something is free");
        if let Some(accepted) = accepted {
            let session = SESSIONS.iter().position(|id| *id == &*accepted.id).unwrap();
            assert!(!is_held(session), "one holder at a time");
            let until = accepted.locked_until;
            self.holders.push(Holder {
                session,
                accepted,
                until,
            });
        }
    }

    fn receive(&mut self, at: usize, max: usize) {
        let held = &self.holders[at];
        let model = &mut self.sessions[held.session];
        let ready = model.left.iter().filter(|n| !model.given.contains_key(n));
        let expected: Vec<usize> = ready.take(max).copied().collect();
        let received = self
            .engine
            .receive_from_session(
                &held.accepted.id,
                held.accepted.holder,
                max,
                ReceiveMode::PeekLock,
                self.now,
            )
            .unwrap();
        let mut got = Vec::new();
        for message in received {
            let encoded = message.message.encode_whole(&message.stamp);
            let number = String::from_utf8(body(&decode(&encoded))).unwrap();
            let number: usize = number.parse().unwrap();
            model.given.insert(number, message.token);
            got.push(number);
        }
        assert_eq!(got, expected, "the earliest that are not with the holder, in order");
    }

    fn settle(&mut self, message: prop::sample::Index, complete: bool) {
        let given: Vec<_> = (0..3)
            .flat_map(|at| self.sessions[at].given.iter().map(move |(n, t)| (at, *n, *t)))
            .collect();
        if given.is_empty() {
            return;
        }
        let (session, number, token) = *message.get(&given);
        let settlement = if complete {
            Settlement::Complete
        } else {
            Settlement::Abandon(Default::default())
        };
        self.engine.settle(token, &settlement, self.now).unwrap();
        assert!(
            self.engine.settle(token, &settlement, self.now).is_err(),
            "a lock settles once"
        );
        let model = &mut self.sessions[session];
        model.given.remove(&number);
        if complete {
            model.left.retain(|n| *n != number);
        }
    }

    fn check(&mut self) {
        self.engine.advance(self.now);
        let left: usize = self.sessions.iter().map(|model| model.left.len()).sum();
        let counts = self.engine.counts();
        assert_eq!((counts.active, counts.deferred, counts.scheduled), (left, 0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_message_of_a_session_overtakes_an_earlier_one(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
            world.check();
        }
    }
}
