use std::collections::BTreeMap;

use prost_build::{Config, Module};
use prost_types::FileDescriptorSet;

use crate::{BuildError, service::Services};

/// Where the generated code finds the SDK.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sdk {
    /// The code stands in the SDK and holds the contracts.
    Itself,
    /// The code stands in a plugin and takes the contracts from the SDK.
    Dependency,
}

impl Sdk {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Sdk::Itself => "crate",
            Sdk::Dependency => "::backplane_sdk",
        }
    }
}

/// Messages, traits, dispatchers and clients of all files in the set, as nested modules after their packages.
pub(crate) fn generate(files: FileDescriptorSet, sdk: Sdk) -> Result<String, BuildError> {
    let mut config = Config::new();
    config.prost_path(format!("{}::prost", sdk.path())).prost_types_path(format!("{}::prost_types", sdk.path()));
    // Arrow batches are read where they lie in the message, without a copy.
    config.bytes(["."]).service_generator(Box::new(Services { sdk }));
    if sdk == Sdk::Dependency {
        config.extern_path(".backplane", "::backplane_sdk::proto");
    }
    let requests = files.file.into_iter().map(|file| (Module::from_protobuf_package_name(file.package()), file)).collect();
    let modules = config.generate(requests).map_err(|error| BuildError::Generate { package: "the protos".to_owned(), text: error.to_string() })?;

    let mut root = Tree::default();
    for (module, code) in modules {
        let package = module.parts().collect::<Vec<_>>();
        // prost does not format its answer; errors of the compiler would point into one endless line.
        let file = syn::parse_file(&code).map_err(|error| BuildError::Generate { package: package.join("."), text: error.to_string() })?;
        root.insert(&package, prettyplease::unparse(&file));
    }
    let mut text = String::new();
    root.write(&mut text);
    Ok(text)
}

/// Packages as modules: `portal_traffic.v1` becomes `mod portal_traffic { mod v1 { … } }`, which is what prost's relative paths count on.
#[derive(Default)]
struct Tree {
    code: String,
    children: BTreeMap<String, Tree>,
}

impl Tree {
    fn insert(&mut self, package: &[&str], code: String) {
        match package {
            [] => self.code = code,
            [first, rest @ ..] => self.children.entry((*first).to_owned()).or_default().insert(rest, code),
        }
    }

    fn write(&self, text: &mut String) {
        text.push_str(&self.code);
        for (name, child) in &self.children {
            text.push_str(ALLOW);
            text.push_str(&format!("pub mod {name} {{\n"));
            child.write(text);
            text.push_str("}\n");
        }
    }
}

const ALLOW: &str = "#[allow(missing_docs, dead_code, unreachable_pub, unused_qualifications, rustdoc::all, clippy::all, clippy::unwrap_used, \
                     clippy::allow_attributes_without_reason, reason = \"generated\")]\n";
