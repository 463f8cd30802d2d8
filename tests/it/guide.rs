//! The guide `sdk/FIRST-PLUGIN.md`, followed word by word: what its reader types is run, what its reader writes is written, and what it says comes of it is compared.
//!
//! The first word of a fence is its language, the rest says what it is. Fences are taken in their order:
//! - `sh`: commands, in one shell that keeps its folder and its variables. They succeed, unless the output begins with `error:`; then the last one fails.
//! - `sh by hand`: what a reader does and a test cannot. [`BY_HAND`] lists them all, with what stands for each.
//! - `text` after `sh`: its standard output; of one that fails, its standard error from `error:` on. `…` stands for any text within a line, and alone for any lines.
//! - `json` after `sh` or its `text`: the JSON that its standard output ends with. The layout does not matter, and a text may have `…`.
//! - `text kernel`: lines that the kernel has logged by now, in this order, among others.
//! - any language with `path=FILE`: the whole of that file, seen from the shell's folder. `diff path=FILE`: lines of it that go (`-`), come (`+`) and stay (a space, or
//!   nothing in an empty line), in one place, or in several with `@@` between them. The prose just before names the file, since a rendered page does not show this word.

use std::{
    env, fmt, fs,
    io::{BufRead, BufReader, Write},
    iter,
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use backplane_tests::{Kernel, binary, repository};
use serde_json::Value;
use tempfile::TempDir;

const ENGLISH: &str = "sdk/FIRST-PLUGIN.md";
const CHINESE: &str = "sdk/FIRST-PLUGIN.zh-CN.md";

const BY_HAND: [&str; 3] = [
    // Cargo has built the binary beside this test, and the shell finds it.
    "make build\nexport PATH=\"$PWD/target/debug:$PATH\"\n",
    // The harness's kernel: on port 0, in a folder of its own.
    "backplane serve\n",
    // The shell has the token of that kernel.
    "export BACKPLANE_TOKEN=bp_…\n",
];

const ANYTHING: &str = "…";

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_to_a_first_plugin_does_what_it_says() {
    let mut follower = Follower::new(Kernel::start_with_log("info").await);
    let mut by_hand = Vec::new();
    let mut rest = fences(ENGLISH).into_iter().peekable();
    while let Some(fence) = rest.next() {
        match (fence.info.as_str(), fence.path()) {
            ("sh", _) => {
                let text = rest.next_if(|next| next.info == "text");
                let json = rest.next_if(|next| next.info == "json");
                follower.run(&fence, text.as_ref(), json.as_ref());
            }
            ("sh by hand", _) => by_hand.push(fence.text.clone()),
            ("text kernel", _) => follower.find_in_log(&fence),
            (info, Some(path)) if info.starts_with("diff ") => follower.change(&fence, path),
            (_, Some(path)) => follower.write(&fence, path),
            (info, None) => panic!("{fence}: '{info}' is no form of a fence, or an output that no commands stand before"),
        }
    }
    assert_eq!(by_hand, BY_HAND, "{ENGLISH}: what a reader does by hand has changed, and something has to stand for it here");
}

#[test]
fn guide_and_readme_have_the_same_fences_in_both_languages() {
    for (english, chinese) in [(ENGLISH, CHINESE), ("README.md", "README.zh-CN.md")] {
        let (ours, theirs) = (fences(english), fences(chinese));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!((&ours.info, &ours.text), (&theirs.info, &theirs.text), "{ours} and {theirs} differ");
        }
        assert_eq!(ours.len(), theirs.len(), "{english} and {chinese} have not as many fences");
    }
}

/// A fenced block of a guide.
struct Fence {
    guide: &'static str,
    line: usize,
    info: String,
    text: String,
}

impl Fence {
    /// The file that it is about.
    fn path(&self) -> Option<&str> {
        self.info.split_once(" path=").map(|(_, path)| path)
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.guide, self.line)
    }
}

