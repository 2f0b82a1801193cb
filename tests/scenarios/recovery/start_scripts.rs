//! The scripts that docs/RECOVERY.md gives for inits other than systemd, to run before sshd. Each runs as its init
//! would run it.

use super::{apply_unconfirmed, seen, serves, state, watchdogs};
use crate::support::{Machine, Peer, Run, missing};
use std::fs;

const GUIDE: &str = include_str!("../../../docs/RECOVERY.md");

/// Each init with the way in which it runs its script.
const INITS: [(&str, &str); 3] = [
    ("sysvinit, ", "sh SCRIPT start"),
    ("OpenRC, ", "ebegin() { :; }; eend() { return $1; }; . SCRIPT; start"),
    ("runit (Void), ", "[ -r SCRIPT ] && . SCRIPT"),
];

fn script_of(init: &str) -> &'static str {
    let (_, rest) = GUIDE.split_once(&format!("\n{init}")).unwrap();
    rest.split("```sh\n").nth(1).unwrap().split("```").next().unwrap()
}

#[test]
fn each_init_has_a_script_that_recovers() {
    for (init, how) in INITS {
        let machine = Machine::start();
        let script = script_of(init);
        assert!(
            script.contains("/usr/local/bin/warded recover\n") || script.contains("/usr/local/bin/warded recover ;;")
        );
        let file = machine.path("script");
        // Only the program is replaced, by Warded with this machine's options.
        fs::write(&file, script.replace("/usr/local/bin/warded recover", &machine.warded_line("recover"))).unwrap();
        let line = how.replace("SCRIPT", &file.display().to_string());
        let runs = || Run::of(machine.command("sh").args(["-euc", &line])).ends(0);
        let before = seen(&machine);
        apply_unconfirmed(&machine);
        assert!(watchdogs(&machine).is_empty() && seen(&machine) != before, "{init}");
        runs().prints(&["had been interrupted; it was rolled back:"]);
        assert_eq!((seen(&machine), state(&machine)), (before, "rolled-back".to_owned()), "{init}");
        serves(&machine);
        runs().prints(&["Nothing was interrupted."]);
    }
}

/// `doctor` recognizes the script once the page's command has enabled it for sysvinit.
#[test]
fn a_script_that_sysvinit_starts_is_found_by_doctor() {
    if missing::root() || missing::program("update-rc.d", "init-system-helpers") {
        return;
    }
    let (_, command) = GUIDE.split_once("`/etc/init.d/warded-recover`, then `").unwrap();
    let command = command.split('`').next().unwrap();
    assert_eq!(command, "update-rc.d warded-recover defaults");
    let machine = Machine::start();
    machine.certify();
    let etc = "mkdir /run/u /run/w && mount -t overlay -o lowerdir=/etc,upperdir=/run/u,workdir=/run/w overlay /etc";
    Run::of(machine.command("sh").args(["-ec", etc])).ends(0);
    let found = "/etc/init.d/warded-recover runs `warded recover` at the start of the machine";
    let doctor = || machine.warded(["doctor"]).stdout;
    assert!(!doctor().contains(found));
    let file = machine.path("script");
    fs::write(&file, script_of("sysvinit, ")).unwrap();
    let install = format!("install -m 755 {} /etc/init.d/warded-recover; {command}", file.display());
    Run::of(machine.command("sh").args(["-ec", &install])).ends(0);
    let seen = doctor();
    assert!(seen.contains(found), "{seen}");
}

/// Warded writes runit's first-stage file whether a scheduler runs or not; an undo removes it.
#[test]
fn runit_has_its_first_stage_recover() {
    let Some(peer) = Peer::start("trixie", "") else { return };
    let sh = |script: &str| Run::of(peer.command("sh").args(["-ec", script])).ends(0);
    sh("mkdir -p /etc/runit/core-services; echo runit >/run/comm; mount --bind /run/comm /proc/1/comm");
    let file = "/etc/runit/core-services/97-warded-recover.sh";
    let certify = ["certify-host", "--set", "principal=web1.example.org"];
    let plan = peer.warded(&[&["plan"][..], &certify].concat()).ends(3);
    plan.prints(&[&format!("+ {file}"), "Nothing runs `warded renew` automatically"]);
    peer.warded(&[&["apply", "--yes"][..], &certify].concat()).ends(0);
    let text = fs::read_to_string(peer.file(file)).unwrap();
    assert!(text.ends_with(" recover\n") && text.lines().count() == 2, "{text}");
    sh(&format!(". {file}")).prints(&["Nothing was interrupted."]);
    peer.warded(&[&["apply", "--yes"][..], &certify].concat()).ends(0).prints(&["Nothing to do."]);
    peer.warded(&["undo", "--yes"]).ends(0);
    assert!(!peer.file(file).exists());
}
