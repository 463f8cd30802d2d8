//! From a row to a deployment that answers calls.

use std::{collections::HashSet, sync::Arc};

use kernel_base::{City, Permission, Rights, Scope};
use kernel_storage::DeploymentRow;

use crate::{
    Host, HostError,
    deployment::{Deployment, Terms},
};

impl Host {
    /// Makes the deployment that a row describes, without letting calls reach it.
    ///
    /// # Errors
    /// When the version cannot be loaded or the row's city or grants cannot be read.
    pub(crate) async fn deployment_of(&self, row: &DeploymentRow) -> Result<Arc<Deployment>, HostError> {
        let version = self.inner.versions.installed(&row.digest).await?;
        let city: City = row.city.parse()?;
        let granted: Vec<&str> = row.granted.lines().collect();
        let terms = Terms {
            city,
            revision: row.revision,
            rights: self.rights(&granted, city),
            calls: granted.iter().filter_map(|permission| permission.strip_prefix("call:")).map(str::to_owned).collect::<HashSet<_>>(),
            configuration: row.configuration.clone(),
        };
        Ok(Arc::new(Deployment::new(version, terms, &self.inner.idle_slots)))
    }

    /// What the grants amount to: datasets as they stand, and for each method the permission that its access option asks for.
    fn rights(&self, granted: &[&str], city: City) -> Rights {
        let held = |permission: Permission| (permission, Scope::city(city));
        Rights::new(granted.iter().filter_map(|text| match text.strip_prefix("call:") {
            Some(path) => self.permission_of(path).map(|name| held(Permission::named(&name))),
            None => text.parse().ok().map(held),
        }))
    }

    /// The permission that a method asks for; of another plugin's only while that is enabled somewhere.
    fn permission_of(&self, path: &str) -> Option<String> {
        let access = &self.inner.access;
        let native = access.native(path);
        native.or_else(|| access.visible(|access| access.path == path).into_iter().next()).and_then(|access| access.permission.clone())
    }

    /// Lets calls reach the deployment, in place of the one before. First the host, then the table that admits calls: an admitted call finds its deployment.
    pub(crate) fn activate(&self, deployment: Arc<Deployment>) {
        self.inner.deployments.swap_in(&deployment);
        self.inner.access.deploy(deployment.plugin(), deployment.actor.city, deployment.version.methods.clone());
    }
}
