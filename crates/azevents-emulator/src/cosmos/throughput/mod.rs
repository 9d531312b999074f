//! Provisioned throughput: what databases and containers were given, and, where it is enforced, what is left of it.
//!
//! "Introduction to provisioned throughput in Azure Cosmos DB": what is provisioned is divided evenly among the
//! physical partitions, and a request to a partition that has used its part up is answered with 429. The request
//! that crosses the limit is served; the others wait for the next second.

mod budget;
mod provisioned;
#[cfg(test)]
mod tests;
mod units;

use std::sync::Arc;

use azure_core::http::{Method, Request};

pub(super) use budget::Budgets;
pub(super) use provisioned::Throughput;
pub(super) use units::Units;

use super::{
    account::Account,
    changes::ItemKey,
    engine::Answer,
    item::item_request,
    responses,
    target::{ContainerName, Target, header},
};

impl Account {
    /// Executes a request about items if its partition has request units left, and takes what it costs.
    pub(super) async fn within_budget(
        self: &Arc<Self>,
        budgets: &Budgets,
        name: &ContainerName,
        request: Request,
        target: Target,
    ) -> Answer {
        let Some(share) = self.share_of(name) else {
            return self.unlimited(request, target).await;
        };
        // One at a time, or many that come at once would all find something left.
        let turn = budgets.turn(name);
        let _turn = turn.lock().await;
        let partitions = self.partitions_of(budgets, name, &request).await;
        if let Some(wait) = budgets.wait(name, &partitions, share) {
            return responses::rate_too_large(wait);
        }
        let answer = self.unlimited(request, target).await;
        let charge = answer.header("x-ms-request-charge");
        let charge = charge.and_then(|charge| charge.parse().ok()).unwrap_or(0.0);
        budgets.take(name, &partitions, charge);
        answer
    }

    /// What each partition of a container may use in a second. `None` where nothing was provisioned.
    fn share_of(&self, name: &ContainerName) -> Option<f64> {
        let store = self.engine.store();
        let count = |name: &ContainerName| store.child_partition_ids(&name.database, &name.container, &[]).len();
        let (units, partitions) = if let Some(units) = self.throughput.of_container(name) {
            (units, count(name))
        } else {
            // The containers of a database share it, but for those that have their own.
            let units = self.throughput.of_database(&name.database)?;
            let all = self.containers.of_database(&name.database);
            let sharing = all.iter().filter(|name| self.throughput.of_container(name).is_none());
            (units, sharing.map(count).sum())
        };
        Some(units as f64 / partitions.max(1) as f64)
    }

    /// The partitions a request is about: one, or all.
    async fn partitions_of(&self, budgets: &Budgets, name: &ContainerName, request: &Request) -> Vec<u32> {
        let all = self
            .engine
            .store()
            .child_partition_ids(&name.database, &name.container, &[]);
        let named = header(request, "x-ms-documentdb-partitionkeyrangeid")
            .and_then(|range| range.rsplit(',').next()?.trim().parse().ok());
        let key = header(request, "x-ms-documentdb-partitionkey");
        let one = match (named, key) {
            (Some(partition), _) => Some(partition),
            (None, Some(key)) => match budgets.partition_of(name, key).filter(|known| all.contains(known)) {
                Some(known) => Some(known),
                None => self.partition_of_key(budgets, name, key).await,
            },
            (None, None) => None,
        };
        match one {
            Some(partition) if all.contains(&partition) => vec![partition],
            _ => all,
        }
    }

    /// The partition of a key, which Microsoft's emulator says with any item, also one that isn't there.
    async fn partition_of_key(&self, budgets: &Budgets, name: &ContainerName, key: &str) -> Option<u32> {
        let item = ItemKey::new(key, "any")?;
        let request = item_request(&self.items(name), Method::Get, &item);
        let answer = self.engine.execute(&request).await;
        let partition = answer.header("x-ms-documentdb-partitionkeyrangeid")?.parse().ok()?;
        budgets.note_partition(name, key, partition);
        Some(partition)
    }
}
