use std::path::Path;

use prost_types::FileDescriptorSet;
use protox::{
    Compiler,
    file::{ChainFileResolver, GoogleFileResolver, IncludeFileResolver},
};

use crate::{BuildError, contracts::Contracts};

/// Parses and links `imports`, named as an import statement would, from `include` (a plugin's `proto` folder), the kernel's contracts and Google's well-known types.
///
/// # Errors
/// [`BuildError::Proto`] with file, line and column.
pub(crate) fn link<'a>(include: Option<&Path>, imports: impl IntoIterator<Item = &'a str>) -> Result<Compiler, BuildError> {
    let mut resolver = ChainFileResolver::new();
    if let Some(include) = include {
        resolver.add(IncludeFileResolver::new(include.to_owned()));
    }
    resolver.add(Contracts);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    for import in imports {
        compiler.open_file(import).map_err(BuildError::proto)?;
    }
    Ok(compiler)
}

/// The linked files as prost takes them. It needs the messages of imports to know their traits, and must not see their services: those belong to whoever owns the file.
pub(crate) fn descriptors(compiler: &Compiler) -> FileDescriptorSet {
    let mut files = compiler.file_descriptor_set();
    for file in &mut files.file {
        if compiler.files().any(|own| own.is_import() && own.name() == file.name()) {
            file.service.clear();
        }
    }
    files
}
