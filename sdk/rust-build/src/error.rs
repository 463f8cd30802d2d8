use std::{fmt, path::PathBuf};

/// Why a plugin's protos could not be compiled. `Debug` prints the message alone, because that is what cargo shows when a build script returns an error.
#[derive(thiserror::Error)]
pub enum BuildError {
    /// The text of a proto is wrong; the message begins with file, line and column.
    #[error("{text}")]
    Proto {
        /// What protox says.
        text: String,
    },
    /// A path that is not below the folder of protos.
    #[error("'{path}' is not below proto/: put the plugin's protos into the folder proto beside Cargo.toml and name them as proto/<package>/v1/<name>.proto")]
    OutsideProto {
        /// The path as it was given.
        path: String,
    },
    /// A plugin cannot answer streams.
    #[error("method {method} streams, and a plugin answers unary methods only: page the result with page_size, page_token and next_page_token")]
    Streaming {
        /// Full name of the method.
        method: String,
    },
    /// Nobody may call a method that does not say who may.
    #[error(
        "method {method} does not say who may call it: import \"backplane/v1/access.proto\" and add option (backplane.v1.access) = {{permission: \"<plugin_id>.read\", \
         scope: SCOPE_CITY, effect: EFFECT_READ, data_class: DATA_CLASS_INTERNAL}}"
    )]
    AccessMissing {
        /// Full name of the method.
        method: String,
    },
    /// What prost generated is no Rust, or prost refused the files.
    #[error("no code could be generated for {package}: {text}")]
    Generate {
        /// The proto package.
        package: String,
        /// What went wrong.
        text: String,
    },
    /// A schema from which no type can be made.
    #[error("configuration.schema.json at {place}: {problem}")]
    Schema {
        /// JSON pointer into the schema.
        place: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A contract of a dataset from which no type can be made.
    #[error("{path}: {problem}", path = .path.display())]
    Contract {
        /// The contract's file.
        path: PathBuf,
        /// What is wrong, with line and column where there is one.
        problem: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Called outside a build script.
    #[error("the variable {name} is not set: call this from a build script (build.rs)")]
    NoBuildScript {
        /// The variable that cargo would have set.
        name: &'static str,
    },
}

impl BuildError {
    /// protox gives file, line and column only in its `Debug` form.
    pub(crate) fn proto(error: protox::Error) -> BuildError {
        BuildError::Proto { text: format!("{error:?}") }
    }
}

impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
