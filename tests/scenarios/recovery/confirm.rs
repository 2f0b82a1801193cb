//! A change that is kept only if somebody confirms it from a new login.

use super::*;
use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

fn apply(machine: &Machine, within: &str) -> Value {
    Run::of(&mut certify(machine, &["--json", "--confirm-within", within])).ends(0).object("warded.apply/1")
}

/// Runs `warded confirm` in a new login.
fn confirm(machine: &Machine) -> Run {
    Run::of(
        &mut machine
            .client(&ClientKnowledge::Keys(machine.host_key("ed25519")))
            .command(&machine.warded_line("confirm")),
    )
}

/// Runs it in no login at all, which is refused while there is time left.
fn confirm_anywhere(machine: &Machine) -> Run {
    Run::of(&mut machine.warded_command(["confirm"]))
}

/// A login that stays open, and runs the lines that it gets.
struct Login {
    client: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Login {
    fn open(machine: &Machine) -> Self {
        let mut client = machine
            .client(&ClientKnowledge::Keys(machine.host_key("ed25519")))
            .command("sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (input, output) = (client.stdin.take().unwrap(), BufReader::new(client.stdout.take().unwrap()));
        let mut login = Self { client, input, output };
        assert_eq!(login.runs("echo in"), (0, "in\n".to_owned()));
        login
    }

    /// Returns how a line ended, and what it printed.
    fn runs(&mut self, line: &str) -> (i32, String) {
        writeln!(self.input, "{line} 2>&1; echo \"ended $?\"").unwrap();
        let mut said = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the login ended: {said}");
            if let Some(code) = line.strip_prefix("ended ") {
                return (code.trim().parse().unwrap(), said);
            }
            said.push_str(&line);
        }
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.client.kill().unwrap();
        self.client.wait().unwrap();
    }
}

#[test]
fn what_nobody_confirms_is_rolled_back_after_the_run_has_ended() {
    let machine = Machine::start();
    let old = seen(&machine);
    let done = apply(&machine, "8s");
    assert!(done["confirm_until"].is_string() && done["run"] == 1, "{done}");
    machine.serves_certificates();
    assert_eq!((state(&machine).as_str(), seen(&machine).2), ("unconfirmed", false), "it is enrolled only if it stays");

    // Meanwhile, commands that change nothing mention the change, and commands that would change something are refused.
    let plan = machine.warded(["plan", "certify-host", "--set", &format!("principal={NAME}")]);
    assert!(plan.stderr.contains("warded confirm"), "{plan:?}");
    for command in [["apply", "certify-host", "--yes"].as_slice(), &["renew"], &["undo", "--yes"]] {
        let mut meanwhile = machine.warded_command([]);
        Run::of(meanwhile.args(command)).ends(5).says(&["has not been confirmed yet", "warded confirm"]);
    }
    let recovered = recover(&machine, 0);
    assert_eq!((&recovered["unconfirmed"], recovered["runs"].as_array().unwrap().len()), (&done["run"], 0));

    wait("rolled back", LONG, || state(&machine) == "rolled-back" && watchdogs(&machine).is_empty());
    assert_eq!(seen(&machine), old);
    serves(&machine);
    let last = details(&machine, "ended").pop().unwrap();
    assert!(last.contains("nobody confirmed it in time") && last.contains("ssh reloaded, checked"), "{last}");
    let late = "run 1 was not confirmed in time and was rolled back ";
    confirm(&machine).ends(5).says(&[&format!("refused: {late}"), " s ago, at ", "next:  apply it again"]);
    let status = machine.warded(["status"]).ends(0);
    assert!(status.stdout.contains(&format!("note         {late}")), "{}", status.stdout);
    machine.certify();
    assert_eq!(confirm(&machine).ends(0).stdout, "There is nothing to confirm.\n");
    assert!(!machine.warded(["status"]).ends(0).stdout.contains(late));
}

#[test]
fn what_is_confirmed_from_a_new_login_stays() {
    let machine = Machine::start();
    // Somebody who fears a lock-out opens another login beforehand. That login proves as little as the first.
    let (mut first, mut second) = (Login::open(&machine), Login::open(&machine));
    let apply = format!("apply certify-host --set principal={NAME} --yes --confirm-within 10m");
    let (code, said) = first.runs(&machine.warded_line(&apply));
    assert_eq!(code, 0, "{said}");
    let new = seen(&machine).0;
    for login in [&mut first, &mut second] {
        let (code, said) = login.runs(&machine.warded_line("confirm"));
        assert!(code == 5 && said.contains("refused: run 1") && said.contains("before the change"), "{code} {said}");
    }
    machine.warded(["confirm"]).ends(5).says(&[
        "refused: run 1",
        "no sshd",
        "state: run 1",
        "is rolled back unless it is confirmed",
        "--same-login",
    ]);
    machine.warded(["confirm", "--plan"]).ends(5).says(&["refused: run 1", "no sshd"]);
    let planned = machine.warded(["confirm", "--same-login", "--plan", "--json"]).ends(3).object("warded.confirm/1");
    assert_eq!((&planned["run"], &planned["would_confirm"]), (&Value::Null, &1.into()), "{planned}");
    machine.warded(["confirm", "--same-login", "--plan"]).ends(3).prints(&[
        "run 1",
        "would be confirmed",
        "50-warded.conf",
    ]);
    assert_eq!(state(&machine), "unconfirmed");
    let said = confirm(&machine).ends(0).stdout;
    assert!(said.contains("Confirmed run 1") && said.contains("4 files stay"), "{said}");
    assert_eq!(confirm(&machine).ends(0).stdout, "There is nothing to confirm.\n");
    wait("the watchdog lets go", LONG, || watchdogs(&machine).is_empty());
    assert_eq!(
        (state(&machine).as_str(), seen(&machine).0, seen(&machine).2),
        ("kept", new_without_temporaries(new), true)
    );
    machine.serves_certificates();
    assert!(details(&machine, "ended").last().unwrap().contains("confirmed, kept"));
    machine.warded(["undo", "--yes"]).ends(0);
}

/// A session of the watchdog's own does not help: systemd ends all processes of a service.
#[test]
fn in_a_service_that_ends_its_watchdog_it_is_refused() {
    if missing::root() {
        return;
    }
    let machine = Machine::stopped();
    let old = seen(&machine);
    // Makes systemd seem to be process 1, and to have started this process. There is no systemctl that could tell
    // otherwise.
    fs::write(machine.path("cgroup"), "0::/system.slice/run-u7.service\n").unwrap();
    fs::write(machine.path("comm"), "systemd\n").unwrap();
    let systemd = format!("mkdir /run/systemd/system; mount --bind {} /proc/1/comm", machine.path("comm").display());
    Run::of(machine.command("sh").args(["-c", &format!("mkdir /run/systemd; {systemd}")])).ends(0);
    let within = |cgroup: &str| {
        let begin = format!("{cgroup}; exec \"$@\"");
        let command = certify(&machine, &["--confirm-within", "10m"]);
        let words: Vec<_> = command.get_args().skip_while(|word| *word != env!("CARGO_BIN_EXE_warded")).collect();
        let mut shell = machine.command("sh");
        shell.args(["-c", &begin, "sh"]).args(words);
        Run::of(machine.environment(&mut shell))
    };
    let service = format!("mount --bind {} /proc/$$/cgroup", machine.path("cgroup").display());
    within(&service).ends(5).says(&["run-u7.service", "systemd-run --scope", "nothing was changed"]);
    assert_eq!((seen(&machine), machine.path("state/runs").exists()), (old, false));
    within("true").ends(0).says(&["warded-recover.service is not enabled"]);
    machine.warded(["confirm", "--same-login"]).ends(0);
}

/// Until the change is confirmed, the old files lie beside the new ones.
fn new_without_temporaries(files: BTreeMap<PathBuf, (u32, u32, u32)>) -> BTreeMap<PathBuf, (u32, u32, u32)> {
    files.into_iter().filter(|(path, _)| !path.to_string_lossy().contains(".warded-")).collect()
}

#[test]
fn after_a_restart_of_the_machine_it_is_rolled_back() {
    let machine = Machine::start();
    let old = seen(&machine);
    apply(&machine, "10m");
    // A reboot would end the watchdog like this.
    watchdogs(&machine).into_iter().for_each(|pid| send(pid, Signal::KILL));
    wait("the watchdog ends", LONG, || watchdogs(&machine).is_empty());
    let said = machine.warded(["plan", "certify-host", "--set", &format!("principal={NAME}")]);
    assert!(said.stderr.contains("run 1") && said.stderr.contains("was interrupted"), "{said:?}");
    // Even a half-written configuration does not stop the recovery at the start of the machine.
    fs::write(machine.path("config.toml"), "ca = ").unwrap();
    let mut command = machine.warded_command(["recover", "--json"]);
    let recovered = Run::of(&mut command).ends(4).says(&["config.toml:1:"]).object("warded.recover/1");
    fs::write(machine.path("config.toml"), "").unwrap();
    assert_eq!(recovered["runs"][0]["restored"].as_array().unwrap().len(), 4, "{recovered}");
    assert_eq!(seen(&machine), old);
    assert!(recover(&machine, 0)["runs"].as_array().unwrap().is_empty(), "a second time there is nothing to do");
    serves(&machine);
}

/// If somebody confirms too late, the error says who rolls the change back.
#[test]
fn too_late_and_without_a_watchdog_it_is_told_who_rolls_it_back() {
    let machine = Machine::start();
    let old = seen(&machine);
    apply(&machine, "5s");
    watchdogs(&machine).into_iter().for_each(|pid| send(pid, Signal::KILL));
    wait("the watchdog ends", LONG, || watchdogs(&machine).is_empty());
    // The time is over when the message says so: nothing else on the machine changes at that moment.
    let mut said = confirm_anywhere(&machine);
    wait("the time is over", LONG, || {
        said = confirm_anywhere(&machine);
        said.stderr.contains("was not confirmed in time")
    });
    said.ends(5).says(&["the process that was to roll it back has ended", "warded recover, which rolls it back"]);
    assert_ne!(seen(&machine), old);
    recover(&machine, 0);
    assert_eq!(seen(&machine), old);
}

#[test]
fn a_time_that_makes_no_sense_is_refused() {
    let machine = Machine::stopped();
    for within in ["1s", "25h", "soon", "-5m"] {
        let option = format!("--confirm-within={within}");
        Run::of(&mut certify(&machine, &[&option])).ends(2).says(&["--confirm-within"]);
    }
}

/// Without systemd, the runlevel tells whether the machine is going down.
#[test]
fn at_the_runlevels_of_a_halt_and_a_reboot_the_watchdog_puts_the_files_back() {
    if missing::root() {
        return;
    }
    for (runlevel, goes_down) in [("N 2", false), ("2 0", true), ("2 6", true)] {
        let machine = Machine::start();
        let stub = format!(
            "mkdir /run/u /run/w; mount -t overlay -o lowerdir=/usr/sbin,upperdir=/run/u,workdir=/run/w overlay /usr/sbin
             rm -f /usr/sbin/runlevel # a link to systemctl, which would be written
             printf '#!/bin/sh\necho >>/run/asked\necho {runlevel}\n' >/usr/sbin/runlevel; chmod 755 /usr/sbin/runlevel"
        );
        Run::of(machine.command("sh").args(["-ec", &stub])).ends(0);
        let before = seen(&machine);
        apply(&machine, "10m");
        let watching = watchdogs(&machine);
        assert!(!watching.is_empty());
        watching.iter().for_each(|pid| send(*pid, Signal::TERM));
        if goes_down {
            wait("it ends", Duration::from_secs(10), || watchdogs(&machine).is_empty());
            assert_eq!(seen(&machine), before, "{runlevel}");
            let ended = details(&machine, "ended");
            let why = "rolled back (the machine went down before it was confirmed): ";
            assert!(ended.iter().any(|detail| detail.starts_with(why)), "{ended:?}");
        } else {
            // A watchdog asks several times. If it asks again, the first answer did not end it.
            let asked = || Run::of(machine.command("cat").arg("/run/asked")).stdout.lines().count();
            wait("each watchdog asks again", LONG, || asked() > watching.len());
            assert_eq!((watchdogs(&machine), state(&machine)), (watching, "unconfirmed".to_owned()), "{runlevel}");
        }
    }
}
