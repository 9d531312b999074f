//! A topic: one intake, and a copy of each message in every subscription that wants it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use super::{
    BrokerError, NamespaceConfig, authorization,
    clock::{Clock, Timestamp},
    config::{SubscriptionConfig, TopicConfig},
    engine::Rules,
    filter::Rule,
    idle::{self, Earliest},
    limits,
    message::{Arrival, Message, TopicSize},
    namespace::{unchanged, unchanged_partitions},
    queue::{DeadLetterReason, PassingOn, Queue, Surroundings},
    store::{Entity, Kept, Record},
};

/// See the [module](self).
pub(crate) struct Topic {
    config: RwLock<TopicConfig>,
    limits: NamespaceConfig,
    clock: Clock,
    /// Keeps scheduled messages and the duplicate history; passes on the rest. Its lock is held
    /// meanwhile, so all subscriptions see one order.
    intake: Arc<Queue>,
    subscriptions: Arc<RwLock<Subscriptions>>,
}

type Subscriptions = BTreeMap<String, Subscription>;

struct Subscription {
    /// Without the rules.
    config: SubscriptionConfig,
    rules: Vec<Rule>,
    queue: Arc<Queue>,
}

impl Subscription {
    fn whole_config(&self) -> SubscriptionConfig {
        SubscriptionConfig {
            rules: self.rules.clone(),
            ..self.config.clone()
        }
    }

    /// It is gone, with its messages.
    fn end(&self) {
        self.queue.mark_deleted();
        self.queue.kept().deleted();
    }

    fn note(&self, topic: &Kept) {
        self.queue.kept().subscription(topic, || self.whole_config());
    }

    /// The copies a message gives: one for all rules without an action that match, and one more for
    /// each that has one ("Topic filters and actions" in the service's documentation). Where a rule can't be
    /// decided and the subscription wants to know, there is only one, with the reason.
    fn copies(&self, arrival: &Arrival) -> Vec<(Message, Option<DeadLetterReason>)> {
        match self.try_copies(arrival) {
            Ok(copies) => copies.into_iter().map(|copy| (copy, None)).collect(),
            Err(why) => vec![(arrival.message.clone(), Some(why))],
        }
    }

    fn try_copies(&self, arrival: &Arrival) -> Result<Vec<Message>, DeadLetterReason> {
        let failed = |why: String| DeadLetterReason("FilterException", why);
        let strict = self.config.dead_letter_on_filter_error;
        let (mut plain, mut changed) = (false, Vec::new());
        for rule in &self.rules {
            let matches = match rule.filter.matches(arrival) {
                Ok(matches) => matches,
                Err(why) if strict => return Err(failed(format!("The rule '{}' failed: {why}.", rule.name))),
                Err(_) => false,
            };
            if !matches {
                continue;
            }
            match rule.action.as_ref().map(|action| action.apply(arrival)) {
                None => plain = true,
                Some(Ok(copy)) if limits::has_too_large_header(&copy) => {
                    let (reason, description) = limits::HEADER_SIZE_EXCEEDED;
                    return Err(DeadLetterReason(reason, description.to_owned()));
                }
                Some(Ok(copy)) => changed.push(copy),
                Some(Err(why)) if strict => {
                    return Err(failed(format!("The action of the rule '{}' failed: {why}.", rule.name)));
                }
                // What can't be changed is passed on as it is rather than lost.
                Some(Err(_)) => changed.push(arrival.message.clone()),
            }
        }
        let plain = plain.then(|| arrival.message.clone());
        Ok(plain.into_iter().chain(changed).collect())
    }
}

impl Topic {
    pub(super) fn new(config: &TopicConfig, limits: NamespaceConfig, around: &Surroundings) -> Self {
        let subscriptions = Arc::new(RwLock::new(Subscriptions::new()));
        let copies = Arc::clone(&subscriptions);
        let size = TopicSize::default();
        let counted = Arc::clone(&size);
        let forward = move |arrivals: &[Arrival]| {
            let charged = |arrival: &Arrival| Arrival {
                message: arrival.message.charged(&counted),
                ..*arrival
            };
            let arrivals: Vec<Arrival> = arrivals.iter().map(charged).collect();
            let subscriptions = copies.read().unwrap_or_else(PoisonError::into_inner);
            for subscription in subscriptions.values() {
                let copies = arrivals.iter().flat_map(|arrival| subscription.copies(arrival));
                subscription.queue.take_copies(copies);
            }
        };
        Self {
            config: RwLock::new(config.clone()),
            limits,
            clock: around.clock.clone(),
            intake: Queue::forwarding(
                Rules::of_topic(config),
                config.duplicate_detection,
                PassingOn {
                    forward: Box::new(forward),
                    size,
                },
                around,
            ),
            subscriptions,
        }
    }

