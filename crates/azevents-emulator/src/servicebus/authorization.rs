//! Shared access rules of queues and topics: keys that open one entity and what is below it, for what the rule allows.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{BrokerError, Namespace, clock::Timestamp};
use crate::amqp::{EntityKey, Right, Rights};

/// Rules of an entity, at most ("Service Bus quotas").
const MAX_RULES: usize = 12;

/// Characters in a key or the name of one.
const MAX_CHARS: usize = 256;

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuthorizationRule {
    /// Compared as it is written.
    pub(crate) key_name: String,
    /// Used as text, not decoded. Made up at creation if it is empty.
    pub(crate) primary_key: String,
    /// As good as the other.
    pub(crate) secondary_key: String,
    /// In the order they were given.
    pub(crate) rights: Vec<Right>,
    /// Unix time in milliseconds; the broker writes it.
    pub(crate) created: i64,
    /// As `created`.
    pub(crate) modified: i64,
}

/// Refuses what the service refuses.
pub(super) fn check(rules: &[AuthorizationRule]) -> Result<(), BrokerError> {
    if rules.len() > MAX_RULES {
        return Err(BrokerError::QuotaExceeded(format!(
            "An entity has at most {MAX_RULES} authorization rules; these are {}.",
            rules.len()
        )));
    }
    for (at, rule) in rules.iter().enumerate() {
        let name = &rule.key_name;
        let wrong = |what: &str| {
            Err(BrokerError::Malformed(format!(
                "The authorization rule '{name}' {what}"
            )))
        };
        if name.is_empty()
            || [name, &rule.primary_key, &rule.secondary_key].map(|text| text.len() > MAX_CHARS) != [false; 3]
        {
            return wrong("needs a name, and a name and keys of at most 256 characters.");
        }
        if rules[..at].iter().any(|other| other.key_name == *name) {
            return wrong("is there twice.");
        }
        let rights: Rights = rule.rights.iter().copied().collect();
        if rights == Rights::NONE {
            return wrong("needs one of the rights Send, Listen and Manage.");
        }
        if rights.has(Right::Manage) && rights != Rights::ALL {
            return wrong("has the right Manage, which needs Send and Listen beside it.");
        }
    }
    Ok(())
}

/// Writes the times into rules that take the place of others, and makes up keys that aren't given.
pub(super) fn complete(
    rules: &[AuthorizationRule],
    before: &[AuthorizationRule],
    now: Timestamp,
) -> Vec<AuthorizationRule> {
    let now = now.as_millis();
    let complete = |rule: &AuthorizationRule| {
        let mut rule = rule.clone();
        let old = before.iter().find(|old| old.key_name == rule.key_name);
        for (key, old) in [
            (&mut rule.primary_key, old.map(|old| &old.primary_key)),
            (&mut rule.secondary_key, old.map(|old| &old.secondary_key)),
        ] {
            if key.is_empty() {
                *key = old.cloned().unwrap_or_else(new_key);
            }
        }
        (rule.created, rule.modified) = (old.map_or(now, |old| old.created), old.map_or(now, |old| old.modified));
        if old.is_some_and(|old| *old != rule) {
            rule.modified = now;
        }
        rule
    };
    rules.iter().map(complete).collect()
}

/// 32 random bytes, in base64.
fn new_key() -> String {
    let seed = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()].map(Uuid::into_bytes);
    STANDARD.encode(Sha256::digest(seed.as_flattened()))
}

impl Namespace {
    /// The key of this name that a queue or topic has which this path is, or is below.
    pub(crate) fn key_on(&self, path: &str, key_name: &str) -> Option<EntityKey> {
        let mut path = path.trim_matches('/');
        loop {
            if let Some(rules) = self.authorization_of(path) {
                let rule = rules.into_iter().find(|rule| rule.key_name == key_name)?;
                return Some(EntityKey {
                    keys: [rule.primary_key, rule.secondary_key],
                    rights: rule.rights.into_iter().collect(),
                });
            }
            path = &path[..path.rfind('/')?];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, rights: &[Right]) -> AuthorizationRule {
        AuthorizationRule {
            key_name: name.into(),
            primary_key: String::new(),
            secondary_key: "second".into(),
            rights: rights.to_vec(),
            created: 0,
            modified: 0,
        }
    }

    #[test]
    fn rules_that_could_not_be_told_apart_or_allow_nothing_are_refused() {
        let all = [Right::Manage, Right::Send, Right::Listen];
        check(&[rule("a", &[Right::Send]), rule("b", &all)]).unwrap();
        let refused = |rules: &[AuthorizationRule]| check(rules).unwrap_err().to_string();
        assert!(refused(&[rule("a", &all), rule("a", &all)]).contains("twice"));
        assert!(refused(&[rule("a", &[])]).contains("one of the rights"));
        assert!(refused(&[rule("a", &[Right::Manage, Right::Send])]).contains("needs Send and Listen"));
        assert!(refused(&[rule("", &all)]).contains("needs a name"));
        let many: Vec<_> = (0..13).map(|n| rule(&n.to_string(), &all)).collect();
        assert!(refused(&many).contains("at most 12"));
    }

    #[test]
    fn keys_that_are_not_given_are_made_up_once_and_a_change_has_a_time() {
        let at = Timestamp::from_millis;
        let first = complete(&[rule("a", &[Right::Send])], &[], at(5));
        assert_eq!(
            (first[0].created, first[0].modified, first[0].primary_key.len()),
            (5, 5, 44)
        );
        let same = complete(&[rule("a", &[Right::Send])], &first, at(6));
        assert_eq!(same, first);
        let changed = complete(&[rule("a", &[Right::Listen])], &first, at(7));
        assert_eq!((changed[0].created, changed[0].modified), (5, 7));
        assert_eq!(changed[0].primary_key, first[0].primary_key);
    }
}
