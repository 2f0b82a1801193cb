//! Policies: how they are shown, and refused if anything in them is wrong.

use crate::support::{
    Grants, Machine, Run,
    guest::{Guest, procedure},
    policy,
};
use std::fs::{self, File};
use warded_lib::{digest::Digest, text::is_neutral};

#[test]
fn policies_are_listed_and_shown() {
    let machine = Machine::stopped();
    Grants::of(&["files.read = [\"/etc/hostname\"]"]).write_demo(&machine.path("policies"));
    let list = machine.warded(["policy", "list", "--json"]).ends(0).object("warded.policy-list/1");
    let names: Vec<&str> =
        list["policies"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["unix", "writer"]);
    let shown = machine.warded(["policy", "show", "writer", "--json"]).ends(0).object("warded.policy-show/1");
    let grants = &shown["policy"]["procedures"][0]["grants"];
    assert_eq!(grants.as_array().unwrap().len(), 1);
    assert!(grants[0].as_str().unwrap().contains("/etc/hostname"), "{grants}");
    let words = machine.warded(["policy", "show", "unix"]).ends(0).stdout;
    for part in
        ["certify-host", "renew-host", "--set principal=", "hostcertificate", "ssh (ssh.service or sshd.service; "]
    {
        assert!(words.contains(part), "{part}: {words}");
    }
}

/// A policy can call any service `ssh`. So wherever a plan is reviewed, Warded names the service that it reloads.
#[test]
fn what_is_reloaded_is_said() {
    const SAID: &str = "ssh (nginx.service; else SIGHUP to sshd)";
    let machine = Machine::start();
    let mut grants = Grants::of(&["services.ssh = [\"reload\"]"]);
    grants.add(&format!("files.write = [\"{}\"]", machine.path("ssh/motd").display()));
    grants.write_demo(&machine.path("policies"));
    policy::change(&machine.path("policies"), "writer", "\"ssh.service\"", "\"nginx.service\"");
    let path = format!("path={}", machine.path("ssh/motd").display());
    let line = format!("> reload {SAID}\n");
    let run = |words: &[&str]| Run::of(machine.warded_command([]).args(words));
    let set = ["write-file", "--policy", "writer", "--set", &path, "--set", "reload=yes"];
    assert!(run(&["policy", "show", "writer"]).ends(0).stdout.contains(&format!("reloaded: {SAID}\n")));
    assert!(run(&[&["plan"], &set[..]].concat()).ends(3).stdout.contains(&line));
    let object = run(&[&["plan", "--json"], &set[..]].concat()).ends(3).object("warded.plan/1");
    assert_eq!(object["reloads"], serde_json::json!(["ssh"]));
    assert!(run(&[&["apply", "--yes"], &set[..]].concat()).ends(0).stdout.contains(&line));
    assert!(run(&["undo", "--yes"]).ends(0).stdout.contains(&line));
}

#[test]
fn a_mistake_has_a_line_and_a_column() {
    let machine = Machine::stopped();
    Grants::of(&[]).write_demo(&machine.path("policies"));
    let file = machine.path("policies/writer.toml");
    let good = fs::read_to_string(&file).unwrap();
    let below = good.lines().position(|line| line == "[procedure.write-file]").unwrap() + 2;
    let (at, column) = (format!("writer.toml:{below}:"), format!("writer.toml:{below}:1: "));
    for (from, to, place) in [
        ("[procedure.write-file]", "[procedure.write-file]\ncolour = 1", column.as_str()),
        ("[procedure.write-file]", "[procedure.write-file]\nauthority = [\"sign host\"]", &at),
        ("[procedure.write-file]", "[procedure.write-file]\nfiles.read = [\"/a/../b\"]", &at),
        ("[procedure.write-file]", "[procedure.write-file]\nservices.ssh = [\"reboot\"]", &at),
        ("name = \"writer\"", "name = \"wri ter\"", "writer.toml:1:8: "),
        ("name = \"writer\"", "name = ", "writer.toml:1:"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        fs::write(&file, bad).unwrap();
        machine.warded(["policy", "list"]).ends(2).says(&[place]);
    }
    fs::write(&file, good.replacen("name = \"writer\"", "name = \"unix\"", 1)).unwrap();
    machine.warded(["policy", "list"]).ends(2).says(&["the name unix is taken"]);
}

#[test]
fn a_component_that_was_not_accepted() {
    let machine = Machine::stopped();
    Grants::of(&[]).write_demo(&machine.path("policies"));
    let component = machine.path("policies/writer.wasm");
    let mut bytes = fs::read(&component).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&component, bytes).unwrap();
    let run = machine.warded(["apply", "write-file", "--policy", "writer", "--set", "path=/x", "--yes"]);
    run.ends(5).says(&["is not the one that was accepted", "accepted: sha256:", "there is: sha256:"]);
    fs::remove_file(&component).unwrap();
    machine.warded(["policy", "list"]).ends(1).says(&["writer.wasm"]);
}

