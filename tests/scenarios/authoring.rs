//! What `warded policy new` and `warded policy wit` write. `tests/author` builds and runs the result.

use crate::support::Run;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

#[test]
fn what_an_author_begins_with_takes_nobodys_place() {
    let desk = tempfile::tempdir().unwrap();
    let binary = env!("CARGO_BIN_EXE_warded");
    let new = |words: &[&str]| Run::of(Command::new(binary).current_dir(desk.path()).args(words));
    new(&["policy", "new", "unix"]).ends(2).says(&["that of a bundled policy"]);
    new(&["policy", "new", "../mine"]).ends(2);
    for name in ["log", "verify", "export", "help"] {
        new(&["policy", "new", name]).ends(2).says(&["no policy can be called", "is a command"]);
    }
    let made = new(&["policy", "new", "my-own", "--json"]).ends(0).object("warded.policy-new/1");
    for file in ["policy.toml", "src/world.rs", "wit/files.wit", "warded/sdk/Cargo.toml", "Cargo.lock"] {
        assert!(made["files"].as_array().unwrap().contains(&file.into()), "{file}: {made}");
    }
    let request = fs::read_to_string(desk.path().join("my-own/policy.toml")).unwrap();
    assert!(request.contains("name    = \"my-own\"") && !request.contains("NAME"), "{request}");
    fs::write(desk.path().join("my-own/policy.toml"), "edited").unwrap();
    new(&["policy", "new", "my-own"]).ends(5).says(&["is there already"]);
    new(&["policy", "wit", "my-own"]).ends(5).says(&["is there already"]);
    assert_eq!(fs::read_to_string(desk.path().join("my-own/policy.toml")).unwrap(), "edited");
    let made =
        new(&["policy", "new", "in-js", "--language", "javascript", "--json"]).ends(0).object("warded.policy-new/1");
    for file in ["policy.toml", "package-lock.json", "src/guest.js", "wit/guest.wit", "wit/deps/host/files.wit"] {
        assert!(made["files"].as_array().unwrap().contains(&file.into()), "{file}: {made}");
        let text = fs::read_to_string(desk.path().join("in-js").join(file)).unwrap();
        assert!(!text.contains("example") && !text.contains("include warded"), "{file}");
    }
    let request = fs::read_to_string(desk.path().join("in-js/policy.toml")).unwrap();
    assert!(request.contains("name    = \"in-js\""), "{request}");
    new(&["policy", "new", "in-python", "--language", "python"]).ends(2).says(&["16 MiB", "--language javascript"]);
    new(&["policy", "wit", "interfaces"]).ends(0);
    let files = |directory: &Path| fs::read_dir(directory).unwrap().count();
    assert_eq!(
        files(&desk.path().join("interfaces")),
        files(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")))
    );
}

/// A policy may have the name of a WIT or Rust keyword, or of a crate: the packages in its folder have longer names.
#[test]
fn a_folder_of_any_name_can_be_built() {
    let desk = tempfile::tempdir().unwrap();
    for name in ["list", "record", "type", "stream", "serde", "warded"] {
        let new = ["policy", "new", name];
        Run::of(Command::new(env!("CARGO_BIN_EXE_warded")).current_dir(desk.path()).args(new)).ends(0);
        let read = |file: &str| fs::read_to_string(desk.path().join(name).join(file)).unwrap();
        let (manifest, lock) = (read("Cargo.toml"), read("Cargo.lock"));
        let package = format!("name = \"policy-{name}\"");
        assert!(manifest.contains(&package) && !lock.contains(&package), "{manifest}");
        let world = read("src/world.rs");
        let world = world.split("inline: r\"").nth(1).unwrap().split('"').next().unwrap();
        let mut resolve = wit_parser::Resolve::default();
        resolve.push_dir(desk.path().join(name).join("wit")).unwrap();
        resolve.push_str("world.wit", world).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
}

/// A folder made by `policy new`, and fake tools in front of the real ones: shows what `policy build` prints if a tool
/// is missing or fails.
struct Bench {
    desk: tempfile::TempDir,
}

impl Bench {
    fn new(language: &str) -> Self {
        let desk = tempfile::tempdir().unwrap();
        let new = ["policy", "new", "mine", "--language", language];
        Run::of(Command::new(env!("CARGO_BIN_EXE_warded")).current_dir(desk.path()).args(new)).ends(0);
        fs::create_dir(desk.path().join("bin")).unwrap();
        Self { desk }
    }

    fn tool(&self, name: &str, script: &str) {
        let file = self.desk.path().join("bin").join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn folder(&self) -> PathBuf {
        self.desk.path().join("mine")
    }

    /// Runs `policy build` with no tools but those of this bench and a shell.
    fn builds(&self) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warded"));
        command.env_clear().env("PATH", self.desk.path().join("bin")).env("HOME", self.desk.path());
        let run = Run::of(command.current_dir(self.folder()).args(["policy", "build"]));
        assert!(run.code == Some(0) || !self.folder().join("mine.wasm").exists(), "{run:?}");
        run
    }
}

#[test]
fn a_tool_that_is_missing_is_named_with_what_brings_it() {
    let bench = Bench::new("rust");
    bench.builds().ends(1).says(&[
        "there is no cargo in your PATH",
        "curl ",
        "sh.rustup.rs",
        "--target wasm32-unknown-unknown",
    ]);
    let metadata = serde_json::json!({
        "target_directory": bench.desk.path(),
        "packages": [
            { "name": "policy-mine", "manifest_path": bench.folder().canonicalize().unwrap().join("Cargo.toml"),
              "targets": [{ "name": "policy_mine", "crate_types": ["cdylib"] }] },
            { "name": "componentize", "manifest_path": "/elsewhere/Cargo.toml", "targets": [] },
        ],
    });
    let cargo = |last: &str| format!("[ $1 != metadata ] || {{ echo '{metadata}'; exit; }}\n{last}");
    bench.tool("cargo", &cargo("echo error: no core >&2; exit 101"));
    bench.tool("rustc", "echo /nowhere/lib");
    let missing = bench.builds().ends(1);
    missing.says(&[
        "error: no core",
        "rustc has no target wasm32-unknown-unknown",
        "rustup target add wasm32-unknown-unknown",
    ]);
    bench.tool("rustc", &format!("echo {}", bench.desk.path().display()));
    bench.builds().ends(1).says(&["the guest cannot be built: cargo build fails"]);
    bench.tool("cargo", "exit 101");
    bench.builds().ends(1).says(&["cargo metadata fails"]);

    let bench = Bench::new("javascript");
    bench.builds().ends(1).says(&["componentize-qjs is not there", "npm ci"]);
    let tool = bench.folder().join("node_modules/componentize-qjs/bin");
    fs::create_dir_all(&tool).unwrap();
    fs::write(tool.join("componentize-qjs"), "").unwrap();
    bench.builds().ends(1).says(&["there is no node in your PATH", "apt install nodejs npm"]);
    bench.tool("node", "exit 1");
    bench.builds().ends(1).says(&["componentize-qjs fails"]);
}

/// Whatever the tool built, imports that no procedure gets are refused, and exports that are no procedure are listed.
#[test]
fn what_a_tool_made_is_stripped_checked_and_shown() {
    let bench = Bench::new("javascript");
    let tool = bench.folder().join("node_modules/componentize-qjs/bin");
    fs::create_dir_all(&tool).unwrap();
    fs::write(tool.join("componentize-qjs"), "").unwrap();
    let made = bench.desk.path().join("made.wasm");
    bench.tool("node", &format!("while [ $1 != --output ]; do shift; done; /bin/cp {} $2", made.display()));
    let makes = |text: &str| fs::write(&made, wat::parse_str(text).unwrap()).unwrap();
    makes(r#"(component (import "wasi:cli/exit@0.2.0" (instance)) (import "wasi:io/poll@0.2.0" (instance)))"#);
    let whole = ["imports what no procedure gets", "wasi:cli/exit@0.2.0", "wasi:io/poll@0.2.0", "--stub-wasi"];
    bench.builds().ends(5).says(&whole);
    makes("(component)");
    bench.builds().ends(5).says(&["policy.toml describes what the guest does not export: set-banner"]);
    let calls = r#"(component $secret-name
        (import "warded:host/log@0.1.0" (instance $log (export "info" (func)) (export "warn" (func))))
        (import "warded:host/files@0.1.0" (instance $files (export "write" (func))))
        (core func $info (canon lower (func $log "info")))
        (core func $warn (canon lower (func $log "warn")))
        (core func $write (canon lower (func $files "write")))
        (core instance $host (export "info" (func $info)) (export "warn" (func $warn)) (export "write" (func $write)))
        (core module $module
            (import "host" "info" (func $info)) (import "host" "warn" (func $warn)) (import "host" "write" (func $write))
            (func (export "p") call $info call $warn call $write) (func (export "init")))
        (core instance $m (instantiate $module (with "host" (instance $host))))
        (func (export "set-banner") (canon lift (core func $m "p")))
        (func (export "init") (canon lift (core func $m "init"))))"#;
    makes(calls);
    let run = bench.builds().ends(0);
    let words = "
  procedure   can call     by the grant
  set-banner  files.write  files.write /etc/issue.net
              log.info     log info
              log.warn     none: such a call is denied
exported, and never called by the host: init
Next: warded policy check mine.wasm
";
    assert!(run.stdout.starts_with("mine 0.1.0 · mine.wasm · ") && run.stdout.ends_with(words), "{}", run.stdout);
    let built = fs::read(bench.folder().join("mine.wasm")).unwrap();
    assert!(!built.windows(11).any(|bytes| bytes == b"secret-name") && built.ends_with(b"log = [\"info\"]\n"));
    let names = |file: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warded"));
        Run::of(command.args(["policy", "build", "--json"]).arg(file)).ends(2);
    };
    names(&bench.desk.path().join("bin"));
    names(&bench.desk.path().join("none"));
    fs::write(bench.folder().join("policy.toml"), format!("component = \"sha256:{}\"\n", "0".repeat(64))).unwrap();
    names(&bench.folder());
}
