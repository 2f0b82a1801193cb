//! A change that stays only if somebody confirms it from a new login.

use super::*;

fn apply(machine: &Machine, within: &str) -> Value {
    let options = ["--json", "--confirm-within", within];
    Run::of(certify(machine, &options).env("SSH_CONNECTION", "this login")).ends(0).object("warded.apply/1")
}

fn confirm(machine: &Machine, login: &str) -> Run {
    Run::of(machine.warded_command(["confirm"]).env("SSH_CONNECTION", login))
}

#[test]
fn what_nobody_confirms_is_taken_back_after_the_run_has_ended() {
    let machine = Machine::start();
    let old = seen(&machine);
    let done = apply(&machine, "8s");
    assert!(done["confirm_until"].is_string() && done["run"] == 1, "{done}");
    machine.serves_certificates();
    assert_eq!((state(&machine).as_str(), seen(&machine).2), ("unconfirmed", false), "it is enrolled only if it stays");

    // Meanwhile: told by what changes nothing, refused by what would.
    let plan = machine.warded(["plan", "certify-host", "--set", &format!("principal={NAME}")]);
    assert!(plan.stderr.contains("warded confirm"), "{plan:?}");
    for command in [["apply", "certify-host", "--yes"].as_slice(), &["renew"], &["undo", "--yes"]] {
        let mut meanwhile = machine.warded_command([]);
        Run::of(meanwhile.args(command)).ends(5).says(&["has not been confirmed yet", "warded confirm"]);
    }
    let recovered = recover(&machine, 0);
    assert_eq!((&recovered["unconfirmed"], recovered["runs"].as_array().unwrap().len()), (&done["run"], 0));

    wait("taken back", LONG, || state(&machine) == "rolled-back" && watchdogs(&machine).is_empty());
    assert_eq!(seen(&machine), old);
    serves(&machine);
    let last = details(&machine, "ended").pop().unwrap();
    assert!(last.contains("nobody confirmed it in time") && last.contains("ssh reloaded, checked"), "{last}");
    confirm(&machine, "another").ends(0);
    machine.certify();
}

#[test]
fn what_is_confirmed_from_another_login_stays() {
    let machine = Machine::start();
    apply(&machine, "10m");
    let new = seen(&machine).0;
    confirm(&machine, "this login").ends(5).says(&["refused: run 1", "new login"]);
    let said = confirm(&machine, "another login").ends(0).stdout;
    assert!(said.contains("Confirmed run 1") && said.contains("4 files stay"), "{said}");
    assert_eq!(confirm(&machine, "another login").ends(0).stdout, "There is nothing to confirm.\n");
    wait("the watchdog lets go", LONG, || watchdogs(&machine).is_empty());
    assert_eq!(
        (state(&machine).as_str(), seen(&machine).0, seen(&machine).2),
        ("kept", new_without_temporaries(new), true)
    );
    machine.serves_certificates();
    assert!(details(&machine, "ended").last().unwrap().contains("confirmed, kept"));
    machine.warded(["undo", "--yes"]).ends(0);
}

/// Until it is confirmed, the old files lie beside the new ones.
fn new_without_temporaries(files: BTreeMap<PathBuf, (u32, u32, u32)>) -> BTreeMap<PathBuf, (u32, u32, u32)> {
    files.into_iter().filter(|(path, _)| !path.to_string_lossy().contains(".warded-")).collect()
}

#[test]
fn after_a_restart_of_the_machine_it_is_taken_back() {
    let machine = Machine::start();
    let old = seen(&machine);
    apply(&machine, "10m");
    // As a restart ends it.
    watchdogs(&machine).into_iter().for_each(|pid| send(pid, Signal::KILL));
    wait("the watchdog ends", LONG, || watchdogs(&machine).is_empty());
    let said = machine.warded(["plan", "certify-host", "--set", &format!("principal={NAME}")]);
    assert!(said.stderr.contains("run 1") && said.stderr.contains("was interrupted"), "{said:?}");
    let recovered = recover(&machine, 0);
    assert_eq!(recovered["runs"][0]["restored"].as_array().unwrap().len(), 4, "{recovered}");
    assert_eq!(seen(&machine), old);
    assert!(recover(&machine, 0)["runs"].as_array().unwrap().is_empty(), "a second time there is nothing to do");
    serves(&machine);
}

#[test]
fn a_time_that_makes_no_sense_is_refused() {
    let machine = Machine::stopped();
    for within in ["1s", "25h", "soon", "-5m"] {
        let option = format!("--confirm-within={within}");
        Run::of(&mut certify(&machine, &[&option])).ends(2).says(&["--confirm-within"]);
    }
}
