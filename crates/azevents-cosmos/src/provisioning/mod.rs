//! Creating the containers that stores, feeds and read models need, or checking those that exist.

mod differences;
mod spec;

use azevents_core::{Error, ErrorKind, Result};
use azure_data_cosmos::options::CreateContainerOptions;

pub use spec::ContainerSpec;
pub(crate) use spec::TENANT_KEY;

use crate::connection::Cosmos;
use crate::error::{Access, from_sdk, is_conflict};

impl Cosmos {
    /// Creates the database and the containers that don't exist yet, and [verifies](Self::verify) those
    /// that do. Nothing that exists is changed, so this may run at every start, and in several processes
    /// at once.
    ///
    /// Needs a key, or a role that may create databases: data-plane roles may not. In production,
    /// create containers with the deployment instead, and verify them.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a container that is not as it has to be, or what the service
    /// reports; some of the containers may have been created.
    pub async fn provision(&self, containers: &[ContainerSpec]) -> Result<()> {
        let name = self.database();
        match self.client().create_database(name, None).await {
            Ok(_) => tracing::info!(database = name, "created"),
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(from_sdk(error, Access::Write, "create database", name)),
        }
        let database = self.client().database_client(name.to_owned());
        for spec in containers {
            let throughput = spec.throughput_properties();
            let options = throughput.map(|units| CreateContainerOptions::default().with_throughput(units));
            match database.create_container(spec.properties(), options).await {
                Ok(_) => tracing::info!(database = name, container = spec.name(), "created"),
                Err(error) if is_conflict(&error) => self.verify_one(spec).await?,
                Err(error) => {
                    let subject = format!("{name}/{}", spec.name());
                    return Err(from_sdk(error, Access::Write, "create container", subject));
                }
            }
        }
        Ok(())
    }

    /// Checks that containers exist and are as they have to be: partition key, indexes, time to live,
    /// unique keys, and throughput where the specification asks for some. What would only make requests
    /// dearer, like more indexes than are needed, is logged.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] with all differences of the first container that has some;
    /// [`ErrorKind::NotFound`] for one that doesn't exist.
    pub async fn verify(&self, containers: &[ContainerSpec]) -> Result<()> {
        for spec in containers {
            self.verify_one(spec).await?;
        }
        Ok(())
    }

    async fn verify_one(&self, spec: &ContainerSpec) -> Result<()> {
        let what = "verify container";
        let subject = format!("{}/{}", self.database(), spec.name());
        let failed = |error| from_sdk(error, Access::Read, what, &subject);
        let container = self.container(spec.name()).await?;
        let answer = container.read(None).await.map_err(failed)?;
        let found = answer.into_model().map_err(failed)?;
        let mut differences = differences::of_properties(spec, &found);
        if spec.throughput().is_some() {
            let throughput = container.read_throughput(None).await.map_err(failed)?;
            differences
                .wrong
                .extend(differences::of_throughput(spec, throughput.as_ref()));
        }
        for dearer in &differences.dearer {
            tracing::warn!(container = subject, "{dearer}");
        }
        if differences.wrong.is_empty() {
            return Ok(());
        }
        Err(
            Error::new(ErrorKind::InvalidInput, what, &subject).with_message(format!(
                "the container exists, but not as it has to be: {}. Change it, or use another name",
                differences.wrong.join("; ")
            )),
        )
    }
}
