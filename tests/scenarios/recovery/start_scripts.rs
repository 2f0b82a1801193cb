//! What docs/RECOVERY.md gives inits other than systemd to run before sshd: each script is run as its init does.

use crate::support::{Machine, Run};
use std::fs;

const GUIDE: &str = include_str!("../../../docs/RECOVERY.md");

/// How an init runs its script.
const INITS: [(&str, &str); 3] = [
    ("sysvinit, ", "sh SCRIPT start"),
    ("OpenRC, ", "ebegin() { :; }; eend() { return $1; }; . SCRIPT; start"),
    ("runit (Void), ", "[ -r SCRIPT ] && . SCRIPT"),
];

#[test]
fn each_init_has_a_script_that_recovers() {
    let machine = Machine::start();
    for (init, how) in INITS {
        let (_, rest) = GUIDE.split_once(&format!("\n{init}")).unwrap();
        let script = rest.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
        assert!(
            script.contains("/usr/local/bin/warded recover\n") || script.contains("/usr/local/bin/warded recover ;;")
        );
        let file = machine.path("script");
        // The rest of the line is the program's with this machine's options.
        fs::write(&file, script.replace("/usr/local/bin/warded recover", &machine.warded_line("recover"))).unwrap();
        let line = how.replace("SCRIPT", &file.display().to_string());
        let run = Run::of(machine.command("sh").args(["-euc", &line]));
        run.ends(0).prints(&["Nothing was interrupted."]);
    }
}
