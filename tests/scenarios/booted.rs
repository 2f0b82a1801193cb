//! A machine that Debian boots: systemd is process 1, reloads sshd's unit, holds sshd's socket if sshd is started that
//! way, and at its start rolls back changes that nobody confirmed.

mod logind;

use super::schedule::below;
use crate::support::{
    Booted, ClientKnowledge,
    machine::{Found, KEYS, tree},
    wait::{LONG, wait},
};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::PathBuf, process::Stdio, time::Duration};

pub(super) const CERTIFY: &str = "apply certify-host --yes --set principal=web1.example.org";

fn files(machine: &Booted) -> BTreeMap<PathBuf, Found> {
    tree(&machine.file("/etc/ssh"))
}

/// Checks that sshd's files are these, with owners and modes.
#[track_caller]
pub(super) fn is_as(machine: &Booted, old: &BTreeMap<PathBuf, Found>) {
    let name = |path: &PathBuf| path.file_name().unwrap().to_owned();
    let named = |all: &BTreeMap<PathBuf, Found>| -> BTreeMap<_, _> {
        all.iter().map(|(path, found)| (name(path), found.clone())).collect()
    };
    let (old, now) = (named(old), named(&files(machine)));
    let differ: Vec<_> = old.keys().chain(now.keys()).filter(|name| old.get(*name) != now.get(*name)).collect();
    assert!(differ.is_empty(), "{differ:?}");
}

/// Checks that a client that knows only the CA can connect.
#[track_caller]
pub(super) fn serves_certificates(machine: &Booted) {
    let authority = fs::read_to_string(machine.file("/root/ca/host_ca.pub")).unwrap();
    machine.client(&ClientKnowledge::Authority(authority)).connects();
}

/// Checks that clients that know one of the plain host keys can connect.
#[track_caller]
pub(super) fn serves(machine: &Booted) {
    for name in KEYS {
        let key = fs::read_to_string(machine.file(&format!("/etc/ssh/ssh_host_{name}_key.pub"))).unwrap();
        machine.client(&ClientKnowledge::Keys(key)).connects();
    }
}

pub(super) fn property(machine: &Booted, name: &str, unit: &str) -> String {
    machine.shell(&format!("systemctl show --property={name} --value {unit}")).ends(0).stdout.trim().to_owned()
}

/// Writes a drop-in with these lines for a unit.
pub(super) fn drop_in(machine: &Booted, unit: &str, lines: &str) {
    let directory = machine.file("/etc/systemd/system").join(format!("{unit}.d"));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("test.conf"), lines).unwrap();
    machine.shell("systemctl daemon-reload").ends(0);
}

#[test]
fn systemd_reloads_sshd_and_ends_nobodys_login() {
    for suite in ["bookworm", "trixie"] {
        let Some(machine) = Booted::start(suite, "ssh.service") else { return };
        let (old, before) = (files(&machine), property(&machine, "MainPID", "ssh.service"));
        let apply = machine.warded(CERTIFY).ends(0);
        assert!(apply.stdout.contains("Certified 3 keys"), "{}", apply.stdout);
        serves_certificates(&machine);
        machine.warded("renew --force").ends(0);
        serves_certificates(&machine);
        machine.warded("undo --yes").ends(0);
        is_as(&machine, &old);
        serves(&machine);
        assert_eq!(property(&machine, "MainPID", "ssh.service"), before, "it was restarted");
        let log = machine.shell("warded audit log").ends(0).stdout;
        assert_eq!(log.matches("systemd reloaded ssh.service").count(), 3, "{log}");
        each_run_is_in_the_journal(&machine, 3);
    }
}

/// Checks that this many runs were kept, and that each has one journal entry with its number, its procedure and the
/// head of the audit log.
fn each_run_is_in_the_journal(machine: &Booted, runs: usize) {
    let journal = machine.shell("journalctl --sync; journalctl --no-pager --output=json --identifier=warded").ends(0);
    let entries: Vec<Value> = journal.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<&str> = entries.iter().map(|entry| entry["RUN"].as_str().unwrap()).collect();
    assert_eq!(numbers, (1..=runs).map(|run| run.to_string()).collect::<Vec<_>>(), "{}", journal.stdout);
    for entry in &entries {
        let (message, hash) = (entry["MESSAGE"].as_str().unwrap(), entry["AUDIT_HASH"].as_str().unwrap());
        let procedure = entry["PROCEDURE"].as_str().unwrap();
        assert!(message.starts_with(&format!("run {} {procedure}: ", entry["RUN"].as_str().unwrap())), "{message}");
        assert!(message.contains("ssh reloaded") && message.ends_with(&format!("{hash}]")), "{message}");
        assert_eq!((&entry["RESULT"], &entry["PRIORITY"]), (&"kept".into(), &"5".into()), "{message}");
    }
}