fn fences(guide: &'static str) -> Vec<Fence> {
    let text = fs::read_to_string(repository().join(guide)).unwrap();
    let (mut fences, mut open, mut prose) = (Vec::new(), None::<Fence>, "");
    for (line, content) in iter::zip(1.., text.lines()) {
        match (open.as_mut(), content.strip_prefix("```")) {
            (None, Some(info)) => {
                let fence = Fence { guide, line, info: info.to_owned(), text: String::new() };
                assert!(fence.path().is_none_or(|path| prose.contains(path)), "{fence}: the prose before does not name the file");
                open = Some(fence);
            }
            (None, None) if content.is_empty() => {}
            (None, None) => prose = content,
            (Some(fence), Some(end)) => {
                assert!(end.is_empty(), "{fence}: another fence begins in line {line}, before this one ends");
                fences.extend(open.take());
            }
            (Some(fence), None) => fence.text.extend([content, "\n"]),
        }
    }
    assert!(open.is_none(), "{guide}: the last fence has no end");
    fences
}

/// Does what the guide says: in a folder that stands for the checkout, with a shell there and a kernel.
struct Follower {
    /// Is removed with this.
    _checkout: TempDir,
    /// Commands on their way to the shell, and what they print.
    exchange: TempDir,
    kernel: Kernel,
    /// Ends when its standard input does.
    _shell: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Follower {
    fn new(kernel: Kernel) -> Follower {
        let repository = repository().canonicalize().unwrap();
        // Inside of the checkout, where git ignores it and `make clean` removes it: `plugin new` looks for the SDK above.
        let ignored = repository.join(".backplane");
        fs::create_dir_all(&ignored).unwrap();
        let checkout = tempfile::Builder::new().prefix("guide-").tempdir_in(ignored).unwrap();
        symlink(repository.join("examples"), checkout.path().join("examples")).unwrap();
        let exchange = tempfile::tempdir().unwrap();

        let binary = binary();
        let (binaries, target) = (binary.parent().unwrap(), binary.ancestors().nth(2).unwrap());
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(iter::once(binaries.to_owned()).chain(env::split_paths(&path))).unwrap();
        let mut shell = Command::new("sh")
            .current_dir(checkout.path())
            .env("PATH", path)
            .env("EXCHANGE", exchange.path())
            .env("BACKPLANE_ADDRESS", &kernel.address)
            .env("BACKPLANE_TOKEN", &kernel.token)
            .env_remove("BACKPLANE_CITY")
            // The folder of the tests of the repository's plugins, whose versions and profiles `plugin new` gives: what one compiles, the other uses. `plugin build`
            // would put CARGO_TARGET_DIR one folder deeper than `cargo test` does.
            .env_remove("CARGO_TARGET_DIR")
            .env("CARGO_BUILD_TARGET_DIR", target.join("plugins"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (commands, answers) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()));
        Follower { _checkout: checkout, exchange, kernel, _shell: shell, commands, answers }
    }

    /// What the shell prints in one line; `None` when it has ended.
    fn ask(&mut self, command: &str) -> Option<String> {
        writeln!(self.commands, "{command}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.strip_suffix('\n').map(str::to_owned)
    }

    fn run(&mut self, fence: &Fence, text: Option<&Fence>, json: Option<&Fence>) {
        let fails = text.is_some_and(|text| text.text.starts_with("error:"));
        fs::write(self.exchange.path().join("step"), &fence.text).unwrap();
        // With -e the first command that fails ends the shell, which then answers nothing.
        let errexit = if fails { "+e" } else { "-e" };
        let status = self.ask(&format!(r#"set {errexit}; . "$EXCHANGE/step" >"$EXCHANGE/out" 2>"$EXCHANGE/err" </dev/null; echo $?"#));
        let [out, err] = ["out", "err"].map(|name| String::from_utf8_lossy(&fs::read(self.exchange.path().join(name)).unwrap()).into_owned());
        let succeeded = status.as_deref() == Some("0");
        assert_eq!(succeeded, !fails, "{fence}: these commands {}:\n{}\n{out}\n{err}", if succeeded { "succeed" } else { "fail" }, fence.text);

        let printed = if fails { &err } else { &out };
        let lines = printed.trim_end().lines().map(str::trim_end).skip_while(|line| fails && !line.starts_with("error:"));
        let (lines, document): (Vec<&str>, Vec<&str>) = split_at_json(lines, json.is_some());
        if let Some(text) = text {
            let expected: Vec<&str> = text.text.lines().collect();
            assert!(lines_match(&expected, &lines), "{text}: the guide says\n{}\nand this is printed\n{out}\n{err}", text.text);
        }
        if let Some(json) = json {
            let read = |what: &str, text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{json}: {what} is no JSON: {error}\n{out}"));
            let (expected, answered) = (read("the fence", &json.text), read("what is printed", &document.join("\n")));
            assert!(json_matches(&expected, &answered), "{json}: the guide says\n{}\nand this is printed\n{out}", json.text);
        }
    }

    /// A file as the guide names it, seen from where its reader stands.
    fn file(&mut self, path: &str) -> PathBuf {
        PathBuf::from(self.ask("pwd").unwrap()).join(path)
    }

    fn write(&mut self, fence: &Fence, path: &str) {
        let file = self.file(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, &fence.text).unwrap();
    }

    fn change(&mut self, fence: &Fence, path: &str) {
        let file = self.file(path);
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{fence}: {path}: {error}"));
        let mut lines: Vec<&str> = text.lines().collect();
        for hunk in fence.text.split("@@\n") {
            let without = |sign: char| hunk.lines().filter(move |line| !line.starts_with(sign)).map(|line| line.get(1..).unwrap_or_default());
            let (old, new): (Vec<&str>, Vec<&str>) = (without('+').collect(), without('-').collect());
            let places: Vec<usize> = (0..lines.len()).filter(|at| lines[*at..].starts_with(&old)).collect();
            let [at] = places[..] else { panic!("{fence}: these lines are in {} places of {path}, not in one:\n{}\n\n{text}", places.len(), old.join("\n")) };
            lines.splice(at..at + old.len(), new);
        }
        fs::write(file, lines.join("\n") + "\n").unwrap();
    }

    fn find_in_log(&self, fence: &Fence) {
        let log = self.kernel.log();
        let mut lines = log.lines();
        for expected in fence.text.lines() {
            assert!(lines.any(|line| line_matches(expected, line.trim_end())), "{fence}: the kernel has not logged, or not in this place\n{expected}\n{log}");
        }
    }
}

/// The lines before the JSON that an output ends with, and the JSON.
fn split_at_json<'a>(lines: impl Iterator<Item = &'a str>, has_json: bool) -> (Vec<&'a str>, Vec<&'a str>) {
    let mut before: Vec<&str> = lines.collect();
    let at = before.iter().position(|line| has_json && line.starts_with('{')).unwrap_or(before.len());
    let document = before.split_off(at);
    (before, document)
}

fn lines_match(expected: &[&str], printed: &[&str]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((&ANYTHING, rest)) => (0..=printed.len()).any(|skipped| lines_match(rest, &printed[skipped..])),
        Some((line, rest)) => printed.split_first().is_some_and(|(first, others)| line_matches(line, first) && lines_match(rest, others)),
    }
}

fn line_matches(expected: &str, printed: &str) -> bool {
    match expected.split_once(ANYTHING) {
        None => expected == printed,
        Some((before, after)) => printed.strip_prefix(before).is_some_and(|rest| {
            let mut places = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            places.any(|at| line_matches(after, &rest[at..]))
        }),
    }
}

fn json_matches(expected: &Value, answered: &Value) -> bool {
    match (expected, answered) {
        (Value::String(expected), Value::String(answered)) => line_matches(expected, answered),
        (Value::Array(expected), Value::Array(answered)) => {
            expected.len() == answered.len() && iter::zip(expected, answered).all(|(expected, answered)| json_matches(expected, answered))
        }
        (Value::Object(expected), Value::Object(answered)) => {
            expected.len() == answered.len()
                && expected.iter().all(|(key, expected)| answered.get(key).is_some_and(|answered| json_matches(expected, answered)))
        }
        _ => expected == answered,
    }
}

#[test]
fn an_ellipsis_stands_for_any_text_of_a_line_and_alone_for_any_lines() {
    assert!(line_matches("a … c", "a b b c") && line_matches("…", "") && line_matches("p1.…", "p1.7"));
    assert!(!line_matches("a … c", "a b d") && !line_matches("a", "ab"));
    assert!(lines_match(&["…", "b", "…"], &["a", "a", "b"]) && lines_match(&["…"], &[]));
    assert!(!lines_match(&["a", "…", "b"], &["a", "c"]) && !lines_match(&["a"], &["a", "b"]));
}
