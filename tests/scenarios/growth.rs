//! How time and memory grow with a machine: longer configurations, more files, a longer audit log, more keys. The tests
//! assert what does not depend on the machine's speed: counts, and that CPU time grows by no more than twice the factor
//! of the size. The rest is printed, with its ratio to the smallest case.
//!
//! `benches/growth`

use crate::support::{
    Machine, Run, Setup,
    cost::{self, Cost, median},
    counts,
    machine::keygen,
};
use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    thread::sleep,
    time::Duration,
};
use warded_lib::audit::{Event, Kind, Log};

/// How many times each command runs; the median counts.
const RUNS: usize = 3;
const OWN: &str = env!("CARGO_BIN_EXE_warded");
/// How many more syncs one further host key may cost: its new certificate file.
const SYNCS_A_KEY: usize = 1;

/// The measured commands, with their allowed exit codes.
const COMMANDS: [(&str, &[&str], &[i32]); 5] = [
    ("`renew`, at rest", &["renew"], &[0]),
    ("`renew --force`", &["renew", "--force"], &[0]),
    ("`status`", &["status"], &[0, 4]),
    ("`audit log --last 5`", &["audit", "log", "--last", "5"], &[0]),
    ("`audit verify`", &["audit", "verify"], &[0]),
];

/// The cost of one command, and how many programs and syncs it took.
type Row = (Cost, usize, usize);

fn measure(machine: &Machine) -> Vec<Row> {
    let of = |program: &str| {
        let mut command = machine.command(program);
        machine.environment(&mut command);
        command
    };
    // After this the record of the machine at rest exists, and is older than a tick of the kernel's clock.
    machine.warded(["renew", "--force"]).ends(0);
    machine.warded(["audit", "verify"]).ends(0);
    let rest = || {
        sleep(Duration::from_millis(50));
        machine.warded(["renew"]).ends(0);
    };
    let row = |(_, words, exits): &(&str, &[&str], &[i32])| {
        let words = [&[OWN], *words].concat();
        rest();
        let costs: Vec<Cost> =
            (0..RUNS).map(|_| cost::by(of("/bin/bash"), &machine.path("cost"), &words, exits)).collect();
        rest();
        let (run, counted) = counts::by(of("strace"), &machine.path("trace"), &words);
        assert!(run.code.is_some_and(|code| exits.contains(&code)), "{run:?}");
        assert_eq!(counted.compilers, 0, "{words:?}");
        let median = |part: fn(&Cost) -> f64| median(costs.iter().map(part).collect());
        let memory = costs.iter().map(|cost| cost.2).max().unwrap();
        ((median(|cost| cost.0), median(|cost| cost.1), memory), counted.programs.len(), counted.syncs.len())
    };
    COMMANDS.iter().map(row).collect()
}

