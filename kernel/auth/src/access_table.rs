use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use kernel_base::{City, PluginId};
use prost_reflect::{DescriptorPool, ServiceDescriptor};

use crate::{AccessInvalid, MethodAccess, Owner, foreign::foreign_access, read_access};

/// Every method on the bus with its access option: the kernel's from the start, a plugin's as its deployments come and go.
pub struct AccessTable {
    native: HashMap<String, Arc<MethodAccess>>,
    /// Path, then the deployment's city: cities may run different versions.
    plugin: RwLock<HashMap<String, Arc<ByCity>>>,
    generation: AtomicU64,
}

/// The package of the services that plugins answer to the kernel.
const HOOKS: &str = "backplane.guest.v1";

/// By the city of the deployment. Shared, so that a call looks a method up without copying the map.
pub(crate) type ByCity = HashMap<City, Arc<MethodAccess>>;

/// What the table knows of a path.
pub(crate) enum Found {
    Native(Arc<MethodAccess>),
    /// Never empty.
    Plugin(Arc<ByCity>),
    Nothing,
}

impl AccessTable {
    /// Reads the options of every service in `kernel` but the hooks; methods of `foreign` must stand in the list of `foreign.rs`.
    ///
    /// # Errors
    /// When a method says nothing of who may call it: the kernel must not start then.
    pub fn new(kernel: &DescriptorPool, foreign: &[DescriptorPool]) -> Result<AccessTable, AccessInvalid> {
        let mut native = HashMap::new();
        // A hook is answered by a plugin and called by the host alone: it is no method on the bus.
        for service in kernel.services().filter(|service| service.package_name() != HOOKS) {
            for access in read_access(kernel, service.full_name(), &Owner::Native)? {
                native.insert(access.path.clone(), Arc::new(access));
            }
        }
        for pool in foreign {
            for access in foreign_access(pool)? {
                native.insert(access.path.clone(), Arc::new(access));
            }
        }
        Ok(AccessTable { native, plugin: RwLock::default(), generation: AtomicU64::new(0) })
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
            Arc::make_mut(table.entry(access.path.clone()).or_default()).insert(city, Arc::new(access));
        }
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Takes the methods of a plugin out of a city.
    pub fn withdraw(&self, plugin: &PluginId, city: City) {
        remove(&mut self.plugin.write().unwrap_or_else(PoisonError::into_inner), plugin, city);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Grows with every deployment that comes or goes: what was derived from the table before is to be derived again.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The permissions that `path` asks for: the kernel's, or those of each version of a plugin that is enabled now.
    pub fn permissions_of(&self, path: &str) -> Vec<String> {
        let methods: Vec<_> = match self.find(path) {
            Found::Native(access) => vec![access],
            Found::Plugin(by_city) => by_city.values().cloned().collect(),
            Found::Nothing => Vec::new(),
        };
        methods.iter().filter_map(|access| access.permission.clone()).collect()
    }

    pub(crate) fn find(&self, path: &str) -> Found {
        if let Some(access) = self.native.get(path) {
            return Found::Native(Arc::clone(access));
        }
        match self.plugin.read().unwrap_or_else(PoisonError::into_inner).get(path) {
            Some(by_city) => Found::Plugin(Arc::clone(by_city)),
            None => Found::Nothing,
        }
    }

    /// Every method that `may_call` lets through, for reflection and for error messages, by path.
    pub fn visible(&self, may_call: impl Fn(&MethodAccess) -> bool) -> Vec<Arc<MethodAccess>> {
        let plugin = self.plugin.read().unwrap_or_else(PoisonError::into_inner);
        let mut methods: Vec<_> =
            self.native.values().chain(plugin.values().flat_map(|by_city| by_city.values())).filter(|access| may_call(access)).cloned().collect();
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

fn remove(table: &mut HashMap<String, Arc<ByCity>>, plugin: &PluginId, city: City) {
    for by_city in table.values_mut() {
        if by_city.get(&city).is_some_and(|access| access.owner == Owner::Plugin(plugin.clone())) {
            Arc::make_mut(by_city).remove(&city);
        }
    }
    table.retain(|_, by_city| !by_city.is_empty());
}
