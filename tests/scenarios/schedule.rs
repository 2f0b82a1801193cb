//! A certified machine renews itself: by systemd's timer on a machine that boots, and by cron if that runs.

use super::booted::{CERTIFY, documented, drop_in, is_as, property, serves_certificates};
use crate::support::{
    Booted, Machine, Peer, Run,
    machine::{Found, KEYS, tree},
    missing,
    peer::tree as peer_tree,
    wait::{LONG, wait},
};
use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

const UNITS: [&str; 3] = ["warded-renew.timer", "warded-renew.service", "warded-recover.service"];

/// The machine's units, the links to them, and sshd's files.
fn configuration(machine: &Booted) -> [BTreeMap<PathBuf, Found>; 2] {
    ["/etc/ssh", "/etc/systemd/system"].map(|directory| below(machine, directory))
}

/// The files below a directory, by paths that stay the same after a reboot.
pub(super) fn below(machine: &Booted, directory: &str) -> BTreeMap<PathBuf, Found> {
    let directory = machine.file(directory);
    let name = |path: PathBuf| path.strip_prefix(&directory).unwrap().to_owned();
    tree(&directory).into_iter().map(|(path, found)| (name(path), found)).collect()
}

/// systemd accepts the units without a warning, and the timer means every hour.
fn systemd_takes_the_units(machine: &Booted) {
    let units = UNITS.join(" ");
    let said = machine.shell(&format!("systemd-analyze verify {units} 2>&1")).stdout;
    assert!(!said.contains("warded-re"), "{said}");
    let text = fs::read_to_string(machine.file("/etc/systemd/system/warded-renew.timer")).unwrap();
    let times: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("OnCalendar=")).collect();
    let [time] = times[..] else { panic!("{text}") };
    let next = machine.shell(&format!("systemd-analyze calendar --iterations=2 '{time}'")).ends(0).stdout;
    assert!(next.contains("Normalized form: *-*-* *:00:00"), "{next}");
}

/// Makes all three certificates due.
pub(super) fn make_due(machine: &Booted) -> [Vec<u8>; 3] {
    for name in KEYS {
        let sign = "ssh-keygen -q -h -s /root/ca/host_ca -I x -n web1.example.org -z 7 -V -20d:+5d";
        machine.shell(&format!("{sign} /etc/ssh/ssh_host_{name}_key.pub")).ends(0);
    }
    certificates(machine)
}

pub(super) fn certificates(machine: &Booted) -> [Vec<u8>; 3] {
    KEYS.map(|name| fs::read(machine.file(&format!("/etc/ssh/ssh_host_{name}_key-cert.pub"))).unwrap())
}

fn await_renewal(machine: &Booted, due: &[Vec<u8>; 3]) {
    wait("the timer renews", LONG, || certificates(machine).iter().zip(due).all(|(now, due)| now != due));
    wait("the service ends", LONG, || {
        machine.shell("systemctl is-active --quiet warded-renew.service").code != Some(0)
            && property(machine, "Result", "warded-renew.service") == "success"
    });
}

/// Checks that the timer runs and is enabled, and that the recovery is enabled.
fn is_scheduled(machine: &Booted) {
    for (unit, active) in [("warded-renew.timer", "active"), ("warded-recover.service", "inactive")] {
        assert_eq!(property(machine, "UnitFileState", unit), "enabled", "{unit}");
        assert_eq!(property(machine, "ActiveState", unit), active, "{unit}");
    }
    let status = machine.shell("warded status --json").ends(0).object("warded.status/1");
    assert_eq!(status["scheduled"], true, "{status}");
    assert!(status["next_run"].is_string(), "{status}");
    let public = fs::read_to_string(machine.file("/var/lib/warded-status/status.json")).unwrap();
    assert!(public.contains("\"scheduled\": true"), "{public}");
}

