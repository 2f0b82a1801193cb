//! The commands in their order, from a plan to an undo.

use crate::support::{
    Machine, Run,
    machine::{KEYS, NAME},
    wait::{LONG, wait},
};
use serde_json::json;
use std::{fs, process::Command};

const SET: &str = "principal=web1.example.org";

#[test]
fn from_a_plan_to_an_undo() {
    let machine = Machine::start();
    let first = machine.tree();

    let plan = machine.warded(["plan", "certify-host", "--set", SET, "--json"]).ends(3).object("warded.plan/1");
    assert_eq!(
        (&plan["policy"], &plan["procedure"], &plan["pending"]),
        (&"unix".into(), &"certify-host".into(), &true.into())
    );
    assert_eq!(plan["files"].as_array().unwrap().len(), KEYS.len() + 1);
    assert_eq!(first, machine.tree(), "a plan changed something");

    let done = machine.certify();
    assert_eq!(done["run"], 1);
    assert_eq!(done["review"]["files"], plan["files"], "something else was applied than was planned");
    assert_eq!(done["certificates"][0]["principals"][0], NAME);
    let certified = machine.tree();
    let again = machine.warded(["plan", "certify-host", "--set", SET, "--json"]).ends(0).object("warded.plan/1");
    assert_eq!(again["pending"], false);
    let again = machine.certify();
    assert!(again["run"].is_null(), "{again}");
    assert_eq!(certified, machine.tree(), "a second apply changed something");

    let status = machine.warded(["status", "--json"]).ends(0).object("warded.status/1");
    assert_eq!(status["healthy"], true, "{status}");

    let renewed = machine.warded(["renew", "--json"]).ends(0).object("warded.renew/1");
    assert!(renewed["run"].is_null(), "{renewed}");
    assert_eq!(certified, machine.tree());
    machine.warded(["renew"]).ends(0);
    let renewed = machine.warded(["renew", "--force", "--json"]).ends(0).object("warded.renew/1");
    assert_eq!(renewed["served"].as_array().unwrap().len(), KEYS.len());
    assert_ne!(certified, machine.tree());

    let undone = machine.warded(["undo", "--yes", "--json"]).ends(0).object("warded.undo/1");
    // The undo reverts the renewal together with the run that it renewed.
    assert_eq!((&undone["undoes"], &undone["down_to"]), (&renewed["run"], &done["run"]));
    assert_eq!(first, machine.tree());
    let nothing = machine.warded(["undo", "--yes", "--json"]).ends(0).object("warded.undo/1");
    assert!(nothing["undoes"].is_null(), "{nothing}");
    // The undo removed the enrolment with the run that made it.
    machine.warded(["renew"]).ends(2).says(&["not enrolled"]);
}

#[test]
fn undo_does_not_lose_an_edit() {
    let machine = Machine::start();
    machine.certify();
    let drop_in = machine.path("ssh/sshd_config.d/50-warded.conf");
    fs::write(&drop_in, fs::read_to_string(&drop_in).unwrap() + "# somebody's line\n").unwrap();
    let edited = machine.tree();
    machine.warded(["undo", "--yes"]).ends(5).says(&["50-warded.conf", "+# somebody's line"]);
    let refused = machine.warded(["undo", "--yes", "--json"]).ends(5).object("warded.error/1");
    assert_eq!(refused["exit"], 5);
    assert_eq!(edited, machine.tree());
    machine.serves_certificates();
}

/// Somebody has removed Warded's changes by hand.
#[test]
fn undo_takes_what_is_as_before_for_done() {
    let machine = Machine::start();
    let first = machine.tree();
    machine.certify();
    fs::remove_file(machine.path("ssh/sshd_config.d/50-warded.conf")).unwrap();
    let undone = machine.warded(["undo", "--yes"]).ends(0).stdout;
    assert!(undone.contains("50-warded.conf   as before already\n"), "{undone}");
    assert!(undone.contains(&format!("Undone: {} files as before.", KEYS.len() + 1)), "{undone}");
    assert_eq!(first, machine.tree());
    machine.certify();
    for file in machine.tree().into_keys().filter(|file| !first.contains_key(file)) {
        fs::remove_file(file).unwrap();
    }
    let undone = machine.warded(["undo", "--yes", "--json"]).ends(0).object("warded.undo/1");
    assert_eq!(
        (undone["files"].as_array().unwrap().len(), undone["as_before"].as_array().unwrap().len()),
        (0, KEYS.len() + 1)
    );
    assert_eq!(first, machine.tree());
    machine.warded(["renew"]).ends(2).says(&["not enrolled"]);
    assert!(machine.warded(["undo", "--yes", "--json"]).ends(0).object("warded.undo/1")["undoes"].is_null());
}

