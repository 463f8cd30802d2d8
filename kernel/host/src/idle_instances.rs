use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{effective_rights::EffectiveRights, instance::Instance};

/// Warm instances of one deployment that wait for a call, oldest first.
pub(crate) struct IdleInstances {
    waiting: Mutex<Vec<Idle>>,
    waiting_max: usize,
    slots: Arc<IdleSlots>,
}

struct Idle {
    instance: Box<Instance>,
    since: Instant,
    _slot: IdleSlot,
}

impl IdleInstances {
    pub(crate) fn new(waiting_max: usize, slots: Arc<IdleSlots>) -> IdleInstances {
        IdleInstances { waiting: Mutex::new(Vec::new()), waiting_max, slots }
    }

    /// An instance that has served these rights and no others.
    pub(crate) fn take(&self, effective: &Arc<EffectiveRights>) -> Option<Box<Instance>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = waiting.iter().rposition(|idle| Arc::ptr_eq(&idle.instance.effective, effective))?;
        Some(waiting.remove(newest).instance)
    }

    /// Keeps an instance for the next call, in the place of the oldest when there is no other.
    pub(crate) fn put(&self, instance: Box<Instance>, now: Instant) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = (waiting.len() >= self.waiting_max).then(|| waiting.remove(0));
        if let Some(slot) = IdleSlots::claim(&self.slots) {
            waiting.push(Idle { instance, since: now, _slot: slot });
        }
        drop(waiting);
        // Outside of the lock: dropping an instance gives its memory back to the system.
        drop(oldest);
    }

    /// Drops those that waited for `idle_time`.
    pub(crate) fn expire(&self, idle_time: Duration, now: Instant) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = waiting.iter().position(|idle| now.saturating_duration_since(idle.since) < idle_time).unwrap_or(waiting.len());
        let expired: Vec<Idle> = waiting.drain(..fresh).collect();
        drop(waiting);
        drop(expired);
    }
}

/// The idle instances that the whole host may keep: with those that run they must fit the engine's pool.
pub(crate) struct IdleSlots {
    taken: AtomicUsize,
    slots_max: usize,
}

struct IdleSlot {
    slots: Arc<IdleSlots>,
}

impl IdleSlots {
    pub(crate) fn new(slots_max: usize) -> IdleSlots {
        IdleSlots { taken: AtomicUsize::new(0), slots_max }
    }

    /// How many instances wait.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    fn claim(slots: &Arc<IdleSlots>) -> Option<IdleSlot> {
        if slots.taken.fetch_add(1, Ordering::AcqRel) >= slots.slots_max {
            slots.taken.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(IdleSlot { slots: Arc::clone(slots) })
    }
}

impl Drop for IdleSlot {
    fn drop(&mut self) {
        self.slots.taken.fetch_sub(1, Ordering::AcqRel);
    }
}
