//! Machines whose init is not systemd: sysvinit, and OpenRC. Cron renews there, and sshd is their init's.

use crate::{
    scenarios::{
        booted::{CERTIFY, is_as, serves, serves_certificates},
        schedule::{below, certificates, make_due},
    },
    support::{
        Booted, ClientKnowledge, Init,
        machine::{Found, KEYS, tree},
        wait::{LONG, wait},
    },
};
use jiff::Timestamp;
use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

const TABLE: &str = "/etc/cron.d/warded-renew";
const SCRIPT: &str = "/etc/init.d/warded-recover";
const RECOVERY: &str = include_str!("../../../docs/RECOVERY.md");

/// All that is configured on the machine.
fn configuration(machine: &Booted) -> [BTreeMap<PathBuf, Found>; 3] {
    ["/etc", "/usr/local", "/var/spool/cron"].map(|directory| below(machine, directory))
}

#[track_caller]
fn is_configured_as(machine: &Booted, before: &[BTreeMap<PathBuf, Found>; 3]) {
    for (now, before) in configuration(machine).iter().zip(before) {
        let differ = now.keys().chain(before.keys()).filter(|path| now.get(*path) != before.get(*path));
        assert_eq!(differ.collect::<Vec<_>>(), Vec::<&PathBuf>::new());
    }
}

fn listener(machine: &Booted) -> String {
    fs::read_to_string(machine.file("/run/sshd.pid")).unwrap()
}

/// How many runs the log says were rolled back.
fn rolled_back(machine: &Booted) -> usize {
    machine.shell("warded audit log").ends(0).stdout.matches("rolled back (").count()
}

/// Certified, renewed by cron, reloaded by its init, rebooted, and left as it was.
fn lives(init: Init, reload: &str) {
    let Some(mut machine) = Booted::with(init) else { return };
    let before = configuration(&machine);
    let first = listener(&machine);
    let plan = machine.warded("plan certify-host --set principal=web1.example.org").ends(3);
    let plan = plan.prints(&[&format!("+ {TABLE}")]);
    assert!(!plan.stdout.contains("systemd"), "{}", plan.stdout);
    is_configured_as(&machine, &before);
    machine.warded(CERTIFY).ends(0).prints(&["Certified 3 keys", &format!("Renewal: by cron ({TABLE})")]);
    machine.warded(CERTIFY).ends(0).prints(&["Nothing to do."]);
    serves_certificates(&machine);
    machine.shell(reload).ends(0);
    // It sends a signal, and does not wait for what comes of it.
    let authority = ClientKnowledge::Authority(fs::read_to_string(machine.file("/root/ca/host_ca.pub")).unwrap());
    wait("it listens again", LONG, || machine.client(&authority).tries().code == Some(0));
    assert_eq!(listener(&machine), first, "it was restarted");

    // Cron fires, by the table in which only the minute and the second are others.
    let text = fs::read_to_string(machine.file(TABLE)).unwrap();
    let (head, rest) = text.split_once(" * * * * root sleep ").unwrap();
    let head = head.rsplit_once('\n').unwrap().0;
    let rest = rest.split_once("; ").unwrap().1;
    let renews = |machine: &Booted| {
        let due = make_due(machine);
        fs::write(machine.file(TABLE), format!("{head}\n* * * * * root {rest}")).unwrap();
        let is_new = || certificates(machine).iter().zip(&due).all(|(now, due)| now != due);
        wait("cron renews", 3 * LONG, is_new);
        let is_over = || machine.shell("pgrep -x warded").code == Some(1);
        wait("the renewal ends", LONG, is_over);
        fs::write(machine.file(TABLE), &text).unwrap();
        serves_certificates(machine);
        machine.shell("warded status").ends(0).prints(&[&format!("schedule     cron, {TABLE}")]);
    };
    renews(&machine);

    // It is so after the machine has booted anew, too.
    machine.reboots();
    assert_ne!(listener(&machine), first);
    serves_certificates(&machine);
    renews(&machine);

    // The certificates that were due came from ssh-keygen, so they count as edits.
    machine.warded("remove --yes --discard-edits").ends(0);
    is_configured_as(&machine, &before);
    serves(&machine);
}

