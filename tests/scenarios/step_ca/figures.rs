//! What commands cost against a real sshd and a real step-ca on the same machine. Nothing is asserted: it prints a table.
//! With `STEP=PATH`, where that is the `step` program, renewals by both are compared, one pair after the other. With
//! `WARDED_PROGRAM=PATH`, that build is measured.
//!
//! `benches/renewal`

use crate::support::{Machine, Member, Run, counts, machine::KEYS, step_ca::StepCa};
use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    path::Path,
    process::Command,
};

/// How often each command is run; the median counts.
const RUNS: usize = 11;

/// Seconds on the clock, seconds of computing with all that it started and waited for, kilobytes.
type Cost = (f64, f64, u64);

/// A program on the machine, in the environment that Warded has there.
fn on(member: &Member, program: &str) -> Command {
    let mut command = member.machine.command(program);
    member.machine.environment(&mut command);
    command.env_remove("WARDED_CA").env("STEPPATH", "/nonexistent").env("WARDED_CONFIG", member.config());
    command
}

/// bash tells both times to the millisecond, and time(1) the memory.
const MEASURED: &str = "file=$1; shift; exec 3>&2; TIMEFORMAT='%R %U %S'; \
    { time /usr/bin/time -q -f %M -o \"$file\" \"$@\" 2>&3; } 2>\"$file.time\"";

fn cost<T: AsRef<OsStr>>(member: &Member, words: &[T], exits: &[i32]) -> Cost {
    let file = member.machine.path("cost");
    let mut command = on(member, "/bin/bash");
    command.args(["-c", MEASURED, "bash"]).arg(&file).args(words);
    let run = Run::of(&mut command);
    assert!(run.code.is_some_and(|code| exits.contains(&code)), "{run:?}");
    let read = |file: &Path| fs::read_to_string(file).unwrap().trim().to_owned();
    let times = read(&file.with_extension("time"));
    let times: Vec<f64> = times.split(' ').map(|part| part.parse().unwrap()).collect();
    (times[0], times[1] + times[2], read(&file).parse().unwrap())
}

fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|one, other| one.partial_cmp(other).unwrap());
    values[values.len() / 2]
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
    println!("processor: {}", processor());
    println!("load: {}", fs::read_to_string("/proc/loadavg").unwrap().trim());
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
    let mut pairs = Vec::new();
    for _ in 0..RUNS {
        pairs.push((cost(member, &by_warded, &[0]), cost(member, &by_step, &[0])));
        // What it was told to read anew is read.
        await_listener(&member.machine.path("sshd.log"), pairs.len());
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

/// Waits until sshd listens again, as often as that.
fn await_listener(log: &Path, pairs: usize) {
    crate::support::wait::wait("sshd listens again", crate::support::wait::LONG, || {
        fs::read_to_string(log).unwrap().matches("Server listening").count() > 2 * pairs
    });
}

/// What it runs on.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let count = text.lines().filter(|line| line.starts_with("processor")).count();
    format!("{count} of {}", name.trim_start_matches(['\t', ' ', ':']))
}
