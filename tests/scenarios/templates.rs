//! Files for a template engine: bytes that their contents must not have, and directories that are made and removed with
//! a file.

use crate::support::{
    Grants, Machine, Run,
    script::{
        Argument::{Settings, Text},
        Script,
    },
};
use std::fs;

const GRANTS: [&str; 2] = [
    r#"files.write = [{ path = "{dir}/templates-custom/etc/80Certificates", forbid = "{}\\", parents = true }]"#,
    r#"files.read = ["{dir}/templates-custom/etc/*"]"#,
];
const FRAGMENT: &str = "templates-custom/etc/80Certificates";

fn procedure(machine: &Machine, does: impl FnOnce(&mut Script)) {
    let directory = machine.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    let mut script = Script::new(&directory);
    does(&mut script);
    let grants = GRANTS.map(|line| line.replace("{dir}", &directory));
    let lines = grants.each_ref().map(String::as_str);
    Grants::of(&lines).write(&machine.path("policies"), "case", "go", &script.component());
}

fn go<const N: usize>(machine: &Machine, words: [&str; N]) -> Run {
    Run::of(machine.warded_command(words).args(["--policy", "case"]))
}

#[test]
fn a_directory_comes_and_goes_with_the_fragment() {
    let machine = Machine::start();
    let before = machine.tree();
    procedure(&machine, |script| {
        script.writes(&format!("{{dir}}/{FRAGMENT}"), "HostCertificate /x\n");
        // The run sees its own staged file.
        script.does("files.read", &[Text(format!("{{dir}}/{FRAGMENT}").as_bytes())]);
    });
    go(&machine, ["plan", "go"]).ends(3).prints(&["80Certificates", "in a new directory", "+HostCertificate /x"]);
    assert!(!machine.path("templates-custom").exists());
    for takes_back in [["undo", "--yes"], ["remove", "--yes"]] {
        go(&machine, ["apply", "go", "--yes"]).ends(0);
        assert_eq!(fs::read_to_string(machine.path(FRAGMENT)).unwrap(), "HostCertificate /x\n");
        go(&machine, ["apply", "go", "--yes"]).ends(0).prints(&["Nothing to do"]);
        machine.warded(takes_back).ends(0);
        assert!(!machine.path("templates-custom").exists(), "{takes_back:?}");
    }
    assert_eq!(machine.tree(), before);
    machine.warded(["policy", "show", "case"]).ends(0).prints(&["80Certificates", "forbid", "parents = true"]);
}

/// An engine that prints the fragments of a directory, each below a line with its name, and records on which copy it
/// worked.
const ENGINE: &str = "#!/bin/sh\necho $1 >>{dir}/worked\ncd $1/etc && for name in $(ls -A); do echo \"# $name\"; cat $name; done >$1/out\n";
const EXPAND: &str = r#"
[action.expand]
kind = "query"
argv = ["{dir}/engine", "{scratch}"]
output = { file = "out" }
scratch."etc" = ["{dir}/stock", "{dir}/templates-custom/etc"]
"#;

/// Writes a fragment, and prints what the engine generates with it.
fn expands(machine: &Machine) {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = machine.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    fs::create_dir(machine.path("stock")).unwrap();
    fs::write(machine.path("stock/10Port"), "Port 22\n").unwrap();
    fs::write(machine.path("engine"), ENGINE.replace("{dir}", &directory)).unwrap();
    fs::set_permissions(machine.path("engine"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut script = Script::new(&directory);
    script.does("actions.query", &[Text(b"expand"), Settings(&[])]);
    script.writes(&format!("{{dir}}/{FRAGMENT}"), "HostCertificate /x\n");
    script.does("actions.query", &[Text(b"expand"), Settings(&[])]);
    script.raw("(call $log.info (i32.load (i32.const 1028)) (i32.load (i32.const 1032))) ");
    script.raw("(if (i32.const 0) (then ").says("info", "").raw(")) ");
    let grants = GRANTS.map(|line| line.replace("{dir}", &directory));
    let lines = [grants[0].as_str(), &grants[1], "actions = [\"expand\"]", "log = [\"info\"]"];
    let grants = Grants::of(&lines).with_actions(&EXPAND.replace("{dir}", &directory));
    grants.write(&machine.path("policies"), "case", "go", &script.component());
}

#[test]
fn a_query_sees_what_is_staged_and_the_machine_does_not() {
    let machine = Machine::start();
    expands(&machine);
    let product = ["note: # 10Port", "Port 22", "# 80Certificates", "HostCertificate /x"];
    go(&machine, ["plan", "go"]).ends(3).prints(&product);
    assert!(!machine.path("templates-custom").exists() && !machine.path("out").exists());
    go(&machine, ["apply", "go", "--yes"]).ends(0).prints(&product);
    go(&machine, ["apply", "go", "--yes"]).ends(0).prints(&["Nothing to do"]);
    machine.warded(["policy", "show", "case"]).ends(0).prints(&["{scratch}/etc is a copy of", "{scratch}/out"]);
    machine.warded(["undo", "--yes"]).ends(0);
    assert!(!machine.path("templates-custom").exists());
    // One copy each for the plan, the two applies and their second looks. None of these copies is left.
    let worked = fs::read_to_string(machine.path("worked")).unwrap();
    assert!(worked.lines().count() >= 3, "{worked}");
    for copy in worked.lines() {
        assert!(!fs::exists(copy).unwrap(), "{copy} is left");
    }
}

/// Somebody changes another fragment while a person reads the plan.
#[test]
fn another_fragment_that_changes_meanwhile_stops_the_run() {
    let machine = Machine::start();
    expands(&machine);
    let engine = ENGINE.replace(
        "cd ",
        "echo >>{dir}/asked; [ $(wc -l <{dir}/asked) != 2 ] || echo 'Port 23' >{dir}/stock/10Port; cd ",
    );
    let directory = machine.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    fs::write(machine.path("engine"), engine.replace("{dir}", &directory)).unwrap();
    let run = go(&machine, ["apply", "go", "--yes"]).ends(5);
    run.says(&["expand gives another answer than when this was planned", "nothing was changed"]);
    assert!(!machine.path("templates-custom").exists());
}
