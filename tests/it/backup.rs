//! What a backup holds while appends go on, and what a kernel that is started on it answers.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use backplane_proto::warehouse::v1::QueryRequest;
use backplane_tests::{FOSHAN, Kernel, binary, excerpt, portal_traffic};
use serde_json::Value;

use crate::{
    crash::{ROWS_PER_APPEND, append},
    doors::post,
    plugins::PERIOD,
};

const EVENTS: &str = "select event_id, at, page, client_address from interaction order by event_id";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The rows of an answer at a snapshot, as the wire has them.
async fn events_at(kernel: &Kernel, snapshot_id: i64) -> Vec<u8> {
    let request = QueryRequest { sql: EVENTS.to_owned(), snapshot_id, ..QueryRequest::default() };
    let mut answers = kernel.call.warehouse().query(request).await.unwrap().into_inner();
    let mut ipc = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        ipc.extend_from_slice(&answer.ipc);
    }
    ipc
}

#[tokio::test]
async fn a_backup_of_a_kernel_at_work_is_one_snapshot_and_starts_again_elsewhere() {
    let kernel = Kernel::start().await;
    let version = kernel.install(&fs::read(portal_traffic()).unwrap()).await.unwrap();
    kernel.enable(&version, FOSHAN).await.unwrap();
    kernel.cli_ok(&["feed", "import", "portal.access", text(&excerpt()), "--city", FOSHAN]);
    let folder = tempfile::tempdir().unwrap();
    let (to, is_done) = (folder.path().join("monday"), AtomicBool::new(false));
    let call = kernel.call.in_city(FOSHAN);
    append(&call, 0).await;
    let appends = async {
        let (mut acknowledged, mut after) = (0, 0);
        while after < 5 {
            after += u32::from(is_done.load(Ordering::SeqCst));
            acknowledged += 1;
            append(&call, acknowledged).await;
        }
    };
    let back_up = async {
        let arguments = ["backup", text(&to), "--dir", text(kernel.dir()), "--json"].map(str::to_owned);
        let printed = tokio::task::spawn_blocking(move || Command::new(binary()).args(arguments).output().unwrap()).await.unwrap();
        is_done.store(true, Ordering::SeqCst);
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        serde_json::from_slice::<Value>(&printed.stdout).unwrap()
    };
    let ((), said) = tokio::join!(appends, back_up);
    let snapshot = said["snapshot_id"].as_i64().unwrap();
    let (then, now) = (events_at(&kernel, snapshot).await, events_at(&kernel, 0).await);
    assert!(then.len() < now.len(), "some were appended after it");
    let checked = Command::new("sha256sum").args(["--check", "--strict", "--quiet", "SHA256SUMS"]).current_dir(&to).status().unwrap();
    assert!(checked.success(), "the sums are those of sha256sum");
    assert_eq!(fs::read_to_string(to.join("SHA256SUMS")).unwrap().lines().count() as i64, said["files"].as_i64().unwrap());

    let restored = tempfile::tempdir().unwrap();
    let dir = restored.path().join("deeper").join("kernel");
    kernel.cli_ok(&["restore", text(&to), "--dir", text(&dir)]);
    let mode = |file: &str| fs::metadata(dir.join(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode(""), mode("rows.db"), mode("warehouse/catalog.db"), mode("warehouse/visitor.key")], [0o700, 0o600, 0o600, 0o600]);
    let elsewhere = Kernel::start_in(restored, &dir, &kernel.token).await;
    assert_eq!(events_at(&elsewhere, 0).await, then, "the rows of that snapshot, and a token of before");
    let plugins = elsewhere.cli_ok(&["plugin", "list"]);
    assert!(plugins.contains("portal-traffic") && plugins.contains(FOSHAN), "{plugins}");
    let (status, answer) = post(&elsewhere, "portal_traffic.v1.PortalTraffic/GetSummary", &[&format!("backplane-city: {FOSHAN}")], PERIOD);
    assert_eq!(status, 200, "its code is there: {answer}");
    // What was appended since is not known here, so that who sends it again loses nothing.
    let before = elsewhere.call.number("select count(*) from interaction").await.unwrap();
    let call = elsewhere.call.in_city(FOSHAN);
    let (mut repeated, mut new) = (0, 0);
    for number in 0.. {
        match append(&call, number).await.repeated_batch {
            true => repeated += 1,
            false => new += 1,
        }
        if new == 3 {
            break;
        }
    }
    assert_eq!(elsewhere.call.number("select count(*) from interaction").await.unwrap(), before + new * ROWS_PER_APPEND);
    assert!(repeated > 0, "the first was acknowledged before the backup began");
}

