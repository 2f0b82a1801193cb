//! Every combination of releases, settings and what the administrator stored, each with every procedure.
//! `tests/appliances` tries all and prints the table; as a test it is a sample.

use crate::support::{
    missing,
    true_nas::{CERTIFY, REMOVE, Settings, State, TRUST, TrueNas, all},
};
use std::{fmt::Write as _, time::Instant};

/// The releases that differ in the order, the template or OpenSSH.
const VERSIONS: [&str; 7] = ["13.3", "22.02", "24.10", "25.04.0", "25.04.2", "25.10", "26"];
const OPTIONS: [(&str, &str); 4] = [
    ("empty", ""),
    ("one line", "Banner none\n"),
    ("ends in Match", "AllowAgentForwarding no\nMatch User bob\n  X11Forwarding no\n"),
    ("no final newline", "Banner none"),
];
/// The sample: version, password login, second factor, options.
const SAMPLE: [(&str, bool, bool, &str); 8] = [
    ("13.3", true, true, "no final newline"),
    ("22.02", false, true, "ends in Match"),
    ("24.10", true, false, "ends in Match"),
    ("25.04.0", true, true, "empty"),
    // This release writes `UsePAM` after that `Match`.
    ("25.04.0", false, false, "ends in Match"),
    ("25.04.2", true, false, "ends in Match"),
    ("25.10", false, false, "one line"),
    ("26", true, true, "no final newline"),
];

#[test]
fn nobody_is_locked_out_of_an_appliance() {
    if missing::root() {
        return;
    }
    let all = all();
    let (mut table, mut cells, mut failures, begun) = (String::new(), 0, Vec::new(), Instant::now());
    for version in VERSIONS {
        let machine = TrueNas::start(Settings::of(version)).unwrap();
        for (password, two_factor) in [(false, false), (true, false), (false, true), (true, true)] {
            let switch = |on: bool| if on { "on" } else { "off" };
            let row = format!("{version}, password {}, 2FA {}", switch(password), switch(two_factor));
            write!(table, "{row:36}").unwrap();
            for (name, options) in OPTIONS {
                let is_wanted = all || SAMPLE.contains(&(version, password, two_factor, name));
                let settings = Settings { password_user: password.then_some("jane"), two_factor, options, version };
                let mark = match is_wanted.then(|| cell(&machine, settings)) {
                    None => " ",
                    Some(Ok(Cell::Through)) => ".",
                    Some(Ok(Cell::Refused)) => "r",
                    Some(Err(why)) => {
                        eprintln!("{row}, {name}: {why}");
                        failures.push(format!("{row}, {name}: {why}"));
                        "F"
                    }
                };
                cells += usize::from(is_wanted);
                write!(table, "{mark:>3}").unwrap();
            }
            table.push('\n');
        }
    }
    let head: String = (1..=OPTIONS.len()).map(|column| format!("{column:>3}")).collect();
    println!("\n{:36}{head}\n{table}", "TrueNAS");
    for (column, (name, _)) in OPTIONS.iter().enumerate() {
        println!("{:>3}  auxiliary parameters: {name}", column + 1);
    }
    println!(
        "  .  certify-host, trust-user-ca, renew, undo and remove as they should be    F  not so    (empty)  not tried\n\
         \x20 r  no sshd takes what the appliance makes of that: refused with sshd's words, and nothing changed\n\
         appliances: {cells} cells, {} failures, {} s",
        failures.len(),
        begun.elapsed().as_secs()
    );
    assert!(failures.is_empty() && cells >= SAMPLE.len(), "{failures:#?}");
}

/// The result of a correct cell.
enum Cell {
    Through,
    Refused,
}

/// Runs every procedure, and the way back.
fn cell(machine: &TrueNas, settings: Settings<'_>) -> Result<Cell, String> {
    machine.sets(settings);
    let before = machine.state();
    if let Err(broken) = machine.sshd_takes_it() {
        // If no sshd accepts the text, that is the administrator's fault, which no procedure repairs.
        return refused(machine, &before, &broken);
    }
    // sshd ends if the middleware makes it read such a text, as in the previous cell.
    if !machine.is_served() {
        machine.serves();
    }
    in_order(machine, Expected { certified: false, trusted: false }, "before")?;
    for (what, words, certified, trusted) in [
        ("certify-host", &CERTIFY[..], true, false),
        ("trust-user-ca", &TRUST[..], true, true),
        ("renew", &["renew", "--force"][..], true, true),
        ("remove", &REMOVE[..], false, false),
    ] {
        does(machine, what, words)?;
        in_order(machine, Expected { certified, trusted }, what)?;
    }
    is_same(machine, &before, "remove")?;
    does(machine, "certify-host", &CERTIFY)?;
    does(machine, "undo", &["undo", "--yes"])?;
    in_order(machine, Expected { certified: false, trusted: false }, "undo")?;
    is_same(machine, &before, "undo")?;
    Ok(Cell::Through)
}

fn refused(machine: &TrueNas, before: &State, broken: &str) -> Result<Cell, String> {
    let run = machine.warded(&CERTIFY);
    // sshd's own message, with the line.
    let said = broken.lines().find(|line| line.contains(" line ")).unwrap_or(broken);
    let said = said.split_once(" line ").map_or(said, |(_, said)| said).trim_end();
    if !matches!(run.code, Some(1 | 5)) || !run.stderr.contains(said) {
        return Err(format!("sshd does not take it ({broken}), and the refusal is another: {run:?}"));
    }
    is_same(machine, before, "a refusal")?;
    Ok(Cell::Refused)
}

fn does(machine: &TrueNas, what: &str, words: &[&str]) -> Result<(), String> {
    let run = machine.warded(words);
    if run.code == Some(0) { Ok(()) } else { Err(format!("{what}: {} {}", run.stdout, run.stderr)) }
}

/// Who can log in, besides clients that have pinned a host key and have an authorized key.
#[derive(Clone, Copy)]
struct Expected {
    /// Clients that know only the CA.
    certified: bool,
    /// People with the CA's certificate and without an authorized key.
    trusted: bool,
}

/// Checks that sshd accepts the configuration, serves it, and would still accept it after the next generation.
fn in_order(machine: &TrueNas, expected: Expected, after: &str) -> Result<(), String> {
    let made = machine.state().sshd_config;
    machine.calls(&["service.reload", "ssh"]);
    if machine.state().sshd_config != made {
        return Err(format!("{after}: the middleware generates something else"));
    }
    machine.sshd_takes_it().map_err(|said| format!("{after}: {said}"))?;
    for key in ["rsa", "ecdsa", "ed25519"] {
        machine.logs_in(Some(key)).map_err(|said| format!("{after}: who pinned {key} is locked out: {said}"))?;
    }
    for (who, login, should) in [
        ("who knows only the CA", machine.logs_in(None), expected.certified),
        ("who has only a certificate", machine.logs_in_by_certificate(), expected.trusted),
    ] {
        match login {
            Ok(()) if !should => return Err(format!("{after}: {who} gets in")),
            Err(said) if should => return Err(format!("{after}: {who} is locked out: {said}")),
            _ => {}
        }
    }
    Ok(())
}

fn is_same(machine: &TrueNas, before: &State, after: &str) -> Result<(), String> {
    let now = machine.state();
    if now == *before { Ok(()) } else { Err(format!("{after} left {now:?} where {before:?} was")) }
}
