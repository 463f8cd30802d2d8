use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use kernel_warehouse::DropFolder;
use tokio::task::JoinHandle;

use crate::{
    kernel::{Kernel, city_caller, log_line, province},
    platform::{Sent, number, numbers, usage},
};

// Limit: how long a file may take until the folder is as it must be. It takes milliseconds; a machine that is busy takes longer.
const DEADLINE: Duration = Duration::from_secs(30);

/// A kernel that watches a folder.
struct Watching {
    kernel: Kernel,
    dir: PathBuf,
    watch: JoinHandle<()>,
}

impl Watching {
    async fn start() -> Watching {
        Watching::of_new(Kernel::start().await)
    }

    /// Of a kernel that commits each line by itself: a file of some thousands takes half a minute and more.
    async fn start_slow() -> Watching {
        Watching::of_new(Kernel::start_with(|settings| settings.chunk_lines = 1).await)
    }

    fn of_new(kernel: Kernel) -> Watching {
        let dir = kernel.settings.dir.join("drop");
        fs::create_dir_all(&dir).unwrap();
        Watching::of(kernel, dir)
    }

    fn of(kernel: Kernel, dir: PathBuf) -> Watching {
        let folder = DropFolder { every: Duration::from_millis(5), settled: Duration::ZERO, ..DropFolder::in_dir(&dir) };
        let warehouse = kernel.warehouse.clone();
        let watch = tokio::spawn(async move { warehouse.watch_drop_folder(folder).await.unwrap() });
        Watching { kernel, dir, watch }
    }

    /// Puts a file there as a transfer does: hidden until it is whole.
    fn put(&self, name: &str, bytes: &[u8]) {
        let hidden = self.dir.join(format!(".{name}"));
        fs::write(&hidden, bytes).unwrap();
        fs::rename(hidden, self.dir.join(name)).unwrap();
    }

    fn put_with_control(&self, sent: &Sent) {
        self.put(&sent.name, &sent.bytes);
        self.put(&format!("{}.ctl", sent.name), sent.control().as_bytes());
    }

    /// Waits until a file is there. The folder tells nobody when it changes.
    async fn there(&self, name: &str) -> String {
        let path = self.dir.join(name);
        assert!(comes_true(async || path.exists()).await, "{name} did not come; there are {:?}", names(&self.dir));
        String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
    }

    /// Files of a feed on their way in.
    async fn unfinished(&self, feed: &str) -> i64 {
        self.kernel.statuses(&city_caller("440600"), feed).await.iter().map(|status| status.files_unfinished).sum()
    }

    async fn close(self) {
        self.kernel.warehouse.close().await;
        tokio::time::timeout(DEADLINE, self.watch).await.unwrap().unwrap();
    }
}

