//! The public status is updated after each roll back, whichever process did it.

use super::*;

/// The public status.
fn told(machine: &Machine) -> Value {
    let file = machine.path("state-status/status.json");
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// Whether a change waits for its confirmation, and how many certificates there are.
fn waits_and_keys(machine: &Machine) -> (bool, usize) {
    let told = told(machine);
    (told["change_waits"].as_bool().unwrap(), told["keys"].as_array().unwrap().len())
}

#[test]
fn everybody_is_told_when_a_change_is_rolled_back() {
    if missing::root() {
        return;
    }
    let machine = Machine::start();
    // The machine's first change: the machine is enrolled only if the change is kept.
    Run::of(&mut certify(&machine, &["--confirm-within", "8s"])).ends(0);
    assert_eq!(waits_and_keys(&machine), (true, 0));
    wait("the watchdog ends", LONG, || watchdogs(&machine).is_empty());
    assert_eq!((state(&machine).as_str(), waits_and_keys(&machine)), ("rolled-back", (false, 0)));

    machine.certify();
    assert_eq!(waits_and_keys(&machine), (false, 3));
    machine.warded(["undo", "--yes", "--confirm-within", "8s"]).ends(0);
    assert_eq!(waits_and_keys(&machine), (true, 0));
    wait("the watchdog ends", LONG, || watchdogs(&machine).is_empty());
    assert_eq!(waits_and_keys(&machine), (false, 3));

    // `recover`, without a watchdog, and with a configuration that cannot be read.
    machine.warded(["undo", "--yes", "--confirm-within", "10m"]).ends(0);
    assert_eq!(waits_and_keys(&machine), (true, 0));
    watchdogs(&machine).into_iter().for_each(|watchdog| send(watchdog, Signal::KILL));
    let broken = machine.path("broken.toml");
    fs::write(&broken, "ca =").unwrap();
    // A killed process still holds its locks for a moment.
    wait("it is recovered", LONG, || {
        let recover = Run::of(machine.warded_command(["recover"]).env("WARDED_CONFIG", &broken)).ends(4);
        recover.says(&["broken.toml", "going on with"]).stdout.contains("rolled back")
    });
    assert_eq!(waits_and_keys(&machine), (false, 3));
    // The CA, which only the configuration names, stays as it was recorded.
    assert_eq!((&told(&machine)["ca"], &told(&machine)["names"]), (&"local".into(), &serde_json::json!([NAME])));
}
