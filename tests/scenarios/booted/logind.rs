//! A login that is a session of systemd-logind's, which ends all processes of the session.

use super::{CERTIFY, files, is_as, serves, serves_certificates};
use crate::support::{
    Booted, ClientKnowledge,
    wait::{LONG, wait},
};
use std::{fs, process::Command};

/// Includes root's processes, which logind spares by default.
const ENDS_ALL: &str = "[Login]\nKillUserProcesses=yes\nKillExcludeUsers=\n";

/// A login that runs this line.
fn login(machine: &Booted, line: &str) -> Command {
    let key = fs::read_to_string(machine.file("/etc/ssh/ssh_host_ed25519_key.pub")).unwrap();
    machine.client(&ClientKnowledge::Keys(key)).command(line)
}

/// Certifies the machine in a session that ends at once, and leaves a program running.
fn certifies_in_a_session(machine: &Booted, time: &str) {
    let left =
        "setsid sleep 600 </dev/null >/dev/null 2>&1 & echo $! >/root/left; cat /proc/self/cgroup >/root/session";
    let apply = format!("WARDED_CA=/root/ca warded {CERTIFY} --confirm-within {time}");
    crate::support::Run::of(&mut login(machine, &format!("{left}; {apply}"))).ends(0);
    let session = fs::read_to_string(machine.file("/root/session")).unwrap();
    assert!(session.contains("/session-") && session.contains(".scope"), "it is no session: {session}");
    wait("logind ends the session", LONG, || machine.shell("kill -0 $(cat /root/left)").code != Some(0));
}

#[test]
fn a_change_waits_on_when_logind_ends_its_session() {
    for suite in ["bookworm-logind", "trixie-logind"] {
        let Some(machine) = Booted::start(suite, "ssh.service") else { return };
        fs::create_dir_all(machine.file("/etc/systemd/logind.conf.d")).unwrap();
        fs::write(machine.file("/etc/systemd/logind.conf.d/test.conf"), ENDS_ALL).unwrap();
        machine.shell("systemctl restart systemd-logind.service").ends(0);
        let old = files(&machine);

        certifies_in_a_session(&machine, "30s");
        let status = machine.shell("warded status --json").object("warded.status/1");
        assert_eq!(status["unconfirmed"], 1, "{status}");
        serves_certificates(&machine);
        wait("it is rolled back", LONG, || {
            fs::read_link(machine.file("/var/lib/warded/runs/1/journal.state"))
                .is_ok_and(|state| state == *"rolled-back")
        });
        wait("the watchdog has tidied up", LONG, || files(&machine) == old);
        is_as(&machine, &old);
        serves(&machine);

        certifies_in_a_session(&machine, "10m");
        machine.warded("confirm").ends(0);
        serves_certificates(&machine);
    }
}
