//! Nothing is locked while a person thinks. If a run that does not ask overtakes one that does, the latter says so, and
//! does not change what it did not show.

use super::*;
use std::{
    io::{Read as _, Write as _},
    process::{Child, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

/// An `apply` at a terminal that has asked its question.
struct PendingApply {
    terminal: Child,
    said: Receiver<String>,
    text: String,
}

impl PendingApply {
    fn start(machine: &Machine) -> Self {
        let command = machine.warded_command(["apply", "certify-host", "--set", &format!("principal={NAME}")]);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line: Vec<_> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        let mut terminal = Command::new("script");
        terminal.args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"]);
        machine.environment(&mut terminal).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut terminal = terminal.env("SHELL", "/bin/sh").spawn().unwrap();
        let mut output = terminal.stdout.take().unwrap();
        let (sender, said) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                sender.send(String::from_utf8_lossy(&bytes[..length]).into_owned()).unwrap_or_default();
            }
        });
        let mut asking = Self { terminal, said, text: String::new() };
        while !asking.text.contains("[y/N]") {
            let more = asking.said.recv_timeout(LONG);
            asking.text += &more.unwrap_or_else(|_| panic!("it does not ask: {}", asking.text));
        }
        asking
    }

    /// Answers the question. Returns how the run ended, and everything that it printed.
    fn answer(mut self, answer: &str) -> (ExitStatus, String) {
        let mut input = self.terminal.stdin.take().unwrap();
        writeln!(input, "{answer}").unwrap();
        let status = self.terminal.wait().unwrap();
        (status, self.text + &self.said.iter().collect::<String>())
    }
}

#[test]
fn nothing_is_locked_while_a_person_thinks() {
    for other_state in [false, true] {
        let machine = Machine::start();
        let asking = PendingApply::start(&machine);
        let mut second = certify(&machine, &[]);
        if other_state {
            second.env("WARDED_STATE", machine.path("another-state"));
        }
        Run::of(&mut second).ends(0);
        let done = machine.tree();
        let (status, said) = asking.answer("y");
        assert_eq!(status.code(), Some(5), "another state: {other_state}: {said}");
        assert!(
            said.contains("refused") && (said.contains("changed nothing") || said.contains("nothing was changed")),
            "{said}"
        );
        assert!(machine.tree() == done, "another state: {other_state}: {said}");
        machine.serves_certificates();
        machine.audit();
    }
}

#[test]
fn who_says_no_changes_nothing_and_who_says_yes_does() {
    let machine = Machine::start();
    let before = machine.tree();
    let (status, said) = PendingApply::start(&machine).answer("n");
    assert_eq!((status.code(), machine.tree() == before), (Some(1), true), "{said}");
    let (status, said) = PendingApply::start(&machine).answer("y");
    assert_eq!(status.code(), Some(0), "{said}");
    machine.serves_certificates();
}
