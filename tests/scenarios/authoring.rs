//! What `warded policy new` and `warded policy wit` write. `tests/author` builds and runs it.

use crate::support::Run;
use std::{fs, path::Path, process::Command};

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
    for file in ["build", "policy.toml", "src/world.rs", "wit/files.wit", "warded/sdk/Cargo.toml", "Cargo.lock"] {
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
    for file in
        ["build.js", "policy.toml", "package-lock.json", "src/guest.js", "wit/guest.wit", "wit/deps/host/files.wit"]
    {
        assert!(made["files"].as_array().unwrap().contains(&file.into()), "{file}: {made}");
        let text = fs::read_to_string(desk.path().join("in-js").join(file)).unwrap();
        assert!(!text.contains("example") && !text.contains("include warded"), "{file}");
    }
    let request = fs::read_to_string(desk.path().join("in-js/policy.toml")).unwrap();
    assert!(request.contains("name    = \"in-js\""), "{request}");
    new(&["policy", "new", "in-python", "--language", "python"]).ends(2).says(&["rust, javascript"]);
    new(&["policy", "wit", "interfaces"]).ends(0);
    let files = |directory: &Path| fs::read_dir(directory).unwrap().count();
    assert_eq!(
        files(&desk.path().join("interfaces")),
        files(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")))
    );
}

/// A policy may have the name of a keyword of WIT or Rust, or of a crate: no package is called as the policy alone.
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
        assert!(
            read("build").contains(&format!("-p policy-{name}\n"))
                && read("build").contains(&format!("/policy_{name}.wasm"))
        );
        let world = read("src/world.rs");
        let world = world.split("inline: r\"").nth(1).unwrap().split('"').next().unwrap();
        let mut resolve = wit_parser::Resolve::default();
        resolve.push_dir(desk.path().join(name).join("wit")).unwrap();
        resolve.push_str("world.wit", world).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
}
