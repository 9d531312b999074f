//! Keys of single entities.

use std::fmt;

/// A shared access key that opens one queue or topic, with what is below it, for what the rule allows: nothing at first.
///
/// ```
/// use azevents_emulator::{AuthorizationRule, Queue};
///
/// let rule = AuthorizationRule::new("orders-sender", "not much of a secret").with_send();
/// let queue = Queue::new("orders").with_authorization_rule(rule);
/// # let _ = queue;
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthorizationRule {
    /// `SharedAccessKeyName` in a connection string.
    pub name: String,
    /// `SharedAccessKey` in a connection string; used as text, not decoded.
    pub key: String,
    /// Whether it may send.
    pub send: bool,
    /// Whether it may receive, peek and settle, and change the rules of subscriptions.
    pub listen: bool,
    /// Whether it may also change the entity. Needs the other two.
    pub manage: bool,
}

impl AuthorizationRule {
    /// A key that opens nothing yet.
    pub fn new(name: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            key: key.into(),
            send: false,
            listen: false,
            manage: false,
        }
    }

    /// Lets it send.
    #[must_use]
    pub fn with_send(mut self) -> Self {
        self.send = true;
        self
    }

    /// Lets it receive.
    #[must_use]
    pub fn with_listen(mut self) -> Self {
        self.listen = true;
        self
    }

    /// Lets it do everything.
    #[must_use]
    pub fn with_manage(self) -> Self {
        Self {
            manage: true,
            ..self.with_send().with_listen()
        }
    }
}

// A key in a log is a key lost.
impl fmt::Debug for AuthorizationRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationRule")
            .field("name", &self.name)
            .field("send", &self.send)
            .field("listen", &self.listen)
            .field("manage", &self.manage)
            .finish_non_exhaustive()
    }
}
