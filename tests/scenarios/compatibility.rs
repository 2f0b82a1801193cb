//! Guests that were built for other versions of the interfaces.

use crate::support::{Grants, Machine, guest::Guest, policy, script::Script};
use std::{
    fs,
    path::{Path, PathBuf},
};
use warded_artifact::imports;
use warded_lib::digest::Digest;

/// A guest that logs a message, built for this version of `warded:host`. The version appears in the component once for
/// each import.
fn made_for(version: &str) -> Vec<u8> {
    let mut script = Script::new("");
    script.says("info", "it runs");
    let mut component = script.component();
    let ours = b"@0.1.0";
    assert_eq!(version.len(), ours.len(), "another length would not fit in its place");
    let places: Vec<usize> = (0..component.len()).filter(|at| component[*at..].starts_with(ours)).collect();
    assert!(!places.is_empty());
    for at in places {
        component[at..at + ours.len()].copy_from_slice(version.as_bytes());
    }
    component
}

#[test]
fn a_guest_for_a_compatible_version_runs_and_another_one_is_refused_in_words() {
    let machine = Machine::stopped();
    let with = |version: &str| {
        Grants::of(&["log = [\"info\"]"]).write(&machine.path("policies"), "case", "go", &made_for(version));
        machine.warded(["plan", "go"])
    };
    for version in ["@0.1.0", "@0.1.9"] {
        with(version).ends(0).prints(&["it runs"]);
    }
    for (version, made_for, needed) in [
        ("@0.2.0", "a newer Warded", "warded:host 0.2"),
        ("@1.0.0", "a newer Warded", "warded:host 1.0"),
        ("@0.0.9", "an older Warded", "warded:host 0.0"),
    ] {
        let made_for = format!("the component is made for {made_for}");
        let needed = format!("it needs {needed}; this Warded has warded:host 0.1");
        with(version).ends(5).says(&[&made_for, &needed, "nothing of it was compiled or run"]);
        let list = machine.warded(["policy", "list"]).ends(0).stdout;
        assert!(list.contains(&format!("cannot be run: {made_for}")), "{list}");
        let shown = machine.warded(["policy", "show", "case", "--json"]).ends(0).object("warded.policy-show/1");
        assert_eq!(shown["policy"]["broken"], made_for, "{shown}");
    }
    with("@0.1.9");
    let shown = machine.warded(["policy", "show", "case", "--json"]).ends(0).object("warded.policy-show/1");
    assert_eq!(shown["policy"]["broken"], serde_json::Value::Null, "{shown}");
}

/// Interfaces that differ from those of this version, and a guest that uses them.
struct Other {
    file: &'static str,
    /// A text of the file, and its replacement.
    change: [&'static str; 2],
    import: &'static str,
    call: &'static str,
    /// Why the guest is refused.
    why: [&'static str; 2],
}

/// Changes that a later version may make, and changes that no version may make within a minor version.
const OTHERS: [Other; 4] = [
    Other {
        file: "log.wit",
        change: ["    warn: func", "    shout: func(message: string);\n    warn: func"],
        import: "\"warded:host/log@0.1.0\" \"shout\" (func $call (param i32 i32))",
        call: "(call $call (i32.const 0) (i32.const 0))",
        why: ["made for a newer Warded", "it needs log.shout, which this Warded does not have"],
    },
    Other {
        file: "log.wit",
        change: ["    warn: func(message: string)", "    warn: func(message: string, loud: bool)"],
        import: "\"warded:host/log@0.1.0\" \"warn\" (func $call (param i32 i32 i32))",
        call: "(call $call (i32.const 0) (i32.const 0) (i32.const 0))",
        why: ["made for another version of Warded", "it needs log.warn with other types than this Warded has"],
    },
    Other {
        file: "types.wit",
        change: ["        message: string,", "        message: string,\n        severity: u32,"],
        import: "\"warded:host/files@0.1.0\" \"read\" (func $call (param i32 i32 i32))",
        call: "(call $call (i32.const 0) (i32.const 0) (i32.const 1024))",
        why: ["made for another version of Warded", "it needs files.read with other types than this Warded has"],
    },
    Other {
        file: "keys.wit",
        change: ["        public-key: func", "        comment: func() -> string;\n        public-key: func"],
        import: "\"warded:host/keys@0.1.0\" \"[method]key-pair.comment\" (func $call (param i32 i32))",
        call: "(call $call (i32.const 0) (i32.const 1024))",
        why: ["made for a newer Warded", "it needs keys.[method]key-pair.comment, which this Warded does not have"],
    },
];

/// The guest is refused as soon as Warded reads its component, and not at its first run.
#[test]
fn what_this_version_does_not_have_is_said_before_anything_runs() {
    let machine = Machine::stopped();
    let (policies, interfaces) = (machine.path("policies"), machine.path("wit"));
    for Other { file, change: [from, to], import, call, why: [made_for, needed] } in OTHERS {
        fs::create_dir(&interfaces).unwrap();
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let is_it = path.file_name().is_some_and(|name| name == file);
            assert!(!is_it || text.contains(from), "{file}: {from}");
            let text = if is_it { text.replacen(from, to, 1) } else { text };
            fs::write(interfaces.join(path.file_name().unwrap()), text).unwrap();
        }
        let guest =
            Guest { interfaces: Some(interfaces.clone()), ..Guest::doing(&format!("(import {import})"), "", call) };
        Grants::of(&["log = [\"warn\"]"]).write(&policies, "case", "go", &guest.component());
        let says = [made_for, needed, "nothing of it was run", "update Warded"];
        machine.warded(["plan", "go"]).ends(5).says(&says);
        let list = machine.warded(["policy", "list"]).ends(0).stdout;
        assert!(list.contains(&format!("cannot be run: the component is {made_for}")), "{list}");
        let file = machine.path("case.wasm");
        fs::rename(policies.join("case.wasm"), &file).unwrap();
        fs::remove_file(policies.join("case.toml")).unwrap();
        let file = file.to_str().unwrap();
        machine.warded(["policy", "check", file]).ends(5).says(&says);
        machine.warded(["policy", "add", file, "--accept-risk", "unsigned-policy"]).ends(5).says(&says);
        fs::remove_dir_all(&interfaces).unwrap();
    }
}

/// The guests that were released with each version: `tests/guests/VERSION/NAME.wasm`.
fn released() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/guests");
    let inside = |path: &Path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    inside(&directory).iter().flat_map(|release| inside(release)).collect()
}