#[tokio::test]
async fn nothing_is_overwritten_and_a_damaged_backup_is_refused_by_the_file() {
    let kernel = Kernel::start().await;
    kernel.cli_ok(&["feed", "import", "portal.access", text(&excerpt()), "--city", FOSHAN]);
    let folder = tempfile::tempdir().unwrap();
    let (to, dir) = (folder.path().join("backup"), kernel.dir().to_owned());
    let said = kernel.cli_ok(&["backup", text(&to), "--dir", text(&dir)]);
    assert!(said.contains("snapshot ") && said.contains("sha256sum --check SHA256SUMS"), "{said}");
    assert!(kernel.cli_err(&["backup", text(&to), "--dir", text(&dir)]).contains("is there: nothing of it is overwritten"));
    assert!(kernel.cli_err(&["backup", text(&dir.join("warehouse/data/backup")), "--dir", text(&dir)]).contains("is in the kernel's own folder"));
    fs::create_dir(folder.path().join("c.partial")).unwrap();
    assert!(kernel.cli_err(&["backup", text(&folder.path().join("c")), "--dir", text(&dir)]).contains("another copy is on its way"));
    assert!(folder.path().join("c.partial").exists(), "which it leaves alone");
    assert!(kernel.cli_err(&["backup", text(&folder.path().join("b")), "--dir", text(folder.path())]).contains("is no folder of a kernel: it has no rows.db"));
    assert!(kernel.cli_err(&["restore", text(&to), "--dir", text(&dir)]).contains("is there: nothing of it is overwritten"));

    let file = fs::read_to_string(to.join("SHA256SUMS")).unwrap().lines().find_map(|line| line.split_once("  ").map(|(_, path)| path.to_owned())).unwrap();
    assert!(file.starts_with("warehouse/data/") && file.ends_with(".parquet"), "{file}");
    let mut bytes = fs::read(to.join(&file)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(to.join(&file), &bytes).unwrap();
    let restored = folder.path().join("restored");
    let refused = kernel.cli_err(&["restore", text(&to), "--dir", text(&restored)]);
    assert!(refused.contains(&file) && refused.contains("is not what was backed up"), "{refused}");
    assert!(!restored.exists() && !folder.path().join("restored.partial").exists(), "nothing is left of it");
    fs::remove_file(to.join(&file)).unwrap();
    assert!(kernel.cli_err(&["restore", text(&to), "--dir", text(&restored)]).contains("cannot be read: it is missing"));
    fs::write(to.join("SHA256SUMS"), "0  ../outside\n").unwrap();
    assert!(kernel.cli_err(&["restore", text(&to), "--dir", text(&restored)]).contains("SHA256SUMS is damaged"));
    fs::remove_file(to.join("SHA256SUMS")).unwrap();
    assert!(kernel.cli_err(&["restore", text(&to), "--dir", text(&restored)]).contains("is no whole backup"));

    // A file of the kernel's own that was cut off is found when it is copied.
    let torn = dir.join(&file);
    fs::File::options().write(true).open(&torn).unwrap().set_len(100).unwrap();
    let refused = kernel.cli_err(&["backup", text(&folder.path().join("second")), "--dir", text(&dir)]);
    assert!(refused.contains(&file) && refused.contains("has 100 bytes and the catalog says"), "{refused}");
    assert!(!folder.path().join("second").exists() && !folder.path().join("second.partial").exists());
}

/// Starts a kernel where none can start, and gives what it says.
fn refusal(dir: &Path) -> String {
    let output = Command::new(binary()).args(["serve", "--listen", "127.0.0.1:0", "--dir", text(dir)]).output().unwrap();
    assert!(!output.status.success(), "it started: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn what_is_damaged_keeps_a_kernel_from_starting_and_a_backup_mends_it() {
    let kernel = Kernel::start().await;
    kernel.cli_ok(&["feed", "import", "portal.access", text(&excerpt()), "--city", FOSHAN]);
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    kernel.cli_ok(&["backup", text(&backup), "--dir", text(kernel.dir())]);
    let sums = fs::read_to_string(backup.join("SHA256SUMS")).unwrap();
    let data = sums.lines().find_map(|line| line.split_once("  ").map(|(_, path)| path)).unwrap();
    let dir = folder.path().join("kernel");
    kernel.cli_ok(&["restore", text(&backup), "--dir", text(&dir)]);

    // A file that was cut off, and one that is gone; that of the backup in its place is enough.
    let file = dir.join(data);
    fs::File::options().write(true).open(&file).unwrap().set_len(100).unwrap();
    let said = refusal(&dir);
    assert!(said.contains(data) && said.contains("has 100 bytes") && said.contains("put the one of a backup in its place"), "{said}");
    fs::remove_file(&file).unwrap();
    let said = refusal(&dir);
    assert!(said.contains(data) && said.contains("cannot be read"), "{said}");
    fs::copy(backup.join(data), &file).unwrap();

    // Pages of either database that were overwritten, the first and the last, and a tail that is gone.
    for database in ["warehouse/catalog.db", "rows.db"] {
        let whole = fs::read(backup.join(database)).unwrap();
        let last = whole.len() - 4_096;
        let overwritten = |at: usize| [&whole[..at], &[0x5a; 4_096], &whole[at + 4_096..]].concat();
        for damaged in [overwritten(0), overwritten(last), whole[..last].to_vec()] {
            fs::write(dir.join(database), damaged).unwrap();
            let said = refusal(&dir);
            assert!(said.contains(database) && said.contains("backplane restore"), "{said}");
        }
        fs::write(dir.join(database), whole).unwrap();
    }
    let mended = Kernel::start_in(folder, &dir, &kernel.token).await;
    assert_eq!(events_at(&mended, 0).await, events_at(&kernel, 0).await);
}
