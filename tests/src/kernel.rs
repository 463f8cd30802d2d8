use std::{
    ffi::OsString,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use backplane_proto::{
    auth::v1::{CreatePrincipalRequest, CreateRoleRequest, GrantRoleRequest, IssueTokenRequest, PrincipalKind, Role},
    plugin::v1::{EnablePluginRequest, InstallPluginRequest, PluginVersion},
};
use tempfile::TempDir;
use tonic::transport::Endpoint;

use crate::{Call, disk::Recording};

pub const FOSHAN: &str = "440600";
pub const DONGGUAN: &str = "441900";

/// The file of the log, in the kernel's folder.
const LOG: &str = "kernel.log";

/// A kernel process. It ends with the value, and its folder with it.
pub struct Kernel {
    process: Child,
    pub address: String,
    /// The administrator's token of the first start.
    pub token: String,
    pub call: Call,
    dir: TempDir,
    launch: Launch,
}

/// How the process is started, and started again.
#[derive(Clone, Default)]
struct Launch {
    /// More options for `serve`.
    options: Vec<String>,
    /// Where in the temporary folder the kernel's own is.
    below: PathBuf,
    /// The level of the log, which then goes to a file and not to the test's standard error.
    log: Option<&'static str>,
    /// What else stands in its environment.
    environment: Vec<(&'static str, OsString)>,
}

/// The binary that cargo built beside this test.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let binary = test.ancestors().nth(2).expect("tests stand in deps/").join("backplane");
    assert!(binary.exists(), "{} is missing: run 'cargo build --workspace' first", binary.display());
    binary
}

impl Kernel {
    /// A new kernel on a new folder.
    pub async fn start() -> Kernel {
        Kernel::start_with(&[]).await
    }

    /// With more options for `serve`.
    pub async fn start_with(options: &[&str]) -> Kernel {
        Kernel::launch(Launch { options: options.iter().map(|option| (*option).to_owned()).collect(), ..Launch::default() }).await
    }

    /// With a log of this level that the test can read.
    pub async fn start_with_log(level: &'static str) -> Kernel {
        Kernel::launch(Launch { log: Some(level), ..Launch::default() }).await
    }

    /// With a record of what it does to its folder, until the process ends.
    pub async fn start_recorded() -> (Kernel, Recording) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let recording = Recording::of(dir.path());
        let mut kernel = Kernel::on(dir, Launch { environment: recording.environment(), ..Launch::default() }, String::new()).await;
        // The next process on the folder finds files that no record knows.
        kernel.launch.environment.clear();
        (kernel, recording)
    }

    /// On a folder below a temporary one, that of an earlier kernel, with a token of its administrator's.
    pub async fn start_in(above: TempDir, dir: &Path, token: &str) -> Kernel {
        let below = dir.strip_prefix(above.path()).expect("a folder below the other").to_owned();
        Kernel::on(above, Launch { below, ..Launch::default() }, token.to_owned()).await
    }

    async fn launch(launch: Launch) -> Kernel {
        Kernel::on(tempfile::tempdir().expect("a temporary folder"), launch, String::new()).await
    }

    async fn on(dir: TempDir, launch: Launch, token: String) -> Kernel {
        let mut command = Command::new(binary());
        command.args(["serve", "--listen", "127.0.0.1:0", "--dir"]).arg(dir.path().join(&launch.below)).args(&launch.options);
        command.envs(launch.environment.iter().cloned());
        match launch.log {
            Some(level) => {
                let log = File::options().create(true).append(true).open(dir.path().join(LOG)).expect("a file for the log");
                command.env("BACKPLANE_LOG", level).stderr(log);
            }
            None => {
                command.env("BACKPLANE_LOG", std::env::var("BACKPLANE_LOG").unwrap_or_else(|_| "warn".to_owned()));
            }
        }
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the binary runs");
        let (mut first_token, mut address) = (None, None);
        for line in BufReader::new(process.stdout.take().expect("piped")).lines() {
            let line = line.expect("the kernel prints text");
            if let Some((_, token)) = line.split_once("shown only now: ") {
                first_token = Some(token.to_owned());
            }
            if let Some((_, ready)) = line.split_once("Backplane is ready on ") {
                address = Some(ready.to_owned());
                break;
            }
        }
        let address = address.expect("the kernel became ready");
        let token = first_token.unwrap_or(token);
        let channel = Endpoint::from_shared(address.clone()).expect("an address").connect().await.expect("the kernel answers");
        let call = Call { channel, token: Some(token.clone()), city: None };
        Kernel { process, address, token, call, dir, launch }
    }

    /// Ends the process as `kill -9` does, and starts another on the same folder.
    pub async fn kill_and_restart(mut self) -> Kernel {
        self.process.kill().expect("the kernel can be killed");
        self.process.wait().expect("the kernel ends");
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().expect("a temporary folder"));
        Kernel::on(dir, self.launch.clone(), self.token.clone()).await
    }

    /// Waits until the process has ended, gets a token of the administrator's from its folder, and starts another there.
    pub async fn recovered(mut self) -> (Kernel, String) {
        // Not waited for at once: the client's side of the connection has to see that it ends.
        while self.process.try_wait().expect("the kernel ends").is_none() {
            tokio::task::yield_now().await;
        }
        let folder = self.dir.path().to_str().expect("a path in UTF-8").to_owned();
        let printed = self.cli_ok(&["token", "recover", "--dir", &folder]);
        let token = printed.rsplit(": ").next().unwrap_or_default().trim().to_owned();
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().expect("a temporary folder"));
        (Kernel::on(dir, self.launch.clone(), self.token.clone()).await, token)
    }

    /// Asks the process to stop, as an operator would.
    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Ends the process as `kill -9` does. [`Kernel::kill_and_restart`] starts another.
    pub fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.process.id()).expect("a process id");
        #[allow(unsafe_code, reason = "a signal to our own child")]
        // SAFETY: the process is our child and not yet waited for, so the id is still its own.
        let sent = unsafe { libc::kill(pid, signal) };
        assert_eq!(sent, 0);
    }

    /// Waits until the process has ended, and gives its folder.
    pub fn ended(mut self) -> TempDir {
        self.process.wait().expect("the kernel ends");
        std::mem::replace(&mut self.dir, tempfile::tempdir().expect("a temporary folder"))
    }

    /// Waits until the process has ended and gives whether it ended well.
    pub fn wait(mut self) -> bool {
        self.process.wait().expect("the kernel ends").success()
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What a kernel of [`Kernel::start_with_log`] has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join(LOG)).expect("the kernel was started with a log")
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs the command line against this kernel, as the administrator unless the arguments name a token.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        Command::new(binary())
            .args(arguments)
            .env("BACKPLANE_ADDRESS", &self.address)
            .env("BACKPLANE_TOKEN", &self.token)
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs")
    }

    /// The same, expecting success; gives standard output.
    pub fn cli_ok(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// The same, expecting a refusal; gives standard error.
    pub fn cli_err(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments);
        assert!(!output.status.success(), "{arguments:?} succeeded: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).expect("text")
    }

    /// The token of a new service account that holds these permissions in these cities.
    pub async fn account(&self, id: &str, permissions: &[&str], cities: &[&str]) -> String {
        let mut auth = self.call.auth();
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let principal = CreatePrincipalRequest { principal_id: id.to_owned(), kind: PrincipalKind::Service.into(), display_name: String::new() };
        auth.create_principal(principal).await.expect("the principal is made");
        if !permissions.is_empty() {
            let role = Role { role_id: format!("role-{id}"), display_name: String::new(), permissions: owned(permissions) };
            auth.create_role(CreateRoleRequest { role: Some(role) }).await.expect("the role is made");
            let grant = GrantRoleRequest { principal_id: id.to_owned(), role_id: format!("role-{id}"), cities: owned(cities) };
            auth.grant_role(grant).await.expect("the role is granted");
        }
        let issue = IssueTokenRequest { principal_id: id.to_owned(), life_seconds: 3_600 };
        auth.issue_token(issue).await.expect("a token is issued").into_inner().secret
    }

    /// Installs a plugin.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn install(&self, wasm: &[u8]) -> Result<PluginVersion, tonic::Status> {
        let pieces: Vec<_> = wasm.chunks(256 << 10).map(|chunk| InstallPluginRequest { chunk: bytes::Bytes::copy_from_slice(chunk) }).collect();
        Ok(self.call.plugins().install_plugin(tokio_stream::iter(pieces)).await?.into_inner())
    }

    /// Enables a version in a city with all that it asks for.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn enable(&self, version: &PluginVersion, city: &str) -> Result<(), tonic::Status> {
        self.enable_with(version, city, "").await
    }

    /// The same with a configuration, as JSON.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn enable_with(&self, version: &PluginVersion, city: &str, configuration: &str) -> Result<(), tonic::Status> {
        let request = EnablePluginRequest {
            plugin_id: version.plugin_id.clone(),
            version: version.version.clone(),
            city: city.to_owned(),
            granted: version.capabilities.clone(),
            configuration_json: configuration.to_owned(),
        };
        self.call.plugins().enable_plugin(request).await.map(drop)
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
