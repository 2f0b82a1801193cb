//! What commands cost against a step-ca on the same machine. Nothing is asserted: it prints a table.
//!
//! `cargo test --release --test tests -- --ignored --nocapture figures`

use crate::support::{Machine, Member, Run, step_ca::StepCa};
use std::fs;

/// How often each command is run; the median counts.
const RUNS: usize = 9;

/// Seconds on the clock, seconds of computing, kilobytes.
type Cost = (f64, f64, u64);

fn cost(member: &Member, arguments: &[&str]) -> Cost {
    let file = member.machine.path("cost");
    let mut command = member.machine.command("/usr/bin/time");
    member.machine.environment(&mut command);
    command.env_remove("WARDED_CA").env("STEPPATH", "/nonexistent").env("WARDED_CONFIG", member.config());
    command.args(["-f", "%e %U %S %M", "-o"]).arg(&file).arg(env!("CARGO_BIN_EXE_warded")).args(arguments);
    let begun = std::time::Instant::now();
    Run::of(&mut command).ends(0);
    let wall = begun.elapsed().as_secs_f64();
    let text = fs::read_to_string(&file).unwrap();
    let fields: Vec<&str> = text.split_whitespace().collect();
    let number = |at: usize| fields[at].parse::<f64>().unwrap();
    (wall, number(1) + number(2), fields[3].parse().unwrap())
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
    println!("{:<28} {:>8} {:>8} {:>8} {:>9}", "command", "wall ms", "CPU ms", "MiB", "requests");
    for (name, arguments) in [
        ("--version", vec!["--version"]),
        ("bootstrap", bootstrap.to_vec()),
        ("ca roots", vec!["ca", "roots"]),
        ("ca show", vec!["ca", "show"]),
        ("token", vec!["token", "a", "--host", "--count", "1", "--provisioner-password-file", password]),
        ("plan certify-host", vec!["plan", "certify-host", "--set", names[0]]),
        ("apply certify-host, 3 keys", vec!["apply", "certify-host", "--yes", "--provisioner-password-file", password]),
        ("renew, nothing due", vec!["renew"]),
        ("renew --force, 3 keys", vec!["renew", "--force"]),
    ] {
        let mut costs = Vec::new();
        let before = requests();
        for run in 0..RUNS {
            let mut arguments = arguments.clone();
            if name.starts_with("apply") {
                // Another name each time, so that there is something to do.
                arguments.extend(["--set", names[run % 2]]);
            }
            if name.starts_with("plan") {
                let mut command = member.command(&arguments);
                let begun = std::time::Instant::now();
                Run::of(&mut command);
                costs.push((begun.elapsed().as_secs_f64(), 0.0, 0));
            } else {
                costs.push(cost(&member, &arguments));
            }
        }
        let each = (requests() - before) / RUNS;
        let wall = median(costs.iter().map(|cost| cost.0).collect()) * 1000.0;
        let computing = median(costs.iter().map(|cost| cost.1).collect()) * 1000.0;
        let memory = median(costs.iter().map(|cost| cost.2).collect()) / 1024;
        println!("{name:<28} {wall:>8.0} {computing:>8.0} {memory:>8} {each:>9}");
    }
}
