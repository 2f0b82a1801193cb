//! An appliance's programs: called for a plan, queued with reloads, and rolled back and undone together with the files.

use crate::support::{
    Appliance, ClientKnowledge, Machine, Run,
    appliance::SECRET,
    script::{
        Argument::{Settings, Text},
        Script,
    },
    wait::{LONG, wait},
};
use std::{
    fs,
    time::{Duration, Instant},
};

const FILE: &str = "ssh/sshd_config.d/60-case.conf";
const NEW: &str = "Banner none\n# \"ours\"\n";
const GRANTS: [&str; 4] = [
    "files.write = [\"{sshd}/sshd_config.d/60-case.conf\"]",
    "services.ssh = [\"reload\"]",
    "actions = [\"show\", \"set\", \"jobs\", \"job-create\", \"job-delete\", \"print\", \"once\"]",
    "log = [\"info\"]",
];

/// Installs a policy whose procedure does this on the appliance.
fn procedure(appliance: &Appliance<'_>, does: impl FnOnce(&mut Script)) {
    let machine = appliance.0;
    let mut script = Script::new(machine.path("").to_str().unwrap().trim_end_matches('/'));
    does(&mut script);
    appliance.grants(&GRANTS).write(&machine.path("policies"), "case", "go", &script.component());
}

fn asks(script: &mut Script, name: &str) {
    script.does("actions.query", &[Text(name.as_bytes()), Settings(&[])]);
}

fn sets(script: &mut Script, options: &str) {
    script.does("actions.change", &[Text(b"set"), Settings(&[(b"options", options.as_bytes())])]);
}

fn writes(script: &mut Script) {
    script.writes(&format!("{{dir}}/{FILE}"), "# ours\n");
}

fn reloads(script: &mut Script) {
    script.does("services.reload", &[Text(b"ssh")]);
}

/// The procedure changes a file, a setting and a job, and reloads sshd.
fn certifies(script: &mut Script) {
    asks(script, "show");
    writes(script);
    sets(script, NEW);
    script.does("actions.change", &[Text(b"job-create"), Settings(&[])]);
    reloads(script);
}

fn go<const N: usize>(machine: &Machine, words: [&str; N]) -> Run {
    Run::of(machine.warded_command(words).args(["--policy", "case"]))
}

fn apply(machine: &Machine) -> Run {
    go(machine, ["apply", "go", "--yes"])
}