/// The unit cannot be reloaded while one file exists; each refusal appends a line to another file.
const BUSY: &str = "[Service]\nExecReload=\nExecReload=/bin/sh -c 'test ! -e /root/busy || ! echo no >>/root/refused'\n\
                    ExecReload=/bin/kill -HUP $MAINPID\n";

#[test]
fn a_reload_that_systemd_refuses_rolls_the_run_back_and_is_told_again() {
    let Some(machine) = Booted::start("trixie", "ssh.service") else { return };
    drop_in(&machine, "ssh.service", BUSY);
    machine.shell("touch /root/busy").ends(0);
    let old = files(&machine);
    let apply = machine.warded(CERTIFY);
    assert!(!matches!(apply.code, None | Some(0)), "{apply:?}");
    apply.says(&["systemd could not reload ssh.service", "state: "]);
    is_as(&machine, &old);
    serves(&machine);

    // Nobody confirms the change, and systemd refuses the reload when the watchdog rolls it back.
    machine.shell("rm /root/busy").ends(0);
    machine.warded(&format!("{CERTIFY} --confirm-within 20s")).ends(0);
    serves_certificates(&machine);
    machine.shell("touch /root/busy").ends(0);
    let written = machine.file("/etc/ssh/sshd_config.d/50-warded.conf");
    wait("it is rolled back", LONG, || !written.exists());
    let refusals = || fs::read_to_string(machine.file("/root/refused")).unwrap_or_default().lines().count();
    let before = refusals();
    wait("the watchdog is refused, and asks again", LONG, || refusals() >= before + 2);
    let state = || {
        let state = fs::read_link(machine.file("/var/lib/warded/runs/2/journal.state")).unwrap();
        state.to_str().unwrap().to_owned()
    };
    assert_eq!(state(), "rolling-back");
    machine.shell("rm /root/busy").ends(0);
    wait("it is told again", LONG, || state() == "rolled-back");
    wait("the watchdog has tidied up", LONG, || files(&machine) == old);
    is_as(&machine, &old);
    serves(&machine);
}

/// The reload ends sshd, and systemd would not start it again.
#[test]
fn an_sshd_that_ended_is_started_when_the_run_is_rolled_back() {
    let Some(machine) = Booted::start("trixie", "ssh.service") else { return };
    drop_in(&machine, "ssh.service", "[Service]\nExecReload=\nExecReload=/bin/kill -KILL $MAINPID\nRestart=no\n");
    let (old, before) = (files(&machine), property(&machine, "MainPID", "ssh.service"));
    let apply = machine.warded(CERTIFY).says(&["as before (", "systemd started ssh.service, which had ended, checked"]);
    is_as(&machine, &old);
    serves(&machine);
    assert_ne!(property(&machine, "MainPID", "ssh.service"), before);
    assert_eq!(apply.code, Some(1), "{apply:?}");
    // If sshd cannot be started, Warded says so, and what to do.
    drop_in(
        &machine,
        "ssh.service",
        "[Service]\nExecReload=\nExecReload=/bin/sh -c 'touch /root/ended; kill -KILL $MAINPID'\nRestart=no\n\
         [Unit]\nConditionPathExists=\nAssertPathExists=!/root/ended\n",
    );
    machine.warded(CERTIFY).ends(4).says(&["systemd could not start ssh.service", "journalctl -u ssh.service"]);
    is_as(&machine, &old);
    machine.shell("rm /root/ended; systemctl start ssh.service").ends(0);
    serves(&machine);
}