/// The certificates before the renewal belong to keys that no longer exist, so sshd would complain about them. The
/// state before those can be restored nevertheless.
#[test]
fn keys_made_anew_do_not_bar_the_runs_before() {
    let machine = Machine::start();
    let first = machine.tree();
    machine.certify();
    for name in KEYS {
        let key = machine.path(&format!("ssh/ssh_host_{name}_key"));
        fs::remove_file(&key).unwrap();
        Run::of(Command::new("ssh-keygen").args(["-q", "-t", name, "-N", "", "-f"]).arg(&key)).ends(0);
    }
    reload(&machine);
    machine.warded(["renew"]).ends(0);
    let renewed = machine.tree();
    let alone = ["undo", "--yes", "--down-to", "2"];
    machine.warded(alone).ends(5).says(&["No matching private key", "warded undo --down-to 1"]);
    assert_eq!(renewed, machine.tree());
    let undone = machine.warded(["undo", "--yes", "--json"]).ends(0).object("warded.undo/1");
    assert_eq!((&undone["undoes"], &undone["down_to"]), (&2.into(), &1.into()));
    assert_eq!(machine.tree().keys().collect::<Vec<_>>(), first.keys().collect::<Vec<_>>());
    machine.warded(["renew"]).ends(2).says(&["not enrolled"]);
    machine.warded(["undo", "--yes", "--down-to", "1"]).ends(2).says(&["run 1 cannot be undone", "undid it"]);
}

#[test]
fn nothing_is_changed_without_a_yes() {
    let machine = Machine::start();
    let before = machine.tree();
    let run = machine.warded(["apply", "certify-host", "--set", SET]);
    run.ends(2).says(&["there is no terminal to ask at", "nothing was changed", "--yes"]);
    let error = machine.warded(["apply", "certify-host", "--set", SET, "--json"]).ends(2);
    assert!(error.stdout.contains("warded.error/1"), "{error:?}");
    assert_eq!(before, machine.tree());
    // Neither of the commands was a run, nor used up a number.
    assert_eq!(machine.warded(["history"]).ends(0).stdout, "No run has changed anything yet.\n");
    assert_eq!(machine.certify()["run"], 1);
    let certified = machine.tree();
    machine.warded(["undo"]).ends(2).says(&["there is no terminal to ask at"]);
    assert_eq!(certified, machine.tree());
}

