//! Making a component of a core module, and checking what came of it.

use crate::policy::Policy;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use wasm_encoder::CustomSection;
use wasm_encoder::reencode::{self, Reencode, ReencodeComponent};
use wasmparser::{Parser, Validator};
use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::{Resolve, WorldId, WorldItem};

/// The section that holds the request, as its author wrote it.
const POLICY_SECTION: &str = "warded:policy";

/// The package whose interfaces a guest may import.
const HOST_PACKAGE: &str = "warded:host/";

/// A component, and what it imports and exports.
#[derive(Debug)]
pub(crate) struct Component {
    /// The file.
    pub(crate) bytes: Vec<u8>,
    imports: BTreeSet<String>,
    procedures: BTreeSet<String>,
}

/// Why a core module did not become a component that the host would take.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("it does not become a component: {0}")]
    Encode(String),
    #[error("the component that came of it is invalid: {0}")]
    Read(#[from] wasmparser::BinaryReaderError),
    #[error("the component that came of it cannot be read: {0}")]
    Decode(String),
    #[error("the component that came of it cannot be stripped: {0}")]
    Strip(#[from] reencode::Error),
    #[error("it imports {0}, which is not one of the host's capabilities")]
    Import(String),
    #[error("it exports `{0}`, for which its policy has no [procedure.{0}]")]
    NotInPolicy(String),
    #[error("its policy has [procedure.{0}], which it does not export")]
    NotExported(String),
    #[error("it exports `{0}`, which is not a function")]
    NotAFunction(String),
}

/// Makes the component, without names, versions of tools and the like: the same source gives the
/// same bytes. The policy goes in as it is.
pub(crate) fn make(core: &[u8], policy: &Policy) -> Result<Component, Invalid> {
    let encode = || ComponentEncoder::default().validate(true).module(core)?.encode();
    let mut encoded = wasm_encoder::Component::new();
    let component = encode().map_err(|cause| Invalid::Encode(format!("{cause:#}")))?;
    WithoutCustomSections.parse_component(&mut encoded, Parser::new(0), &component)?;
    encoded.section(&CustomSection { name: POLICY_SECTION.into(), data: policy.text.as_bytes().into() });
    let bytes = encoded.finish();
    Validator::new().validate_all(&bytes)?;
    let decoded = wit_component::decode(&bytes).map_err(|cause| Invalid::Decode(format!("{cause:#}")))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err(Invalid::Decode("it is a package of interfaces".to_owned()));
    };
    let imports = imports(&resolve, world)?;
    let procedures = exports(&resolve, world)?;
    if let Some(name) = procedures.difference(&policy.procedures).next() {
        return Err(Invalid::NotInPolicy(name.clone()));
    }
    if let Some(name) = policy.procedures.difference(&procedures).next() {
        return Err(Invalid::NotExported(name.clone()));
    }
    Ok(Component { bytes, imports, procedures })
}

impl Component {
    /// What was made, for a person.
    pub(crate) fn report(&self, name: &str) -> String {
        let mut report = format!("{name}: {} bytes\n", self.bytes.len());
        for (what, names) in [("exports", &self.procedures), ("imports", &self.imports)] {
            for name in names {
                // Writing to a string does not fail.
                let _unfailing = writeln!(report, "  {what} {name}");
            }
        }
        report
    }
}

/// The functions that a component imports, as `interface.function`; of an interface of which it
/// uses only types, the interface.
fn imports(resolve: &Resolve, world: WorldId) -> Result<BTreeSet<String>, Invalid> {
    let mut imports = BTreeSet::new();
    for (key, item) in &resolve.worlds[world].imports {
        let name = resolve.name_world_key(key);
        match item {
            // A type of the component's own world: an alias of one of the host's.
            WorldItem::Type { .. } => {}
            WorldItem::Interface { id, .. } if name.starts_with(HOST_PACKAGE) => {
                let functions = &resolve.interfaces[*id].functions;
                if functions.is_empty() {
                    imports.insert(format!("{name} (types only)"));
                }
                imports.extend(functions.keys().map(|function| format!("{name} {function}")));
            }
            WorldItem::Interface { .. } | WorldItem::Function(_) => return Err(Invalid::Import(name)),
        }
    }
    Ok(imports)
}

/// The functions that a component exports: its procedures.
fn exports(resolve: &Resolve, world: WorldId) -> Result<BTreeSet<String>, Invalid> {
    let export = |(key, item)| match item {
        &WorldItem::Function(_) => Ok(resolve.name_world_key(key)),
        WorldItem::Interface { .. } | WorldItem::Type { .. } => Err(Invalid::NotAFunction(resolve.name_world_key(key))),
    };
    resolve.worlds[world].exports.iter().map(export).collect()
}

/// Leaves out every custom section, at every depth.
struct WithoutCustomSections;

impl Reencode for WithoutCustomSections {
    type Error = std::convert::Infallible;

    fn parse_custom_section(
        &mut self,
        _module: &mut wasm_encoder::Module,
        _section: wasmparser::CustomSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        Ok(())
    }
}

impl ReencodeComponent for WithoutCustomSections {
    fn parse_component_custom_section(
        &mut self,
        _component: &mut wasm_encoder::Component,
        _section: wasmparser::CustomSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        Ok(())
    }
}
