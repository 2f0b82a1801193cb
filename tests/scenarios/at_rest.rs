//! An unattended renewal that finds nothing due remembers the state that it saw. The next one examines the machine
//! again only if that state has changed.

use crate::support::{
    Machine, Peer, Run, clock, missing,
    wait::{LONG, wait},
};
use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

/// The longest tick of the kernel's clock.
const TICK: Duration = Duration::from_millis(10);

type Change = fn(&Machine);

/// The record's inode and time of change: a renewal that examines the machine writes the record anew.
fn remembered(file: &Path) -> (u64, i64, i64) {
    let found = file.metadata().unwrap();
    (found.ino(), found.ctime(), found.ctime_nsec())
}

/// Waits until all earlier changes are older than the last tick of the clock from which the kernel takes file times. A
/// file that changed in the tick in which a renewal began may have changed while the renewal read it, so the renewal
/// does not remember it.
fn lets_the_clock_tick(ticker: &Path) {
    let time = || {
        fs::write(ticker, "").unwrap();
        let found = ticker.metadata().unwrap();
        Duration::new(found.ctime().unsigned_abs(), u32::try_from(found.ctime_nsec()).unwrap())
    };
    let before = time();
    wait("the clock of changes goes on", LONG, || time() > before + 2 * TICK);
}

#[track_caller]
fn renews(machine: &Machine, seconds: i64) {
    lets_the_clock_tick(&machine.path("tick"));
    let mut command = machine.warded_command(["renew"]);
    if seconds != 0 {
        clock::shift(&mut command, seconds);
    }
    Run::of(&mut command).ends(0).prints(&["Nothing is due."]);
}

/// Whether the next renewal examines the machine, when it is started as by root's timer.
fn looks(machine: &Machine, seconds: i64) -> bool {
    let record = machine.path("state/at-rest.json");
    let before = remembered(&record);
    renews(machine, seconds);
    remembered(&record) != before
}

fn append(machine: &Machine, name: &str, text: &str) {
    let path = machine.path(name);
    let before = fs::read_to_string(&path).unwrap_or_default();
    fs::write(path, before + text).unwrap();
}

#[test]
fn a_renewal_looks_again_where_something_changed() {
    if missing::root() {
        return;
    }
    let mut machine = Machine::start();
    machine.certify();
    renews(&machine, 0);
    assert!(!looks(&machine, 0), "nothing has changed");

    let changes: [(&str, Change); 6] = [
        ("sshd's configuration", |machine| append(machine, "ssh/sshd_config", "# by hand\n")),
        ("a certificate, written anew", |machine| append(machine, "ssh/ssh_host_rsa_key-cert.pub", "")),
        ("a host key's public half", |machine| append(machine, "ssh/ssh_host_rsa_key.pub", "\n")),
        ("Warded's configuration", |machine| append(machine, "config.toml", "renew-after = 60\n")),
        ("the enrolments, written anew", |machine| append(machine, "state/enrolment.json", "\n")),
        ("a directory of policies", |machine| {
            fs::create_dir_all(machine.path("policies")).unwrap();
            append(machine, "policies/README", "Ours.\n");
        }),
    ];
    for (what, change) in changes {
        change(&machine);
        assert!(looks(&machine, 0), "{what}");
        assert!(!looks(&machine, 0), "{what}: looked at once");
    }

    // Another process listens now.
    let pid = fs::read_to_string(machine.path("sshd.pid")).unwrap();
    Run::of(machine.command("kill").arg(pid.trim())).ends(0);
    wait("sshd ends", LONG, || !machine.path("sshd.pid").exists());
    machine.serve();
    assert!(looks(&machine, 0), "sshd was started anew");

    // A run has ended since, but it saw live what it had renewed.
    lets_the_clock_tick(&machine.path("tick"));
    machine.warded(["renew", "--force"]).ends(0);
    assert!(!looks(&machine, 0), "it saw live what it had renewed");
    assert!(!looks(&machine, 3600), "an hour later");
    assert!(looks(&machine, 25 * 3600), "a day later everything is looked at");
    assert!(looks(&machine, 0), "a clock that goes back says nothing");

    // A record that somebody else wrote says nothing about this machine.
    fs::write(machine.path("state/at-rest.json"), "{}").unwrap();
    assert!(looks(&machine, 0));
}

/// Since 9.8 sshd starts other programs for each connection, which a package update may replace while the listener
/// keeps running.
#[test]
fn a_renewal_looks_again_where_a_program_of_sshd_changed() {
    let Some(peer) = Peer::start("trixie", "") else { return };
    let record = peer.file("/var/lib/warded/at-rest.json");
    let renews = || {
        lets_the_clock_tick(&peer.file("/tmp/tick"));
        peer.warded(&["renew"]).ends(0).prints(&["Nothing is due."]);
        remembered(&record)
    };
    peer.warded(&["apply", "certify-host", "--set", "principal=web1.example.org", "--yes"]).ends(0);
    let mut before = renews();
    assert_eq!(renews(), before, "nothing has changed");
    let replaced = "cp -p \"$0\" \"$0.new\" && mv \"$0.new\" \"$0\"";
    for (program, change) in [
        ("/usr/sbin/sshd", "touch \"$0\""),
        ("/usr/lib/openssh/sshd-session", replaced),
        ("/usr/lib/openssh/sshd-auth", replaced),
    ] {
        Run::of(peer.command("sh").args(["-c", change, program])).ends(0);
        let after = renews();
        assert_ne!(after, before, "{program}");
        assert_eq!(renews(), after, "{program}: looked at once");
        before = after;
    }
}
