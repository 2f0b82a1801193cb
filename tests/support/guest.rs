//! Guests made on the fly: a core module in the text format, wrapped into a component as the guests' toolchain does it.

use std::path::{Path, PathBuf};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{PackageId, Resolve, WorldId};

/// Where a procedure may put its result: zeros there are `ok`.
pub(crate) const RESULT: u32 = 16;

/// A guest that is being built.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guest {
    /// Its procedures.
    pub(crate) exports: Vec<String>,
    /// More of its world, in WIT.
    pub(crate) world: String,
    /// Another package, in WIT.
    pub(crate) package: Option<String>,
    /// `(import …)`, in the text format.
    pub(crate) imports: String,
    /// `(func …)`, `(data …)`; these must include a function that exports each procedure.
    pub(crate) fields: String,
    /// The directory of the host's interfaces, if the guest is made for other ones than this version's.
    pub(crate) interfaces: Option<PathBuf>,
}

impl Guest {
    /// A guest whose only procedure, `go`, runs this body and succeeds.
    pub(crate) fn doing(imports: &str, fields: &str, body: &str) -> Self {
        Self {
            exports: vec!["go".to_owned()],
            imports: imports.to_owned(),
            fields: format!("{fields}\n{}", procedure("go", body)),
            ..Self::default()
        }
    }

    pub(crate) fn component(&self) -> Vec<u8> {
        let mut resolve = match &self.interfaces {
            Some(directory) => interfaces_in(directory).0,
            None => interfaces().0,
        };
        let world = self.world(&mut resolve);
        let module = format!(
            r#"(module {}
            (memory (export "memory") 4)
            (global $free (mut i32) (i32.const 65536))
            (func (export "cabi_realloc") (param $old i32) (param $had i32) (param $align i32) (param $size i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
                (global.set $free (i32.add (local.get $at) (local.get $size)))
                (block $room (loop $more
                    (br_if $room (i32.le_u (global.get $free) (i32.shl (memory.size) (i32.const 16))))
                    (drop (memory.grow (i32.const 16)))
                    (br $more)))
                (local.get $at))
            {})"#,
            self.imports, self.fields
        );
        let mut module = wat::parse_str(&module).unwrap_or_else(|error| panic!("{error}\n{module}"));
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
    }

    fn world(&self, resolve: &mut Resolve) -> WorldId {
        if let Some(package) = &self.package {
            resolve.push_str("other.wit", package).unwrap();
        }
        let export = |name: &String| format!("export {name}: func(settings: list<setting>) -> result<_, error>;");
        let exports: String = self.exports.iter().map(export).collect();
        let text = format!(
            "package test:guest; world guest {{ include warded:host/capabilities@0.1.0;
             use warded:host/types@0.1.0.{{setting, error}}; {} {exports} }}",
            self.world
        );
        let package = resolve.push_str("guest.wit", &text).unwrap();
        resolve.select_world(&[package], Some("guest")).unwrap()
    }
}

/// A procedure that runs this body and succeeds.
pub(crate) fn procedure(name: &str, body: &str) -> String {
    format!(r#"(func (export "{name}") (param i32 i32) (result i32) {body} (i32.const {RESULT}))"#)
}

/// Bytes at an address.
pub(crate) fn data(at: usize, bytes: &[u8]) -> String {
    let bytes: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!("(data (i32.const {at}) \"{bytes}\")")
}

/// The interfaces that the host offers.
pub(crate) fn interfaces() -> (Resolve, PackageId) {
    interfaces_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit"))
}

fn interfaces_in(directory: &Path) -> (Resolve, PackageId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(directory).unwrap();
    (resolve, package)
}
