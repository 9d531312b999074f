//! Creating what the example needs, as far as that isn't Bicep's: the containers, and on the emulator
//! the topic and the event hub.

use anyhow::{Context, Result, bail};

use crate::services::{connect, containers};
use crate::settings::Settings;

/// Topic, subscriptions and event hub, in the format of Microsoft's own emulators.
pub const ENTITIES: &str = include_str!("../entities.json");

/// Creates what is missing and leaves what is there.
///
/// # Errors
/// When a service can't be reached or refuses.
pub async fn run(settings: &Settings) -> Result<()> {
    connect(settings).await?.provision(&containers()).await?;
    let Some(management) = &settings.management else {
        tracing::info!("topic and event hub are left to bicep/main.bicep");
        return Ok(());
    };
    let url = format!("{}/topology", management.trim_end_matches('/'));
    let response = reqwest::Client::new()
        .put(&url)
        .header("content-type", "application/json")
        .body(ENTITIES)
        .send()
        .await
        .with_context(|| format!("{url}: is the emulator running?"))?;
    if !response.status().is_success() {
        bail!(
            "{url}: {}: {}",
            response.status(),
            response.text().await.unwrap_or_default()
        );
    }
    Ok(())
}