/// Accepts a released guest as a policy of its own, which takes the place of the bundled one.
fn accepts(machine: &Machine, file: &Path, request: &str) {
    let component = policy::asking(&fs::read(file).unwrap(), request);
    let kept = machine.path("kept.wasm");
    fs::write(&kept, &component).unwrap();
    let digest = Digest::of(&component).to_string();
    let risk = "--accept-risk=unsigned-policy";
    machine.warded(["policy", "add", kept.to_str().unwrap(), "--yes", "--digest", &digest, risk]).ends(0);
}

/// A guest that was built for an earlier release of the same minor version works, whatever has changed in this program
/// since.
#[test]
fn the_guests_of_each_release_do_their_work() {
    let all = released();
    for name in ["unix.wasm", "demo.wasm"] {
        assert!(all.iter().any(|file| file.ends_with(Path::new("0.1.0").join(name))), "{all:?}");
    }
    for file in all {
        let what = file.display();
        let request = imports::request(&fs::read(&file).unwrap()).unwrap().unwrap();
        let is_unix = file.ends_with("unix.wasm");
        let machine = if is_unix { Machine::start() } else { Machine::stopped() };
        machine.warded(["policy", "check", file.to_str().unwrap()]).ends(0);
        let name = file.file_stem().unwrap().to_str().unwrap();
        let request = request.replacen(&format!("{name:?}"), "\"kept\"", 1);
        if is_unix {
            let version = request.lines().find(|line| line.starts_with("version")).unwrap().to_owned();
            accepts(&machine, &file, &request.replacen(&version, &format!("{version}\ninstead-of = [\"unix\"]"), 1));
            let before = machine.tree();
            for (procedure, setting) in
                [("trust-host-ca", "domain=*.example.org"), ("certify-host", "principal=web1.example.org")]
            {
                machine.warded(["apply", procedure, "--set", setting, "--yes"]).ends(0);
            }
            machine.serves_certificates();
            machine.warded(["renew", "--force"]).ends(0);
            machine.serves_certificates();
            machine.warded(["plan", "trust-user-ca"]).ends(3);
            let started = machine.audit().into_iter().filter(|record| record["kind"] == "started");
            assert!(started.clone().count() >= 4, "{what}");
            started.for_each(|record| assert_eq!(record["policy"], "kept", "{what}: {record}"));
            machine.warded(["undo", "--yes"]).ends(0);
            machine.warded(["undo", "--yes"]).ends(0);
            assert_eq!(machine.tree(), before, "{what}");
        } else {
            accepts(&machine, &file, &request);
            let path = machine.path("ssh/sshd_config.d/60-demo.conf");
            let setting = format!("path={}", path.display());
            let words = ["apply", "write-file", "--policy", "kept", "--set", &setting, "--set", "text=# kept", "--yes"];
            machine.warded(words).ends(0);
            assert_eq!(fs::read_to_string(&path).unwrap(), "# kept\n", "{what}");
            machine.warded(["undo", "--yes"]).ends(0);
        }
    }
}