/// OpenSSH 10 serves a new certificate only after a reload, so this renewal consists of a reload alone.
#[test]
fn a_renewal_that_only_reloads_says_whether_sshd_was_told() {
    let Some(machine) = Booted::start("trixie", "ssh.service") else { return };
    machine.warded(CERTIFY).ends(0);
    drop_in(&machine, "ssh.service", BUSY);
    let sign = "ssh-keygen -q -s /root/ca/host_ca -I web1 -h -n web1.example.org -V -1m:+30d";
    machine.shell(&format!("{sign} /etc/ssh/ssh_host_ed25519_key.pub && touch /root/busy")).ends(0);
    let old = files(&machine);
    let renew = machine.warded("renew").ends(1);
    let words =
        ["systemd could not reload ssh.service", "no file was changed; ssh may have reloaded, or may have ended"];
    assert!(!renew.stderr.contains("nothing was changed"), "{}", renew.stderr);
    renew.says(&words);
    is_as(&machine, &old);
    serves(&machine);
    machine.shell("rm /root/busy").ends(0);
    machine.warded("renew").ends(0);
    serves_certificates(&machine);
}

#[test]
fn an_sshd_whose_socket_process_1_has_is_restarted() {
    for suite in ["bookworm", "trixie"] {
        let Some(machine) = Booted::start(suite, "ssh.socket") else { return };
        let (old, pid) = (files(&machine), || property(&machine, "MainPID", "ssh.service"));
        // There has been no connection yet, so there is no sshd.
        assert_eq!(pid(), "0");
        let apply = machine.shell(&format!("warded {CERTIFY}")).ends(0);
        assert!(apply.stdout.contains("No sshd is listening now"), "{}", apply.stdout);
        assert_eq!(pid(), "0");
        serves_certificates(&machine);
        // Now there is an sshd, and a login that stays open.
        let before = pid();
        let key = fs::read_to_string(machine.file("/etc/ssh/ssh_host_rsa_key.pub")).unwrap();
        let mut login = machine.client(&ClientKnowledge::Keys(key)).command("sleep 300");
        let mut login = login.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // These are more restarts in a row than systemd allows for a service.
        for words in ["undo --yes", CERTIFY, "renew --force", "renew --force", "undo --yes", CERTIFY, "undo --yes"] {
            machine.warded(words).ends(0);
            serves(&machine);
        }
        is_as(&machine, &old);
        assert_ne!(pid(), before);
        let log = machine.shell("warded audit log").ends(0).stdout;
        assert_eq!(log.matches("systemd restarted ssh.service").count(), 7, "{log}");
        assert!(login.try_wait().unwrap().is_none(), "a login was ended");
        login.kill().unwrap();
        login.wait().unwrap();

        // If a restart would end logins, Warded changes nothing.
        drop_in(&machine, "ssh.service", "[Service]\nKillMode=mixed\n");
        let before = pid();
        machine.warded(CERTIFY).ends(5).says(&["would end its logins", "KillMode=process", "nothing was changed"]);
        is_as(&machine, &old);
        assert_eq!(pid(), before);
        serves(&machine);
    }
}

/// The text of a unit in a page of the documentation.
pub(super) fn documented(page: &str, unit: &str) -> String {
    let (_, from) = page.split_once(&format!("`/etc/systemd/system/{unit}`:\n\n```ini\n")).unwrap();
    from.split_once("```").unwrap().0.to_owned()
}

/// Installs that unit as an administrator would write it, without the mark of Warded's own files.
fn install(machine: &Booted, page: &str, unit: &str) {
    let text = documented(page, unit).replace("# Managed by Warded. `warded undo` takes it out.\n", "");
    fs::write(machine.file("/etc/systemd/system").join(unit), text).unwrap();
}

