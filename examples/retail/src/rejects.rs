//! Rows that could not be read are kept beside the read models, once each.

use azevents::{InboxKey, ReadModel, Result, Update};
use futures::TryStreamExt;

use crate::input::Rejected;
use crate::services::Services;

/// The partition that holds them.
pub const PARTITION: &str = "rejects";

/// Keeps a rejected row. Reading the same input again keeps it once.
///
/// # Errors
/// What the store reports.
pub async fn keep(model: &dyn ReadModel, rejected: Rejected) -> Result<()> {
    let place = format!("{}:{}", rejected.file, rejected.line);
    let update = Update::new(InboxKey::new("ingest", &*place), PARTITION)
        .change(place, move |kept: &mut Option<Rejected>| *kept = Some(rejected.clone()));
    model.apply(update).await.map(drop)
}

/// All rejected rows, by file and line.
///
/// # Errors
/// What the store reports.
pub async fn list(services: &Services) -> Result<Vec<Rejected>> {
    let documents = services.read_model.documents(Some(PARTITION));
    let mut rejects: Vec<Rejected> = documents
        .and_then(|document| async move { document.parse() })
        .try_collect()
        .await?;
    rejects.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    Ok(rejects)
}
