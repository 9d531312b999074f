//! The whole system in one process: the figures are exact, whatever goes wrong on the way.

use std::io::Write;
use std::path::PathBuf;

use retail::input::{Source, generate, sources};
use retail::report::pounds;
use retail::run::{Finished, Options, run};

use crate::figures::{duplicates, expected, settled};

async fn run_to_the_end(sources: Vec<Source>, faults: Option<u64>) -> Finished {
    run(Options {
        sources,
        faults,
        progress: false,
        pace: None,
    })
    .await
    .expect("the run ends well")
}

fn generated(invoices: u32) -> (String, Vec<Source>) {
    let csv = generate(1, invoices);
    (csv.clone(), vec![Source::Generated("test.csv", csv)])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_are_those_of_the_input() {
    let (csv, sources) = generated(120);
    let report = run_to_the_end(sources, None).await.report;
    assert_eq!(settled(report), expected(&csv));
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_change_nothing_but_the_number_of_copies() {
    let (csv, sources) = generated(60);
    let mut copies = 0;
    for seed in [7, 8] {
        let Finished { report, injected, .. } = run_to_the_end(sources.clone(), Some(seed)).await;
        copies += duplicates(&report).values().sum::<u64>();
        assert!(injected.len() > 3, "seed {seed} injected only {injected:?}");
        assert_eq!(settled(report), expected(&csv), "seed {seed}");
    }
    assert!(copies > 0, "copies did arrive");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_read_are_kept_with_file_line_and_reason_and_the_rest_goes_on() {
    let (csv, _) = generated(10);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("day.csv");
    let mut file = std::fs::File::create(&path).expect("a file");
    write!(file, "{csv}700001,1,x,six,2010-12-01 08:26:00,1,,France\nhalf,a,row\n").expect("written");
    let first_bad = csv.lines().count() as u64 + 1;

    let report = run_to_the_end(sources(std::slice::from_ref(&path)).expect("a source"), None)
        .await
        .report;
    let kept: Vec<_> = report
        .rejects
        .iter()
        .map(|rejected| (rejected.line, rejected.reason.as_str()))
        .collect();
    assert_eq!(
        kept,
        [
            (first_bad, "Quantity \"six\" is not a whole number"),
            (first_bad + 1, "3 fields instead of 8")
        ]
    );
    assert!(
        report
            .rejects
            .iter()
            .all(|rejected| rejected.file == path.display().to_string())
    );
    let mut good = expected(&csv);
    good.rows += 2;
    good.rejected = 2;
    assert_eq!(settled(report), good);
}

/// The folder with the real data, or a loud word that it is missing.
fn online_retail() -> Option<PathBuf> {
    let folder = std::env::var_os("AZEVENTS_ONLINE_RETAIL")
        .map(PathBuf::from)
        .filter(|folder| folder.is_dir());
    if folder.is_none() {
        eprintln!(
            "SKIPPED: set AZEVENTS_ONLINE_RETAIL to a folder with the UCI \"Online Retail\" days of December 2010 as CSV"
        );
    }
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_real_day_adds_up() {
    let Some(folder) = online_retail() else { return };
    let report = run_to_the_end(sources(&[folder.join("2010-12-01.csv")]).expect("a source"), None)
        .await
        .report;
    assert_eq!((report.rows, report.rejected, report.events), (3108, 0, 3108));
    assert_eq!(
        (report.orders, report.cancelled, report.revenue_by_country.len()),
        (143, 6, 7)
    );
    assert_eq!(pounds(report.revenue_total), "58635.56");
    assert_eq!(
        report.lines_by_day.into_iter().collect::<Vec<_>>(),
        [("2010-12-01".to_owned(), 3108)]
    );
    assert_eq!(
        (
            report.consumers.fulfilment.order_violations,
            report.consumers.analytics.order_violations
        ),
        (0, 0)
    );
}