    /// Where senders send.
    pub(crate) fn intake(&self) -> &Arc<Queue> {
        &self.intake
    }

    /// The subscription's queue, created with this configuration if it isn't there yet. It gets
    /// the messages sent from now on.
    pub(super) fn subscribe(
        &self,
        config: &SubscriptionConfig,
        around: &Surroundings,
    ) -> Result<Arc<Queue>, BrokerError> {
        self.changing(|subscriptions| {
            if !subscriptions.contains_key(&config.name.to_lowercase()) {
                around.limits.check_subscriptions(subscriptions.len())?;
                around
                    .limits
                    .check_rules(all_rules(subscriptions).chain(&config.rules))?;
            }
            let subscription = subscriptions.entry(config.name.to_lowercase()).or_insert_with(|| {
                let path = self.path_of(&config.name);
                let around = &Surroundings {
                    usage: self.intake.usage().below(&around.kept),
                    ..around.clone()
                };
                let created = Subscription {
                    config: SubscriptionConfig {
                        rules: Vec::new(),
                        ..config.clone()
                    },
                    rules: config.rules.iter().map(|rule| self.dated(rule)).collect(),
                    queue: Queue::new(
                        Rules::of_subscription(&config.queue(path, self.config().partitioned)),
                        None,
                        around,
                    ),
                };
                created.note(self.kept());
                created.queue.usage().created(config.auto_delete_on_idle);
                created
            });
            Ok(Arc::clone(&subscription.queue))
        })
    }

