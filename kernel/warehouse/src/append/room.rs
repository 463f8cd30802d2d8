use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::WarehouseError;

// Limit: what an append takes at least, however few its rows are.
const BYTES_MIN: usize = 4 << 10;
// Room is given in these.
const UNIT_BYTES: usize = 1 << 10;

/// Room for the appends that are on their way: they wait in memory for their commits, which come one after another.
pub(crate) struct AppendRoom {
    free: Arc<Semaphore>,
    bytes_max: usize,
}

impl AppendRoom {
    pub(crate) fn new(bytes_max: usize) -> AppendRoom {
        AppendRoom { free: Arc::new(Semaphore::new(bytes_max.div_ceil(UNIT_BYTES))), bytes_max }
    }

    /// Takes the room of an append until the value is dropped. One that is larger than all of it has it alone. Who is refused comes again.
    ///
    /// # Errors
    /// CALLS_SATURATED when others have too much of it.
    pub(crate) fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, WarehouseError> {
        let saturated = || WarehouseError::AppendsSaturated { bytes_max: self.bytes_max };
        self.free.clone().try_acquire_many_owned(self.units(bytes)).map_err(|_| saturated())
    }

    /// The same for an append of a stream, which waits for its room, in the order in which they ask, and whose sender waits with it.
    pub(crate) async fn wait(&self, bytes: usize) -> Result<OwnedSemaphorePermit, WarehouseError> {
        self.free.clone().acquire_many_owned(self.units(bytes)).await.map_err(WarehouseError::broken)
    }

    fn units(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.max(BYTES_MIN).min(self.bytes_max).div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn room_is_given_until_it_is_all_and_again_when_it_is_back() {
        let room = AppendRoom::new(64 << 10);
        let all = room.take(1 << 30).unwrap();
        assert!(matches!(room.take(1), Err(WarehouseError::AppendsSaturated { bytes_max: 65_536 })));
        drop(all);
        let small: Vec<_> = (0..16).map(|_| room.take(0).unwrap()).collect();
        assert!(room.take(0).is_err(), "sixteen of 4 KiB are all");
        drop(small);
        let _half = room.take(32 << 10).unwrap();
        assert!(room.take(33 << 10).is_err());
        assert!(room.take(32 << 10).is_ok());
    }
}