fn calls(appliance: &Appliance<'_>) -> Vec<String> {
    appliance.stored("calls").lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// The appliance's stored settings and jobs, and the file.
fn all(appliance: &Appliance<'_>) -> [String; 3] {
    let file = fs::read_to_string(appliance.0.path(FILE)).unwrap_or_default();
    [appliance.stored("settings"), appliance.stored("jobs"), file]
}

/// The state of the newest run.
fn state(machine: &Machine) -> String {
    let history = machine.warded(["history", "--json"]);
    history.object("warded.history/1")["runs"][0]["outcome"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_change_is_planned_made_and_undone() {
    let machine = Machine::start();
    let appliance = Appliance::on(&machine);
    procedure(&appliance, certifies);
    let before = all(&appliance);
    let plan = go(&machine, ["plan", "go"]).ends(3);
    let plan =
        plan.prints(&["> run set", " Banner none", "+# \"ours\"", "> run job-create", "+present", "> reload ssh"]);
    assert!(!plan.stdout.contains(SECRET), "{plan:?}");
    assert_eq!(all(&appliance), before);
    assert_eq!(calls(&appliance), ["show", "jobs"]);

    fs::write(appliance.store("calls"), "").unwrap();
    let done = apply(&machine).ends(0);
    assert!(!format!("{done:?}").contains(SECRET));
    assert_eq!(appliance.stored("settings"), "{\"options\":\"Banner none\\n# \\\"ours\\\"\\n\"}\n");
    assert!(appliance.stored("jobs").contains("\"id\":7"));
    // The host calls the queries for the plan, again under the lock, and before and after each change.
    let expected = ["show", "jobs", "show", "jobs", "show", "set", "show", "jobs", "create", "jobs"];
    assert_eq!(calls(&appliance), expected);
    apply(&machine).ends(0).prints(&["Nothing to do"]);

    let log = fs::read_to_string(machine.path("state/audit/log.jsonl")).unwrap();
    assert!(!log.contains(SECRET) && !log.contains("ours\\\\n"), "an input or what was dropped is on record");
    for words in ["options: 21 bytes, sha256:", "output: ", "\"capability\":\"actions.change\""] {
        assert!(log.contains(words), "{words} is not on record");
    }
    machine.warded(["undo", "--plan"]).ends(3).prints(&["> run job-delete", "> run set", "-# \"ours\""]);
    machine.warded(["undo", "--yes"]).ends(0);
    assert_eq!(all(&appliance), before);
    machine.warded(["audit", "verify"]).ends(0);
}

#[test]
fn a_change_alone_is_something_to_do() {
    let machine = Machine::start();
    let appliance = Appliance::on(&machine);
    procedure(&appliance, |script| sets(script, NEW));
    let before = all(&appliance);
    go(&machine, ["plan", "go"]).ends(3).prints(&["go would run 1 program."]);
    apply(&machine).ends(0);
    go(&machine, ["plan", "go"]).ends(0).prints(&["Nothing to do."]);
    machine.warded(["remove", "--yes"]).ends(0);
    assert_eq!(all(&appliance), before);

    // Somebody changes the file in between.
    apply(&machine).ends(0);
    fs::write(appliance.store("settings"), "{\"options\":\"theirs\"}\n").unwrap();
    machine.warded(["undo", "--yes"]).ends(5).says(&["is not undone", "what show shows was changed after that run"]);
    assert_eq!(appliance.stored("settings"), "{\"options\":\"theirs\"}\n");
}

#[test]
fn what_cannot_be_rolled_back_is_said_first() {
    let machine = Machine::start();
    let appliance = Appliance::on(&machine);
    procedure(&appliance, |script| {
        asks(script, "show");
        writes(script);
        sets(script, NEW);
        script.does("actions.change", &[Text(b"once"), Settings(&[])]);
        reloads(script);
    });
    let plan = go(&machine, ["plan", "go"]).ends(3).prints(&["60-case.conf", "> run set", "> run once"]);
    let second = plan.stdout.lines().find(|line| !line.contains("policy case")).unwrap_or_default();
    assert_eq!(second, "! once cannot be undone", "{}", plan.stdout);
    let shown = machine.warded(["policy", "show", "case"]).ends(0).prints(&[
        "CHANGE SOMETHING BY A PROGRAM",
        "set runs ",
        "undone by set",
        "the procedure gets of it: options",
    ]);
    let first = shown.stdout.lines().find(|line| line.starts_with("  may  ")).unwrap_or_default();
    assert!(first.contains("once CANNOT BE UNDONE: runs "), "{}", shown.stdout);
    apply(&machine).ends(0);
    machine.warded(["undo", "--yes"]).ends(0).prints(&["once stays: nothing undoes it"]);
}

#[test]
fn a_tool_that_misbehaves_changes_nothing() {
    let machine = Machine::start();
    let appliance = Appliance::on(&machine);
    procedure(&appliance, certifies);
    let before = all(&appliance);
    for (mode, says) in [
        ("show:hang", "did not end within 2 s"),
        ("show:dies", "was ended by a signal"),
        ("show:nonsense", "neither an object nor a list of objects"),
        ("show:fails", "ended with status 3: no such thing"),
        ("show:talks", "gave more than 1 MiB"),
    ] {
        appliance.mode(mode);
        let run = apply(&machine).ends(1).says(&[says, "nothing was changed"]);
        assert!(!format!("{run:?}").contains(SECRET), "{mode}");
        assert_eq!(all(&appliance), before, "{mode}");
    }
    for (mode, says) in [
        ("set:hang", "did not end within 2 s"),
        ("set:dies", "was ended by a signal"),
        ("set:fails", "ended with status 3: no such thing"),
        ("set:fails-after", "ended with status 3: no such thing"),
        ("set:talks", "gave more than 1 MiB"),
        ("set:lies", "set succeeded, and show does not show that"),
        ("create:fails-after", "ended with status 3: no such thing"),
        ("set:edits-file", "60-case.conf"),
    ] {
        appliance.mode(mode);
        let run = apply(&machine);
        let shown = format!("{run:?}");
        assert!(run.code == Some(1) || mode == "set:edits-file" && run.code == Some(4), "{mode}: {shown}");
        assert!(shown.contains(says), "{mode}: {shown}");
        let now = all(&appliance);
        assert_eq!(now[..2], before[..2], "{mode}: {shown}");
        // Warded must not remove what the tool itself wrote into the file.
        if mode == "set:edits-file" {
            fs::remove_file(machine.path(FILE)).unwrap();
        } else {
            assert_eq!(now, before, "{mode}: {shown}");
        }
        assert_eq!(state(&machine), "rolled-back", "{mode}");
    }
}

/// An appliance's tool may write files anew when a setting is restored, for example from a state that it cached.
#[test]
fn a_file_that_an_undo_writes_again_is_put_back_again() {
    let machine = Machine::start();
    let appliance = Appliance::on(&machine);
    procedure(&appliance, certifies);
    for old in [None, Some("# old\n")] {
        if let Some(old) = old {
            fs::write(machine.path(FILE), old).unwrap();
        }
        let before = all(&appliance);
        fs::write(appliance.store("calls"), "").unwrap();
        appliance.mode("create:again");
        apply(&machine).ends(1).says(&["ended with status 3: no such thing", "as before"]);
        assert_eq!(calls(&appliance).iter().filter(|call| *call == "set").count(), 2, "it was undone by the tool");
        assert_eq!(all(&appliance), before, "{old:?}");
        assert_eq!(machine.path(FILE).exists(), old.is_some());
        assert_eq!(state(&machine), "rolled-back");
    }
}

/// A program that runs after the reload may write the configuration of another sshd, which was proved as well.
#[test]
fn a_program_that_edits_another_sshds_configuration_is_told() {
    let machine = Machine::start();
    let appliance = Appliance::on(&machine);
    procedure(&appliance, |script| {
        asks(script, "show");
        writes(script);
        reloads(script);
        sets(script, NEW);
    });
    let at = |name: &str| machine.path(name).display().to_string();
    let lines = format!(
        "Port 2299\nListenAddress 127.0.0.1\nHostKey {}\nPidFile {}\nUsePAM no\nInclude {}/*.conf\n",
        at("ssh/ssh_host_ed25519_key"),
        at("second.pid"),
        at("ssh/sshd_config.d")
    );
    fs::write(machine.path("second_config"), lines).unwrap();
    Run::of(machine.command("/usr/sbin/sshd").args(["-f", &at("second_config"), "-E", &at("second.log")])).ends(0);
    wait("the second sshd listens", LONG, || machine.path("second.pid").exists());
    let before = all(&appliance);
    appliance.mode("set:edits-second");
    apply(&machine).ends(1).says(&["second_config was changed while this ran", "no appliance's program", "as before"]);
    assert_eq!(all(&appliance), before);
    assert_eq!(state(&machine), "rolled-back");
}

/// A program may write lines that sshd refuses into sshd's own file. The running sshd continues, but a new one would
/// not start.
#[test]
fn a_file_that_sshd_refuses_is_not_left_without_a_word() {
    let machine = Machine::start();
    let appliance = Appliance::on(&machine);
    let queues: [fn(&mut Script); 3] = [
        certifies,
        |script| {
            asks(script, "show");
            writes(script);
            reloads(script);
            sets(script, NEW);
        },
        // Only the program, without a reload that would make sshd read the file.
        |script| {
            asks(script, "show");
            sets(script, NEW);
        },
    ];
    let (config, before) = (machine.path("ssh/sshd_config"), all(&appliance));
    let text = fs::read_to_string(&config).unwrap();
    for queue in queues {
        procedure(&appliance, queue);
        appliance.mode("set:edits-main");
        fs::write(appliance.store("calls"), "").unwrap();
        let words = ["sshd_config was changed while this ran", "line", "Bad configuration option: Prot", "is silent"];
        apply(&machine).ends(4).says(&words);
        assert_eq!(all(&appliance), before);
        // The second program of a queue could have made sshd read that file.
        let calls = calls(&appliance);
        assert!(calls.iter().any(|call| call == "set") && !calls.iter().any(|call| call == "create"), "{calls:?}");
        // Warded must not remove what somebody else wrote.
        assert_ne!(fs::read_to_string(&config).unwrap(), text);
        machine.client(&ClientKnowledge::Keys(machine.host_key("ed25519"))).connects();
        appliance.mode("none");
        fs::write(&config, &text).unwrap();
    }
    apply(&machine).ends(0);
}

/// The watchdog allows the sum of the times that the run's programs may take, and no more.
#[test]
fn programs_that_take_their_time_are_waited_for_and_one_that_stalls_is_not() {
    let machine = Machine::start();
    let appliance = Appliance::on(&machine);
    procedure(&appliance, certifies);
    let before = all(&appliance);
    let apply = || {
        let mut command = machine.warded_command(["apply", "go", "--yes", "--policy", "case"]);
        Run::of(command.env("WARDED_TEST_STAGE_LIMIT", "5"))
    };
    appliance.mode("create:stalls");
    assert_ne!(apply().code, Some(0));
    wait("its watchdog has rolled it back", LONG, || state(&machine) == "rolled-back");
    assert_eq!(all(&appliance), before);
    // Together the programs take longer than the watchdog waits for one of them, forwards and backwards.
    for (mode, code, ended) in [("both:fails-slowly", 1, "rolled-back"), ("both:slow", 0, "kept")] {
        let begun = Instant::now();
        appliance.mode(mode);
        let run = apply().ends(code);
        assert!(begun.elapsed() > Duration::from_secs(5), "{mode}: {:?}", begun.elapsed());
        assert_eq!(state(&machine), ended, "{mode}: {run:?}");
        if code != 0 {
            run.says(&["no such thing", "as before"]);
            assert_eq!(all(&appliance), before, "{mode}");
        }
    }
}

#[test]
fn somebody_elses_change_stops_the_run() {
    let machine = Machine::start();
    let appliance = Appliance::on(&machine);
    procedure(&appliance, certifies);
    let ours = all(&appliance);
    // The query runs for the second time under the lock, and for the third time right before the change.
    for (asked, code, says) in [
        ("2", 5, "show gives another answer than when this was planned"),
        // Warded cannot know which of the two values the program left, and reports that.
        ("3", 4, "show is not what set was planned for"),
    ] {
        fs::write(appliance.store("settings"), &ours[0]).unwrap();
        fs::write(appliance.store("calls"), "").unwrap();
        fs::write(appliance.store("edit-at"), format!("{asked}\n")).unwrap();
        let run = apply(&machine);
        assert_eq!(run.code, Some(code), "{run:?}");
        assert!(run.stderr.contains(says), "{run:?}");
        assert_eq!(all(&appliance), ["{\"options\":\"of the GUI\"}\n".to_owned(), ours[1].clone(), ours[2].clone()]);
    }
}

#[test]
fn a_run_that_is_killed_is_rolled_back_with_its_programs() {
    let machine = Machine::start();
    let appliance = Appliance::on(&machine);
    procedure(&appliance, certifies);
    let before = all(&appliance);
    for mode in ["set:kills-before", "set:kills-after", "create:kills-before", "create:kills-after"] {
        appliance.mode(mode);
        apply(&machine);
        wait("its watchdog has rolled it back", LONG, || state(&machine) == "rolled-back");
        assert_eq!(all(&appliance), before, "{mode}");
    }
    for mode in ["set:kills-both", "create:kills-both"] {
        appliance.mode(mode);
        apply(&machine);
        assert_ne!(all(&appliance), before, "{mode}");
        // At the first attempt the middleware is down.
        appliance.mode("show:fails");
        machine.warded(["recover"]).ends(1).says(&["no such thing", "warded recover"]);
        assert_eq!(state(&machine), "interrupted", "{mode}");
        appliance.mode("none");
        machine.warded(["recover"]).ends(0).prints(&["set   rolled back"]);
        assert_eq!(all(&appliance), before, "{mode}");
    }
    // Somebody else changes the setting meanwhile.
    appliance.mode("set:kills-both");
    apply(&machine);
    wait("the program that outlived its run has ended", LONG, || appliance.stored("settings") != before[0]);
    fs::write(appliance.store("settings"), "{\"options\":\"theirs\"}\n").unwrap();
    machine.warded(["recover"]).ends(4).prints(&["set   left alone: show shows neither"]);
    assert_eq!(appliance.stored("settings"), "{\"options\":\"theirs\"}\n");
}