#[test]
fn at_the_start_of_the_machine_it_is_rolled_back_before_sshd_starts() {
    for (suite, unit) in [("bookworm", "ssh.service"), ("trixie", "ssh.service"), ("trixie", "ssh.socket")] {
        let Some(mut machine) = Booted::start(suite, unit) else { return };
        install(&machine, include_str!("../../docs/RECOVERY.md"), "warded-recover.service");
        machine.shell("systemctl daemon-reload && systemctl enable warded-recover.service").ends(0);
        let old = files(&machine);
        let apply = machine.warded(&format!("{CERTIFY} --confirm-within 10m")).ends(0);
        assert!(!apply.stderr.contains("warded-recover.service is not enabled"), "{}", apply.stderr);
        serves_certificates(&machine);
        machine.loses_power();
        is_as(&machine, &old);
        let at = |name, unit| property(&machine, name, unit).parse::<u64>().unwrap();
        let recovered = at("ExecMainExitTimestampMonotonic", "warded-recover.service");
        let started = at("ActiveEnterTimestampMonotonic", unit);
        assert!(0 < recovered && recovered < started, "{recovered}, {started}");
        assert_eq!(property(&machine, "Result", "warded-recover.service"), "success");
        serves(&machine);
        let log = machine.shell("warded audit log").ends(0).stdout;
        assert!(log.contains("rolled back (it had been interrupted)"), "{log}");
        machine.shell("warded audit verify").ends(0);
        machine.warded(CERTIFY).ends(0);
        serves_certificates(&machine);
    }
}

/// The audit log's line of why the last run was rolled back, or an empty text.
fn rolled_back(machine: &Booted) -> String {
    let log = machine.shell("warded audit log").ends(0).stdout;
    log.lines().rfind(|line| line.contains("rolled back (")).unwrap_or_default().to_owned()
}

/// A machine with an unconfirmed change shuts down within this time. If the machine itself takes longer, since it
/// shares the processors here, it takes at most `MORE` beyond that.
const DOWN: Duration = Duration::from_secs(5);
const MORE: Duration = Duration::from_secs(2);

#[test]
fn a_reboot_rolls_back_what_nobody_has_confirmed() {
    for (suite, with_unit) in [("bookworm", false), ("trixie", true)] {
        let Some(mut machine) = Booted::start(suite, "ssh.service") else { return };
        if with_unit {
            install(&machine, include_str!("../../docs/RECOVERY.md"), "warded-recover.service");
            machine.shell("systemctl daemon-reload && systemctl enable warded-recover.service").ends(0);
        }
        let old = files(&machine);
        let units = below(&machine, "/etc/systemd/system");
        let plain = machine.reboots();
        machine.warded(&format!("{CERTIFY} --confirm-within 10m")).ends(0);
        serves_certificates(&machine);
        let told = |machine: &Booted| {
            let file = fs::read(machine.file("/var/lib/warded-status/status.json")).unwrap();
            serde_json::from_slice::<Value>(&file).unwrap()["change_waits"].clone()
        };
        assert_eq!(told(&machine), true);
        let waiting = machine.reboots();
        println!("{suite}: down in {plain:?}, with a change that waits in {waiting:?}");
        assert!(waiting < DOWN.max(plain + MORE), "{waiting:?}, where without a change it takes {plain:?}");
        assert_eq!(told(&machine), false);
        is_as(&machine, &old);
        // No link to a removed unit is left.
        assert_eq!(below(&machine, "/etc/systemd/system"), units);
        serves(&machine);
        let why = rolled_back(&machine);
        // Three of these files belong to the schedule. A unit that somebody made from the page stays.
        let restored = if with_unit { "6 files restored" } else { "7 files restored" };
        assert!(why.contains("rolled back (the machine went down before it was confirmed): "), "{why}");
        assert!(why.contains(restored), "{why}");
        machine.shell("warded audit verify").ends(0);
        let status = machine.shell("warded status --json").object("warded.status/1");
        assert_eq!((&status["interrupted"], &status["unconfirmed"]), (&Value::Null, &Value::Null), "{status}");
        machine.warded(CERTIFY).ends(0);
        serves_certificates(&machine);
    }
}

