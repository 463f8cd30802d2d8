use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use kernel_base::{City, PluginActor, PluginId};

use crate::{
    admission::{Admission, DeploymentShare},
    effective_rights::DeploymentRights,
    guest_context,
    idle_instances::{IdleInstances, IdleSlots},
    version::CompiledVersion,
};

/// A version that answers calls in a city. Immutable: enabling again makes another, and calls that run finish on the one they started with.
pub(crate) struct Deployment {
    pub(crate) version: Arc<CompiledVersion>,
    pub(crate) actor: PluginActor,
    /// Paths of the methods that it may call.
    pub(crate) calls: HashSet<String>,
    /// The part of the guest's context that is the same in every call, encoded.
    pub(crate) context_prefix: Vec<u8>,
    /// What was granted, in the city of the deployment.
    pub(crate) rights: DeploymentRights,
    pub(crate) idle: IdleInstances,
    pub(crate) share: DeploymentShare,
    memory_bytes_peak: AtomicUsize,
}

/// What makes a deployment of a version.
pub(crate) struct Terms {
    pub(crate) city: City,
    pub(crate) revision: i64,
    /// Rights, and `call:` with the path of a method.
    pub(crate) granted: Vec<String>,
    /// A JSON object that fits the schema.
    pub(crate) configuration: String,
}

impl Deployment {
    pub(crate) fn new(version: Arc<CompiledVersion>, terms: Terms, admission: &Admission, slots: &Arc<IdleSlots>) -> Deployment {
        let manifest = &version.manifest;
        let concurrency = usize::try_from(manifest.limits.concurrency).unwrap_or(1);
        let actor = PluginActor { plugin: manifest.id.clone(), version: manifest.version.to_string(), city: terms.city };
        Deployment {
            context_prefix: guest_context::prefix(&actor, terms.configuration, terms.revision),
            actor,
            calls: terms.granted.iter().filter_map(|grant| grant.strip_prefix("call:")).map(str::to_owned).collect(),
            rights: DeploymentRights::new(terms.granted, terms.city),
            idle: IdleInstances::new(2 * concurrency, Arc::clone(slots)),
            share: admission.share(&manifest.id, concurrency),
            memory_bytes_peak: AtomicUsize::new(0),
            version,
        }
    }

    pub(crate) fn plugin(&self) -> &PluginId {
        &self.actor.plugin
    }

    /// The most memory that one of its instances has had after a call.
    pub(crate) fn memory_bytes_peak(&self) -> usize {
        self.memory_bytes_peak.load(Ordering::Relaxed)
    }

    /// Notes what an instance has. Read before it is written, so that calls on several cores do not pass the line to and fro.
    pub(crate) fn note_memory(&self, bytes: usize) {
        if bytes > self.memory_bytes_peak() {
            self.memory_bytes_peak.fetch_max(bytes, Ordering::Relaxed);
        }
    }
}

/// Which deployment answers a path in a city.
#[derive(Default)]
pub(crate) struct Deployments {
    by_path: RwLock<HashMap<String, Vec<Arc<Deployment>>>>,
}

impl Deployments {
    /// The city's own deployment, else the province's.
    pub(crate) fn find(&self, path: &str, city: City) -> Option<Arc<Deployment>> {
        let by_path = self.by_path.read().unwrap_or_else(PoisonError::into_inner);
        let of_path = by_path.get(path)?;
        let of_city = |city: City| of_path.iter().find(|deployment| deployment.actor.city == city);
        of_city(city).or_else(|| of_city(City::PROVINCE)).cloned()
    }

    /// The deployment of a plugin that serves a city: its own, else the province's.
    pub(crate) fn of_plugin(&self, plugin: &PluginId, city: City) -> Option<Arc<Deployment>> {
        let all = self.all();
        let of_city = |city: City| all.iter().find(|deployment| deployment.plugin() == plugin && deployment.actor.city == city);
        of_city(city).or_else(|| of_city(City::PROVINCE)).cloned()
    }

    /// Puts a deployment in the place of the plugin's earlier one in that city, in one step: no call finds neither.
    pub(crate) fn swap_in(&self, deployment: &Arc<Deployment>) {
        let mut by_path = self.by_path.write().unwrap_or_else(PoisonError::into_inner);
        let old = remove(&mut by_path, deployment.plugin(), deployment.actor.city);
        for access in &deployment.version.methods {
            by_path.entry(access.path.clone()).or_default().push(Arc::clone(deployment));
        }
        drop(by_path);
        // Outside of the lock: the last reference takes its idle instances with it.
        drop(old);
    }

    pub(crate) fn withdraw(&self, plugin: &PluginId, city: City) {
        let old = remove(&mut self.by_path.write().unwrap_or_else(PoisonError::into_inner), plugin, city);
        drop(old);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Deployment>> {
        let by_path = self.by_path.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Arc<Deployment>> = Vec::new();
        for deployment in by_path.values().flatten() {
            if !all.iter().any(|seen| Arc::ptr_eq(seen, deployment)) {
                all.push(Arc::clone(deployment));
            }
        }
        all
    }

    pub(crate) fn clear(&self) {
        let old = std::mem::take(&mut *self.by_path.write().unwrap_or_else(PoisonError::into_inner));
        drop(old);
    }
}

fn remove(by_path: &mut HashMap<String, Vec<Arc<Deployment>>>, plugin: &PluginId, city: City) -> Vec<Arc<Deployment>> {
    let mut removed = Vec::new();
    for of_path in by_path.values_mut() {
        let is_old = |deployment: &mut Arc<Deployment>| deployment.plugin() == plugin && deployment.actor.city == city;
        removed.extend(of_path.extract_if(.., is_old));
    }
    by_path.retain(|_, of_path| !of_path.is_empty());
    removed
}
