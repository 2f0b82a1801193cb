//! Compiles the bundled components to machine code, so that a run does not have to. Without the feature `compiler` it takes
//! the machine code that `warded policy compile` made of them, so that no compiler is built.
#![expect(clippy::panic, clippy::expect_used, reason = "a build script fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "what it makes goes to OUT_DIR")]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

fn main() {
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let machine_code = machine_code(&target);
    for name in ["unix", "demo"] {
        let wasm = format!("../policies/{name}.wasm");
        println!("cargo::rerun-if-changed={wasm}");
        let component = fs::read(&wasm).unwrap_or_else(|error| panic!("{wasm}: {error}"));
        let code = machine_code(&component).unwrap_or_else(|error| panic!("{wasm}: {error}"));
        fs::write(Path::new(&out).join(format!("{name}.cwasm")), code).expect("OUT_DIR can be written");
    }
    println!("cargo::rustc-env=WARDED_TARGET={target}");
    println!("cargo::rustc-env=WARDED_MACHINE={}", machine());
    println!("cargo::rustc-env=WARDED_WASMTIME={}", wasmtime_version());
    fs::write(Path::new(&out).join("earlier.rs"), earlier()).expect("OUT_DIR can be written");
    fs::write(Path::new(&out).join("authoring.rs"), authoring()).expect("OUT_DIR can be written");
    println!("cargo::rerun-if-changed=../wit");
}

/// Compiles components: with a target for every processor of that kind, not for this machine's alone.
#[cfg(feature = "compiler")]
fn machine_code(target: &str) -> impl Fn(&[u8]) -> Result<Vec<u8>, String> {
    let target = warded_engine::BUNDLED_FOR.unwrap_or(target);
    let mut config = warded_engine::config();
    config.target(target).unwrap_or_else(|error| {
        panic!("wasmtime cannot compile for {target} here: {error}. With the feature `portable` it need not")
    });
    let engine = wasmtime::Engine::new(&config).expect("the engine's configuration is valid");
    move |component| engine.precompile_component(component).map_err(|error| format!("{error:#}"))
}

/// Finds the machine code of components in a directory, under the names and with the seals that `sandbox/compiled.rs` gives
/// them.
#[cfg(not(feature = "compiler"))]
fn machine_code(_: &str) -> impl Fn(&[u8]) -> Result<Vec<u8>, String> {
    use sha2::{Digest as _, Sha256};
    // What `warded policy compile` makes is for one kind of processor.
    if cfg!(feature = "portable") {
        panic!("the feature `portable` needs the feature `compiler`");
    }
    println!("cargo::rerun-if-env-changed=WARDED_MACHINE_CODE");
    let directory = env::var_os("WARDED_MACHINE_CODE").map(PathBuf::from);
    let directory =
        directory.expect("without the feature `compiler`, WARDED_MACHINE_CODE names a directory of machine code");
    move |component| {
        let digest = Sha256::digest(component);
        let file = directory.join(format!("{digest:x}-{}-{}", machine(), wasmtime_version()));
        println!("cargo::rerun-if-changed={}", file.display());
        let mut code = fs::read(&file).map_err(|error| format!("its machine code, {}: {error}", file.display()))?;
        let seal = code.split_off(code.len().saturating_sub(digest.len()));
        let sealed = Sha256::digest([&Sha256::digest(&code)[..], &digest[..], machine().as_bytes()].concat());
        if seal == sealed.as_slice() { Ok(code) } else { Err(format!("{} is not its machine code", file.display())) }
    }
}

/// The processor and the system that machine code is for: of its target wasmtime compares these two.
fn machine() -> String {
    let part = |name: &str| env::var(name).expect("cargo sets what the target is");
    format!("{}-{}", part("CARGO_CFG_TARGET_ARCH"), part("CARGO_CFG_TARGET_OS"))
}

/// The version in the lock file.
fn wasmtime_version() -> String {
    println!("cargo::rerun-if-changed=../Cargo.lock");
    let lock = fs::read_to_string("../Cargo.lock").expect("there is a lock file");
    let (_, after) = lock.split_once("name = \"wasmtime\"\nversion = \"").expect("wasmtime is a dependency");
    after.split('"').next().unwrap_or_default().to_owned()
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

/// What `warded policy new` and `warded policy wit` write: the interfaces, and the crates that a guest is made with, as
/// the source of an array of names and texts.
fn authoring() -> String {
    let mut files = vec![("Cargo.lock".to_owned(), "../guests/Cargo.lock".into())];
    files.push(("Cargo.toml".to_owned(), "../guests/Cargo.toml".into()));
    add(&mut files, Path::new("../wit"), "wit");
    for name in ["componentize", "sdk", "sshd-config"] {
        files.push((format!("warded/{name}/Cargo.toml"), format!("../guests/{name}/Cargo.toml").into()));
        add(&mut files, &Path::new("../guests").join(name).join("src"), &format!("warded/{name}/src"));
    }
    files.sort();
    let texts: Vec<(String, String)> = files
        .into_iter()
        .map(|(name, path)| {
            println!("cargo::rerun-if-changed={}", path.display());
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (name, text)
        })
        .collect();
    format!("&{texts:?}")
}

fn add(files: &mut Vec<(String, PathBuf)>, directory: &Path, name: &str) {
    println!("cargo::rerun-if-changed={}", directory.display());
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let path = entry.expect("a directory can be read").path();
        let inner = format!("{name}/{}", path.file_name().expect("an entry has a name").to_string_lossy());
        if path.is_dir() { add(files, &path, &inner) } else { files.push((inner, path)) }
    }
}
