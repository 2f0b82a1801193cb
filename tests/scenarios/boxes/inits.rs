//! Machines whose init is sysvinit or OpenRC. There cron starts the renewals, and the init starts and reloads sshd.

use crate::{
    scenarios::{
        booted::{CERTIFY, is_as, serves, serves_certificates},
        schedule::{below, certificates, make_due},
    },
    support::{
        Booted, ClientKnowledge, Init,
        machine::{Found, tree},
        wait::{LONG, wait},
    },
};
use jiff::Timestamp;
use std::{collections::BTreeMap, fs, path::PathBuf};

const TABLE: &str = "/etc/cron.d/warded-renew";
const SCRIPT: &str = "/etc/init.d/warded-recover";
/// insserv(8) writes these tables anew each time, in any order.
const TABLES: [&str; 3] = ["init.d/.depend.boot", "init.d/.depend.start", "init.d/.depend.stop"];

/// Every file of the machine's configuration.
struct Configuration {
    files: [BTreeMap<PathBuf, Found>; 3],
    /// The lines of insserv's tables, sorted.
    tables: Vec<Vec<String>>,
}

fn configuration(machine: &Booted) -> Configuration {
    let mut files = ["/etc", "/usr/local", "/var/spool/cron"].map(|directory| below(machine, directory));
    files[0].retain(|path, _| !TABLES.iter().any(|table| path.ends_with(table)));
    let words = |table: &str| {
        let text = fs::read_to_string(machine.file("/etc").join(table)).unwrap_or_default();
        let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        words.sort();
        words
    };
    Configuration { files, tables: TABLES.map(words).into() }
}

#[track_caller]
fn is_configured_as(machine: &Booted, before: &Configuration) {
    let now = configuration(machine);
    for (now, before) in now.files.iter().zip(&before.files) {
        let differ = now.keys().chain(before.keys()).filter(|path| now.get(*path) != before.get(*path));
        assert_eq!(differ.collect::<Vec<_>>(), Vec::<&PathBuf>::new());
    }
    assert_eq!(now.tables, before.tables);
}

fn listener(machine: &Booted) -> String {
    fs::read_to_string(machine.file("/run/sshd.pid")).unwrap()
}

/// How many runs the audit log reports as rolled back.
fn rolled_back(machine: &Booted) -> usize {
    machine.shell("warded audit log").ends(0).stdout.matches("rolled back (").count()
}

/// Certifies the machine, lets cron renew it, reloads sshd by its init, reboots, and removes Warded. `enables` is the
/// program by which the init takes up a script.
fn lives(init: Init, reload: &str, enables: &str) {
    let Some(mut machine) = Booted::with(init) else { return };
    let before = configuration(&machine);
    let first = listener(&machine);
    let plan = machine.warded("plan certify-host --set principal=web1.example.org").ends(3);
    let takes_up = format!("> reload schedule ({enables} takes up warded-recover)");
    let plan = plan.prints(&[&format!("+ {TABLE}"), &format!("+ {SCRIPT}"), &takes_up]);
    assert!(!plan.stdout.contains("systemd"), "{}", plan.stdout);
    is_configured_as(&machine, &before);
    machine.warded(CERTIFY).ends(0).prints(&["Certified 3 keys", &format!("Renewal: by cron ({TABLE})")]);
    let found = machine.shell("warded doctor").stdout;
    assert!(found.contains(&format!("{SCRIPT} runs `warded recover` at the start of the machine")), "{found}");
    assert!(!fs::read_to_string(machine.file(TABLE)).unwrap().contains("@reboot"));
    machine.warded(CERTIFY).ends(0).prints(&["Nothing to do."]);
    serves_certificates(&machine);
    machine.shell(reload).ends(0);
    // The init's reload sends a signal, and does not wait for its effect.
    let authority = ClientKnowledge::Authority(fs::read_to_string(machine.file("/root/ca/host_ca.pub")).unwrap());
    wait("it listens again", LONG, || machine.client(&authority).tries().code == Some(0));
    assert_eq!(listener(&machine), first, "it was restarted");

    // Cron starts the renewal by the same table with another minute and no delay.
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

    // The same after a reboot.
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
    lives(Init::Sysvinit, "/etc/init.d/ssh reload", "update-rc.d");
}

#[test]
fn a_machine_with_openrc_renews_itself_and_is_left_as_it_was() {
    lives(Init::Openrc, "rc-service ssh reload", "rc-update");
}

/// An interrupted run was rolled back before the machine's first process started sshd.
#[track_caller]
fn was_recovered_before_sshd(machine: &Booted) {
    let log = fs::read_to_string(machine.file("/var/lib/warded/audit/log.jsonl")).unwrap();
    let record = log.lines().rfind(|line| line.contains("it had been interrupted")).unwrap();
    let record: serde_json::Value = serde_json::from_str(record).unwrap();
    let recovered: Timestamp = record["time"].as_str().unwrap().parse().unwrap();
    let started = fs::metadata(machine.file("/run/sshd.pid")).unwrap().modified().unwrap();
    assert!(recovered < Timestamp::try_from(started).unwrap(), "{recovered}, {started:?}");
}

/// A shutdown rolls back an unconfirmed change. After a power cut the script that `apply` installed does so before sshd
/// starts.
#[test]
fn what_nobody_has_confirmed_does_not_outlast_a_boot() {
    for init in [Init::Sysvinit, Init::Openrc] {
        let Some(mut machine) = Booted::with(init) else { return };
        let (before, old) = (configuration(&machine), tree(&machine.file("/etc/ssh")));
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
        assert_eq!(rolled_back(&machine), 2, "{init:?}");
        is_as(&machine, &old);
        serves(&machine);
        was_recovered_before_sshd(&machine);
        assert!(!machine.file(SCRIPT).exists() && !machine.file(TABLE).exists(), "{init:?}");
        // What is left of the script does not keep anything from starting, and the next command removes it.
        machine.reboots();
        serves(&machine);
        machine.warded("recover").ends(0).prints(&["Nothing was interrupted."]);
        is_configured_as(&machine, &before);

        // Once the change is kept, the script stays, and does nothing if no run was interrupted.
        machine.warded(CERTIFY).ends(0);
        machine.reboots();
        serves_certificates(&machine);
        assert_eq!(rolled_back(&machine), 2, "{init:?}");
        machine.warded("undo --yes").ends(0);
        is_configured_as(&machine, &before);
        machine.shell("warded audit verify").ends(0);
    }
}
