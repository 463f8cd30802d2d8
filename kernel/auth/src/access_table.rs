use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use kernel_base::{City, PluginId};
use prost_reflect::{DescriptorPool, ServiceDescriptor};

use crate::{AccessInvalid, MethodAccess, Owner, foreign::foreign_access, read_access};

/// Every method on the bus with its access option: the kernel's from the start, a plugin's as its deployments come and go.
pub struct AccessTable {
    native: HashMap<String, Arc<MethodAccess>>,
    /// Path, then the deployment's city: cities may run different versions.
    plugin: RwLock<HashMap<String, HashMap<City, Arc<MethodAccess>>>>,
}

/// What the table knows of a path.
pub(crate) enum Found {
    Native(Arc<MethodAccess>),
    /// By the city of the deployment; never empty.
    Plugin(HashMap<City, Arc<MethodAccess>>),
    Nothing,
}

impl AccessTable {
    /// Reads the options of every service in `kernel`; methods of `foreign` must stand in the list of `foreign.rs`.
    ///
    /// # Errors
    /// When a method says nothing of who may call it: the kernel must not start then.
    pub fn new(kernel: &DescriptorPool, foreign: &[DescriptorPool]) -> Result<AccessTable, AccessInvalid> {
        let mut native = HashMap::new();
        for service in kernel.services() {
            for access in read_access(kernel, service.full_name(), &Owner::Native)? {
                native.insert(access.path.clone(), Arc::new(access));
            }
        }
        for pool in foreign {
            for access in foreign_access(pool)? {
                native.insert(access.path.clone(), Arc::new(access));
            }
        }
        Ok(AccessTable { native, plugin: RwLock::default() })
    }

    /// The option of a native method.
    pub fn native(&self, path: &str) -> Option<Arc<MethodAccess>> {
        self.native.get(path).cloned()
    }

    /// Makes the methods of a plugin's version callable in a city, in place of those of the version before.
    pub fn deploy(&self, plugin: &PluginId, city: City, methods: Vec<MethodAccess>) {
        let mut table = self.plugin.write().unwrap_or_else(PoisonError::into_inner);
        remove(&mut table, plugin, city);
        for access in methods {
            table.entry(access.path.clone()).or_default().insert(city, Arc::new(access));
        }
    }

    /// Takes the methods of a plugin out of a city.
    pub fn withdraw(&self, plugin: &PluginId, city: City) {
        remove(&mut self.plugin.write().unwrap_or_else(PoisonError::into_inner), plugin, city);
    }

    pub(crate) fn find(&self, path: &str) -> Found {
        if let Some(access) = self.native.get(path) {
            return Found::Native(Arc::clone(access));
        }
        match self.plugin.read().unwrap_or_else(PoisonError::into_inner).get(path) {
            Some(by_city) => Found::Plugin(by_city.clone()),
            None => Found::Nothing,
        }
    }

    /// Every method that `may_call` lets through, for reflection and for error messages, by path.
    pub fn visible(&self, may_call: impl Fn(&MethodAccess) -> bool) -> Vec<Arc<MethodAccess>> {
        let plugin = self.plugin.read().unwrap_or_else(PoisonError::into_inner);
        let mut methods: Vec<_> = self.native.values().chain(plugin.values().flat_map(HashMap::values)).filter(|access| may_call(access)).cloned().collect();
        methods.sort_by(|a, b| a.path.cmp(&b.path));
        methods
    }

    /// The services of the kernel and of foreign protos, for the health service.
    pub fn native_services(&self) -> Vec<ServiceDescriptor> {
        let mut services: Vec<_> = self.native.values().map(|access| access.method.parent_service().clone()).collect();
        services.sort_by(|a, b| a.full_name().cmp(b.full_name()));
        services.dedup_by(|a, b| a.full_name() == b.full_name());
        services
    }
}

fn remove(table: &mut HashMap<String, HashMap<City, Arc<MethodAccess>>>, plugin: &PluginId, city: City) {
    for by_city in table.values_mut() {
        if by_city.get(&city).is_some_and(|access| access.owner == Owner::Plugin(plugin.clone())) {
            by_city.remove(&city);
        }
    }
    table.retain(|_, by_city| !by_city.is_empty());
}
