//! Each release and each init that boots here, with one step-ca: enrolled, renewed by its own scheduler, rebooted, and
//! restored to what was there before.

use super::trio::{CA, OFTEN, PASSWORD_FILE, SERVER, root, step_ca};
use crate::{
    scenarios::{booted::drop_in, schedule::below},
    support::{
        Booted, Init,
        lan::Lan,
        machine::Found,
        missing,
        step_ca::{PASSWORD, StepCa},
        wait::{LONG, wait},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    thread,
};

/// Differences that are allowed: insserv(8) writes its tables in any order, and what `warded bootstrap` wrote stays.
const LEFT: [&str; 4] = ["warded", "init.d/.depend.boot", "init.d/.depend.start", "init.d/.depend.stop"];

fn configuration(machine: &Booted) -> BTreeMap<PathBuf, Found> {
    let mut files = below(machine, "/etc");
    files.retain(|path, _| !LEFT.iter().any(|left| path.starts_with(left)));
    files
}

/// The serial numbers of the certificates on disk.
fn serials(machine: &Booted) -> BTreeSet<u64> {
    let files = fs::read_dir(machine.file("/etc/ssh")).unwrap().map(|entry| entry.unwrap().path());
    let certificates = files.filter(|file| file.to_str().is_some_and(|file| file.ends_with("-cert.pub")));
    let parsed = certificates.map(|file| ssh_key::Certificate::from_openssh(&fs::read_to_string(file).unwrap()));
    parsed.map(|certificate| certificate.unwrap().serial()).collect()
}

/// Makes the machine's scheduler renew soon: systemd's by a drop-in, cron's by a table without its minute.
#[track_caller]
fn is_renewed(machine: &Booted, init: Init) {
    let table = machine.file("/etc/cron.d/warded-renew");
    let timer = "warded-renew.timer";
    let text = (init != Init::Systemd).then(|| fs::read_to_string(&table).unwrap());
    let before = serials(machine);
    match &text {
        None => {
            drop_in(machine, timer, OFTEN);
            machine.shell(&format!("systemctl restart {timer}")).ends(0);
        }
        Some(text) => {
            let (head, rest) = text.split_once(" * * * * root sleep ").unwrap();
            let (head, command) = (head.rsplit_once('\n').unwrap().0, rest.split_once("; ").unwrap().1);
            fs::write(&table, format!("{head}\n* * * * * root {command}")).unwrap();
        }
    }
    // Certificates that last 160 seconds are due after 40.
    wait("the scheduler renews", 4 * LONG, || serials(machine).is_disjoint(&before));
    match text {
        None => {
            machine
                .shell(&format!("systemctl stop {timer} warded-renew.service; rm -r /etc/systemd/system/{timer}.d"))
                .ends(0);
            machine.shell(&format!("systemctl daemon-reload; systemctl start {timer}")).ends(0);
        }
        Some(text) => {
            fs::write(&table, text).unwrap();
            wait("the renewal ends", LONG, || machine.shell("pgrep -x warded").code == Some(1));
        }
    }
    lets_clients_in(machine);
}

/// Waits until clients get in: a renewal that the timer starts has sshd read its files again, and sshd does not listen for
/// a moment then.
#[track_caller]
fn lets_clients_in(machine: &Booted) {
    wait("clients get in", LONG, || root(machine, &format!("verify {SERVER}")).code == Some(0));
}

fn lives(machine: &mut Booted, ca: &StepCa, init: Init) {
    machine
        .shell(&format!(
            "echo '{PASSWORD}' >{PASSWORD_FILE}; chmod 600 {PASSWORD_FILE}; mkdir -p /etc/warded; echo 'renew-after = 25' >/etc/warded/config.toml"
        ))
        .ends(0);
    let before = configuration(machine);
    root(machine, &format!("bootstrap --ca-url {} --fingerprint {}", ca.url(), ca.fingerprint())).ends(0);
    root(machine, &format!("apply certify-host --yes --set principal={SERVER}")).ends(0).prints(&["Certified "]);
    lets_clients_in(machine);
    machine.reboots();
    lets_clients_in(machine);
    is_renewed(machine, init);
    root(machine, "remove --yes").ends(0);
    let after = configuration(machine);
    let differ = before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path));
    assert_eq!(differ.collect::<Vec<_>>(), Vec::<&PathBuf>::new());
}

#[test]
fn each_release_and_each_init_lives_by_one_step_ca() {
    if missing::root() {
        return;
    }
    let mut lan = Lan::new();
    let Some(ca) = step_ca(&lan) else { return };
    let systemd = ["bullseye", "bookworm", "sid"].map(|suite| (Init::Systemd, Some(suite)));
    let mut machines = Vec::new();
    for (init, suite) in systemd.into_iter().chain([(Init::Sysvinit, None), (Init::Openrc, None)]) {
        let machine = suite.map_or_else(|| Booted::with(init), |suite| Booted::start(suite, "ssh.service"));
        let Some(machine) = machine else { return };
        let address = lan.connects(&machine);
        Lan::names(&machine, &[(Lan::HUB, CA), (&address, SERVER)]);
        machines.push((machine, init));
    }
    // Each machine waits until its certificates are due.
    thread::scope(|scope| {
        for (machine, init) in &mut machines {
            scope.spawn(|| lives(machine, &ca, *init));
        }
    });
    // The CA's process runs in the network's namespace, so it has to end first.
    drop(ca);
}
