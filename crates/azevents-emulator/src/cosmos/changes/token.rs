//! Positions in the change feed, in the form the emulator gives them.

use serde::{Deserialize, Serialize};

const KIND: &str = "change_feed_cursor_v1";

/// Above every effective partition key, so that the position is behind all items with its number.
const BEHIND_ALL: &str = "FF";

/// A position: behind the item with this number, key and id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cosmos) struct Token {
    kind: String,
    pub(super) lsn: u64,
    epk: String,
    pub(super) id: String,
    /// The physical partition that numbered the item. Microsoft's emulator doesn't write it and doesn't mind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) partition: Option<u32>,
}

impl Token {
    /// Everything up to and including this log sequence number was seen.
    pub(super) fn behind(partition: Option<u32>, lsn: u64) -> Self {
        Self {
            kind: KIND.to_owned(),
            lsn,
            epk: BEHIND_ALL.to_owned(),
            id: String::new(),
            partition,
        }
    }

    /// `None` for what is no token.
    pub(super) fn parse(token: &str) -> Option<Self> {
        serde_json::from_str(token)
            .ok()
            .filter(|token: &Self| token.kind == KIND)
    }

    /// The same position, in a partition that numbers its items alike.
    pub(super) fn in_partition(self, partition: Option<u32>) -> Self {
        Self { partition, ..self }
    }

    /// Whether all items with its number are before it, and not only some.
    pub(super) fn is_behind_all(&self) -> bool {
        self.epk == BEHIND_ALL
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(self).expect("numbers and strings serialise"))
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn a_token_comes_back_and_what_is_none_does_not() {
        let token = Token::behind(Some(3), 42);
        assert_eq!(Token::parse(&token.to_string()), Some(token));
        let theirs = r#"{"kind":"change_feed_cursor_v1","lsn":42,"epk":"0A","id":"x"}"#;
        assert!(
            !Token::parse(theirs).unwrap().is_behind_all(),
            "others may have the same number"
        );
        for other in [
            "",
            "42",
            r#"{"kind":"change_feed_cursor_v9","lsn":42,"epk":"FF","id":""}"#,
        ] {
            assert_eq!(Token::parse(other), None, "{other}");
        }
    }
}