/// Looks again and again until something is so, or the time is over.
async fn comes_true(is_so: impl AsyncFn() -> bool) -> bool {
    let looking = async {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while !is_so().await {
            looks.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, looking).await.is_ok()
}

/// The files in a folder and the two below it, without those of a transfer.
fn names(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for place in ["", "taken/", "refused/"] {
        let entries = fs::read_dir(dir.join(place)).unwrap().map(|entry| entry.unwrap());
        names.extend(entries.filter(|entry| entry.path().is_file()).map(|entry| format!("{place}{}", entry.file_name().to_str().unwrap())));
    }
    names.sort();
    names
}

fn some_usage(day: u32) -> Sent {
    Sent::new(&format!("misc.usage.440600.202601{day:02}.txt.gz"), &usage(number(1), "a", &format!("202601{day:02}"), 1))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_its_control_file_is_taken_and_put_away() {
    let watching = Watching::start().await;
    let foshan = city_caller("440600");
    // At once: the numbers are taken before those who use them.
    watching.put_with_control(&some_usage(2));
    watching.put_with_control(&numbers(1));
    watching.there("taken/misc.usage.440600.20260102.txt.gz.ctl").await;
    watching.there("taken/boss.number.440600.202512.txt.gz.ctl").await;
    let taken = [
        "taken/boss.number.440600.202512.txt.gz",
        "taken/boss.number.440600.202512.txt.gz.ctl",
        "taken/misc.usage.440600.20260102.txt.gz",
        "taken/misc.usage.440600.20260102.txt.gz.ctl",
    ];
    assert_eq!(names(&watching.dir), taken);
    assert_eq!(watching.kernel.table(&foshan, "select customer_id, events from usage").await, ["1|1"]);
    // Again it is taken and changes nothing; neither takes the other's place.
    watching.put_with_control(&some_usage(2));
    watching.there("taken/misc.usage.440600.20260102.txt.gz.2.ctl").await;
    assert_eq!(watching.kernel.number(&foshan, "select count(*) from usage").await, 1);
    assert_eq!(names(&watching.dir).len(), 6);
    watching.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_waits_for_its_control_file() {
    let watching = Watching::start().await;
    let foshan = city_caller("440600");
    watching.kernel.send(&foshan, &numbers(1)).await.unwrap();
    let sent = some_usage(2);
    watching.put(&sent.name, &sent.bytes);
    // One that needs none comes later and is taken: the folder was looked at in between.
    watching.put("portal.access.440600.20260102.log", log_line("1.1.1.1", 1, "GET / HTTP/1.1", 200).as_bytes());
    watching.there("taken/portal.access.440600.20260102.log").await;
    assert_eq!(names(&watching.dir), ["misc.usage.440600.20260102.txt.gz", "taken/portal.access.440600.20260102.log"]);
    let waits = async |sent: &Sent| watching.kernel.statuses(&foshan, &sent.feed).await.iter().map(|status| status.files_without_control).sum::<i64>();
    // Whether a look saw it depends on when it began.
    assert!(comes_true(async || waits(&sent).await == 1).await, "the status tells of it");
    assert_eq!(watching.kernel.number(&foshan, "select count(*) from usage").await, 0);
    watching.put(&format!("{}.ctl", sent.name), sent.control().as_bytes());
    watching.there("taken/misc.usage.440600.20260102.txt.gz.ctl").await;
    assert_eq!(watching.kernel.number(&foshan, "select count(*) from usage").await, 1);
    // Later than the look that found it gone.
    watching.put("portal.access.440600.20260103.log", log_line("1.1.1.1", 2, "GET / HTTP/1.1", 200).as_bytes());
    watching.there("taken/portal.access.440600.20260103.log").await;
    assert!(comes_true(async || waits(&sent).await == 0).await, "the status tells that it came");
    watching.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_does_not_wait_for_a_large_one() {
    let watching = Watching::start_slow().await;
    let foshan = city_caller("440600");
    watching.kernel.send(&foshan, &numbers(1)).await.unwrap();
    let large = Sent { rows: 5_000, ..Sent::new("misc.usage.440600.20260102.txt.gz", &usage(number(1), "a", "20260102", 1).repeat(5_000)) };
    watching.put_with_control(&large);
    assert!(comes_true(async || watching.unfinished("misc.usage").await > 0).await, "it is begun");
    watching.put("portal.access.440600.20260102.log", log_line("1.1.1.1", 1, "GET / HTTP/1.1", 200).as_bytes());
    watching.there("taken/portal.access.440600.20260102.log").await;
    assert_eq!(watching.unfinished("misc.usage").await, 1, "the large one is still being taken");
    watching.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_files_that_need_numbers_wait_for_a_large_file_of_them() {
    let watching = Watching::start_slow().await;
    watching.put_with_control(&numbers(5_000));
    assert!(comes_true(async || watching.unfinished("boss.number").await > 0).await, "it is begun");
    // By name it comes first.
    watching.put_with_control(&Sent::new("base.activity.440600.20260102.jsonl.gz", ""));
    watching.put("portal.access.440600.20260102.log", log_line("1.1.1.1", 1, "GET / HTTP/1.1", 200).as_bytes());
    watching.there("taken/portal.access.440600.20260102.log").await;
    assert!(watching.dir.join("base.activity.440600.20260102.jsonl.gz").exists(), "it waits for the numbers");
    watching.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_refused_is_put_away_with_the_reason() {
    let watching = Watching::start().await;
    let foshan = city_caller("440600");
    watching.kernel.send(&foshan, &numbers(1)).await.unwrap();
    let good = some_usage(2);
    let sent = |name: &str| good.named(name);
    let control = |sent: &Sent, control: String| {
        // First, so that a file that is refused for its name takes it along.
        watching.put(&format!("{}.ctl", sent.name), control.as_bytes());
        watching.put(&sent.name, &sent.bytes);
        format!("refused/{}.error.txt", sent.name)
    };
    let digest = sent("misc.usage.440600.20260103.txt.gz");
    let rows = Sent { rows: 7, ..sent("misc.usage.440600.20260104.txt.gz") };
    let cut = Sent { bytes: good.bytes[..good.bytes.len() - 9].to_vec(), ..sent("misc.usage.440600.20260105.txt.gz") };
    let other = sent("misc.usage.440600.20260106.txt.gz");
    let reference = Sent::new("ref.city.440600.20260101.csv", "city,province,name_zh,name_en,latitude,longitude\n");
    let foreign = "holiday-photos.zip";
    let cases = [
        (control(&digest, format!("{}|1|{}|20260103", digest.name, "0".repeat(64))), "it was cut off or changed"),
        (control(&rows, rows.control()), "it has 1 rows, and its control file says 7"),
        (control(&cut, cut.control()), "its gzip stream ends early"),
        (control(&other, good.control()), "its control file is for 'misc.usage.440600.20260102.txt.gz'"),
        (control(&sent("misc.usage.440600.20260108.txt.gz"), "no control file".to_owned()), "expected the four fields"),
        (control(&reference, reference.control()), "reference rows of the province, not of 440600"),
        (control(&sent("misc.usage.440600.20260230.txt.gz"), String::new()), "expected a day yyyyMMdd or a month yyyyMM"),
        (control(&sent("misc.usage.999999.20260102.txt.gz"), String::new()), "999999"),
        (control(&sent(foreign), String::new()), "no feed takes a file of this name"),
    ];
    for (name, expected) in &cases {
        let problem = watching.there(name).await;
        assert!(problem.contains(expected) && problem.ends_with('\n'), "{name}: {problem}");
    }
    let left = names(&watching.dir);
    assert!(left.iter().all(|name| name.starts_with("refused/")), "{left:?}");
    assert_eq!(left.iter().filter(|name| name.ends_with(".ctl")).count(), cases.len(), "each with its control file: {left:?}");
    assert_eq!(watching.kernel.number(&foshan, "select count(*) from usage").await, 0);
    assert!(!watching.kernel.statuses(&foshan, "misc.usage").await[0].last_error.is_empty());
    let of_city = watching.kernel.statuses(&province(), "ref.city").await;
    assert!(of_city.iter().any(|status| status.last_error.contains("reference rows of the province")), "{of_city:?}");
    // The corrected file is taken, under the name that was refused.
    watching.put_with_control(&Sent::new(&rows.name, &usage(number(1), "a", "20260104", 1)));
    watching.there("taken/misc.usage.440600.20260104.txt.gz.ctl").await;
    assert_eq!(watching.kernel.number(&foshan, "select count(*) from usage").await, 1);
    watching.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_left_alone_whatever_it_points_at() {
    let watching = Watching::start().await;
    let foshan = city_caller("440600");
    watching.kernel.send(&foshan, &numbers(1)).await.unwrap();
    let (elsewhere, link) = (watching.kernel.settings.dir.join("elsewhere.log"), watching.dir.join("portal.access.440600.20260102.log"));
    fs::write(&elsewhere, log_line("1.1.1.1", 1, "GET /secret HTTP/1.1", 200)).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
    // A file whose control file is a link waits as one without.
    let sent = some_usage(3);
    fs::write(watching.kernel.settings.dir.join("elsewhere.ctl"), sent.control()).unwrap();
    std::os::unix::fs::symlink(watching.kernel.settings.dir.join("elsewhere.ctl"), watching.dir.join(format!("{}.ctl", sent.name))).unwrap();
    watching.put(&sent.name, &sent.bytes);
    // Later than both, so that the folder was looked at in between.
    watching.put_with_control(&some_usage(2));
    watching.there("taken/misc.usage.440600.20260102.txt.gz.ctl").await;
    assert!(link.symlink_metadata().is_ok() && watching.dir.join(&sent.name).exists());
    assert_eq!(watching.kernel.number(&foshan, "select count(*) from interaction").await, 0);
    assert_eq!(watching.kernel.number(&foshan, "select count(*) from usage").await, 1);
    watching.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_files_and_folders_are_left_alone_and_what_came_meanwhile_is_taken_at_the_next_start() {
    let watching = Watching::start().await;
    let foshan = city_caller("440600");
    watching.kernel.send(&foshan, &numbers(1)).await.unwrap();
    fs::write(watching.dir.join(".misc.usage.440600.20260103.txt.gz"), b"not whole").unwrap();
    fs::create_dir(watching.dir.join("archive")).unwrap();
    watching.put_with_control(&some_usage(2));
    watching.there("taken/misc.usage.440600.20260102.txt.gz.ctl").await;
    assert!(watching.dir.join(".misc.usage.440600.20260103.txt.gz").exists() && watching.dir.join("archive").is_dir());

    let Watching { kernel, dir, watch } = watching;
    let kernel = kernel.restarted(|_| {}).await;
    tokio::time::timeout(DEADLINE, watch).await.unwrap().unwrap();
    let sent = some_usage(4);
    fs::write(dir.join(&sent.name), &sent.bytes).unwrap();
    fs::write(dir.join(format!("{}.ctl", sent.name)), sent.control()).unwrap();
    let watching = Watching::of(kernel, dir);
    watching.there("taken/misc.usage.440600.20260104.txt.gz.ctl").await;
    assert_eq!(watching.kernel.number(&foshan, "select count(*) from usage").await, 2);
    watching.close().await;
}
