//! What commands cost against a real sshd and a real step-ca on the same machine. Nothing is asserted: it prints a table.
//! With `STEP=PATH`, where that is the `step` program, renewals by both are compared, one pair after the other. With
//! `WARDED_PROGRAM=PATH`, that build is measured.
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

/// How often each command is run; the median counts.
const RUNS: usize = 11;

/// A program on the machine, in the environment that Warded has there.
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
                // Another name each time, so that there is something to do.
                words.extend(["--set", names[run % 2]]);
            }
            words
        };
        // The first one may find something that the others do not.
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
        against(&member, &ca, step, &program);
    }
}

/// Renewals by Warded, each followed by one by `step`: three runs of `step ssh renew`, and SIGHUP.
fn against(member: &Member, ca: &StepCa, step: OsString, program: &str) {
    let root = member.machine.path("root.crt");
    fs::write(&root, ca.root()).unwrap();
    let script = "step=$1 url=$2 root=$3 pid=$4; shift 4; for key; do \
        \"$step\" ssh renew --force --ca-url \"$url\" --root \"$root\" \"$key-cert.pub\" \"$key\" || exit; done; \
        kill -HUP $(cat \"$pid\")";
    let mut by_step: Vec<OsString> = ["sh", "-c", script, "sh"].map(OsString::from).into();
    by_step.extend([step, ca.url().into(), root.into(), member.machine.path("sshd.pid").into()]);
    by_step.extend(KEYS.map(|name| member.machine.path(&format!("ssh/ssh_host_{name}_key")).into()));
    let by_warded = [program, "renew", "--force"];
    let log = member.machine.path("sshd.log");
    let mut pairs = Vec::new();
    for _ in 0..RUNS {
        let ours = cost(member, &by_warded, &[0]);
        let before = listens(&log);
        pairs.push((ours, cost(member, &by_step, &[0])));
        // What it was told to read anew is read.
        wait("sshd listens again", LONG, || listens(&log) > before);
    }
    let of = |part: fn(&Cost) -> f64| {
        let ratio = median(pairs.iter().map(|(ours, theirs)| part(ours) / part(theirs)).collect());
        let theirs = median(pairs.iter().map(|(_, theirs)| part(theirs)).collect());
        (ratio, theirs * 1000.0)
    };
    let ((wall, step_wall), (computing, step_computing)) = (of(|cost| cost.0), of(|cost| cost.1));
    println!("step ssh renew, 3 times, and SIGHUP: {step_wall:.0} ms, {step_computing:.0} ms of CPU");
    println!("renew --force : step, medians of {RUNS} pairs: wall {wall:.2}, CPU {computing:.2}");
}

/// How often sshd has begun to listen.
fn listens(log: &Path) -> usize {
    fs::read_to_string(log).unwrap().matches("Server listening").count()
}
