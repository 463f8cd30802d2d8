use std::{
    collections::HashSet,
    hash::{BuildHasherDefault, Hasher},
};

use arrow_array::{ArrayRef, BooleanArray};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    error::WarehouseError,
    rows::{Cell, value_at},
};

// Limit: keys of one slice that are remembered, 16 bytes each and the set's spare room: 1 GB at most. A larger slice is sent in days.
const KEYS_MAX: usize = 32 << 20;

/// 128 bits of a row's key: two of 32 million keys are the same by chance once in 10^23 files.
pub(super) type KeyDigest = u128;

/// The keys that a slice has so far.
#[derive(Default)]
pub(super) struct Duplicates {
    seen: HashSet<KeyDigest, BuildHasherDefault<Digested>>,
}

impl Duplicates {
    /// Adds the keys of rows that are there.
    pub(super) fn add(&mut self, keys: impl Iterator<Item = KeyDigest>) {
        self.seen.extend(keys);
    }

    /// Which rows are the first with their key.
    ///
    /// # Errors
    /// FILE_REFUSED when the slice has more keys than are remembered.
    pub(super) fn first_ones(&mut self, file_name: &str, keys: &[KeyDigest]) -> Result<BooleanArray, WarehouseError> {
        if self.seen.len() + keys.len() > KEYS_MAX {
            let problem = format!("it has more than {KEYS_MAX} rows, and its feed drops duplicates within a slice: send it as a file for each day");
            return Err(WarehouseError::FileRefused { file_name: file_name.to_owned(), problem });
        }
        Ok(keys.iter().map(|key| Some(self.seen.insert(*key))).collect())
    }
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
        self.0 = digest as u64;
    }
}