#[test]
fn a_machine_with_systemd_renews_itself() {
    for suite in ["bullseye", "bookworm", "trixie", "sid"] {
        let Some(mut machine) = Booted::start(suite, "ssh.service") else { return };
        // Makes the further keys of this release: OpenSSH 10.6 has a fourth.
        machine.shell("ssh-keygen -A && systemctl restart ssh.service").ends(0);
        let before = configuration(&machine);
        machine.warded("plan certify-host --set principal=web1.example.org").ends(3).prints(&[
            "+ /etc/systemd/system/warded-renew.timer",
            "+OnCalendar=hourly",
            "> reload schedule (systemd takes up warded-renew.timer, warded-recover.service)",
        ]);
        assert_eq!(configuration(&machine), before);
        machine.warded(CERTIFY).ends(0).prints(&["Renewal: by warded-renew.timer"]);
        is_scheduled(&machine);
        machine.shell("warded doctor").prints(&["warded-recover.service is enabled"]);
        machine.warded("undo --yes").ends(0);
        is_as(&machine, &before[0]);
        assert_eq!(configuration(&machine)[1], before[1]);
        for unit in UNITS {
            assert_eq!(property(&machine, "ActiveState", unit), "inactive", "{unit}");
            assert_eq!(property(&machine, "LoadState", unit), "not-found", "{unit}");
        }

        machine.warded(CERTIFY).ends(0);
        is_scheduled(&machine);
        systemd_takes_the_units(&machine);
        machine.warded(CERTIFY).ends(0).prints(&["Nothing to do."]);
        // Somebody disabled the timer. It stays disabled, and the output says so.
        machine.shell("systemctl disable --now warded-renew.timer").ends(0);
        machine.warded(CERTIFY).ends(0).prints(&["warded-renew.timer is not enabled", "Nothing to do."]);
        machine.shell("systemctl enable --now warded-renew.timer").ends(0);

        // The timer fires; the drop-in changes only its times. The service is not denied anything it needs.
        let due = make_due(&machine);
        let often = "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/2\nRandomizedDelaySec=0\nAccuracySec=100ms\n";
        drop_in(&machine, "warded-renew.timer", often);
        await_renewal(&machine, &due);
        // One line for each run, without the output for a person; a run with nothing due writes nothing.
        let journal = || machine.shell("journalctl --no-pager --output=cat --identifier=warded").ends(0).stdout;
        wait("the renewal is told", LONG, || journal().contains("renew-host: 3 certificates until "));
        let lines = journal();
        assert!(lines.lines().all(|line| line.starts_with("run ")), "{lines}");
        // The renewal wrote its files before sshd read them.
        serves_certificates(&machine);

        // A renewal is due at boot, before sshd listens: sshd starts once the renewal waits for it.
        machine.shell("systemctl stop warded-renew.timer").ends(0);
        drop_in(&machine, "ssh.service", UNTIL_A_RENEWAL_WAITS);
        let due = make_due(&machine);
        machine.reboots();
        await_renewal(&machine, &due);
        // The files are there before sshd has read them, and sshd does not listen while it restarts.
        let told = "journalctl --no-pager --boot --output=cat --identifier=warded";
        wait("the renewal is told", LONG, || {
            machine.shell(told).ends(0).stdout.contains("renew-host: 3 certificates until ")
        });
        let failed = machine.shell("journalctl --no-pager --boot --identifier=warded --priority=warning --output=cat");
        assert_eq!(failed.ends(0).stdout, "");
        serves_certificates(&machine);
        assert_eq!(property(&machine, "Result", "warded-recover.service"), "success");

        // The certificates that were due came from ssh-keygen, so they count as edits.
        machine.shell("rm -r /etc/systemd/system/*.d; systemctl daemon-reload").ends(0);
        machine.warded("remove --yes --discard-edits").ends(0);
        assert_eq!(configuration(&machine), before, "{suite}");
    }
}

const UNTIL_A_RENEWAL_WAITS: &str = r#"[Service]
ExecStartPre=/bin/sh -c 'until case "$$(systemctl list-jobs --no-legend warded-renew.service)" in *waiting*) ;; *) false;; esac; do sleep 0.1; done'
"#;

/// A schedule as administrators made it before Warded did.
const BY_HAND: &str = "printf '[Service]\nType=oneshot\nExecStart=/usr/local/bin/warded renew\n' >warded-renew.service
    printf '[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n' >warded-renew.timer
    systemctl daemon-reload; systemctl enable --now warded-renew.timer";