    /// Its settings.
    pub(crate) fn config(&self) -> TopicConfig {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes its settings.
    pub(crate) fn update(&self, config: &TopicConfig) -> Result<(), BrokerError> {
        config.check(self.limits)?;
        self.kept().unit(|| {
            let mut current = self.config.write().unwrap_or_else(PoisonError::into_inner);
            let detects = |config: &TopicConfig| config.duplicate_detection.is_some();
            unchanged(
                "RequiresDuplicateDetection",
                "Topic",
                detects(&current) == detects(config),
            )?;
            unchanged_partitions("Topic", current.partitioned == config.partitioned)?;
            current.duplicate_detection = config.duplicate_detection;
            current.authorization =
                authorization::complete(&config.authorization, &current.authorization, self.intake.now());
            current.remarks = config.remarks.clone();
            current.default_ttl = config.default_ttl;
            current.status = config.status;
            current.max_megabytes = config.max_megabytes;
            current.auto_delete_on_idle = config.auto_delete_on_idle;
            current.max_message_size = config.max_message_size;
            self.kept().topic(&current);
            let rules = Rules::of_topic(&current);
            // Locks are taken from the intake to here, never back.
            drop(current);
            self.intake.set_rules(rules);
            self.intake.set_duplicate_window(config.duplicate_detection);
            self.intake.usage().updated(config.auto_delete_on_idle);
            Ok(())
        })
    }

    /// All subscriptions with their settings, by name. The rules are not among those.
    pub(crate) fn subscriptions(&self) -> Vec<(Arc<Queue>, SubscriptionConfig)> {
        let subscriptions = self.read();
        let all = subscriptions.values();
        all.map(|one| (Arc::clone(&one.queue), one.config.clone())).collect()
    }

    /// Changes the settings of a subscription; its rules stay.
    pub(crate) fn update_subscription(&self, config: &SubscriptionConfig) -> Result<(), BrokerError> {
        self.changing(|subscriptions| {
            let current = subscriptions.get_mut(&config.name.to_lowercase());
            let current = current.ok_or_else(|| BrokerError::EntityNotFound(config.name.clone()))?;
            let same = current.config.requires_session == config.requires_session;
            unchanged("RequiresSession", "Subscription", same)?;
            let path = self.path_of(&current.config.name);
            config.check(&path)?;
            current.config = SubscriptionConfig {
                name: current.config.name.clone(),
                rules: Vec::new(),
                ..config.clone()
            };
            let queue = current
                .config
                .queue(self.path_of(&current.config.name), self.config().partitioned);
            current.queue.set_rules(Rules::of_subscription(&queue));
            current.note(self.kept());
            current.queue.usage().updated(config.auto_delete_on_idle);
            Ok(())
        })
    }

    /// Takes a subscription away, with its messages.
    pub(crate) fn unsubscribe(&self, name: &str) -> Result<(), BrokerError> {
        self.changing(|subscriptions| {
            let gone = subscriptions.remove(&name.to_lowercase());
            let gone = gone.ok_or_else(|| BrokerError::EntityNotFound(name.to_owned()))?;
            gone.end();
            Ok(())
        })
    }

    /// Takes the subscriptions away that nobody has used for as long as their settings say.
    pub(super) fn delete_idle(&self, now: Timestamp, next: &mut Earliest) {
        self.changing(|subscriptions| {
            subscriptions.retain(|_, subscription| {
                let after = subscription.config.auto_delete_on_idle;
                let stays = !after.is_some_and(|after| next.is_over(idle::due(&subscription.queue, after, now), now));
                if !stays {
                    tracing::info!(subscription = %subscription.queue.path(), "deleted, as it was idle");
                    subscription.end();
                }
                stays
            });
        });
    }

    fn path_of(&self, subscription: &str) -> String {
        format!("{}/Subscriptions/{subscription}", self.config().name)
    }

    /// Adds a rule, for messages sent from now on.
    pub(crate) fn add_rule(&self, subscription: &str, rule: Rule) -> Result<(), BrokerError> {
        limits::check_rule_name(&rule.name)?;
        self.limits.check_rules(all_rules(&self.read()).chain([&rule]))?;
        self.change_rules(subscription, |rules| {
            if rules.iter().any(|other| same(&other.name, &rule.name)) {
                return Err(BrokerError::AlreadyExists(rule.name));
            }
            rules.push(self.dated(&rule));
            Ok(())
        })
    }

    /// Puts a rule in the place of the one of its name, whose age it keeps.
    pub(crate) fn replace_rule(&self, subscription: &str, rule: Rule) -> Result<(), BrokerError> {
        self.change_rules(subscription, |rules| {
            let old = rules.iter_mut().find(|other| same(&other.name, &rule.name));
            let old = old.ok_or_else(|| BrokerError::EntityNotFound(rule.name.clone()))?;
            let created_at = old.created_at;
            *old = Rule { created_at, ..rule };
            Ok(())
        })
    }

    /// A rule that was just made; one from before a restart stays as old as it was.
    fn dated(&self, rule: &Rule) -> Rule {
        Rule {
            created_at: rule.created_at.or_else(|| Some(self.clock.now())),
            ..rule.clone()
        }
    }

    /// Takes a rule away.
    pub(crate) fn remove_rule(&self, subscription: &str, name: &str) -> Result<(), BrokerError> {
        self.change_rules(subscription, |rules| {
            let at = rules.iter().position(|rule| same(&rule.name, name));
            rules.remove(at.ok_or_else(|| BrokerError::EntityNotFound(name.to_owned()))?);
            Ok(())
        })
    }

    /// All rules, by name.
    pub(crate) fn rules(&self, subscription: &str) -> Result<Vec<Rule>, BrokerError> {
        let subscriptions = self.read();
        let subscription = subscriptions
            .get(&subscription.to_lowercase())
            .ok_or_else(|| BrokerError::EntityNotFound(subscription.to_owned()))?;
        let mut all = subscription.rules.clone();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    fn change_rules(
        &self,
        subscription: &str,
        change: impl FnOnce(&mut Vec<Rule>) -> Result<(), BrokerError>,
    ) -> Result<(), BrokerError> {
        self.changing(|subscriptions| {
            let found = subscriptions.get_mut(&subscription.to_lowercase());
            let found = found.ok_or_else(|| BrokerError::EntityNotFound(subscription.to_owned()))?;
            change(&mut found.rules)?;
            found.note(self.kept());
            found.queue.usage().changed();
            Ok(())
        })
    }

    fn changing<R>(&self, change: impl FnOnce(&mut Subscriptions) -> R) -> R {
        // The unit before the lock; see `store`.
        self.kept()
            .unit(|| change(&mut self.subscriptions.write().unwrap_or_else(PoisonError::into_inner)))
    }

    fn read(&self) -> RwLockReadGuard<'_, Subscriptions> {
        self.subscriptions.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it is known in the journal.
    pub(super) fn kept(&self) -> &Kept {
        self.intake.kept()
    }

    /// Writes all of it into a log written anew.
    pub(super) fn describe(&self, records: &mut Vec<Record>) {
        let times = self.intake.usage().written_times();
        self.kept()
            .describe_entity(records, Entity::Topic(self.config()), times);
        self.intake.describe(records);
        for subscription in self.read().values() {
            let entity = self.kept().below(subscription.whole_config());
            let times = subscription.queue.usage().written_times();
            subscription.queue.kept().describe_entity(records, entity, times);
            subscription.queue.describe(records);
        }
    }

    /// The subscription's queue, by its name in any case.
    pub(crate) fn subscription(&self, name: &str) -> Option<Arc<Queue>> {
        let subscriptions = self.read();
        let subscription = subscriptions.get(&name.to_lowercase());
        subscription.map(|subscription| Arc::clone(&subscription.queue))
    }
}

fn all_rules(subscriptions: &Subscriptions) -> impl Iterator<Item = &Rule> {
    subscriptions.values().flat_map(|subscription| &subscription.rules)
}

/// Names are compared without regard to case.
fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic")
            .field("name", &self.config().name)
            .finish_non_exhaustive()
    }
}
