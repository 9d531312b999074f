//! How much was checked: a script that checks nothing would end well too.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;

use super::coverage;

/// Reads what a script that ended well has said, and tells how many checks it made: to the terminal, past the test
/// harness, which hides what tests say that pass, and to the file that `AZEVENTS_CLIENT_COUNTS` names.
pub(super) fn note(script: &str, said: &str) {
    let titles: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("ok "))
        .map(str::trim)
        .collect();
    let kept = titles.len();
    let summary = format!("{kept} checks, 0 failed");
    assert!(
        kept > 0 && said.lines().last() == Some(summary.as_str()),
        "{script} does not end with '{summary}', what its lines come to:\n{said}"
    );
    coverage::assert_made(script, &titles);
    let line = format!("{script:24} {kept:>4} checks, 0 failed\n");
    // One write each: other tests write at the same time.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(file) = env::var_os("AZEVENTS_CLIENT_COUNTS") {
        let opened = OpenOptions::new().append(true).create(true).open(&file);
        let written = opened.and_then(|mut file| file.write_all(line.as_bytes()));
        written.unwrap_or_else(|error| panic!("AZEVENTS_CLIENT_COUNTS={}: {error}", file.display()));
    }
}