#[test]
fn what_somebody_else_scheduled_stays() {
    let Some(machine) = Booted::start("trixie", "ssh.service") else { return };
    let before = configuration(&machine);
    let units = || tree(&machine.file("/etc/systemd/system"));
    let here = |line: &str| machine.shell(&format!("cd /etc/systemd/system; {line}")).ends(0);

    // A unit of that name for another purpose.
    here("printf '[Timer]\nOnCalendar=daily\n' >warded-renew.timer");
    let foreign = units();
    machine
        .warded(CERTIFY)
        .ends(0)
        .prints(&["warded-renew.timer exists, but Warded did not write it", "Nothing runs it automatically"]);
    assert_eq!(units(), foreign);
    machine.shell("warded status").ends(4).prints(&["problem      nothing renews automatically"]);
    machine.warded("undo --yes").ends(0);
    assert_eq!(units(), foreign);

    // A timer for renewals, made by hand.
    here(BY_HAND);
    let by_hand = units();
    machine.warded(CERTIFY).ends(0).prints(&["warded-renew.timer runs `warded renew` already"]);
    assert_eq!(units(), by_hand);
    machine.shell("warded status").ends(0).prints(&["warded-renew.timer, next in "]);
    machine.warded("undo --yes").ends(0);
    assert_eq!(units(), by_hand);
    here("systemctl disable --now warded-renew.timer; rm warded-renew.*; systemctl daemon-reload");

    // A cron line without a cron daemon; then with one.
    machine.shell("mkdir -p /etc/cron.d; echo '7 * * * * root warded renew' >/etc/cron.d/mine").ends(0);
    machine.warded(CERTIFY).ends(0).prints(&["Renewal: by warded-renew.timer"]);
    machine.warded("undo --yes").ends(0);
    machine.shell("systemd-run --quiet /usr/sbin/cron -f").ends(0);
    machine.warded(CERTIFY).ends(0).prints(&["cron, /etc/cron.d/mine runs `warded renew` already"]);
    machine.warded("undo --yes").ends(0);
    is_as(&machine, &before[0]);
    assert_eq!(configuration(&machine)[1], before[1]);
}

#[test]
fn a_schedule_is_rolled_back_with_its_run() {
    let Some(machine) = Booted::start("trixie", "ssh.service") else { return };
    let before = configuration(&machine);
    let is_gone = || {
        UNITS.iter().all(|unit| property(&machine, "ActiveState", unit) == "inactive")
            && UNITS.iter().all(|unit| !machine.file("/etc/systemd/system").join(unit).exists())
    };
    // With these lines systemd cannot start the timer.
    drop_in(&machine, "warded-renew.timer", "[Timer]\nOnCalendar=\nOnCalendar=never\n");
    machine.warded(CERTIFY).ends(1).says(&["systemctl start warded-renew.timer failed", "rolled back"]);
    assert!(is_gone());
    machine.shell("rm -r /etc/systemd/system/warded-renew.timer.d; systemctl daemon-reload").ends(0);
    is_as(&machine, &before[0]);
    assert_eq!(configuration(&machine)[1], before[1]);

    // Nobody confirms the change.
    machine.warded(&format!("{CERTIFY} --confirm-within 5s")).ends(0);
    wait("it is rolled back", LONG, is_gone);
    wait("the units are as before", LONG, || configuration(&machine)[1] == before[1]);
    is_as(&machine, &before[0]);
}

/// systemd would continue to start a service that is gone. Here the undo of the run stops the timer.
#[test]
fn a_timer_whose_file_was_deleted_is_stopped_all_the_same() {
    let Some(machine) = Booted::start("trixie", "ssh.service") else { return };
    let before = configuration(&machine);
    machine.warded(CERTIFY).ends(0);
    is_scheduled(&machine);
    machine.shell("rm /etc/systemd/system/warded-renew.timer").ends(0);
    machine.warded("remove --yes").ends(0);
    assert_eq!(property(&machine, "ActiveState", "warded-renew.timer"), "inactive");
    assert_eq!(configuration(&machine)[1], before[1]);
}

/// The second sshd's keys and configuration may be anywhere: the service may write there.
#[test]
fn a_second_sshd_is_renewed_by_the_same_timer() {
    let Some(machine) = Booted::start("trixie", "ssh.service") else { return };
    machine.warded(CERTIFY).ends(0);
    let make = "mkdir -p /srv/sftp /root/sftp; ssh-keygen -q -N '' -t ed25519 -f /root/sftp/key;
        printf 'Port 2222\nUsePAM no\nHostKey /root/sftp/key\n' >/srv/sftp/sshd_config";
    machine.shell(make).ends(0);
    let second = machine.warded(&format!("--sshd-config /srv/sftp/sshd_config {CERTIFY}")).ends(0);
    assert!(!second.stdout.contains("Nothing runs"), "{}", second.stdout);
    let service = fs::read_to_string(machine.file("/etc/systemd/system/warded-renew.service")).unwrap();
    assert!(["/etc/ssh", "/root/sftp"].iter().all(|path| service.contains(&format!("ReadWritePaths=-{path}\n"))));
    let certificate = || fs::read(machine.file("/root/sftp/key-cert.pub")).unwrap();
    let sign = "ssh-keygen -q -h -s /root/ca/host_ca -I x -n web1.example.org -z 7 -V -20d:+5d /root/sftp/key.pub";
    machine.shell(sign).ends(0);
    let due = certificate();
    machine.shell("systemctl start warded-renew.service").ends(0);
    assert_ne!(certificate(), due);
}