/// Each thing that can be wrong with one certificate, and what `status` says about it: for that key, and for no other.
#[test]
fn status_says_what_is_amiss() {
    let machine = Machine::start();
    machine.certify();
    let beside = |name: &str| machine.path(&format!("ssh/ssh_host_{name}_key-cert.pub"));
    healthy(&machine);
    let expired = |name: &str| {
        let key = machine.path(&format!("ssh/ssh_host_{name}_key.pub"));
        let (id, times) = (["-I", "x", "-n", NAME], ["-V", "20200101:20200102"]);
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-h"]).args(id).args(times).arg("-s").arg(machine.path("ca/host_ca")).arg(key);
        Run::of(&mut command).ends(0);
    };
    type Harm<'a> = &'a dyn Fn(&str);
    let table: [(&str, Harm<'_>, &str, &str); 4] = [
        ("rsa", &|name| fs::remove_file(beside(name)).unwrap(), "no certificate", ""),
        ("ecdsa", &|name| fs::write(beside(name), "nonsense\n").unwrap(), "not an SSH certificate", ""),
        (
            "ed25519",
            &|name| fs::write(beside(name), fs::read(beside("rsa")).unwrap()).unwrap(),
            "its certificate is for another key",
            "; if the key was replaced on purpose: warded renew",
        ),
        ("ed25519", &|name| expired(name), "its certificate expired ", "; warded renew"),
    ];
    for (name, harm, words, next) in table {
        let whole = fs::read(beside(name)).unwrap();
        harm(name);
        let told = blames(&machine, name, words);
        assert!(told.contains(next), "{told}");
        fs::write(beside(name), whole).unwrap();
        healthy(&machine);
    }
    // sshd's configuration names no certificate for this key.
    let drop_in = machine.path("ssh/sshd_config.d/50-warded.conf");
    let whole = fs::read_to_string(&drop_in).unwrap();
    let without: Vec<&str> = whole.lines().filter(|line| !line.contains("ecdsa")).collect();
    fs::write(&drop_in, format!("{}\n", without.join("\n"))).unwrap();
    reload(&machine);
    blames(
        &machine,
        "ecdsa",
        "no HostCertificate line of sshd's configuration names its certificate, and sshd does not",
    );
    fs::write(&drop_in, whole).unwrap();
    reload(&machine);
    healthy(&machine);
}

fn reload(machine: &Machine) {
    let begun = || fs::read_to_string(machine.path("sshd.log")).unwrap().matches("Server listening").count();
    let before = begun();
    let pid = fs::read_to_string(machine.path("sshd.pid")).unwrap();
    Run::of(machine.command("kill").args(["-HUP", pid.trim()])).ends(0);
    wait("sshd listens again", LONG, || begun() > before);
}

#[track_caller]
fn healthy(machine: &Machine) {
    let status = machine.warded(["status", "--json"]).ends(0).object("warded.status/1");
    assert_eq!((&status["healthy"], &status["problems"]), (&true.into(), &json!([])), "{status}");
    let words = machine.warded(["status"]).ends(0).stdout;
    assert!(words.contains("problems     none\n") && words.matches(" · served\n").count() == KEYS.len(), "{words}");
}

/// Checks that `status` finds one problem, and that it names this key: in the object, in its line, and in the list at
/// the end.
#[track_caller]
fn blames(machine: &Machine, name: &str, words: &str) -> String {
    let path = machine.path(&format!("ssh/ssh_host_{name}_key"));
    let status = machine.warded(["status", "--json"]).ends(4).object("warded.status/1");
    assert_eq!(status["healthy"], false, "{status}");
    let keys = status["host_keys"].as_array().unwrap();
    assert_eq!(keys.len(), KEYS.len(), "{status}");
    let (blamed, others): (Vec<_>, Vec<_>) = keys.iter().partition(|key| !key["problem"].is_null());
    let [blamed] = blamed[..] else { panic!("{name}: {status}") };
    assert_eq!(blamed["path"], path.to_str().unwrap(), "{status}");
    let problem = blamed["problem"].as_str().unwrap();
    assert!(problem.contains(words), "{name}: {problem}");
    assert!(others.iter().all(|key| key["served"] == true), "{status}");
    let [told] = &status["problems"].as_array().unwrap()[..] else { panic!("{name}: {status}") };
    let told = told.as_str().unwrap();
    // What to do about it may follow.
    assert!(told.starts_with(&format!("{}: {problem}", path.display())), "{told}");

    let said = machine.warded(["status"]).ends(4).stdout;
    let algorithm = blamed["algorithm"].as_str().unwrap();
    let line = |begin: &str| said.lines().filter(|line| line.starts_with(begin)).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(line(&format!("host key     {algorithm:20} ")), [format!("host key     {algorithm:20} {problem}")]);
    assert_eq!(line("problem"), [format!("problem      {told}")], "{said}");
    assert_eq!(said.matches(" · served\n").count(), KEYS.len() - 1, "{said}");
    told.to_owned()
}

/// Settings from a file give the same plan as settings on the command line.
#[test]
fn settings_come_from_a_file_too() {
    let machine = Machine::start();
    let file = machine.path("settings.json");
    let run = |words: &[&str]| Run::of(machine.warded_command(["plan", "certify-host", "--json"]).args(words));
    let planned = |words: &[&str]| run(words).ends(3).object("warded.plan/1")["files"].clone();
    let by_words = planned(&["--set", &format!("principal={NAME}"), "--set", "principal=www.example.org"]);
    fs::write(&file, format!("{{\"principal\": [\"{NAME}\", \"www.example.org\"]}}")).unwrap();
    let given = ["--settings-file", file.to_str().unwrap()];
    assert_eq!(planned(&given), by_words);
    let line = machine.warded_line(&format!("plan certify-host --settings-file - --json < {}", file.display()));
    let piped = Run::of(machine.command("sh").args(["-c", &line])).ends(3).object("warded.plan/1");
    assert_eq!(piped["files"], by_words);
    let both = format!("apply certify-host --yes --settings-file - --token-file - < {}", file.display());
    let refused = Run::of(machine.command("sh").args(["-c", &machine.warded_line(&both)])).ends(2);
    refused.says(&["the settings or a secret, but not both", "nothing was changed", "--settings-file"]);
    fs::write(&file, "{\"principal\": {}}").unwrap();
    run(&given).ends(2);
    fs::remove_file(&file).unwrap();
    run(&given).ends(2);
}
