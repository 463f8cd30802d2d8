//! The files as such: bytes, digests, control files, and what is refused before any is written.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use sample_province::{Options, generate};
use sha2::{Digest as _, Sha256};

use crate::province::{PROVINCE, path, written};

fn digests(folder: &Path, below: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder.join(below)).unwrap() {
        let entry = entry.unwrap();
        let name = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            digests(folder, &name, into);
        } else {
            into.insert(name.clone(), Sha256::digest(fs::read(folder.join(&name)).unwrap()).to_vec());
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let all = |folder: &Path| {
        let mut all = BTreeMap::new();
        digests(folder, Path::new(""), &mut all);
        all
    };
    let first = all(PROVINCE.0.path());
    assert!(first.len() > 4_000);
    assert_eq!(first, all(written(1).0.path()));
    let other = all(written(2).0.path());
    let differ = first.iter().filter(|(name, digest)| other.get(*name) != Some(digest)).count();
    assert!(differ * 2 > first.len(), "{differ} of {} differ", first.len());
}

#[test]
fn control_files_tell_name_rows_digest_and_period() {
    for file in &PROVINCE.1.files {
        let bytes = fs::read(path(&file.file)).unwrap();
        let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!((file.sha256.as_str(), file.bytes), (sha256.as_str(), bytes.len() as u64), "{}", file.file);
        let has_control_file = !file.feed.starts_with("ref.") && !file.feed.starts_with("portal.");
        let control = path(&format!("{}.ctl", file.file));
        assert_eq!(control.exists(), has_control_file, "{}", file.file);
        if has_control_file {
            let name = Path::new(&file.file).file_name().unwrap().to_string_lossy();
            assert_eq!(fs::read_to_string(control).unwrap(), format!("{name}|{}|{sha256}|{}\n", file.rows(), file.period));
        }
    }
}

#[test]
fn too_few_customers_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let error = generate(&Options { customers: 10, ..Options::default() }, folder.path(), &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("10 customers"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_that_holds_something_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine"), "kept").unwrap();
    let error = generate(&Options { customers: 1_000, ..Options::default() }, folder.path(), &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("empty"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
