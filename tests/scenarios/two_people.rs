//! Two administrators work on one machine at the same time. A question to one does not block the other, and the
//! messages name who was faster.

use crate::support::{
    Machine, Run,
    wait::{LONG, wait},
};
use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    process::{Child, Command, Stdio},
};

/// Warded at a terminal, waiting for an answer.
struct PendingPrompt {
    terminal: Child,
    screen: std::path::PathBuf,
}

impl PendingPrompt {
    fn by(machine: &Machine, words: &str) -> Self {
        let screen = machine.path("screen");
        let mut command: Command = machine.command("script");
        // The terminal shows Warded's own output.
        command.args(["-qec", &machine.warded_line(words), "/dev/null"]);
        let terminal = command.stdin(Stdio::piped()).stdout(File::create(&screen).unwrap()).spawn().unwrap();
        let asked = Self { terminal, screen };
        wait("it asks", LONG, || asked.shown().contains("[y/N]"));
        asked
    }

    fn shown(&self) -> String {
        fs::read_to_string(&self.screen).unwrap()
    }

    /// Answers yes. Returns the exit code, and everything that was shown.
    fn yes(mut self) -> (Option<i32>, String) {
        self.terminal.stdin.as_mut().unwrap().write_all(b"y\n").unwrap();
        let code = self.terminal.wait().unwrap().code();
        (code, self.shown())
    }
}

#[track_caller]
fn is_refused((code, shown): (Option<i32>, String), words: &[&str]) {
    assert_eq!(code, Some(5), "{shown}");
    for word in words {
        assert!(shown.contains(word), "{word:?} is not in\n{shown}");
    }
    for never in ["by hand", "changed since", "somebody"] {
        assert!(!shown.contains(never), "{never:?} is in\n{shown}");
    }
}

#[test]
fn an_apply_that_was_overtaken_names_the_run_and_what_is_left() {
    let machine = Machine::start();
    let asked = PendingPrompt::by(&machine, "apply certify-host --set principal=web1.example.org --set principal=web1");
    let done = machine.certify();
    let left = machine.tree();
    is_refused(
        asked.yes(),
        &[
            &format!("refused: run {} (certify-host by ", done["run"]),
            "-cert.pub in the meantime",
            "next:  warded plan certify-host --set principal=web1.example.org --set principal=web1 shows what is left",
        ],
    );
    assert_eq!(left, machine.tree());
    machine.serves_certificates();
    // If no run was overtaken, it does not matter whose the last run was.
    let asked = PendingPrompt::by(&machine, "apply certify-host --set principal=web1.example.org --set principal=web1");
    let (code, shown) = asked.yes();
    assert_eq!(code, Some(0), "{shown}");
}

#[test]
fn an_undo_that_was_overtaken_calls_nothing_an_edit() {
    let machine = Machine::start();
    machine.certify();
    let asked = PendingPrompt::by(&machine, "undo");
    let renewed = machine.warded(["renew", "--force", "--json"]).ends(0).object("warded.renew/1");
    let left = machine.tree();
    let run = format!("refused: run {} (renew-host by ", renewed["run"]);
    is_refused(asked.yes(), &[&run, "next:  warded undo shows what is left to do"]);
    assert_eq!(left, machine.tree());

    let asked = PendingPrompt::by(&machine, "undo");
    let undone = machine.warded(["undo", "--yes", "--json"]).ends(0).object("warded.undo/1");
    let (run, undoes) = (&undone["run"], &undone["undoes"]);
    is_refused(asked.yes(), &[&format!("refused: run {run} (undo of run {undoes} by ")]);
}

/// Somebody's edit is still reported as an edit.
#[test]
fn an_edit_while_a_question_waits_is_no_run() {
    let machine = Machine::start();
    machine.certify();
    let asked = PendingPrompt::by(&machine, "apply certify-host --set principal=web2.example.org");
    let certificate = machine.path("ssh/ssh_host_ed25519_key-cert.pub");
    fs::write(&certificate, fs::read_to_string(&certificate).unwrap() + "\n").unwrap();
    let (code, shown) = asked.yes();
    assert_eq!(code, Some(5), "{shown}");
    assert!(shown.contains("changed since it was read") && !shown.contains("refused: run "), "{shown}");
}

/// The undo waits for the other run, or names it. It does not report a colleague's run as an edit by hand, nor its
/// certificates as a diff.
#[test]
fn an_undo_while_an_apply_exchanges_files_calls_nothing_an_edit() {
    let machine = Machine::start();
    machine.certify();
    let certificate = machine.path("ssh/ssh_host_rsa_key-cert.pub");
    for round in 0..5 {
        let before = certificate.metadata().unwrap().ino();
        let other = format!("principal=web{round}.example.net");
        let mut apply =
            machine.warded_command(["apply", "certify-host", "--set", "principal=web1.example.org", "--set", &other]);
        let mut apply = apply.args(["--yes"]).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        // Waits for the apply's first exchange, or for its end.
        while certificate.metadata().is_ok_and(|now| now.ino() == before) && apply.try_wait().unwrap().is_none() {}
        let undo = machine.warded(["undo", "--yes"]);
        assert_eq!(apply.wait().unwrap().code(), Some(0), "{undo:?}");
        let said = format!("{}{}", undo.stdout, undo.stderr);
        for never in ["by hand", "changed since", "-cert-v01@openssh.com AAAA"] {
            assert!(!said.contains(never), "{never:?} is in\n{said}");
        }
        match undo.code {
            Some(0) => drop(machine.certify()),
            Some(5) => assert!(said.contains("refused: run ") || said.contains(" is at work"), "{said}"),
            _ => panic!("{undo:?}"),
        }
    }
    machine.serves_certificates();
}

/// However many renewals there were, `undo` leads back to the state before the first run.
#[test]
fn after_more_renewals_than_runs_are_kept_undo_leaves_nothing() {
    let machine = Machine::start();
    let before = machine.tree();
    machine.certify();
    for _ in 0..21 {
        machine.warded(["renew", "--force"]).ends(0);
    }
    let undone: Vec<Run> = (0..3).map(|_| machine.warded(["undo", "--yes"]).ends(0)).collect();
    assert!(undone.last().unwrap().stdout.contains("nothing to undo"), "{undone:?}");
    assert_eq!(machine.tree(), before);
}
