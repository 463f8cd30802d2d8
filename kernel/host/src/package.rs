//! The `.wasm` file that travels: the linked component with its manifest, descriptors and configuration schema as top-level custom sections.

use sha2::{Digest, Sha256};
use wasmparser::{Encoding, Parser, Payload};

use crate::HostError;

const MANIFEST: &str = "backplane:manifest";
const DESCRIPTORS: &str = "backplane:descriptors";
const CONFIGURATION_SCHEMA: &str = "backplane:configuration-schema";

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
    /// Lower-case hex of the SHA-256 of the whole file.
    pub digest: String,
}

/// Appends the sections to a linked component, in their fixed order, so that the same inputs give the same digest.
///
/// # Errors
/// PLUGIN_NOT_A_COMPONENT when `component` is none or carries the sections already; PLUGIN_MANIFEST_INVALID.
pub fn assemble(component: &[u8], manifest_toml: &str, descriptors: &[u8], configuration_schema: Option<&str>) -> Result<Vec<u8>, HostError> {
    let sections = Sections::find(component)?;
    if sections.manifest.is_some() || sections.descriptors.is_some() || sections.configuration_schema.is_some() {
        return Err(HostError::NotAComponent { problem: "it is a package already; give the component as the compiler wrote it".to_owned() });
    }
    crate::Manifest::parse(manifest_toml)?;
    let mut wasm = component.to_vec();
    append(&mut wasm, MANIFEST, manifest_toml.as_bytes());
    append(&mut wasm, DESCRIPTORS, descriptors);
    if let Some(schema) = configuration_schema {
        append(&mut wasm, CONFIGURATION_SCHEMA, schema.as_bytes());
    }
    Ok(wasm)
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
    Ok(Package {
        manifest: text(MANIFEST, manifest)?,
        descriptors: descriptors.to_vec(),
        configuration_schema: sections.configuration_schema.map(|schema| text(CONFIGURATION_SCHEMA, schema)).transpose()?,
        digest: digest(wasm),
    })
}

/// The name of a package: lower-case hex of its SHA-256.
pub(crate) fn digest(wasm: &[u8]) -> String {
    Sha256::digest(wasm).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(section: &'static str, bytes: &[u8]) -> Result<String, HostError> {
    let invalid = |_| HostError::NotAComponent { problem: format!("its section '{section}' is not UTF-8") };
    std::str::from_utf8(bytes).map(str::to_owned).map_err(invalid)
}

#[derive(Default)]
struct Sections<'a> {
    manifest: Option<&'a [u8]>,
    descriptors: Option<&'a [u8]>,
    configuration_schema: Option<&'a [u8]>,
}

impl<'a> Sections<'a> {
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

    fn keep(&mut self, name: &str, data: &'a [u8]) -> Result<(), HostError> {
        let slot = match name {
            MANIFEST => &mut self.manifest,
            DESCRIPTORS => &mut self.descriptors,
            CONFIGURATION_SCHEMA => &mut self.configuration_schema,
            _ => return Ok(()),
        };
        // Two manifests would leave open which one was reviewed.
        if slot.replace(data).is_some() {
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
