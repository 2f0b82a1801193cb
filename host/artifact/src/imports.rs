//! What a component imports from its host, read before any of it is compiled.

use std::{collections::BTreeSet, fmt};
use warded_lib::{
    error::{Error, Result},
    text::neutral,
};
use wasmparser::{ComponentTypeRef, Parser, Payload, TypeBounds, Validator, component_types::ComponentEntityType};

/// The only package whose interfaces the host offers.
const PACKAGE: &str = "warded:host/";
const PACKAGE_NAME: &str = "warded:host";
/// The major and minor version of that package, as in `wit/`.
const VERSION: (u64, u64) = (0, 1);

/// The maximum number of nested modules and components. Validation time grows with the square of their number, and a
/// file of some hundred KiB can hold ten thousand of them.
const MAX_WITHIN: usize = 1000;

/// The instances and functions that a component imports at its top level.
///
/// # Errors
/// It is not a valid component.
pub fn of(component: &[u8]) -> Result<Vec<String>> {
    let invalid = |error: wasmparser::BinaryReaderError| {
        Error::refused("this is not a valid WebAssembly component").cause(neutral(&error.to_string())).next(
            "build it for a world that includes `warded:host/capabilities`, as docs/WRITING-A-POLICY.md shows; a core module is not enough",
        )
    };
    if !Parser::is_component(component) {
        return Err(Error::refused("this is not a WebAssembly component")
            .next("build it for a world that includes `warded:host/capabilities`, as docs/WRITING-A-POLICY.md shows"));
    }
    let within = Parser::new(0).parse_all(component).map_while(Result::ok);
    let within =
        within.filter(|payload| matches!(payload, Payload::ModuleSection { .. } | Payload::ComponentSection { .. }));
    if within.take(MAX_WITHIN + 1).count() > MAX_WITHIN {
        return Err(Error::refused("the component has too many modules and components within")
            .cause(format!("the limit is {MAX_WITHIN}")));
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
                    // A world's `use types.{error}` imports a type under another name, and a type cannot be called.
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

/// Refuses a component that imports anything but `warded:host`, or a later version of it than this binary has.
///
/// # Errors
/// The complete list of what it must not import.
pub fn only_ours(component: &[u8]) -> Result<()> {
    let imports = of(component)?;
    let foreign: Vec<String> =
        imports.iter().filter(|name| !name.starts_with(PACKAGE)).map(|name| neutral(name)).collect();
    if !foreign.is_empty() {
        return Err(Error::refused("the component imports what no procedure gets")
            .cause(foreign.join("\n"))
            .state("nothing of it was compiled or run")
            .next(
                "build it without WASI: Rust for wasm32-unknown-unknown, JavaScript by componentize-qjs with --stub-wasi \
                 (docs/WRITING-A-POLICY.md)",
            ));
    }
    let others: BTreeSet<Track> = imports.iter().map(|name| Track::of(name)).filter(|track| !track.is_ours()).collect();
    let Some(highest) = others.last() else { return Ok(()) };
    let (made_for, next) = match highest {
        Track::Release(major, minor) if (*major, *minor) > VERSION => ("a newer Warded", "update Warded"),
        Track::Release(..) => ("an older Warded", "use the component that was made for this version"),
        Track::Other(_) => ("another version of Warded", "use the component that was made for this version"),
    };
    let needed: Vec<String> = others.iter().map(ToString::to_string).collect();
    Err(Error::refused(format!("the component is made for {made_for}"))
        .cause(format!("it needs {}; this Warded has {PACKAGE_NAME} {}.{}", needed.join(", "), VERSION.0, VERSION.1))
        .state("nothing of it was compiled or run")
        .next(next))
}

/// Versions that are compatible with each other. Within a minor version, functions and interfaces are only added, so
/// any patch level will do; a pre-release is compatible with nothing.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Track {
    /// An import that names no release.
    Other(String),
    /// Major and minor version.
    Release(u64, u64),
}

impl Track {
    fn of(import: &str) -> Self {
        let version = import.split_once('@').map_or("", |(_, version)| version);
        let parts: Result<Vec<u64>, _> = version.splitn(3, '.').map(str::parse).collect();
        match parts.as_deref() {
            Ok(&[major, minor, _patch]) => Self::Release(major, minor),
            _ => Self::Other(neutral(import)),
        }
    }

    fn is_ours(&self) -> bool {
        *self == Self::Release(VERSION.0, VERSION.1)
    }
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(import) => f.write_str(import),
            Self::Release(major, minor) => write!(f, "{PACKAGE_NAME} {major}.{minor}"),
        }
    }
}

