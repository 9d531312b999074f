//! Containers that are there before the first client comes: checkpoint stores don't create theirs.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    account::Account,
    container_ops::check_name,
    model::{Change, ContainerProperties, Metadata},
};

/// Where containers are created. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct BlobContainers(pub(super) Arc<Account>);

impl BlobContainers {
    /// Creates what is missing, and calls `note` with each and whether it was there already. They
    /// are kept, if anything is, when this returns.
    pub(crate) async fn create_missing(
        &self,
        names: &[String],
        mut note: impl FnMut(String, bool),
    ) -> Result<(), String> {
        for name in names {
            let address = format!("blobs/{name}");
            check_name(name).map_err(|error| format!("`{address}`: {}", error.message))?;
            let mut state = self.0.lock();
            let existed = state.containers.contains_key(name);
            if !existed {
                let about = ContainerProperties {
                    metadata: Metadata::default(),
                    stamp: state.stamp(),
                };
                let container = name.clone();
                state.change(Change::Container { container, about }, Bytes::new());
            }
            drop(state);
            note(address, existed);
        }
        self.0.journal().written().await.map_err(|error| error.to_string())
    }
}
