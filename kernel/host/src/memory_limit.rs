use wasmtime::ResourceLimiter;

use crate::engine::TABLE_ELEMENTS;

/// Counts the linear memories of one store together: a limit on each alone could be multiplied by declaring several.
pub(crate) struct MemoryLimit {
    bytes: usize,
    bytes_max: usize,
    /// What was granted last, to take it back when the engine could not give it.
    last_growth: usize,
    /// Whether a growth was refused since the last reset. Tells running out of memory from other traps.
    refused: bool,
}

impl MemoryLimit {
    pub(crate) fn new(bytes_max: usize) -> MemoryLimit {
        MemoryLimit { bytes: 0, bytes_max, last_growth: 0, refused: false }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn refused(&self) -> bool {
        self.refused
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let total = self.bytes.saturating_add(growth);
        if total > self.bytes_max {
            // The guest sees a failed growth, as on a small machine: one that can do with less goes on.
            self.refused = true;
            return Ok(false);
        }
        self.bytes = total;
        self.last_growth = growth;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // A refusal of our own ends up here as well, with nothing to take back.
        if !self.refused {
            self.bytes = self.bytes.saturating_sub(self.last_growth);
            self.refused = true;
        }
        self.last_growth = 0;
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}