/// Every function of the instances that a component imports, as `INTERFACE#FUNCTION`: everything that it can pass on to
/// a nested component.
///
/// # Errors
/// It is not a valid component.
pub fn functions(component: &[u8]) -> Result<Vec<String>> {
    let imports = of(component)?;
    let types = Validator::new_with_features(warded_engine::FEATURES).validate_all(component).map_err(|error| {
        Error::refused("this is not a valid WebAssembly component").cause(neutral(&error.to_string()))
    })?;
    let mut functions = Vec::new();
    for interface in imports {
        let Some(ComponentEntityType::Instance(instance)) =
            types.as_ref().component_item_for_import(&interface).map(|item| item.ty)
        else {
            continue;
        };
        let exports = types.as_ref().get(instance).map(|instance| &instance.exports);
        for (name, item) in exports.into_iter().flatten() {
            if matches!(item.ty, ComponentEntityType::Func(_)) {
                functions.push(format!("{interface}#{name}"));
            }
        }
    }
    Ok(functions)
}

/// The request in the component's custom section `warded:policy`, if it has one.
///
/// # Errors
/// It is not a valid component, or carries several requests, or one that is not text.
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
                let text = std::str::from_utf8(section.data()).map_err(|error| {
                    Error::refused("the component carries a request that is not text")
                        .cause(error)
                        .next("write the request in UTF-8, and build the component again")
                })?;
                found = Some(text.to_owned());
            }
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use warded_lib::error::Label;

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
        let cause = error.notes_of(Label::Cause).next();
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
        for (other, made_for, needed) in [
            ("@0.2.0", "a newer Warded", "warded:host 0.2"),
            ("@1.0.0", "a newer Warded", "warded:host 1.0"),
            ("@1.1.0", "a newer Warded", "warded:host 1.1"),
            ("@0.0.1", "an older Warded", "warded:host 0.0"),
            ("@0.1.0-rc.1", "another version of Warded", "warded:host/log@0.1.0-rc.1"),
            ("", "another version of Warded", "warded:host/log"),
        ] {
            let error = only_ours(&importing(other)).unwrap_err();
            assert_eq!(error.message(), format!("the component is made for {made_for}"), "{other}");
            assert!(
                error.to_string().contains(&format!("it needs {needed}; this Warded has warded:host 0.1")),
                "{error}"
            );
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
        let error = request(&with(&[section("\\ff"), section("a")].concat())).unwrap_err();
        assert_eq!(error.message(), "the component carries a request that is not text");
        // A request in a nested component does not count for the outer one.
        assert_eq!(request(&with(&format!("(component {})", section("a")))).unwrap(), None);
    }

    #[test]
    fn what_is_within_is_counted_however_deep_it_lies() {
        let nested = |depth: usize| {
            const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
            let outwards = (0..depth).map(|within| {
                // Each level is a section: its id, its size in five bytes, and a header.
                let size = u32::try_from(HEADER.len() + 14 * within).unwrap();
                let more = |shift| if shift < 28 { 0x80 } else { 0 };
                let size = [0, 7, 14, 21, 28].map(|shift| u8::try_from(size >> shift & 0x7f).unwrap() | more(shift));
                [HEADER, &[4], &size].concat()
            });
            let levels: Vec<Vec<u8>> = outwards.collect();
            levels.into_iter().rev().flatten().chain(HEADER.to_vec()).collect::<Vec<u8>>()
        };
        only_ours(&nested(3)).unwrap();
        // Half a MiB, which would take minutes to validate.
        let error = only_ours(&nested(40_000)).unwrap_err();
        assert_eq!(error.message(), "the component has too many modules and components within");
        let beside = wat::parse_str(format!("(component {})", "(core module)".repeat(MAX_WITHIN + 1))).unwrap();
        assert_eq!(only_ours(&beside).unwrap_err().message(), error.message());
    }

    /// The engine allows several memories only for the modules that it generates itself to connect components.
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
