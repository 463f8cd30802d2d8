use std::{
    collections::HashSet,
    fs::File,
    hash::{BuildHasherDefault, Hasher},
    io::{self, BufWriter, Write},
    os::unix::fs::FileExt,
    path::PathBuf,
};

use arrow_array::{ArrayRef, BooleanArray};
use datafusion::parquet::bloom_filter::Sbbf;
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    error::WarehouseError,
    rows::{Cell, value_at},
};

// Limit: runs of keys on disk for one slice. With the default of keys in memory that is 300 million rows, about as many as a file of 16 GiB has; each run takes
// 112 MiB of disk, and the filter 16 MiB of memory for each that there may be: twice the runs that there are at most, and 640 MiB. A larger slice is sent in days.
const RUNS_MAX: usize = 40;
// Keys that are read from disk at once: 4 KiB, as a disk reads.
const BLOCK_KEYS: usize = 256;
// Blocks that are read at once where all of a run is read.
const BLOCKS_AT_ONCE: usize = 256;
const KEY_BYTES: usize = size_of::<KeyDigest>();

/// 128 bits of a row's key: two of 300 million keys are the same by chance once in 10^21 files.
pub(super) type KeyDigest = u128;

/// The keys that a slice has so far: the newest in memory, the earlier ones sorted on disk, so that memory does not grow with the file.
pub(super) struct Duplicates {
    newest: HashSet<KeyDigest, BuildHasherDefault<Digested>>,
    newest_max: usize,
    /// Sorted, the oldest first.
    runs: Vec<Run>,
    filter: Filter,
    dir: PathBuf,
}

/// Tells of nearly every key that it is in none of the runs. A key is looked up in one place, since each is a miss of the processor's cache.
struct Filter {
    /// Each for as many keys as a run has; a key's high bits say which. There are as many as there may be runs before the filter is made anew.
    parts: Vec<Sbbf>,
}

impl Duplicates {
    /// Keeps up to `newest_max` keys in memory and the others in nameless files in `dir`.
    pub(super) fn new(dir: PathBuf, newest_max: usize) -> Duplicates {
        Duplicates { newest: HashSet::default(), newest_max: newest_max.max(1), runs: Vec::new(), filter: Filter { parts: Vec::new() }, dir }
    }

    /// Adds the keys of rows that are there.
    ///
    /// # Errors
    /// FILE_REFUSED when the slice has more keys than are remembered.
    pub(super) fn add(&mut self, file_name: &str, keys: &[KeyDigest]) -> Result<(), WarehouseError> {
        self.first_ones(file_name, keys).map(drop)
    }

    /// Which rows are the first with their key.
    ///
    /// # Errors
    /// FILE_REFUSED when the slice has more keys than are remembered.
    pub(super) fn first_ones(&mut self, file_name: &str, keys: &[KeyDigest]) -> Result<BooleanArray, WarehouseError> {
        let mut first_ones = Vec::with_capacity(keys.len());
        for key in keys {
            if self.newest.len() == self.newest_max {
                self.spill(file_name)?;
            }
            first_ones.push(!self.is_earlier(*key)? && self.newest.insert(*key));
        }
        Ok(first_ones.into())
    }

    /// Whether a row with the key is there.
    pub(super) fn holds(&self, key: KeyDigest) -> Result<bool, WarehouseError> {
        Ok(self.newest.contains(&key) || self.is_earlier(key)?)
    }

    fn is_earlier(&self, key: KeyDigest) -> Result<bool, WarehouseError> {
        if !self.filter.may_hold(key) {
            return Ok(false);
        }
        // What comes twice most often comes again soon.
        for run in self.runs.iter().rev() {
            if run.holds(key).map_err(WarehouseError::storage(READING))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn spill(&mut self, file_name: &str) -> Result<(), WarehouseError> {
        if self.runs.len() == RUNS_MAX {
            let most = RUNS_MAX * self.newest_max;
            let problem = format!("it has more than {most} rows, and its feed drops duplicates within a slice: send it as a file for each day");
            return Err(WarehouseError::FileRefused { file_name: file_name.to_owned(), problem });
        }
        let mut keys: Vec<KeyDigest> = self.newest.drain().collect();
        keys.sort_unstable();
        let run = tempfile::tempfile_in(&self.dir).and_then(|file| Run::write(file, &keys));
        self.runs.push(run.map_err(WarehouseError::storage("writing the keys of a slice"))?);
        if self.runs.len() <= self.filter.parts.len() {
            keys.iter().for_each(|key| self.filter.insert(*key));
            return Ok(());
        }
        // The smaller one goes before the larger comes.
        self.filter = Filter { parts: Vec::new() };
        self.filter = Filter::new(RUNS_MAX.min(2 * self.runs.len() - 1), self.newest_max);
        self.runs.iter().try_for_each(|run| run.each(|key| self.filter.insert(key))).map_err(WarehouseError::storage(READING))
    }
}

const READING: &str = "reading the keys of a slice";

impl Filter {
    /// For so many runs of so many keys.
    fn new(runs: usize, keys: usize) -> Filter {
        // Eighteen bits a key: of the keys that are not there, one in two thousand is looked for in the files.
        Filter { parts: (0..runs).map(|_| Sbbf::new_with_num_of_bytes(keys * 9 / 4)).collect() }
    }

    fn may_hold(&self, key: KeyDigest) -> bool {
        self.parts.get(self.part_of(key)).is_some_and(|part| part.check(&low_half(key)))
    }

    fn insert(&mut self, key: KeyDigest) {
        let part = self.part_of(key);
        self.parts[part].insert(&low_half(key));
    }

    /// The high half of the key as a share of the parts; the filters themselves use the low half.
    fn part_of(&self, key: KeyDigest) -> usize {
        (((key >> 64) * self.parts.len() as u128) >> 64) as usize
    }
}

/// Keys in a file, in order.
struct Run {
    file: File,
    keys: usize,
    /// The first key of each block.
    firsts: Vec<KeyDigest>,
}

impl Run {
    fn write(file: File, keys: &[KeyDigest]) -> io::Result<Run> {
        let mut writer = BufWriter::new(&file);
        for key in keys {
            writer.write_all(&key.to_le_bytes())?;
        }
        writer.flush()?;
        drop(writer);
        let firsts = keys.iter().step_by(BLOCK_KEYS).copied().collect();
        Ok(Run { file, keys: keys.len(), firsts })
    }

    fn each(&self, mut see: impl FnMut(KeyDigest)) -> io::Result<()> {
        let mut bytes = vec![0; BLOCKS_AT_ONCE * BLOCK_KEYS * KEY_BYTES];
        for block in (0..self.firsts.len()).step_by(BLOCKS_AT_ONCE) {
            let read = self.read(block, &mut bytes)?;
            read.as_chunks().0.iter().for_each(|key| see(KeyDigest::from_le_bytes(*key)));
        }
        Ok(())
    }

    fn holds(&self, key: KeyDigest) -> io::Result<bool> {
        let Some(block) = self.firsts.partition_point(|first| *first <= key).checked_sub(1) else {
            return Ok(false);
        };
        let mut bytes = [0; BLOCK_KEYS * KEY_BYTES];
        let read = self.read(block, &mut bytes)?;
        Ok(read.chunks_exact(KEY_BYTES).any(|there| there == key.to_le_bytes()))
    }

    /// The keys from a block on, as many as `bytes` has room for.
    fn read<'b>(&self, block: usize, bytes: &'b mut [u8]) -> io::Result<&'b [u8]> {
        let first = block * BLOCK_KEYS;
        let length = bytes.len().min((self.keys - first) * KEY_BYTES);
        let bytes = &mut bytes[..length];
        self.file.read_exact_at(bytes, (first * KEY_BYTES) as u64)?;
        Ok(bytes)
    }
}

