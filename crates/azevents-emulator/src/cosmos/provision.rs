//! Databases and containers that are there before the first client comes.

use std::sync::Arc;

use azure_core::http::{Method, Request};
use serde_json::{Value, json};

use super::{account::Account, engine::Answer, target::Target};
use crate::{Container, Database, TimeToLive};

impl Account {
    /// Creates what is missing. Calls `note` with the name of each and whether it was there already.
    pub(super) async fn provision(
        self: &Arc<Self>,
        databases: &[Database],
        mut note: impl FnMut(String, bool),
    ) -> Result<(), String> {
        for database in databases {
            let address = format!("cosmos/{}", database.name);
            let existed = self.post(&["dbs"], &json!({ "id": database.name }), &address).await?;
            note(address, existed);
            for container in &database.containers {
                let address = format!("cosmos/{}/{}", database.name, container.name);
                let path = ["dbs", &database.name, "colls"];
                let existed = self.post(&path, &definition(container), &address).await?;
                note(address, existed);
            }
        }
        Ok(())
    }

    /// Whether it was there already.
    async fn post(self: &Arc<Self>, path: &[&str], body: &Value, what: &str) -> Result<bool, String> {
        let mut url = self.endpoint().clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request = Request::new(url, Method::Post);
        request.set_body(body.to_string());
        let target = Target::of(&request);
        let Answer { status, body, .. } = self.execute(request, target).await;
        match u16::from(status) {
            201 => Ok(false),
            409 => Ok(true),
            _ => Err(format!("`{what}`: {}", String::from_utf8_lossy(&body))),
        }
    }
}

fn definition(container: &Container) -> Value {
    let kind = if container.partition_key.len() > 1 {
        "MultiHash"
    } else {
        "Hash"
    };
    let mut definition = json!({
        "id": container.name,
        "partitionKey": { "paths": container.partition_key, "kind": kind, "version": 2 },
    });
    match container.time_to_live {
        TimeToLive::Off => {}
        TimeToLive::PerItem => definition["defaultTtl"] = (-1).into(),
        TimeToLive::After(after) => definition["defaultTtl"] = after.as_secs().into(),
    }
    definition
}
