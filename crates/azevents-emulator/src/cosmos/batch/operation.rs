//! One operation of a batch, as clients send it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::results::Outcome;
use crate::cosmos::engine::Answer;

/// Operations a batch can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Kind {
    Create,
    Upsert,
    Replace,
    Read,
    Delete,
    Patch,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Operation<'a> {
    #[serde(rename = "operationType")]
    pub(super) kind: Kind,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) resource_body: Option<&'a RawValue>,
    #[serde(borrow, default)]
    if_match: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    if_none_match: Option<Cow<'a, str>>,
}

/// Most operations a batch may have.
const MAX_OPERATIONS: usize = 100;

/// `None` for what the emulator has to refuse.
pub(super) fn parse(text: &[u8]) -> Option<Vec<Operation<'_>>> {
    let operations: Vec<Operation<'_>> = serde_json::from_slice(text).ok()?;
    (operations.len() <= MAX_OPERATIONS).then_some(operations)
}

impl Operation<'_> {
    /// The item this is about. `None` if the operation doesn't say, or contradicts itself.
    pub(super) fn item_id(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct HasId<'a> {
            #[serde(borrow)]
            id: Cow<'a, str>,
        }
        if self.kind == Kind::Patch {
            // What it has for a body is no item.
            self.resource_body?;
            return self.id.clone().map(Cow::into_owned);
        }
        let in_body = match self.resource_body {
            Some(body) => Some(serde_json::from_str::<HasId<'_>>(body.get()).ok()?.id),
            None => None,
        };
        let needs_body = matches!(self.kind, Kind::Create | Kind::Upsert | Kind::Replace);
        match (&self.id, in_body) {
            (Some(id), Some(in_body)) if *id != in_body => None,
            (_, Some(in_body)) if needs_body => Some(in_body.into_owned()),
            (Some(id), None) if !needs_body => Some(id.clone().into_owned()),
            _ => None,
        }
    }

    /// The item in the operation, or what is to be patched; empty if it has neither.
    pub(super) fn body(&self) -> &[u8] {
        self.resource_body.map_or(&[], |body| body.get().as_bytes())
    }

    /// Whether the item in the operation, if it has one, is in the partition of the batch.
    pub(super) fn is_in_partition(&self, paths: &[String], partition_key: &str) -> bool {
        let Some(body) = self.resource_body.filter(|_| self.kind != Kind::Patch) else {
            return true;
        };
        let Ok(body) = serde_json::from_str::<Value>(body.get()) else {
            return false;
        };
        let values: Option<Vec<Value>> = paths.iter().map(|path| body.pointer(path).cloned()).collect();
        let Ok(expected) = serde_json::from_str::<Vec<Value>>(partition_key) else {
            return false;
        };
        values == Some(expected)
    }

    /// Whether the item as it is lets this succeed: the outcome if that is all there is to do,
    /// `None` if it is still to be written, and otherwise the status the operation fails with.
    pub(super) fn check(&self, existing: Option<&Answer>) -> Result<Option<Outcome>, u16> {
        let etag = existing.and_then(|item| item.header("etag"));
        let changed = |expected: &Cow<'_, str>| etag.is_some_and(|etag| etag != expected.as_ref());
        match (self.kind, existing) {
            (Kind::Create, _) | (Kind::Upsert, None) => Ok(None),
            (Kind::Replace | Kind::Read | Kind::Delete | Kind::Patch, None) => Err(404),
            (_, Some(item)) => {
                if self.if_match.as_ref().is_some_and(changed)
                    || (self.kind == Kind::Upsert && self.if_none_match.as_deref() == Some("*"))
                {
                    return Err(412);
                }
                if self.kind != Kind::Read {
                    return Ok(None);
                }
                let unchanged = self.if_none_match.is_some() && self.if_none_match.as_deref() == etag;
                Ok(Some(if unchanged {
                    Outcome::not_modified(item)
                } else {
                    Outcome::read(item)
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(json: &str) -> Option<String> {
        parse(json.as_bytes())?.first()?.item_id()
    }

    #[test]
    fn the_item_is_named_by_the_operation_or_its_body_and_not_by_both_differently() {
        let create = r#"[{"operationType":"Create","resourceBody":{"v":1,"id":"a"}}]"#;
        assert_eq!(id(create).as_deref(), Some("a"));
        let read = r#"[{"operationType":"Read","id":"a\"b"}]"#;
        assert_eq!(id(read).as_deref(), Some("a\"b"));
        for refused in [
            r#"[{"operationType":"Create","id":"a","resourceBody":{"id":"b"}}]"#,
            r#"[{"operationType":"Create","resourceBody":{"v":1}}]"#,
            r#"[{"operationType":"Delete"}]"#,
            r#"[{"operationType":"Patch","id":"a"}]"#,
            "{}",
        ] {
            assert_eq!(id(refused), None, "{refused}");
        }
    }
}
