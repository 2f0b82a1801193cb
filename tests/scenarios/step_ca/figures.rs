//! The cost of commands against a real sshd and a real step-ca on the same machine. The test prints a table, and
//! asserts nothing. With `STEP=PATH`, the path of the `step` program, it compares renewals and new certificates by
//! both, pair by pair. With `WARDED_PROGRAM=PATH`, it measures that build.
//!
//! `benches/renewal`

use crate::support::{
    Machine, Member,
    cost::{self, Cost, median},
    counts,
    machine::KEYS,
    step_ca::StepCa,
    wait::{LONG, wait},
};
use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    path::Path,
    process::Command,
};

/// How many times each command runs; the median counts.
const RUNS: usize = 11;

/// A program on the machine, in the same environment as Warded.
fn on(member: &Member, program: &str) -> Command {
    let mut command = member.machine.command(program);
    member.machine.environment(&mut command);
    command.env_remove("WARDED_CA").env("STEPPATH", "/nonexistent").env("WARDED_CONFIG", member.config());
    command
}

fn cost<T: AsRef<OsStr>>(member: &Member, words: &[T], exits: &[i32]) -> Cost {
    cost::by(on(member, "/bin/bash"), &member.machine.path("cost"), words, exits)
}

#[test]
#[ignore = "prints figures, and asserts none"]
fn figures() {
    let machine = Machine::start();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    let requests = || ca.log().matches("\"remote-address\"").count();
    let (url, fingerprint, password) = (ca.url(), ca.fingerprint(), ca.password_file());
    let password = password.to_str().unwrap();
    let bootstrap = ["bootstrap", "--ca-url", &url, "--fingerprint", &fingerprint];
    let names = ["principal=web1.example.org", "principal=web2.example.org"];
    let program = env::var("WARDED_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_warded").to_owned());
    println!("processor: {}", cost::processor());
    println!(
        "| command | wall, ms | CPU, ms | peak, MiB | programs | syncs | requests |\n|---|---|---|---|---|---|---|"
    );
    for (name, arguments, exits) in [
        ("--version", vec!["--version"], &[0][..]),
        ("bootstrap", bootstrap.to_vec(), &[0]),
        ("ca roots", vec!["ca", "roots"], &[0]),
        ("plan certify-host", vec!["plan", "certify-host", "--set", names[0]], &[0, 3]),
        (
            "apply certify-host, 3 keys",
            vec!["apply", "certify-host", "--yes", "--provisioner-password-file", password],
            &[0],
        ),
        ("renew --force, 3 keys", vec!["renew", "--force"], &[0]),
        ("renew, nothing due", vec!["renew"], &[0]),
        ("status", vec!["status"], &[0, 4]),
    ] {
        let words = |run: usize| {
            let mut words = vec![program.as_str()];
            words.extend(&arguments);
            if name.starts_with("apply") {
                // Alternating names, so that there is always something to do.
                words.extend(["--set", names[run % 2]]);
            }
            words
        };
        // The first run is not counted: it may have work to do that later ones do not.
        cost(&member, &words(1), exits);
        let before = requests();
        let costs: Vec<Cost> = (0..RUNS).map(|run| cost(&member, &words(run), exits)).collect();
        let each = (requests() - before) / RUNS;
        let (_, counted) = counts::by(on(&member, "strace"), &member.machine.path("trace"), &words(RUNS));
        let wall = median(costs.iter().map(|cost| cost.0).collect()) * 1000.0;
        let computing = median(costs.iter().map(|cost| cost.1).collect()) * 1000.0;
        let memory = median(costs.iter().map(|cost| cost.2).collect()).div_ceil(1024);
        let (programs, syncs) = (counted.programs.len(), counted.syncs.len());
        println!("| `{name}` | {wall:.0} | {computing:.0} | {memory} | {programs} | {syncs} | {each} |");
    }
    if let Some(step) = env::var_os("STEP") {
        against(&member, &ca, &step, &program);
    }
}

/// Compares each command of Warded's with what `step` takes for the same: one call for each key, and a SIGHUP.
fn against(member: &Member, ca: &StepCa, step: &OsStr, program: &str) {
    let root = member.machine.path("root.crt");
    fs::write(&root, ca.root()).unwrap();
    let password = ca.password_file();
    let apply = ["apply", "certify-host", "--yes", "--provisioner-password-file", password.to_str().unwrap(), "--set"];
    let of_step = "step=$1 url=$2 root=$3 pid=$4 password=$5 name=$6; shift 6; for key; do \"$step\" ssh";
    let common = "--force --ca-url \"$url\" --root \"$root\"";
    let told = "|| exit; done; kill -HUP $(cat \"$pid\")";
    let renew = format!("{of_step} renew {common} \"$key-cert.pub\" \"$key\" {told}");
    let certificate = format!(
        "{of_step} certificate --host --sign --issuer admin --provisioner-password-file \"$password\" {common} \"$name\" \
         \"$key.pub\" {told}"
    );
    let log = member.machine.path("sshd.log");
    for (ours, theirs, words, script) in [
        ("renew --force", "step ssh renew", &["renew", "--force"][..], renew),
        ("apply certify-host", "step ssh certificate", &apply, certificate),
    ] {
        let mut pairs = Vec::new();
        for run in 0..RUNS {
            // Alternating names, so that there is always something to do.
            let name = ["web1.example.org", "web2.example.org"][run % 2];
            let principal = format!("principal={name}");
            let mut by_warded = [&[program], words].concat();
            by_warded.extend(words.ends_with(&["--set"]).then_some(principal.as_str()));
            let mut by_step: Vec<OsString> = ["sh", "-c", script.as_str(), "sh"].map(OsString::from).into();
            by_step.extend([step.into(), ca.url().into(), root.clone().into()]);
            by_step.extend([member.machine.path("sshd.pid").into(), password.clone().into(), name.into()]);
            by_step.extend(KEYS.map(|key| member.machine.path(&format!("ssh/ssh_host_{key}_key")).into()));
            let cost_of_ours = cost(member, &by_warded, &[0]);
            let before = listens(&log);
            pairs.push((cost_of_ours, cost(member, &by_step, &[0])));
            // Waits until sshd has read its files again.
            wait("sshd listens again", LONG, || listens(&log) > before);
        }
        let of = |part: fn(&Cost) -> f64| {
            let ratio = median(pairs.iter().map(|(ours, theirs)| part(ours) / part(theirs)).collect());
            let theirs = median(pairs.iter().map(|(_, theirs)| part(theirs)).collect());
            (ratio, theirs * 1000.0)
        };
        let ((wall, step_wall), (computing, step_computing)) = (of(|cost| cost.0), of(|cost| cost.1));
        println!("{theirs}, 3 times, and SIGHUP: {step_wall:.0} ms, {step_computing:.0} ms of CPU");
        println!("{ours} : step, medians of {RUNS} pairs: wall {wall:.2}, CPU {computing:.2}");
    }
}

/// How many times sshd has begun to listen.
fn listens(log: &Path) -> usize {
    fs::read_to_string(log).unwrap().matches("Server listening").count()
}