/// A power cut interrupts a run that removes the recovery, before that change is kept.
#[test]
fn what_takes_the_recovery_out_is_recovered_at_the_start_of_the_machine() {
    let Some(mut machine) = Booted::start("trixie", "ssh.service") else { return };
    let before = configuration(&machine);
    machine.warded(CERTIFY).ends(0);
    let certified = configuration(&machine);
    for command in ["remove --yes", "undo --yes"] {
        machine.shell(&format!("WARDED_CA=/root/ca warded {command} >/dev/null 2>&1 &")).ends(0);
        // The drop-in is removed long before sshd has been told, and before Warded has seen what it serves.
        let drop_in = machine.file("/etc/ssh/sshd_config.d/50-warded.conf");
        wait("sshd's configuration changes", LONG, || !drop_in.exists());
        machine.loses_power();
        assert_eq!(property(&machine, "Result", "warded-recover.service"), "success");
        let log = machine.shell("warded audit log").ends(0).stdout;
        assert!(log.contains("rolled back (it had been interrupted)"), "{command}: {log}");
        assert_eq!(configuration(&machine), certified, "{command}");
        is_scheduled(&machine);
        serves_certificates(&machine);
    }
    machine.warded("remove --yes").ends(0);
    assert_eq!(configuration(&machine), before);
    assert_eq!(property(&machine, "LoadState", "warded-recover.service"), "not-found");
}

/// Such a run is also rolled back at the start of the machine and by a shutdown.
#[test]
fn what_takes_the_recovery_out_may_wait_to_be_confirmed() {
    let Some(mut machine) = Booted::start("trixie", "ssh.service") else { return };
    let before = configuration(&machine);
    machine.warded(CERTIFY).ends(0);
    let certified = configuration(&machine);
    machine.warded("remove --yes --confirm-within 10m").ends(0);
    assert_eq!(property(&machine, "ActiveState", "warded-renew.timer"), "inactive");
    machine.reboots();
    assert_eq!(configuration(&machine), certified);
    is_scheduled(&machine);
    machine.warded("remove --yes --confirm-within 10m").ends(0);
    machine.loses_power();
    assert_eq!(configuration(&machine), certified);
    is_scheduled(&machine);
    machine.warded("remove --yes --confirm-within 10m").ends(0);
    machine.warded("confirm").ends(0);
    assert_eq!(configuration(&machine), before);
    assert_eq!(property(&machine, "LoadState", "warded-recover.service"), "not-found");
}

#[test]
fn older_systemds_take_the_units() {
    if missing::root() {
        return;
    }
    const PAGE: &str = include_str!("../../docs/RENEWAL.md");
    let scratch = tempfile::tempdir().unwrap();
    let units = ["warded-renew.timer", "warded-renew.service"];
    for unit in units {
        fs::write(scratch.path().join(unit), documented(PAGE, unit)).unwrap();
    }
    for suite in ["bullseye", "bookworm", "trixie"] {
        let Some(tree) = peer_tree(suite) else { return };
        let units = units.map(|unit| format!("/mnt/{unit}")).join(" ");
        let (tree, from) = (tree.display(), scratch.path().display());
        let line = format!(
            "mount -t tmpfs tmpfs {tree}/mnt && cp {from}/* {tree}/mnt && mount -t proc proc {tree}/proc &&
             chroot {tree} systemd-analyze --version && chroot {tree} systemd-analyze verify {units} 2>&1;
             chroot {tree} systemd-analyze calendar hourly"
        );
        let run = Run::of(Command::new("unshare").args(["--mount", "sh", "-c", &line]));
        println!("{suite}: {}{}", run.stdout, run.stderr);
        // These root file systems have no warded.
        let said = run.stdout.lines().filter(|line| line.contains("warded-re"));
        let said: Vec<&str> = said.filter(|line| !line.contains("is not executable")).collect();
        assert!(said.is_empty() && run.stdout.contains("*-*-* *:00:00"), "{suite}: {said:?} {}", run.stderr);
    }
}

#[test]
fn where_nothing_can_be_scheduled_the_plan_says_so() {
    let machine = Machine::stopped();
    let before = tree(&machine.path("ssh"));
    let plan = machine.warded(["plan", "certify-host", "--set", "principal=web1.example.org"]).ends(3);
    let plan = plan.prints(&["Nothing runs `warded renew` automatically: "]);
    assert!(!plan.stdout.contains("> reload schedule") && !plan.stdout.contains("warded-renew"), "{}", plan.stdout);
    assert_eq!(tree(&machine.path("ssh")), before);
}

