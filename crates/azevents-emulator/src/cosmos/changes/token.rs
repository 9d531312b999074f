//! Positions in the change feed, in the form the emulator gives them.

use serde::{Deserialize, Serialize};

const KIND: &str = "change_feed_cursor_v1";

/// Above every effective partition key, so that the position is behind all items with its number.
const BEHIND_ALL: &str = "FF";

#[derive(Serialize, Deserialize)]
struct Cursor<'a> {
    kind: &'a str,
    lsn: u64,
    epk: &'a str,
    id: &'a str,
}

/// The token for "everything up to and including this log sequence number was seen".
pub(super) fn write(lsn: u64) -> String {
    let cursor = Cursor {
        kind: KIND,
        lsn,
        epk: BEHIND_ALL,
        id: "",
    };
    serde_json::to_string(&cursor).expect("numbers and strings serialise")
}

/// The log sequence number of a token written here. `None` for the emulator's own: those may stand
/// between two items with the same number.
pub(super) fn read(token: &str) -> Option<u64> {
    let cursor: Cursor<'_> = serde_json::from_str(token).ok()?;
    (cursor.kind == KIND && cursor.epk == BEHIND_ALL).then_some(cursor.lsn)
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_tokens_written_here_are_read_here() {
        assert_eq!(super::read(&super::write(42)), Some(42));
        for other in [
            "",
            "42",
            r#"{"kind":"change_feed_cursor_v1","lsn":42,"epk":"0A","id":"x"}"#,
            r#"{"kind":"change_feed_cursor_v9","lsn":42,"epk":"FF","id":""}"#,
        ] {
            assert_eq!(super::read(other), None, "{other}");
        }
    }
}
