use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use kernel_base::{City, Rights};

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

/// Remembers intersections, since computing one takes longer than a warm call.
#[derive(Debug, Default)]
pub(crate) struct RightsCache {
    remembered: Mutex<VecDeque<Remembered>>,
}

#[derive(Debug)]
struct Remembered {
    caller: Arc<Rights>,
    effective: Arc<EffectiveRights>,
}

impl RightsCache {
    /// What `caller` may do through a deployment that has `deployment`, in `city`.
    pub(crate) fn intersection(&self, caller: &Arc<Rights>, deployment: &Rights, city: City) -> Arc<EffectiveRights> {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
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
}
