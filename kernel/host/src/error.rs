use kernel_base::{CityUnknown, Code, Fault, PageTokenInvalid, PermissionMissing, PluginIdInvalid, Reason, status};
use kernel_storage::StorageError;

use crate::guest_fault::GuestFault;

/// Why a package was refused, a deployment could not be made, or a call of a plugin failed.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("the file is not a WebAssembly component: {problem}; build it with 'backplane plugin build'")]
    NotAComponent { problem: String },
    #[error("the component does not implement the world backplane:plugin@1.0.0: {problem}; build it against proto/wit/plugin.wit")]
    WorldUnsupported { problem: String },
    #[error(
        "the component imports '{import}', which the kernel does not offer: a plugin may import backplane:plugin/bus@1.0 and the wasi 0.2 interfaces cli, clocks, filesystem, io and random; reach everything else through a kernel method"
    )]
    ImportUnknown { import: String },
    #[error("plugin.toml, line {line}, column {column}: {problem}")]
    ManifestInvalid { line: usize, column: usize, problem: String },
    #[error("the component carries no '{section}' section: assemble it with 'backplane plugin build'")]
    SectionMissing { section: &'static str },
    #[error("the plugin writes {dataset} and brings no contract of it: write datasets/{dataset}.yaml beside plugin.toml, and build again")]
    ContractMissing { dataset: String },
    #[error("the contract of {dataset} has the name '{name}': write name: {dataset}, and build again")]
    ContractNamed { dataset: String, name: String },
    #[error(
        "the plugin has jobs, which run with what is granted here and for no caller, and '{caller}' does not hold all of that in {city}: have it enabled by who does"
    )]
    GrantorLacks { caller: String, city: String },
    #[error("the plugin brings a contract of {dataset}, which it does not write: add [[writes]] with that dataset to plugin.toml, or take the contract out")]
    ContractUnasked { dataset: String },
    #[error("{plugin} {version} has no job '{job}'; it has {jobs}: name one of them")]
    JobUnknown { plugin: String, version: String, job: String, jobs: String },
    #[error("the plugin '{plugin}' is not enabled in {city}: have it enabled with 'backplane plugin enable'")]
    PluginNotEnabled { plugin: String, city: String },
    #[error("the job '{job}' of {plugin} runs in {city} already: wait for its end")]
    JobRunning { plugin: String, city: String, job: String },
    #[error("descriptors: {problem}")]
    DescriptorsInvalid { problem: String },
    #[error("the configuration schema is not a usable JSON Schema: {problem}; correct it and build again")]
    SchemaInvalid { problem: String },
    #[error("the package is larger than {bytes_max} bytes: strip it of debug information ('strip = true' in the release profile)")]
    PackageTooLarge { bytes_max: usize },
    #[error("version {version} of {plugin} was installed with other bytes (digest {digest}): give the new bytes a new version number")]
    VersionExists { plugin: String, version: String, digest: String },
    #[error("the smoke call failed: {problem}; the plugin must start and answer an unknown method with an error")]
    SmokeFailed { problem: String },
    #[error("there is no version '{version}' of a plugin '{plugin}': see 'backplane plugin list'")]
    VersionUnknown { plugin: String, version: String },
    #[error("{path} is not enabled in {city}: have it enabled with 'backplane plugin enable'")]
    NotEnabled { path: String, city: String },
    #[error("the plugin asks for {}, which was not granted: review the list and grant all of it", .missing.join(", "))]
    CapabilitiesMissing { missing: Vec<String> },
    #[error("granted: the plugin does not ask for '{capability}': grant exactly what GetPluginVersion shows")]
    CapabilityUnasked { capability: String },
    #[error("configuration: {field}: {problem}; see the plugin's configuration schema")]
    ConfigurationInvalid { field: String, problem: String },
    #[error("{field}: {problem}")]
    Field { field: &'static str, problem: String },
    #[error("{plugin} may not call {method}: add calls = [\"{method}\"] to plugin.toml, install that version and grant it")]
    CallNotGranted { plugin: String, method: String },
    #[error("the call would be the {depth}th of plugins that wait for each other, {depth_max} are allowed: answer from fewer plugins")]
    DepthExceeded { depth: usize, depth_max: usize },
    #[error("{plugin} waits for this call itself: a plugin must not be reached again from its own call ({chain})")]
    Cycle { plugin: String, chain: String },
    #[error("{plugin} in {city} cannot take the call: {problem}")]
    Saturated { plugin: String, version: String, city: String, problem: String },
    #[error("a message of {bytes} bytes is larger than the {bytes_max} that the bus takes: page the request")]
    MessageTooLarge { bytes: usize, bytes_max: usize },
    #[error("the deadline of the call has passed: ask for less or send a later deadline")]
    DeadlinePassed,
    #[error("the kernel is shutting down: try again in a moment")]
    ShuttingDown,
    #[error(transparent)]
    Guest(Box<GuestFault>),
    #[error(transparent)]
    City(#[from] CityUnknown),
    #[error(transparent)]
    PluginId(#[from] PluginIdInvalid),
    #[error(transparent)]
    Page(#[from] PageTokenInvalid),
    #[error(transparent)]
    Permission(#[from] PermissionMissing),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("cannot {doing} {path}")]
    File { doing: &'static str, path: String, source: std::io::Error },
    #[error("the WebAssembly engine failed: {problem}")]
    Engine { problem: String },
    #[error("a task of the host ended early")]
    Task(#[from] tokio::task::JoinError),
}

impl HostError {
    pub(crate) fn engine(error: &wasmtime::Error) -> HostError {
        HostError::Engine { problem: format!("{error:#}") }
    }

    /// Of a configuration that nobody gave this time.
    pub(crate) fn of_kept_configuration(self) -> HostError {
        match self {
            HostError::ConfigurationInvalid { field, problem } => {
                let kept = "this is what the plugin was last enabled with here: give a configuration, or {} for the defaults";
                HostError::ConfigurationInvalid { field, problem: format!("{problem} ({kept})") }
            }
            other => other,
        }
    }
}

impl Fault for HostError {
    fn code(&self) -> Code {
        match self {
            HostError::NotAComponent { .. }
            | HostError::WorldUnsupported { .. }
            | HostError::ImportUnknown { .. }
            | HostError::ManifestInvalid { .. }
            | HostError::SectionMissing { .. }
            | HostError::ContractMissing { .. }
            | HostError::ContractUnasked { .. }
            | HostError::ContractNamed { .. }
            | HostError::DescriptorsInvalid { .. }
            | HostError::SchemaInvalid { .. }
            | HostError::PackageTooLarge { .. }
            | HostError::SmokeFailed { .. }
            | HostError::CapabilityUnasked { .. }
            | HostError::ConfigurationInvalid { .. }
            | HostError::Field { .. }
            | HostError::PluginId(_) => Code::InvalidArgument,
            HostError::VersionExists { .. } => Code::AlreadyExists,
            HostError::VersionUnknown { .. } | HostError::JobUnknown { .. } | HostError::PluginNotEnabled { .. } => Code::NotFound,
            HostError::JobRunning { .. } => Code::Aborted,
            HostError::NotEnabled { .. } => Code::Unimplemented,
            HostError::CapabilitiesMissing { .. } | HostError::DepthExceeded { .. } | HostError::Cycle { .. } => Code::FailedPrecondition,
            HostError::CallNotGranted { .. } | HostError::GrantorLacks { .. } => Code::PermissionDenied,
            HostError::Saturated { .. } | HostError::MessageTooLarge { .. } => Code::ResourceExhausted,
            HostError::DeadlinePassed => Code::DeadlineExceeded,
            HostError::ShuttingDown => Code::Unavailable,
            HostError::Guest(fault) => fault.code(),
            HostError::City(error) => error.code(),
            HostError::Page(error) => error.code(),
            HostError::Permission(error) => error.code(),
            HostError::Storage(error) => error.code(),
            HostError::File { .. } | HostError::Engine { .. } | HostError::Task(_) => Code::Internal,
        }
    }

    fn reason(&self) -> Reason {
        match self {
            HostError::NotAComponent { .. } => Reason::PluginNotAComponent,
            HostError::WorldUnsupported { .. } => Reason::PluginWorldUnsupported,
            HostError::ImportUnknown { .. } => Reason::PluginImportUnknown,
            HostError::ManifestInvalid { .. }
            | HostError::SectionMissing { .. }
            | HostError::ContractMissing { .. }
            | HostError::ContractUnasked { .. }
            | HostError::ContractNamed { .. } => Reason::PluginManifestInvalid,
            HostError::GrantorLacks { .. } => Reason::PermissionMissing,
            HostError::JobRunning { .. } => Reason::JobRunning,
            HostError::DescriptorsInvalid { .. } => Reason::PluginDescriptorsInvalid,
            HostError::SchemaInvalid { .. } | HostError::ConfigurationInvalid { .. } => Reason::ConfigurationInvalid,
            HostError::PackageTooLarge { .. } | HostError::MessageTooLarge { .. } => Reason::MessageTooLarge,
            HostError::VersionExists { .. } => Reason::PluginVersionExists,
            HostError::SmokeFailed { .. } => Reason::PluginSmokeCallFailed,
            HostError::VersionUnknown { .. } | HostError::JobUnknown { .. } | HostError::PluginNotEnabled { .. } => Reason::ResourceNotFound,
            HostError::NotEnabled { .. } => Reason::PluginNotEnabled,
            HostError::CapabilitiesMissing { .. } | HostError::CallNotGranted { .. } => Reason::CapabilityNotGranted,
            HostError::CapabilityUnasked { .. } | HostError::Field { .. } | HostError::PluginId(_) => Reason::FieldInvalid,
            HostError::DepthExceeded { .. } => Reason::CallDepthExceeded,
            HostError::Cycle { .. } => Reason::CallCycle,
            HostError::Saturated { .. } => Reason::PluginSaturated,
            HostError::DeadlinePassed => Reason::DeadlinePassed,
            HostError::ShuttingDown => Reason::ShuttingDown,
            HostError::Guest(fault) => fault.reason(),
            HostError::City(error) => error.reason(),
            HostError::Page(error) => error.reason(),
            HostError::Permission(error) => error.reason(),
            HostError::Storage(error) => error.reason(),
            HostError::File { .. } | HostError::Engine { .. } | HostError::Task(_) => Reason::InternalFault,
        }
    }

    fn place(&self) -> Vec<(&'static str, String)> {
        match self {
            HostError::ImportUnknown { import } => vec![("import", import.clone())],
            HostError::ManifestInvalid { line, column, .. } => {
                vec![("file", "plugin.toml".to_owned()), ("line", line.to_string()), ("column", column.to_string())]
            }
            HostError::ContractMissing { dataset } | HostError::ContractUnasked { dataset } | HostError::ContractNamed { dataset, .. } => {
                vec![("dataset", dataset.clone())]
            }
            HostError::JobUnknown { plugin, version, .. } => vec![("plugin", plugin.clone()), ("version", version.clone()), ("field", "job".to_owned())],
            HostError::PluginNotEnabled { plugin, city } => vec![("plugin", plugin.clone()), ("city", city.clone())],
            HostError::JobRunning { plugin, city, job } => vec![("plugin", plugin.clone()), ("city", city.clone()), ("job", job.clone())],
            HostError::VersionExists { plugin, version, .. } | HostError::VersionUnknown { plugin, version } => {
                vec![("plugin", plugin.clone()), ("version", version.clone())]
            }
            HostError::NotEnabled { path, city } => vec![("method", path.clone()), ("city", city.clone())],
            HostError::CapabilitiesMissing { missing } => vec![("field", "granted".to_owned()), ("capabilities", missing.join(" "))],
            HostError::CapabilityUnasked { .. } => vec![("field", "granted".to_owned())],
            HostError::ConfigurationInvalid { field, .. } => vec![("field", field.clone())],
            HostError::Field { field, .. } => vec![("field", (*field).to_owned())],
            HostError::PluginId(_) => vec![("field", "plugin_id".to_owned())],
            HostError::CallNotGranted { plugin, method } => vec![("plugin", plugin.clone()), ("method", method.clone())],
            HostError::Cycle { plugin, chain } => vec![("plugin", plugin.clone()), ("chain", chain.clone())],
            HostError::Saturated { plugin, version, city, .. } => {
                vec![("plugin", plugin.clone()), ("version", version.clone()), ("city", city.clone())]
            }
            HostError::Guest(fault) => fault.place(),
            HostError::City(error) => error.place(),
            HostError::Permission(error) => error.place(),
            _ => Vec::new(),
        }
    }

    fn public(&self) -> String {
        // A trap is internal by its code, but its text is the plugin's own and the one thing that its author needs.
        match self {
            HostError::Guest(fault) => fault.to_string(),
            _ if self.code() == Code::Internal => "the kernel failed on this call: its log has the cause under the trace id of this call".to_owned(),
            _ => self.to_string(),
        }
    }
}

impl From<HostError> for tonic::Status {
    fn from(error: HostError) -> tonic::Status {
        status(&error)
    }
}
