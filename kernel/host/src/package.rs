//! The `.wasm` file that travels: the linked component with its manifest, descriptors, configuration schema and the contracts of its datasets as top-level custom
//! sections.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use wasmparser::{Encoding, Parser, Payload};

use crate::{HostError, Manifest};

const MANIFEST: &str = "backplane:manifest";
const DESCRIPTORS: &str = "backplane:descriptors";
const CONFIGURATION_SCHEMA: &str = "backplane:configuration-schema";
/// Before the name of the dataset.
const DATASET: &str = "backplane:dataset:";

// Limit: a package. A Rust guest with arrow and prost is 2.5 MB; compiling grows with size and is not interruptible.
pub const PACKAGE_BYTES_MAX: usize = 32 << 20;

/// What a package carries beside its code.
#[derive(Debug, Clone)]
pub struct Package {
    /// Text of plugin.toml.
    pub manifest: String,
    /// Encoded `google.protobuf.FileDescriptorSet`, extensions kept.
    pub descriptors: Vec<u8>,
    /// JSON Schema; `None` when the plugin takes no configuration.
    pub configuration_schema: Option<String>,
    /// The contracts of the datasets that it brings, YAML, by name.
    pub datasets: BTreeMap<String, String>,
    /// Lower-case hex of the SHA-256 of the whole file.
    pub digest: String,
}

/// What is put beside a component.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// Text of plugin.toml.
    pub manifest: &'a str,
    pub descriptors: &'a [u8],
    pub configuration_schema: Option<&'a str>,
    /// A contract for each dataset that the manifest writes, YAML, by name.
    pub datasets: &'a BTreeMap<String, String>,
}

/// Appends the sections to a linked component, in their fixed order, so that the same inputs give the same digest.
///
/// # Errors
/// PLUGIN_NOT_A_COMPONENT when `component` is none or carries the sections already; PLUGIN_MANIFEST_INVALID.
pub fn assemble(component: &[u8], beside: Beside<'_>) -> Result<Vec<u8>, HostError> {
    if !Sections::find(component)?.is_empty() {
        return Err(HostError::NotAComponent { problem: "it is a package already; give the component as the compiler wrote it".to_owned() });
    }
    check_datasets(beside.manifest, beside.datasets)?;
    let mut wasm = component.to_vec();
    append(&mut wasm, MANIFEST, beside.manifest.as_bytes());
    append(&mut wasm, DESCRIPTORS, beside.descriptors);
    if let Some(schema) = beside.configuration_schema {
        append(&mut wasm, CONFIGURATION_SCHEMA, schema.as_bytes());
    }
    for (name, contract) in beside.datasets {
        append(&mut wasm, &format!("{DATASET}{name}"), contract.as_bytes());
    }
    Ok(wasm)
}

/// That each dataset that is written has its contract, and that there are no others.
fn check_datasets(manifest: &str, datasets: &BTreeMap<String, String>) -> Result<(), HostError> {
    let written: BTreeSet<String> = Manifest::parse(manifest)?.writes.into_iter().map(|write| write.dataset).collect();
    if let Some(dataset) = written.iter().find(|dataset| !datasets.contains_key(*dataset)) {
        return Err(HostError::ContractMissing { dataset: dataset.clone() });
    }
    match datasets.keys().find(|dataset| !written.contains(*dataset)) {
        Some(dataset) => Err(HostError::ContractUnasked { dataset: dataset.clone() }),
        None => Ok(()),
    }
}

/// That each contract is of the dataset that it is given for: the warehouse goes by the name inside.
fn check_names(datasets: &BTreeMap<String, String>) -> Result<(), HostError> {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }

    for (dataset, contract) in datasets {
        match serde_saphyr::from_str::<Named>(contract) {
            Ok(Named { name }) if name == *dataset => {}
            Ok(Named { name }) => return Err(HostError::ContractNamed { dataset: dataset.clone(), name: name.chars().take(80).collect() }),
            Err(error) => {
                return Err(HostError::ContractNamed {
                    dataset: dataset.clone(),
                    name: format!("unreadable ({})", error.to_string().lines().next().unwrap_or_default()),
                });
            }
        }
    }
    Ok(())
}

