//! From a row to a deployment that answers calls.

use std::sync::Arc;

use kernel_storage::DeploymentRow;

use crate::{
    Host, HostError,
    deployment::{Deployment, Terms},
};

impl Host {
    /// Makes the deployment that a row describes, without letting calls reach it.
    ///
    /// # Errors
    /// When the version cannot be loaded or the row's city cannot be read.
    pub(crate) async fn deployment_of(&self, row: &DeploymentRow) -> Result<Arc<Deployment>, HostError> {
        let version = self.inner.versions.installed(&row.digest).await?;
        let terms = Terms {
            city: row.city.parse()?,
            revision: row.revision,
            granted: row.granted.lines().map(str::to_owned).collect(),
            configuration: row.configuration.clone(),
        };
        Ok(Arc::new(Deployment::new(version, terms, &self.inner.admission, &self.inner.idle_slots)))
    }

    /// Lets calls reach the deployment, in place of the one before. First the host, then the table that admits calls: an admitted call finds its deployment.
    pub(crate) fn activate(&self, deployment: Arc<Deployment>) {
        self.inner.deployments.swap_in(&deployment);
        self.inner.access.deploy(deployment.plugin(), deployment.actor.city, deployment.version.methods.clone());
    }
}