#[test]
fn a_component_of_any_size_is_not_read() {
    let machine = Machine::stopped();
    Grants::of(&[]).write_demo(&machine.path("policies"));
    let (text, component) = (machine.path("policies/writer.toml"), machine.path("policies/writer.wasm"));
    let accepted = |length: usize| {
        File::create(&component).unwrap().set_len(length.try_into().unwrap()).unwrap();
        let digest = Digest::of(&vec![0; length]);
        let lines = fs::read_to_string(&text).unwrap();
        let lines = lines.lines().map(|line| match line.split_once("= \"sha256:") {
            Some((key, _)) => format!("{key}= \"{digest}\"\n"),
            None => format!("{line}\n"),
        });
        fs::write(&text, lines.collect::<String>()).unwrap();
    };
    accepted(16 << 20);
    machine.warded(["policy", "list"]).ends(0);
    accepted((16 << 20) + 1);
    machine.warded(["policy", "list"]).ends(5).says(&["writer.wasm is too large", "more than 16 MiB", "next:"]);
}

#[test]
fn no_text_of_a_policy_reaches_a_terminal_as_something_else() {
    let machine = Machine::stopped();
    let file = machine.path("policies/writer.toml");
    let hidden = [
        "\u{1b}[8m",
        "\u{1b}]0;title\u{7}",
        "\u{9b}31m",
        "\u{9d}0;title\u{9c}",
        "\u{85}",
        "\u{202e}",
        "\u{2066}",
        "\u{feff}",
    ];
    for grant in ["facts = [\"hostname!\"]", "files.read = [\"/etc/x!\"]", "keys = [\"/etc/x!\"]", "# !"] {
        for raw in hidden {
            let escaped: String = raw.chars().map(|character| format!("\\U{:08x}", u32::from(character))).collect();
            for text in [raw, &escaped] {
                if grant.starts_with('#') && text == escaped {
                    continue;
                }
                Grants::of(&[]).write_demo(&machine.path("policies"));
                let lines = fs::read_to_string(&file).unwrap() + &grant.replace('!', text) + "\n";
                let line = lines.lines().count();
                fs::write(&file, lines).unwrap();
                for arguments in
                    [&["list"][..], &["show", "writer"], &["list", "--json"], &["show", "writer", "--json"]]
                {
                    let run = Run::of(machine.warded_command(["policy"]).args(arguments));
                    let shown = format!("{}{}", run.stdout, run.stderr);
                    assert!(shown.lines().all(is_neutral), "{grant} {text:?}: {shown:?}");
                    run.ends(2).says(&[&format!("writer.toml:{line}:"), "terminal"]);
                }
            }
        }
    }
}

#[test]
fn imports_that_no_procedure_gets() {
    let machine = Machine::stopped();
    let guest = Guest {
        package: Some(
            "package wasi:sockets@0.2.0; interface network { dial: func() -> u32; } interface names { ask: func() -> u32; }"
                .to_owned(),
        ),
        world: "import wasi:sockets/network@0.2.0; import wasi:sockets/names@0.2.0;".to_owned(),
        ..Guest::doing(
            "(import \"wasi:sockets/network@0.2.0\" \"dial\" (func $dial (result i32)))
             (import \"wasi:sockets/names@0.2.0\" \"ask\" (func $ask (result i32)))",
            "",
            "(drop (call $dial)) (drop (call $ask))",
        )
    };
    Grants::of(&[]).write(&machine.path("policies"), "case", "go", &guest.component());
    let run = machine.warded(["apply", "go", "--policy", "case", "--yes"]);
    let why = ["imports what no procedure gets", "wasi:sockets/network@0.2.0", "wasi:sockets/names@0.2.0"];
    run.ends(5).says(&why);
    let (component, directory) = (machine.path("policies/case.wasm"), machine.path("machine-code"));
    machine.warded(["policy", "compile", component.to_str().unwrap(), directory.to_str().unwrap()]).ends(5).says(&why);
    assert!(!directory.exists());
    // A core module, and a file that is no WebAssembly at all.
    let module = wat::parse_str("(module)").unwrap();
    for bytes in [module.as_slice(), b"\0asm", b"hello"] {
        Grants::of(&[]).write(&machine.path("policies"), "case", "go", bytes);
        machine.warded(["apply", "go", "--policy", "case", "--yes"]).ends(5).says(&["WebAssembly component"]);
    }
}

#[test]
fn procedures_that_the_policy_does_not_describe() {
    let machine = Machine::stopped();
    let mut guest = Guest::doing("", "", "");
    guest.exports.push("extra".to_owned());
    guest.fields.push_str(&procedure("extra", ""));
    let policies = machine.path("policies");
    Grants::of(&[]).write(&policies, "case", "go", &guest.component());
    let run = machine.warded(["apply", "go", "--policy", "case", "--yes"]).ends(0);
    assert!(run.stdout.contains("Nothing to do"), "{}", run.stdout);
    Grants::of(&[]).write(&policies, "case", "other", &Guest::doing("", "", "").component());
    let run = machine.warded(["apply", "other", "--policy", "case", "--yes"]);
    run.ends(5)
        .says(&["describes other, which the component does not export", "exports go, which the policy does not"]);
}
