use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use kernel_auth::AccessTable;
use kernel_base::{City, Permission, Rights, Scope};

// Limit: callers whose rights are remembered per deployment. Callers share roles, so distinct rights are few; beyond it the oldest is computed again.
const REMEMBERED_MAX: usize = 64;

/// What a plugin may do in one call: the rights of caller and deployment together, in the city of the call. Equal values are one `Arc` while they are
/// remembered, so identity is the key of warm instances: one never serves two different rights.
#[derive(Debug)]
pub(crate) struct EffectiveRights {
    pub(crate) rights: Arc<Rights>,
    pub(crate) city: City,
    /// The code, as the guest's context carries it.
    pub(crate) city_code: String,
}

/// What a deployment may do. Remembers its intersections with the rights of callers, since computing one takes longer than a warm call.
#[derive(Debug)]
pub(crate) struct DeploymentRights {
    /// The grants as they are stored: rights, and `call:` with the path of a method.
    granted: Vec<String>,
    city: City,
    current: Mutex<Current>,
}

/// What the grants amounted to when the table of access options had `generation`: another plugin's version decides which permission its method asks for.
#[derive(Debug)]
struct Current {
    generation: Option<u64>,
    rights: Rights,
    remembered: VecDeque<Remembered>,
}

#[derive(Debug)]
struct Remembered {
    caller: Arc<Rights>,
    effective: Arc<EffectiveRights>,
}

impl DeploymentRights {
    pub(crate) fn new(granted: Vec<String>, city: City) -> DeploymentRights {
        let current = Current { generation: None, rights: Rights::default(), remembered: VecDeque::new() };
        DeploymentRights { granted, city, current: Mutex::new(current) }
    }

    /// What `caller` may do through the deployment, in `city`, as the methods that it calls are enabled now.
    pub(crate) fn intersection(&self, caller: &Arc<Rights>, table: &AccessTable, city: City) -> Arc<EffectiveRights> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut current, table);
        let Current { rights: deployment, remembered, .. } = &mut *current;
        let here = |entry: &&Remembered| entry.effective.city == city;
        if let Some(entry) = remembered.iter().filter(here).find(|entry| Arc::ptr_eq(&entry.caller, caller) || entry.caller == *caller) {
            return Arc::clone(&entry.effective);
        }
        let rights = caller.intersect(deployment);
        let effective = match remembered.iter().filter(here).find(|entry| *entry.effective.rights == rights) {
            Some(equal) => Arc::clone(&equal.effective),
            None => Arc::new(EffectiveRights { rights: Arc::new(rights), city, city_code: city.to_string() }),
        };
        if remembered.len() >= REMEMBERED_MAX {
            remembered.pop_front();
        }
        remembered.push_back(Remembered { caller: Arc::clone(caller), effective: Arc::clone(&effective) });
        effective
    }

    fn refresh(&self, current: &mut Current, table: &AccessTable) {
        // Read first: a change that comes while the rights are made is seen by the next call.
        let generation = table.generation();
        if current.generation == Some(generation) {
            return;
        }
        current.generation = Some(generation);
        let rights = self.made_from(table);
        // Warm instances go by the identity of what is remembered, so it is kept unless something changed.
        if rights != current.rights {
            *current = Current { generation: Some(generation), rights, remembered: VecDeque::new() };
        }
    }

    /// Datasets as they stand, and for each method the permissions that its access option asks for.
    fn made_from(&self, table: &AccessTable) -> Rights {
        let held = |permission: Permission| (permission, Scope::city(self.city));
        Rights::new(self.granted.iter().flat_map(|text| match text.strip_prefix("call:") {
            Some(path) => table.permissions_of(path).iter().map(|name| held(Permission::named(name))).collect(),
            None => text.parse().ok().map(held).into_iter().collect::<Vec<_>>(),
        }))
    }
}
