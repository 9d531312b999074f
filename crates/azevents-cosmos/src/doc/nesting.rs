//! How deep JSON is nested: Cosmos DB takes 128 levels (Azure Cosmos DB service quotas).

/// Deepest nesting of objects and arrays in a document.
pub(crate) const MAX_NESTING: usize = 128;

/// Levels of objects and arrays in a JSON text, which must be valid.
pub(crate) fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(inside) = bytes.next() {
                    match inside {
                        b'\\' => {
                            bytes.next();
                        }
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::depth;

    #[test]
    fn depth_counts_objects_and_arrays_and_not_what_is_in_texts() {
        assert_eq!(depth("1"), 0);
        assert_eq!(depth(r#"{"a":[{"b":1}],"c":{}}"#), 3);
        assert_eq!(depth(r#"["[[[","\"[[",{}]"#), 2);
    }
}