fn low_half(key: KeyDigest) -> u64 {
    key as u64
}

/// The digest of a key's cells; `scratch` is used again from row to row.
pub(super) fn key_digest<'a>(cells: impl Iterator<Item = &'a Cell<'a>>, scratch: &mut Vec<u8>) -> KeyDigest {
    scratch.clear();
    for cell in cells {
        match cell {
            Cell::Null => scratch.push(0),
            Cell::Text(text) => {
                scratch.push(1);
                scratch.extend_from_slice(&(text.len() as u64).to_le_bytes());
                scratch.extend_from_slice(text.as_bytes());
            }
            Cell::Integer(number) | Cell::Instant(number) => {
                scratch.push(2);
                scratch.extend_from_slice(&number.to_le_bytes());
            }
            Cell::Real(number) => {
                scratch.push(3);
                scratch.extend_from_slice(&number.to_le_bytes());
            }
            Cell::Boolean(truth) => scratch.extend_from_slice(&[4, u8::from(*truth)]),
            Cell::Day(day) => {
                scratch.push(5);
                scratch.extend_from_slice(&day.to_le_bytes());
            }
        }
    }
    xxh3_128(scratch)
}

/// The digests of the keys of stored rows, from the key's columns.
pub(super) fn stored_keys(columns: &[ArrayRef]) -> Result<Vec<KeyDigest>, WarehouseError> {
    let mut scratch = Vec::new();
    (0..columns.first().map_or(0, |column| column.len()))
        .map(|row| {
            let cells = columns.iter().map(|column| value_at(column, row)).collect::<Result<Vec<_>, _>>()?;
            Ok(key_digest(cells.iter(), &mut scratch))
        })
        .collect()
}

/// A digest needs no hashing.
#[derive(Default)]
struct Digested(u64);

impl Hasher for Digested {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_u128(&mut self, digest: u128) {
        self.0 = low_half(digest);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn digest(number: u16) -> KeyDigest {
        xxh3_128(&number.to_le_bytes())
    }

    proptest! {
        #[test]
        fn the_first_of_each_key_is_told_wherever_the_earlier_keys_are(
            numbers in prop::collection::vec(0u16..3_000, 0..4_000), newest_max in 100usize..1_500, chunk in 1usize..500,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let (mut duplicates, mut seen) = (Duplicates::new(dir.path().to_owned(), newest_max), HashSet::new());
            for numbers in numbers.chunks(chunk) {
                let keys: Vec<KeyDigest> = numbers.iter().map(|number| digest(*number)).collect();
                let expected: BooleanArray = numbers.iter().map(|number| Some(seen.insert(*number))).collect();
                prop_assert_eq!(duplicates.first_ones("a.txt", &keys).unwrap(), expected);
            }
            for number in 0..3_000 {
                prop_assert_eq!(duplicates.holds(digest(number)).unwrap(), seen.contains(&number));
            }
            // Their files have no names, so that nothing is left behind.
            prop_assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_slice_with_more_keys_than_are_remembered_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut duplicates = Duplicates::new(dir.path().to_owned(), 10);
        let keys: Vec<KeyDigest> = (0..410).map(digest).collect();
        duplicates.add("a.txt", &keys).unwrap();
        let refused = duplicates.first_ones("a.txt", &[digest(411)]).unwrap_err().to_string();
        assert!(refused.contains("more than 400 rows") && refused.contains("a file for each day"), "{refused}");
    }
}