/// Reads the sections of a package. Checks that it is a component, not that it can run.
///
/// # Errors
/// PLUGIN_NOT_A_COMPONENT; PLUGIN_MANIFEST_INVALID when a section is missing or is not text.
pub fn read(wasm: &[u8]) -> Result<Package, HostError> {
    if wasm.len() > PACKAGE_BYTES_MAX {
        return Err(HostError::PackageTooLarge { bytes_max: PACKAGE_BYTES_MAX });
    }
    let sections = Sections::find(wasm)?;
    let manifest = sections.manifest.ok_or(HostError::SectionMissing { section: MANIFEST })?;
    let descriptors = sections.descriptors.ok_or(HostError::SectionMissing { section: DESCRIPTORS })?;
    let manifest = text(MANIFEST, manifest)?;
    let datasets = sections.datasets.into_iter().map(|(name, contract)| Ok((name.to_owned(), text(name, contract)?))).collect::<Result<_, HostError>>()?;
    check_datasets(&manifest, &datasets)?;
    check_names(&datasets)?;
    Ok(Package {
        manifest,
        datasets,
        descriptors: descriptors.to_vec(),
        configuration_schema: sections.configuration_schema.map(|schema| text(CONFIGURATION_SCHEMA, schema)).transpose()?,
        digest: digest(wasm),
    })
}

/// The name of a package: lower-case hex of its SHA-256.
pub(crate) fn digest(wasm: &[u8]) -> String {
    Sha256::digest(wasm).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(section: &str, bytes: &[u8]) -> Result<String, HostError> {
    let invalid = |_| HostError::NotAComponent { problem: format!("its section '{section}' is not UTF-8") };
    std::str::from_utf8(bytes).map(str::to_owned).map_err(invalid)
}

#[derive(Default)]
struct Sections<'a> {
    manifest: Option<&'a [u8]>,
    descriptors: Option<&'a [u8]>,
    configuration_schema: Option<&'a [u8]>,
    datasets: BTreeMap<&'a str, &'a [u8]>,
}

impl<'a> Sections<'a> {
    fn is_empty(&self) -> bool {
        self.manifest.is_none() && self.descriptors.is_none() && self.configuration_schema.is_none() && self.datasets.is_empty()
    }

    /// The sections of the outermost component; those of nested modules are somebody else's.
    fn find(wasm: &'a [u8]) -> Result<Sections<'a>, HostError> {
        let mut sections = Sections::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.map_err(|error| HostError::NotAComponent { problem: error.to_string() })? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                    return Err(HostError::NotAComponent { problem: "it is a core module; target wasm32-wasip2".to_owned() });
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::CustomSection(section) if depth == 0 => sections.keep(section.name(), section.data())?,
                _ => {}
            }
        }
        Ok(sections)
    }

    fn keep(&mut self, name: &'a str, data: &'a [u8]) -> Result<(), HostError> {
        let earlier = match name {
            MANIFEST => self.manifest.replace(data),
            DESCRIPTORS => self.descriptors.replace(data),
            CONFIGURATION_SCHEMA => self.configuration_schema.replace(data),
            _ => match name.strip_prefix(DATASET) {
                Some(dataset) => self.datasets.insert(dataset, data),
                None => None,
            },
        };
        // Two manifests would leave open which one was reviewed.
        if earlier.is_some() {
            return Err(HostError::NotAComponent { problem: format!("it carries the section '{name}' twice") });
        }
        Ok(())
    }
}

fn append(wasm: &mut Vec<u8>, name: &str, data: &[u8]) {
    let mut name_length = Vec::new();
    leb128(&mut name_length, name.len());
    wasm.push(0);
    leb128(wasm, name_length.len() + name.len() + data.len());
    wasm.extend_from_slice(&name_length);
    wasm.extend_from_slice(name.as_bytes());
    wasm.extend_from_slice(data);
}

fn leb128(wasm: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            wasm.push(low);
            return;
        }
        wasm.push(low | 0x80);
    }
}
