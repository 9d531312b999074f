//! Queries that are deep: the engine inside goes down into an expression by recursion, and takes a thousand conditions
//! with OR between them for a thousand levels. Clients write such queries (to read many items at once), and the end of a
//! stack would be the end of the process. So a deep query gets a thread of its own, with a stack for it.

use std::future::Future;

use azure_core::http::{Method, Request};
use serde::Deserialize;
use tokio::{runtime::Handle, sync::oneshot};

use super::target::is_query;

/// Up to here any thread's stack is enough: 2 MB, and in a build without optimisations not 10 KB for a level.
const SHALLOW: usize = 100;

/// Above this a query is refused; the service takes 256 KB of text, which is more than this for most ("Azure Cosmos DB
/// service quotas", SQL query limits).
pub(super) const MAX_DEPTH: usize = 20_000;

/// Of stack for each level.
const LEVEL_BYTES: usize = 16 * 1024;

/// How deep a request's query may be at most; nothing for what is no query, or is shallow.
pub(super) fn of(request: &Request) -> Option<usize> {
    #[derive(Deserialize)]
    struct Asked {
        query: String,
    }
    if request.method() != Method::Post || !is_query(request) {
        return None;
    }
    let body: azure_core::Bytes = request.body().into();
    let asked: Asked = serde_json::from_slice(&body).ok()?;
    Some(count(&asked.query)).filter(|depth| *depth > SHALLOW)
}

/// Does something on a thread with a stack for so many levels. Dropped, it goes on by itself.
pub(super) async fn with_stack<T, F>(depth: usize, work: F) -> std::io::Result<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let (done, result) = oneshot::channel();
    let runtime = Handle::current();
    let stack = SHALLOW * LEVEL_BYTES + depth * LEVEL_BYTES;
    std::thread::Builder::new()
        .name("deep query".to_owned())
        .stack_size(stack)
        .spawn(move || {
            // Nobody may be waiting any more.
            let _ = done.send(runtime.block_on(work));
        })?;
    result
        .await
        .map_err(|_| std::io::Error::other("the thread of a deep query has panicked"))
}

/// Everything in a query's text that may be a level: operators, properties of properties, brackets.
fn count(query: &str) -> usize {
    let (mut levels, mut rest) = (0, query);
    while let Some(first) = rest.chars().next() {
        rest = match first {
            // A doubled quote ends one text and begins the next, which is as good.
            '\'' | '"' => after(&rest[1..], first),
            '-' if rest.starts_with("--") => after(rest, '\n'),
            '/' if rest.starts_with("/*") => rest.split_once("*/").map_or("", |(_, rest)| rest),
            _ if first.is_alphanumeric() || matches!(first, '_' | '@') => {
                let word = rest.trim_start_matches(|c: char| c.is_alphanumeric() || matches!(c, '_' | '@'));
                let written = &rest[..rest.len() - word.len()];
                levels += usize::from(WORDS.iter().any(|known| known.eq_ignore_ascii_case(written)));
                word
            }
            _ => {
                levels += usize::from(!matches!(first, ',' | ')' | ']' | '}' | ':') && !first.is_whitespace());
                &rest[first.len_utf8()..]
            }
        };
    }
    levels
}

/// Operators that are words.
const WORDS: [&str; 8] = ["AND", "OR", "NOT", "IN", "BETWEEN", "LIKE", "EXISTS", "JOIN"];

fn after(text: &str, end: char) -> &str {
    text.split_once(end).map_or("", |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_level_is_counted_and_texts_are_not() {
        assert_eq!(count("SELECT * FROM c"), 1);
        assert_eq!(
            count("SELECT * FROM c WHERE c.id = 'a OR ''b'' AND - ' OR NOT (c.n > 1)"),
            8
        );
        assert_eq!(count(&"'0f-1e',".repeat(5000)), 0);
        assert_eq!(count("1 -- it's - a - comment\n + 1 /* - ' - */ + 1"), 2);
        assert_eq!(count("'open - - -"), 0);
        assert_eq!(
            count(&format!("SELECT * FROM c WHERE {}true", "NOT ".repeat(1000))),
            1001
        );
    }

    #[tokio::test]
    async fn a_deep_query_has_room() {
        fn down(levels: usize) -> usize {
            let room = std::hint::black_box([1_u8; 8 * 1024]);
            if levels == 0 {
                0
            } else {
                down(levels - 1) + usize::from(room[levels % 8])
            }
        }
        let deep = with_stack(2000, async { down(2000) }).await;
        assert_eq!(deep.expect("a thread"), 2000);
    }
}