#[test]
fn a_machine_with_sysvinit_renews_itself_and_is_left_as_it_was() {
    lives(Init::Sysvinit, "/etc/init.d/ssh reload");
}

#[test]
fn a_machine_with_openrc_renews_itself_and_is_left_as_it_was() {
    lives(Init::Openrc, "rc-service ssh reload");
}

/// A change that waits is rolled back by a shutdown, and after a power cut by cron's line for the start of the machine.
#[test]
fn what_nobody_has_confirmed_does_not_outlast_a_boot() {
    for init in [Init::Sysvinit, Init::Openrc] {
        let Some(mut machine) = Booted::with(init) else { return };
        let before = configuration(&machine);
        let waits = |machine: &Booted| {
            machine.warded(&format!("{CERTIFY} --confirm-within 10m")).ends(0);
            serves_certificates(machine);
        };
        waits(&machine);
        let down = machine.reboots();
        println!("{init:?}: down in {down:?}");
        let log = machine.shell("warded audit log").ends(0).stdout;
        assert!(log.contains("rolled back (the machine went down before it was confirmed)"), "{init:?}: {log}");
        is_configured_as(&machine, &before);
        serves(&machine);

        waits(&machine);
        machine.loses_power();
        let is_new = |kind: &&str| machine.file(&format!("/etc/ssh/ssh_host_{kind}_key-cert.pub")).exists();
        wait("cron has it rolled back", LONG, || {
            rolled_back(&machine) == 2 && !machine.file(TABLE).exists() && !KEYS.iter().any(is_new)
        });
        is_configured_as(&machine, &before);
        serves(&machine);
        machine.shell("warded audit verify").ends(0);
    }
}

/// The script of the page, and the command by which the page has the init start it.
fn of_page(init: &str) -> (&'static str, &'static str) {
    let (_, rest) = RECOVERY.split_once(&format!("\n{init}, `{SCRIPT}`, then `")).unwrap();
    let (command, rest) = rest.split_once('`').unwrap();
    (command, rest.split("```sh\n").nth(1).unwrap().split("```").next().unwrap())
}

#[test]
fn the_script_of_the_page_recovers_before_sshd_starts() {
    for (init, name) in [(Init::Sysvinit, "sysvinit"), (Init::Openrc, "OpenRC")] {
        let Some(mut machine) = Booted::with(init) else { return };
        let old = tree(&machine.file("/etc/ssh"));
        let (command, script) = of_page(name);
        fs::write(machine.file(SCRIPT), script).unwrap();
        fs::set_permissions(machine.file(SCRIPT), fs::Permissions::from_mode(0o755)).unwrap();
        machine.shell(command).ends(0);
        // It does nothing where nothing was interrupted.
        machine.reboots();
        assert_eq!(rolled_back(&machine), 0);
        machine.warded(&format!("{CERTIFY} --confirm-within 10m")).ends(0);
        let found = machine.shell("warded doctor").stdout;
        assert!(found.contains(" runs `warded recover` at the start of the machine"), "{init:?}: {found}");
        serves_certificates(&machine);
        machine.loses_power();
        is_as(&machine, &old);
        serves(&machine);
        let log = fs::read_to_string(machine.file("/var/lib/warded/audit/log.jsonl")).unwrap();
        let record = log.lines().rfind(|line| line.contains("it had been interrupted")).unwrap();
        let record: serde_json::Value = serde_json::from_str(record).unwrap();
        let recovered: Timestamp = record["time"].as_str().unwrap().parse().unwrap();
        let started = fs::metadata(machine.file("/run/sshd.pid")).unwrap().modified().unwrap();
        assert!(recovered < Timestamp::try_from(started).unwrap(), "{init:?}: {recovered}, {started:?}");
    }
}
