//! What a component asks of its host, read before anything of it is compiled.

use warded_lib::{
    error::{Error, Result},
    text::neutral,
};
use wasmparser::{ComponentTypeRef, Parser, Payload, TypeBounds, Validator};

/// The package whose interfaces are the only ones there are.
const PACKAGE: &str = "warded:host/";
const PACKAGE_NAME: &str = "warded:host";
/// The major and minor version of that package, as in `wit/`.
const VERSION: (u64, u64) = (0, 1);

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
    Validator::new_with_features(warded_engine::FEATURES).validate_all(component).map_err(invalid)?;
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

/// Refuses a component that asks for anything but `warded:host`, or for a later one than this binary has.
///
/// # Errors
/// The whole list of what it should not ask for.
pub fn only_ours(component: &[u8]) -> Result<()> {
    let imports = of(component)?;
    let foreign: Vec<String> =
        imports.iter().filter(|name| !name.starts_with(PACKAGE)).map(|name| neutral(name)).collect();
    if !foreign.is_empty() {
        return Err(Error::refused("the component imports what no procedure gets")
            .cause(foreign.join("\n"))
            .state("nothing of it was compiled or run")
            .next("build it without WASI, for wasm32-unknown-unknown: docs/POLICIES.md shows how"));
    }
    let others: Vec<String> = imports.iter().filter(|name| !is_compatible(name)).map(|name| neutral(name)).collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(Error::refused("the component is made for another version of Warded")
        .cause(format!("it needs {}\nthis binary has {PACKAGE_NAME} {}.{}", others.join(" "), VERSION.0, VERSION.1))
        .state("nothing of it was compiled or run")
        .next("use the component that was made for this version, or update Warded"))
}

/// Whether this binary has what an interface's version names. Within a minor version functions and interfaces are
/// added, and nothing is changed, so any patch level will do.
fn is_compatible(import: &str) -> bool {
    let Some((_, version)) = import.split_once('@') else { return false };
    let mut parts = version.splitn(3, '.').map(str::parse::<u64>);
    let (major, minor, patch) = (parts.next(), parts.next(), parts.next());
    major == Some(Ok(VERSION.0)) && minor == Some(Ok(VERSION.1)) && patch.is_some_and(|patch| patch.is_ok())
}

/// The request that a component carries in its custom section `warded:policy`, if it does.
///
/// # Errors
/// Not a valid component, or one that carries several.
pub fn request(component: &[u8]) -> Result<Option<String>> {
    only_ours(component)?;
    let (mut depth, mut found) = (0_usize, None);
    for payload in Parser::new(0).parse_all(component).flatten() {
        #[expect(clippy::wildcard_enum_match_arm, reason = "of many kinds of sections, one is asked about")]
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 && section.name() == "warded:policy" => {
                if found.is_some() {
                    return Err(Error::refused("the component carries more than one request")
                        .next("build it again: nobody can say which of them its publisher meant"));
                }
                found = std::str::from_utf8(section.data()).ok().map(str::to_owned);
            }
            _ => {}
        }
    }
    Ok(found)
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

    #[test]
    fn a_component_for_another_version_is_refused_in_words() {
        let importing = |version: &str| {
            wat::parse_str(format!(r#"(component (import "warded:host/log{version}" (instance)))"#)).unwrap()
        };
        for good in ["@0.1.0", "@0.1.9"] {
            only_ours(&importing(good)).unwrap();
        }
        for bad in ["", "@0.2.0", "@1.0.0", "@0.1.0-rc.1", "@0.0.1", "@1.1.0"] {
            let error = only_ours(&importing(bad)).unwrap_err();
            assert_eq!(error.message(), "the component is made for another version of Warded", "{bad}");
            assert!(error.to_string().contains(&format!("it needs warded:host/log{bad}\n")), "{error}");
        }
    }

    #[test]
    fn a_component_carries_one_request() {
        let with = |sections: &str| wat::parse_str(format!("(component {sections})")).unwrap();
        let section = |text: &str| format!("(@custom \"warded:policy\" \"{text}\")");
        assert_eq!(request(&with("")).unwrap(), None);
        assert_eq!(request(&with(&section("a"))).unwrap().as_deref(), Some("a"));
        let error = request(&with(&[section("a"), section("b")].concat())).unwrap_err();
        assert_eq!(error.message(), "the component carries more than one request");
        // One within belongs to what it is in.
        assert_eq!(request(&with(&format!("(component {})", section("a")))).unwrap(), None);
    }

    /// The engine knows several memories for what it makes itself where components are composed.
    #[test]
    fn a_guests_own_modules_have_one_memory() {
        let two = wat::parse_str("(component (core module (memory 1) (memory 1)))").unwrap();
        let error = only_ours(&two).unwrap_err();
        assert!(error.to_string().contains("multi"), "{error}");
    }

    #[test]
    fn the_version_is_that_of_the_interfaces() {
        let wit = include_str!("../../../wit/types.wit");
        assert!(wit.contains(&format!("package {PACKAGE_NAME}@{}.{}.", VERSION.0, VERSION.1)), "{wit}");
    }
}