/// Debian's cron starts the renewal, from a table in which only the time is changed.
#[test]
fn a_machine_with_cron_renews_itself() {
    let Some(machine) = Peer::start("trixie", "") else { return };
    let certify = ["apply", "certify-host", "--yes", "--set", "principal=web1.example.org"];
    // Another installation's cron line does not count for this one.
    fs::create_dir_all(machine.file("/etc/cron.d")).unwrap();
    fs::write(machine.file("/etc/cron.d/other"), "7 * * * * root warded --state /srv/other renew\n").unwrap();
    let table = machine.file("/etc/cron.d/warded-renew");
    machine
        .warded(&["plan", "certify-host", "--set", "principal=web1.example.org"])
        .ends(3)
        .prints(&["neither systemd is process 1 here, nor does a cron daemon run"]);
    machine.starts_cron();
    machine.warded(&certify).ends(0).prints(&["Renewal: by cron (/etc/cron.d/warded-renew)"]);
    machine.warded(&["status"]).ends(0).prints(&["schedule     cron, /etc/cron.d/warded-renew"]);
    machine.warded(&certify).ends(0).prints(&["Nothing to do."]);
    machine.warded(&["undo", "--yes"]).ends(0);
    assert!(!table.exists());

    machine.warded(&certify).ends(0);
    let text = fs::read_to_string(&table).unwrap();
    let (minute, rest) = text.split_once(" * * * * root ").unwrap();
    let (head, _) = minute.rsplit_once('\n').unwrap();
    let (second, rest) = rest.split_once("; exec ").unwrap();
    assert!(second.strip_prefix("sleep ").unwrap().parse::<u32>().unwrap() < 60, "{text}");
    for name in KEYS {
        let key = format!("/etc/ssh/ssh_host_{name}_key.pub");
        let sign = ["-q", "-h", "-s", "/root/ca/host_ca", "-I", "x", "-n", "web1.example.org", "-V", "-20d:+5d", &key];
        Run::of(machine.command("ssh-keygen").args(sign)).ends(0);
    }
    let certificates =
        || KEYS.map(|name| fs::read(machine.file(&format!("/etc/ssh/ssh_host_{name}_key-cert.pub"))).unwrap());
    let due = certificates();
    fs::write(&table, format!("{head}\n* * * * * root {rest}")).unwrap();
    // cron(8) ignores a file with such a name.
    fs::write(machine.file("/etc/cron.d/other+name"), "* * * * * root touch /run/other-name\n").unwrap();
    wait("cron renews", 3 * LONG, || certificates().iter().zip(&due).all(|(now, due)| now != due));
    assert!(!machine.file("/run/other-name").exists());

    // run-parts starts the script directly, without a shell.
    fs::remove_file(&table).unwrap();
    let script =
        "mkdir -p /etc/cron.hourly; echo 'exec warded renew' >/etc/cron.hourly/mine; chmod 755 /etc/cron.hourly/mine";
    Run::of(machine.command("sh").args(["-c", script])).ends(0);
    let run = Run::of(machine.command("run-parts").arg("/etc/cron.hourly"));
    assert!(run.code != Some(0) && run.stderr.contains("Exec format error"), "{run:?}");
    machine
        .warded(&["status"])
        .ends(4)
        .prints(&["the script does not begin with `#!`", "put `#!/bin/sh` in the first"]);
    fs::remove_file(machine.file("/etc/cron.hourly/mine")).unwrap();

    // The table is restored: each job takes some time, and none is needed from here on.
    fs::write(&table, &text).unwrap();
    let stop = "read pid </var/run/crond.pid; kill $pid || exit; while kill -0 $pid 2>/dev/null; do sleep 0.1; done";
    Run::of(machine.command("sh").args(["-c", stop])).ends(0);
    // Cron's processes that wait for a job have its name, too.
    wait("no cron daemon is left", LONG, || machine.warded(&["status"]).code == Some(4));
    let why = "/etc/cron.d/warded-renew runs `warded renew`, and no cron daemon runs that reads it";
    machine
        .warded(&["status"])
        .ends(4)
        .prints(&[&format!("nothing renews automatically: {why}"), "start that cron daemon"]);
    fs::remove_file(&table).unwrap();
    let why = "/etc/cron.d/other renews another installation, with the state /srv/other";
    machine.warded(&["status"]).ends(4).prints(&[why]);
}