/// Prints a table, with the ratio of each row to the smallest size.
fn table(what: &str, sizes: &[usize], machines: impl Fn(usize) -> Machine, syncs_each: usize) {
    println!(
        "\n{}; medians of {RUNS} runs\n\n| {what} | command | wall, ms | CPU, ms | peak, MiB | programs | syncs | wall, ratio | CPU, ratio |",
        cost::processor()
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut first: Option<Vec<Row>> = None;
    for size in sizes {
        let rows = measure(&machines(*size));
        let base = first.get_or_insert_with(|| rows.clone());
        for (((name, ..), row), base) in COMMANDS.iter().zip(&rows).zip(base.iter()) {
            let ((wall, computing, memory), programs, syncs) = row;
            let ((wall_before, computing_before, _), programs_before, syncs_before) = base;
            println!(
                "| {size} | {name} | {:.0} | {:.0} | {} | {programs} | {syncs} | {:.1} | {:.1} |",
                wall * 1000.0,
                computing * 1000.0,
                memory.div_ceil(1024),
                wall / wall_before,
                computing / computing_before.max(0.001)
            );
            assert_eq!(programs, programs_before, "{what} {size}: {name}");
            let grown = count(*size) / count(sizes[0]);
            let ratio = computing / computing_before.max(0.001);
            assert!(ratio <= 2.0 * grown, "{what} {size}: {name}: {ratio:.1} times the CPU time of {}", sizes[0]);
            let more = syncs_each * (size - sizes[0]);
            assert!(*syncs <= syncs_before + more, "{what} {size}: {name}: {syncs} syncs");
            if *name == COMMANDS[0].0 {
                assert_eq!((*programs, *syncs), (0, 0), "{what} {size}: {name}");
            }
        }
    }
}

/// A size as a floating-point number.
fn count(size: usize) -> f64 {
    f64::from(u32::try_from(size.max(1)).unwrap())
}

/// A machine whose sshd starts after `prepare` has run.
fn prepared(lines: String, prepare: impl FnOnce(&Machine)) -> Machine {
    let mut machine = Machine::with(&Setup { lines, stopped: true, ..Setup::default() });
    prepare(&machine);
    machine.serve();
    machine.certify();
    machine
}

fn nothing(_: &Machine) {}

fn matches(count: usize) -> Machine {
    let blocks = (0..count).map(|one| format!("Match User user{one}\n  X11Forwarding no\n")).collect();
    prepared(blocks, nothing)
}

fn includes(count: usize) -> Machine {
    prepared(String::new(), |machine| {
        let mut lines = fs::read_to_string(machine.config()).unwrap();
        fs::create_dir(machine.path("ssh/more")).unwrap();
        for one in 0..count {
            let file = machine.path(&format!("ssh/more/{one}.conf"));
            fs::write(&file, "PrintMotd no\n").unwrap();
            writeln!(lines, "Include {}", file.display()).unwrap();
        }
        fs::write(machine.config(), lines).unwrap();
    })
}

fn records(count: usize) -> Machine {
    let machine = prepared(String::new(), nothing);
    record(&machine, count);
    machine
}

/// Writes this many records as renewals write them, 25 for each run.
fn record(machine: &Machine, count: usize) {
    let log = Log::open(&machine.path("state/audit")).unwrap();
    for one in 0..u64::try_from(count).unwrap() {
        let kind = if one % 25 == 0 { Kind::Started } else { Kind::Asked };
        let event = Event::new(1_000_000 + one / 25, kind).capability("files.write");
        let event =
            event.need("/etc/ssh/ssh_host_ed25519_key-cert.pub").grant("files.write {sshd}/ssh_host_*_key-cert.pub");
        log.append(&Event { policy: "unix".to_owned(), procedure: "renew-host".to_owned(), ..event }).unwrap();
    }
    log.seal().unwrap();
}

/// sshd serves `count` host keys, each of another type.
fn host_keys(count: usize) -> Machine {
    prepared(String::new(), |machine| {
        let kinds = [("ed25519", ""), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "3072")];
        let config = fs::read_to_string(machine.config()).unwrap();
        let mut lines: String = config
            .lines()
            .filter(|line| !line.starts_with("HostKey"))
            .fold(String::new(), |text, line| text + line + "\n");
        for (kind, bits) in &kinds[..count] {
            let file = machine.path(&format!("ssh/more_{kind}{bits}_key"));
            let bits: &[&str] = if bits.is_empty() { &[] } else { &["-b", bits] };
            keygen(&[&["-q", "-N", "", "-t", kind], bits, &["-f"]].concat(), &file);
            writeln!(lines, "HostKey {}", file.display()).unwrap();
        }
        fs::write(machine.config(), lines).unwrap();
    })
}

/// Writes the keys of `count` CAs that may sign for users.
fn authorities(count: usize) -> Machine {
    prepared(String::new(), |machine| {
        let file = machine.path("ssh/user_cas.pub");
        let mut options = fs::OpenOptions::new();
        let opened = options.create(true).truncate(true).write(true).mode(0o644).open(&file).unwrap();
        opened.set_permissions(fs::Permissions::from_mode(0o644)).unwrap();
        let key = machine.path("one");
        let mut lines = String::new();
        for _ in 0..count {
            Run::of(machine.command("rm").arg("-f").arg(&key)).ends(0);
            keygen(&["-q", "-N", "", "-t", "ed25519", "-f"], &key);
            lines += &fs::read_to_string(key.with_extension("pub")).unwrap();
        }
        fs::write(&file, lines).unwrap();
        let config = fs::read_to_string(machine.config()).unwrap();
        fs::write(machine.config(), format!("{config}TrustedUserCAKeys {}\n", file.display())).unwrap();
    })
}

/// Of a log that has grown for years, only the end is read.
#[test]
fn the_end_of_a_long_log_is_shown_in_as_little_memory() {
    let machine = Machine::stopped();
    machine.certify();
    let peak = |more: usize| {
        record(&machine, more);
        let words = [OWN, "audit", "log", "--last", "5"];
        let mut shell = machine.command("/bin/bash");
        machine.environment(&mut shell);
        let (.., kibibytes) = cost::by(shell, &machine.path("cost"), &words, &[0]);
        kibibytes
    };
    let (short, long) = (peak(1000), peak(99_000));
    println!("{short} KiB at 1,000 records, {long} KiB at 100,000");
    assert!(long <= short + 4096, "{short} KiB at 1,000 records, {long} KiB at 100,000");
}

#[test]
#[ignore = "takes minutes, and prints figures"]
fn with_match_blocks() {
    table("`Match` blocks", &[0, 10, 100, 1000], matches, 0);
}

#[test]
#[ignore = "takes minutes, and prints figures"]
fn with_include_lines() {
    table("`Include` lines", &[0, 50, 500], includes, 0);
}

#[test]
#[ignore = "takes minutes, and prints figures"]
fn with_audit_records() {
    table("audit records", &[1000, 10_000, 100_000, 1_000_000], records, 0);
}

#[test]
#[ignore = "takes minutes, and prints figures"]
fn with_host_keys() {
    table("host keys", &[1, 2, 4, 5], host_keys, SYNCS_A_KEY);
}

#[test]
#[ignore = "takes minutes, and prints figures"]
fn with_keys_of_cas() {
    table("CA keys of users", &[1, 10, 100, 1000], authorities, 0);
}
