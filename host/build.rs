//! Compiles the bundled components to machine code, so that a run does not have to.
#![expect(clippy::panic, clippy::expect_used, reason = "a build script fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "what it makes goes to OUT_DIR")]

use std::{env, fs, path::Path};
use wasmtime::Engine;

fn main() {
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let mut config = warded_engine::config();
    // With a target the code is for every processor of that kind; without, for this machine's.
    config.target(&target).unwrap_or_else(|error| panic!("wasmtime cannot compile for {target}: {error}"));
    let engine = Engine::new(&config).expect("the engine's configuration is valid");
    for name in ["unix", "demo"] {
        let wasm = format!("../policies/{name}.wasm");
        println!("cargo::rerun-if-changed={wasm}");
        let component = fs::read(&wasm).unwrap_or_else(|error| panic!("{wasm}: {error}"));
        let code = engine.precompile_component(&component).unwrap_or_else(|error| panic!("{wasm}: {error:#}"));
        fs::write(Path::new(&out).join(format!("{name}.cwasm")), code).expect("OUT_DIR can be written");
    }
    fs::write(Path::new(&out).join("earlier.rs"), earlier()).expect("OUT_DIR can be written");
    println!("cargo::rerun-if-changed=../wit");
}

/// The bundled policies of earlier binaries, as the source of an array of their texts.
fn earlier() -> String {
    let directory = Path::new("../policies/earlier");
    println!("cargo::rerun-if-changed={}", directory.display());
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut texts: Vec<String> = entries
        .map(|entry| fs::read_to_string(entry.expect("a directory can be read").path()).expect("a policy is text"))
        .collect();
    texts.sort();
    format!("&{texts:?}")
}
