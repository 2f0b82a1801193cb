//! Machines that differ from Debian in where their configuration lies, and in what starts services.

use crate::support::{
    ClientKnowledge, Machine, Peer, Run,
    machine::{await_file, tree},
    missing,
    peer::SYSTEMD,
    wait::{LONG, wait},
};
use std::fs;

const SET: &str = "principal=web1.example.org";

/// openSUSE: the main file is the vendor's, in `/usr/etc`, and includes the administrator's directory.
#[test]
fn a_main_file_of_the_vendors_stays_as_it_is() {
    let Some(peer) = Peer::start("bookworm", "") else { return };
    let (own, vendors) = (peer.file("/etc/ssh"), peer.file("/usr/etc/ssh"));
    fs::create_dir_all(&vendors).unwrap();
    fs::rename(own.join("sshd_config"), vendors.join("sshd_config")).unwrap();
    let pid_file = peer.file("/run/sshd.pid");
    let first = fs::read_to_string(&pid_file).unwrap();
    Run::of(peer.command("/bin/kill").arg(first.trim())).ends(0);
    wait("sshd ends", LONG, || !pid_file.exists());
    let mut sshd = peer.command("/usr/sbin/sshd");
    Run::of(sshd.args(["-E", "/run/sshd.log", "-f", "/usr/etc/ssh/sshd_config"])).ends(0);
    await_file(&pid_file, &peer.file("/run/sshd.log"));

    let before = (tree(&own), tree(&vendors));
    let certified = peer.warded(&["apply", "certify-host", "--set", SET, "--yes"]).ends(0);
    assert!(certified.stdout.contains("+ /etc/ssh/sshd_config.d/50-warded.conf"), "{}", certified.stdout);
    assert!(certified.stdout.contains("Seen live: 3 certificates served"), "{}", certified.stdout);
    let authority = fs::read_to_string(peer.file("/root/ca/host_ca.pub")).unwrap();
    peer.client(&ClientKnowledge::Authority(authority)).connects();
    // No scheduler renews there.
    peer.warded(&["status"]).ends(4).prints(&["problem      nothing renews automatically"]);
    peer.renews_by_cron();
    peer.warded(&["status"]).ends(0);
    peer.warded(&["renew", "--force"]).ends(0);
    let revoked = peer.warded(&["apply", "revoke-users", "--set", "serial=7", "--yes"]).ends(0);
    assert!(revoked.stdout.contains("+ /etc/ssh/warded-revoked.krl"), "{}", revoked.stdout);
    assert!(before.1 == tree(&vendors));
    for _ in 0..3 {
        peer.warded(&["undo", "--yes"]).ends(0);
    }
    assert!(before == (tree(&own), tree(&vendors)));

    // Without the directory there is no place for Warded's lines, since it does not write into the vendor's file.
    fs::remove_dir_all(own.join("sshd_config.d")).unwrap();
    let before = (tree(&own), tree(&vendors));
    let refused = peer.warded(&["apply", "certify-host", "--set", SET, "--yes"]);
    assert!(!matches!(refused.code, None | Some(0)), "{refused:?}");
    refused.says(&[
        "belongs to the vendor, so Warded does not change it",
        "mkdir -m 755 /etc/ssh/sshd_config.d",
        "nothing was changed",
    ]);
    assert!(before == (tree(&own), tree(&vendors)));
}

/// Alpine and Gentoo: OpenRC keeps its state in `/run/openrc`.
#[test]
fn a_machine_with_openrc() {
    if missing::root() {
        return;
    }
    let machine = Machine::start();
    Run::of(machine.command("mkdir").arg("/run/openrc")).ends(0);
    let before = machine.tree();
    let plan = machine.warded(["plan", "certify-host", "--set", SET]).ends(3);
    assert!(plan.stdout.contains("init openrc"), "{}", plan.stdout);
    machine.certify();
    machine.serves_certificates();
    machine.warded(["status"]).ends(0);
    machine.warded(["renew", "--force"]).ends(0);
    let log = machine.warded(["audit", "log"]).ends(0).stdout;
    assert_eq!(log.matches("SIGHUP to process").count(), 2, "{log}");
    machine.warded(["undo", "--yes"]).ends(0);
    machine.warded(["undo", "--yes"]).ends(0);
    assert!(before == machine.tree());
}

/// A namespace on a machine with systemd: Warded cannot see its timers, so it does not report a missing schedule.
#[test]
fn a_machine_whose_systemd_is_out_of_sight() {
    let Some(peer) = Peer::start("bookworm", "") else { return };
    fs::write(peer.file(SYSTEMD), "").unwrap();
    peer.warded(&["apply", "certify-host", "--set", SET, "--yes"])
        .ends(0)
        .prints(&["If nothing runs it yet: run it every hour"]);
    peer.warded(&["status"]).ends(0).prints(&["schedule     unknown: systemd is installed, and is not process 1 here"]);
}
