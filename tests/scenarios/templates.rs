//! Files of a template engine: bytes that the contents must not have, and directories that come and go with the file.

use crate::support::{Grants, Machine, Run, script::Script};

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
        // It sees itself.
        script.does("files.read", &[crate::support::script::Argument::Text(format!("{{dir}}/{FRAGMENT}").as_bytes())]);
    });
    go(&machine, ["plan", "go"]).ends(3).prints(&["80Certificates", "in a new directory", "+HostCertificate /x"]);
    assert!(!machine.path("templates-custom").exists());
    for takes_back in [["undo", "--yes"], ["remove", "--yes"]] {
        go(&machine, ["apply", "go", "--yes"]).ends(0);
        assert_eq!(std::fs::read_to_string(machine.path(FRAGMENT)).unwrap(), "HostCertificate /x\n");
        go(&machine, ["apply", "go", "--yes"]).ends(0).prints(&["Nothing to do"]);
        machine.warded(takes_back).ends(0);
        assert!(!machine.path("templates-custom").exists(), "{takes_back:?}");
    }
    assert_eq!(machine.tree(), before);
    machine.warded(["policy", "show", "case"]).ends(0).prints(&["80Certificates", "forbid", "parents = true"]);
}
