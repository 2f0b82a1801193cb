//! Makes a component from a core module, and checks the result.

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
    /// Further exports, which the host never calls.
    never_called: BTreeSet<String>,
}

/// Why a core module did not become a component that the host would accept.
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
    #[error(
        "it imports what no procedure gets; take out what needs it (cargo tree shows which crates there are):\n  {0}"
    )]
    Imports(String),
    #[error("its policy has [procedure.{0}], which it does not export")]
    NotExported(String),
}

/// Makes the component without names, versions of tools and the like, so that the same source gives the same bytes. It
/// contains the policy as it is.
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
    let (procedures, never_called) = exports(&resolve, world, policy);
    if let Some(name) = policy.procedures.difference(&procedures).next() {
        return Err(Invalid::NotExported(name.clone()));
    }
    Ok(Component { bytes, imports, procedures, never_called })
}

impl Component {
    /// A report of the result, for a person.
    pub(crate) fn report(&self, name: &str) -> String {
        let mut report = format!("{name}: {} bytes\n", self.bytes.len());
        for (what, names) in [
            ("exports", &self.procedures),
            ("exports, as no procedure of its policy,", &self.never_called),
            ("imports", &self.imports),
        ] {
            for name in names {
                // Writing to a string does not fail.
                let _unfailing = writeln!(report, "  {what} {name}");
            }
        }
        report
    }
}

/// The functions that a component imports, as `interface.function`; for an interface of which it uses only types, the
/// interface's name.
#[expect(clippy::indexing_slicing, reason = "the IDs are of this very resolve")]
fn imports(resolve: &Resolve, world: WorldId) -> Result<BTreeSet<String>, Invalid> {
    let (mut imports, mut foreign) = (BTreeSet::new(), Vec::new());
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
            WorldItem::Interface { .. } | WorldItem::Function(_) => foreign.push(name),
        }
    }
    if foreign.is_empty() { Ok(imports) } else { Err(Invalid::Imports(foreign.join("\n  "))) }
}

/// The exports of a component: the procedures of its policy, and all others.
#[expect(clippy::indexing_slicing, reason = "the IDs are of this very resolve")]
fn exports(resolve: &Resolve, world: WorldId, policy: &Policy) -> (BTreeSet<String>, BTreeSet<String>) {
    let exports = resolve.worlds[world].exports.iter();
    let (procedures, others): (Vec<_>, Vec<_>) = exports
        .map(|(key, item)| (resolve.name_world_key(key), item))
        .partition(|(name, item)| matches!(item, WorldItem::Function(_)) && policy.procedures.contains(name));
    let names = |found: Vec<(String, &WorldItem)>| found.into_iter().map(|(name, _)| name).collect();
    (names(procedures), names(others))
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

#[cfg(test)]
mod tests {
    use super::*;
    use wit_parser::ManglingAndAbi;

    const HOST: &str = "package warded:host@0.1.0 { interface files { read: func() -> u32; write: func(); } }";
    const OTHER: &str = "package wasi:cli@0.2.0 { interface exit { exit: func(); } }";
    const POLICY: &str = "name = \"a\"\nversion = \"1\"\n[procedure.do-it]\n";

    /// A core module whose world is this one.
    fn core(world: &str) -> Vec<u8> {
        let mut resolve = Resolve::default();
        let text = format!("package a:a; world a {{ {world} }}\n{HOST}\n{OTHER}");
        let package = resolve.push_str("a.wit", &text).unwrap();
        let world = resolve.select_world(&[package], None).unwrap();
        let mut module = wit_component::dummy_module(&resolve, world, ManglingAndAbi::Standard32);
        let encoding = wit_component::StringEncoding::UTF8;
        wit_component::embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
        module
    }

    fn made(world: &str) -> Result<Component, Invalid> {
        make(&core(world), &Policy::parse(POLICY.as_bytes()).unwrap())
    }

    #[test]
    fn a_component_has_its_policy_and_no_other_custom_section() {
        let component = made("import warded:host/files@0.1.0; export do-it: func();").unwrap();
        let mut sections = Vec::new();
        for payload in Parser::new(0).parse_all(&component.bytes) {
            if let wasmparser::Payload::CustomSection(section) = payload.unwrap() {
                sections.push((section.name().to_owned(), section.data().to_owned()));
            }
        }
        assert_eq!(sections, [(POLICY_SECTION.to_owned(), POLICY.as_bytes().to_vec())]);
        let report = component.report("a");
        assert!(report.contains("exports do-it\n"), "{report}");
        assert!(report.contains("imports warded:host/files@0.1.0 read\n"), "{report}");
    }

    #[test]
    fn what_the_host_would_refuse_is_refused() {
        let refusal = |world| made(world).unwrap_err().to_string();
        let imports = refusal("import wasi:cli/exit@0.2.0; import loose: func(); export do-it: func();");
        assert!(imports.starts_with("it imports what no procedure gets"), "{imports}");
        assert!(imports.ends_with("\n  wasi:cli/exit@0.2.0\n  loose"), "{imports}");
        let missing = refusal("export do-more: func();");
        assert_eq!(missing, "its policy has [procedure.do-it], which it does not export");
        assert_eq!(refusal(""), missing);
    }

    #[test]
    fn what_is_no_procedure_is_listed() {
        let world = "export do-it: func(); export do-more: func(); export warded:host/files@0.1.0;";
        let report = made(world).unwrap().report("a");
        for name in ["do-more", "warded:host/files@0.1.0"] {
            assert!(report.contains(&format!("exports, as no procedure of its policy, {name}\n")), "{report}");
        }
        assert!(report.contains("exports do-it\n"), "{report}");
    }

    #[test]
    fn what_is_no_core_module_is_refused() {
        let policy = Policy::parse(POLICY.as_bytes()).unwrap();
        assert!(matches!(make(b"\0asm", &policy), Err(Invalid::Encode(_))));
        assert!(matches!(make(b"\0asm\x01\0\0\0", &policy), Err(Invalid::Encode(_) | Invalid::NotExported(_))));
    }
}
