use wasmparser::{ComponentExternalKind, ComponentTypeRef, Parser, Payload};

use crate::{HostError, engine::WASI_INTERFACES};

const BUS: &str = "backplane:plugin/bus@1.0.";

/// Checks the names at the component's rim: exports `handle`, imports nothing that the kernel does not offer. Compiling checks the types.
///
/// # Errors
/// PLUGIN_WORLD_UNSUPPORTED or PLUGIN_IMPORT_UNKNOWN, naming what is too much or missing.
pub(crate) fn check_world(wasm: &[u8]) -> Result<(), HostError> {
    let mut exports_handle = false;
    let mut depth = 0_usize;
    let unreadable = |error: wasmparser::BinaryReaderError| HostError::NotAComponent { problem: error.to_string() };
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(unreadable)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    let import = import.map_err(unreadable)?;
                    check_import(import.name.name, import.ty)?;
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    let export = export.map_err(unreadable)?;
                    exports_handle |= export.name.name == "handle" && export.kind == ComponentExternalKind::Func;
                }
            }
            _ => {}
        }
    }
    if exports_handle { Ok(()) } else { Err(HostError::WorldUnsupported { problem: "it does not export the function 'handle'".to_owned() }) }
}

fn check_import(name: &str, ty: ComponentTypeRef) -> Result<(), HostError> {
    // `use bus.{status}` in the world imports the type by its name; a type gives no access to anything.
    if matches!(ty, ComponentTypeRef::Type(_)) || name.starts_with(BUS) {
        return Ok(());
    }
    if name.starts_with("backplane:plugin/bus@") || name == "backplane:plugin/bus" {
        return Err(HostError::WorldUnsupported { problem: format!("it speaks '{name}', this kernel speaks {BUS}0") });
    }
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    if WASI_INTERFACES.contains(&interface) && version.starts_with("0.2.") {
        return Ok(());
    }
    Err(HostError::ImportUnknown { import: name.to_owned() })
}
