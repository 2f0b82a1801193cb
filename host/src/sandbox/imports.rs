//! What a component asks of its host, read before anything of it is compiled.

use warded_lib::{
    error::{Error, Result},
    text::neutral,
};
use wasmparser::{ComponentTypeRef, Parser, Payload, TypeBounds, Validator};

/// The package whose interfaces are the only ones there are.
const PACKAGE: &str = "warded:host/";

/// The instances and functions that a component imports at its top level.
///
/// # Errors
/// Not a valid component.
pub fn of(component: &[u8]) -> Result<Vec<String>> {
    let invalid = |error: wasmparser::BinaryReaderError| {
        Error::refused("this is not a valid WebAssembly component").cause(neutral(&error.to_string())).next(
            "build it for a world that includes `warded:host/capabilities`, as docs/POLICIES.md shows; a core module is not enough",
        )
    };
    if !Parser::is_component(component) {
        return Err(Error::refused("this is not a WebAssembly component")
            .next("build it for a world that includes `warded:host/capabilities`, as docs/POLICIES.md shows"));
    }
    Validator::new().validate_all(component).map_err(invalid)?;
    let mut names = Vec::new();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "of many kinds of sections, one is asked about")]
        match payload.map_err(invalid)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import = import.map_err(invalid)?;
                    // A world's `use types.{error}` names a type again; there is nothing in it to call.
                    if !matches!(import.ty, ComponentTypeRef::Type(TypeBounds::Eq(_))) {
                        names.push(import.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

/// Refuses a component that asks for anything but `warded:host`.
///
/// # Errors
/// The whole list of what it should not ask for.
pub fn only_ours(component: &[u8]) -> Result<()> {
    let foreign: Vec<String> =
        of(component)?.into_iter().filter(|name| !name.starts_with(PACKAGE)).map(|name| neutral(&name)).collect();
    if foreign.is_empty() {
        return Ok(());
    }
    Err(Error::refused("the component imports what no procedure gets")
        .cause(foreign.join("\n"))
        .state("nothing of it was compiled or run")
        .next("build it without WASI, for wasm32-unknown-unknown: docs/POLICIES.md shows how"))
}

/// The request that a component carries in its custom section `warded:policy`, if it does.
///
/// # Errors
/// Not a valid component.
pub fn request(component: &[u8]) -> Result<Option<String>> {
    only_ours(component)?;
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component).flatten() {
        #[expect(clippy::wildcard_enum_match_arm, reason = "of many kinds of sections, one is asked about")]
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 && section.name() == "warded:policy" => {
                return Ok(std::str::from_utf8(section.data()).ok().map(str::to_owned));
            }
            _ => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_foreign_is_listed() {
        let component = wat::parse_str(
            r#"(component
                (import "wasi:cli/environment@0.2.0" (instance))
                (import "warded:host/log@0.1.0" (instance))
                (import "run" (func))
                (type $text string)
                (import "setting" (type (eq $text)))
                (import "handle" (type (sub resource))))"#,
        )
        .unwrap();
        let error = only_ours(&component).unwrap_err();
        let cause = error.notes().find(|(label, _)| *label == "cause").map(|(_, text)| text);
        assert_eq!(cause, Some("wasi:cli/environment@0.2.0\nrun\nhandle"));
    }
}
