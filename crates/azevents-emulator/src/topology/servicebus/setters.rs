//! What is set in the same way on several kinds of entities.

/// Of what messages are delivered from: queues and subscriptions.
macro_rules! delivery_setters {
    () => {
        /// Sets how long a delivered message is invisible to others.
        #[must_use]
        pub fn with_lock_duration(mut self, lock_duration: Duration) -> Self {
            self.lock_duration = lock_duration;
            self
        }

        /// Sets after how many deliveries a message moves to the dead-letter queue.
        #[must_use]
        pub fn with_max_delivery_count(mut self, max_delivery_count: u32) -> Self {
            self.max_delivery_count = max_delivery_count;
            self
        }

        /// Passes all messages on to another queue or topic.
        #[must_use]
        pub fn with_forward_to(mut self, entity: impl Into<String>) -> Self {
            self.forward_to = Some(entity.into());
            self
        }

        /// Passes dead letters on to another queue or topic.
        #[must_use]
        pub fn with_forward_dead_letters_to(mut self, entity: impl Into<String>) -> Self {
            self.forward_dead_letters_to = Some(entity.into());
            self
        }

        /// Requires sessions.
        #[must_use]
        pub fn with_sessions(mut self) -> Self {
            self.requires_session = true;
            self
        }
    };
}

/// Of what messages are sent to: queues and topics.
macro_rules! store_setters {
    () => {
        /// Drops messages whose id was seen within `window`.
        #[must_use]
        pub fn with_duplicate_detection(mut self, window: Duration) -> Self {
            self.duplicate_detection = Some(window);
            self
        }

        /// Sets the size of its largest message, in bytes.
        #[must_use]
        pub fn with_max_message_size(mut self, bytes: u64) -> Self {
            self.max_message_size = Some(bytes);
            self
        }

        /// Puts its messages into partitions, by session id or partition key.
        #[must_use]
        pub fn with_partitions(mut self) -> Self {
            self.partitioned = true;
            self
        }

        /// Lets it be used with a key of its own.
        #[must_use]
        pub fn with_authorization_rule(mut self, rule: AuthorizationRule) -> Self {
            self.authorization_rules.push(rule);
            self
        }
    };
}

/// Of all three.
macro_rules! common_setters {
    () => {
        /// Suspends it.
        #[must_use]
        pub fn with_status(mut self, status: EntityStatus) -> Self {
            self.status = status;
            self
        }

        /// Lets it be deleted when nobody has used it for so long, from 5 minutes.
        #[must_use]
        pub fn with_auto_delete_on_idle(mut self, after: Duration) -> Self {
            self.auto_delete_on_idle = Some(after);
            self
        }
    };
}

pub(super) use {common_setters, delivery_setters, store_setters};