/// With `KillUserProcesses=yes` logind stops the scope of a login that ends: all its processes get SIGTERM, and later
/// SIGKILL.
#[test]
fn a_change_waits_on_when_its_login_ends() {
    for suite in ["bookworm", "trixie"] {
        let Some(machine) = Booted::start(suite, "ssh.service") else { return };
        let login = "systemd-run --quiet --scope --unit=login -- sh -c";
        let apply = format!(
            "warded {CERTIFY} --confirm-within 10m </dev/null >/root/said 2>&1; echo $? >/root/ended; sleep 600"
        );
        machine.shell(&format!("{login} '{apply}' >/dev/null 2>&1 &")).ends(0);
        let ended = machine.file("/root/ended");
        wait("it waits to be confirmed", LONG, || ended.exists());
        machine.shell("cat /root/said /root/ended; systemctl stop login.scope").ends(0).prints(&["\n0\n"]);
        let status = || machine.shell("warded status --json").ends(4).object("warded.status/1");
        assert_eq!(status()["unconfirmed"], 1, "{}", status());
        // A SIGTERM that does not come from a shutdown does not end the watchdog either.
        let scope = "set -- $(systemctl list-units --plain --no-legend 'run-*.scope')";
        // A watchdog that gets SIGTERM asks systemd several times whether the machine is going down. If it asks again,
        // the first answer did not end it.
        let noting = "#!/bin/sh\nprintf '%s\n' \"$*\" >>/run/asked\nexec systemctl.real \"$@\"\n";
        machine.shell("mv /usr/bin/systemctl /usr/bin/systemctl.real").ends(0);
        fs::write(machine.file("/usr/bin/systemctl"), noting).unwrap();
        machine.shell(&format!("chmod 755 /usr/bin/systemctl; {scope}; systemctl kill --signal=TERM $1")).ends(0);
        let asked = || fs::read_to_string(machine.file("/run/asked")).unwrap_or_default();
        wait("it asks again", LONG, || asked().matches("is-system-running").count() > 1);
        assert_eq!(status()["unconfirmed"], 1, "{}", status());
        serves_certificates(&machine);
        machine.warded("confirm").ends(0);
        serves_certificates(&machine);
    }
}

/// The logins as root that prove a change do not appear in the machine's log, where an administrator looks for logins
/// of people.
#[test]
fn proofs_leave_no_login_in_the_journal() {
    for suite in ["bookworm", "trixie"] {
        let Some(machine) = Booted::start(suite, "ssh.service") else { return };
        machine.warded(CERTIFY).ends(0).prints(&["Proved beforehand: "]);
        machine.shell("warded renew --force").ends(0);
        let log = machine.shell("journalctl --sync; journalctl --no-pager --output=short").ends(0).stdout;
        let of_sshd = || log.lines().filter(|line| line.contains("sshd"));
        for word in ["Accepted ", "session opened"] {
            let logins: Vec<&str> = of_sshd().filter(|line| line.contains(word)).collect();
            assert_eq!(logins.len(), 1, "{suite}: there was one login: {logins:#?}");
        }
    }
}

/// What docs/RENEWAL.md says about other times and about failures. `systemctl edit` writes such a file.
#[test]
fn the_timer_is_overridden_and_a_failure_is_told_as_the_page_says() {
    let page = include_str!("../../docs/RENEWAL.md");
    assert!(page.contains("`systemctl edit warded-renew.timer`") && page.contains("`OnFailure=` can name a unit"));
    for suite in ["bookworm", "trixie"] {
        let Some(machine) = Booted::start(suite, "ssh.service") else { return };
        machine.shell(&format!("warded {CERTIFY}")).ends(0);
        // This machine has no time zone files, and Warded can tell nevertheless how often the timer runs.
        machine.shell("warded config check").ends(0).prints(&["renew-every  1 hours"]);
        drop_in(&machine, "warded-renew.timer", "[Timer]\nOnCalendar=\nOnCalendar=*:0/20\nRandomizedDelaySec=0\n");
        machine.shell("systemctl restart warded-renew.timer").ends(0);
        machine.shell("warded status").ends(0).prints(&["schedule     warded-renew.timer, next in "]);
        machine.shell("warded config check").ends(0).prints(&["renew-every  20 min"]);

        let told = "[Service]\nType=oneshot\nExecStart=/bin/touch /root/told\n";
        fs::write(machine.file("/etc/systemd/system/told.service"), told).unwrap();
        drop_in(&machine, "warded-renew.service", "[Unit]\nOnFailure=told.service\n");
        machine.shell("systemctl start warded-renew.service").ends(0);
        assert!(!machine.file("/root/told").exists());
        fs::create_dir_all(machine.file("/etc/warded")).unwrap();
        fs::write(machine.file("/etc/warded/config.toml"), "ca = ").unwrap();
        machine.shell("systemctl start warded-renew.service");
        wait("the failure is told", LONG, || machine.file("/root/told").exists());
        machine.shell("systemctl --failed --no-legend --plain").prints(&["warded-renew.service"]);
    }
}
