//! What `docs/emulator.md` says is supported, against the checks that were made: `tests/clients/coverage.toml` connects
//! them, so that neither can lose the other unseen.

use std::collections::BTreeMap;

use super::repository;

/// By table and beginning of a row: checks as `script: title`.
type Coverage = BTreeMap<String, BTreeMap<String, Vec<String>>>;

fn coverage() -> Coverage {
    let text = include_str!("../../clients/coverage.toml");
    toml::from_str(text).unwrap_or_else(|error| panic!("tests/clients/coverage.toml: {error}"))
}

/// Every check of this script that a row relies on must be among those that it has just made.
pub(super) fn assert_made(script: &str, titles: &[&str]) {
    let coverage = coverage();
    let named = coverage.values().flat_map(BTreeMap::values).flatten();
    for check in named.filter_map(|check| check.strip_prefix(script)?.strip_prefix(": ")) {
        assert!(
            titles.contains(&check),
            "tests/clients/coverage.toml relies on '{check}', which {script} has not checked"
        );
    }
}

/// The rows of a table: what, and how far.
fn rows<'a>(docs: &'a str, table: &str) -> Vec<(&'a str, &'a str)> {
    let head = format!("| {table} |");
    let lines = docs.lines().skip_while(|line| !line.starts_with(&head)).skip(2);
    let cells = lines.map_while(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    cells.filter_map(|cells| cells.split_once(" | ")).collect()
}

#[test]
fn what_the_docs_say_is_supported_is_driven_by_a_client() {
    let docs = std::fs::read_to_string(repository().join("docs/emulator.md")).expect("the docs");
    for (table, covered) in &coverage() {
        let rows = rows(&docs, table);
        assert!(!rows.is_empty(), "docs/emulator.md has no table '{table}'");
        for (row, support) in &rows {
            let drives = covered
                .keys()
                .filter(|beginning| row.starts_with(beginning.as_str()))
                .count();
            let claimed = support.starts_with("yes");
            assert!(
                drives <= 1 && (drives == 1 || !claimed),
                "{table}: '{row}' is '{support}' and has {drives} entries in tests/clients/coverage.toml; name the \
                 check that drives it there, or say that only our own tests do"
            );
        }
        for (beginning, checks) in covered {
            let there = rows.iter().any(|(row, _)| row.starts_with(beginning.as_str()));
            assert!(there, "{table}: no row of docs/emulator.md begins with '{beginning}'");
            assert!(!checks.is_empty(), "{table}: nothing drives '{beginning}'");
            for check in checks {
                let script = check.split_once(": ").map(|(script, _)| script);
                let script = script.unwrap_or_else(|| panic!("'{check}' is not 'script: title'"));
                let is_there = repository().join("tests/clients").join(script).exists();
                assert!(is_there, "there is no tests/clients/{script}");
            }
        }
    }
}
