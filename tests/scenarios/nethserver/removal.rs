//! Everything is removed, whatever was done before, and whatever an administrator has written since.

use super::{NEW, SET, properties};
use crate::support::{Run, nethserver::NethServer};
use std::fs;

const CERTIFY: [&str; 5] = ["apply", "certify-host", "--set", SET, "--yes"];
const TRUST: [&str; 4] = ["apply", "trust-user-ca", "--yes", "--accept-risk=root-by-certificate"];
const REMOVE: [&str; 4] = ["apply", "remove", "--yes", "--accept-risk=lose-ssh"];
const RENEW: [&str; 2] = ["renew", "--force"];
/// Undoes everything.
const ALL: [&str; 4] = ["remove", "--yes", "--accept-risk=lose-ssh", "--json"];
const INCLUDE: &str = "/etc/backup-config.d/custom.include";

#[test]
fn after_any_order_of_procedures_all_is_as_before() {
    let Some(machine) = NethServer::start(NEW, properties(false, true)) else { return };
    let before = machine.tree();
    let orders: [&[&[&str]]; 5] = [
        &[&CERTIFY],
        &[&TRUST],
        &[&CERTIFY, &RENEW, &TRUST],
        &[&TRUST, &CERTIFY, &RENEW],
        &[&CERTIFY, &REMOVE, &TRUST],
    ];
    for order in orders {
        for removal in [&REMOVE[..], &ALL] {
            order.iter().for_each(|words| drop(machine.warded(words).ends(0)));
            // Whoever logs in by a certificate could not any more.
            let code = if order.contains(&&TRUST[..]) { 5 } else { 3 };
            machine.warded(&["plan", "remove"]).ends(code);
            machine.warded(&["plan", "remove", "--accept-risk=lose-ssh"]).ends(3);
            machine.warded(removal).ends(0);
            assert_eq!(machine.tree(), before, "{order:?}, {removal:?}");
        }
    }
}

#[test]
fn what_an_administrator_wrote_since_stays() {
    let Some(machine) = NethServer::start(NEW, properties(false, false)) else { return };
    let before = machine.tree();
    machine.warded(&CERTIFY).ends(0);
    machine.warded(&TRUST).ends(0);
    let include = machine.file(INCLUDE);
    let text = fs::read_to_string(&include).unwrap();
    fs::write(&include, format!("{text}/theirs\n")).unwrap();
    // Another property is set and signalled, so Warded's block moves to another file.
    machine.sets(properties(false, true));
    machine.saves();
    let with_both = machine.tree();
    machine.warded(&["remove", "--plan"]).ends(3).prints(&["The policy nethserver takes its own lines out first."]);
    assert_eq!(machine.tree(), with_both);

    // Several runs print a single object.
    machine.warded(&ALL).ends(0).object("warded.remove/1");
    let mut now = machine.tree();
    let (mode, _, _, contents) = now.remove(&include).unwrap();
    assert_eq!((mode, contents), (0o100_644, b"/theirs\n".to_vec()));
    assert_eq!(machine.product(), machine.configuration());

    let (names, former): (Vec<_>, Vec<_>) = (now.into_keys().collect(), before.into_keys().collect());
    assert_eq!(names, former);
    machine.warded(&["remove", "--plan"]).ends(0).prints(&["Warded has changed no file here"]);
}

/// Somebody deleted only the timer's file: systemd still runs the timer, and would start it at the next boot.
#[test]
fn a_timer_whose_file_is_gone_is_stopped() {
    let Some(machine) = NethServer::start(NEW, properties(false, false)) else { return };
    machine.warded(&CERTIFY).ends(0);
    // Makes systemd seem to be process 1, and installs a systemctl that records its arguments.
    let systemd = "mkdir -p /run/systemd/system /etc/systemd/system/timers.target.wants
                   echo systemd >/run/comm; mount --bind /run/comm /proc/1/comm
                   rm -f /usr/bin/systemctl; printf '#!/bin/sh\necho \"$*\" >>/run/told\n' >/usr/bin/systemctl
                   chmod 755 /usr/bin/systemctl
                   ln -s ../warded-renew.timer /etc/systemd/system/timers.target.wants";
    Run::of(machine.command("sh").args(["-ec", systemd])).ends(0);
    machine.warded(&REMOVE).ends(0);
    let told = fs::read_to_string(machine.file("/run/told")).unwrap();
    for words in ["stop -- warded-renew.timer", "--no-reload disable --quiet -- warded-renew.timer"] {
        assert!(told.lines().any(|line| line == words), "{told}");
    }
}
