//! Runs every command of the page about the first day, in its order.

use crate::support::{Machine, Member, Run, step_ca::StepCa, terminal::Terminal};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

const PAGE: &str = include_str!("../../../docs/DAY-ONE.md");
/// The CA's address on the page, which is replaced here.
const CA: &str = "https://ca.example.org";

/// The commands of a page, each with its machine.
pub(in crate::scenarios) fn commands_of(page: &'static str) -> Vec<(&'static str, &'static str)> {
    let hosts = ["build", "sso", "ca", "admin", "web1", "clone", "laptop"];
    let command = |line: &'static str| {
        let (host, command) = line.split_once("$ ")?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !host.bytes().all(is_name) {
            return None;
        }
        // The commands of an unknown machine would silently not run.
        assert!(hosts.contains(&host), "no machine is called {host:?}: {line}");
        Some((host, command))
    };
    page.lines().filter_map(command).collect()
}

pub(super) fn program(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The directory that stands for a machine of the pages. The clone shares it with the machine from which it was cloned.
fn home_of(host: &str) -> &str {
    match host {
        "ca" => "ca-host",
        "clone" => "web1",
        other => other,
    }
}

/// The machines of the page: each with a home, and with its own files of Warded's.
pub(super) struct Page {
    pub(super) member: Member,
    pub(super) ca: StepCa,
}

impl Page {
    pub(super) fn new() -> Option<Self> {
        let machine = Machine::start();
        let ca = StepCa::start(&machine.network())?;
        let page = Self { member: Member { machine }, ca };
        let at = |name: &str| page.member.machine.path(name);
        for host in ["build", "ca-host", "admin", "web1", "laptop"] {
            // A new laptop may have no `.ssh`.
            fs::create_dir_all(at(host).join(if host == "laptop" { "" } else { ".ssh" })).unwrap();
        }
        fs::create_dir_all(at("bin")).unwrap();
        fs::create_dir_all(at("build/.cache/warded/target/release")).unwrap();
        Run::copies_warded(&at("build/.cache/warded/target/release/warded"));
        fs::write(at("ca-host/root_ca.crt"), page.ca.root()).unwrap();
        program(&at("bin/sudo"), "exec \"$@\"");
        // In the test no name resolves to this machine, and its sshd has another port.
        let port = fs::read_to_string(page.member.machine.config()).unwrap();
        let port = port.lines().find_map(|line| line.strip_prefix("Port ")).unwrap().to_owned();
        program(
            &at("bin/ssh"),
            &format!(
                "if [ $# -gt 1 ]; then shift; exec env -i {} \"$@\"; fi
                 exec /usr/bin/ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=yes -o HostKeyAlias=web1.example.org \\
                     -o GlobalKnownHostsFile=/dev/null -o UserKnownHostsFile=$HOME/.ssh/known_hosts -i {} -p {port} \\
                     127.0.0.1 true",
                page.variables("web1").iter().map(|(name, value)| format!("{name}={value} ")).collect::<String>(),
                at("client/key").display(),
            ),
        );
        Some(page)
    }

    pub(super) fn variables(&self, host: &str) -> Vec<(String, String)> {
        let at = |name: &str| self.member.machine.path(name).display().to_string();
        let home = home_of(host);
        let mut variables = vec![
            ("HOME".to_owned(), at(home)),
            ("PATH".to_owned(), format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", at("bin"))),
            ("WARDED_CONFIG".to_owned(), at(&format!("{home}/config.toml"))),
            ("WARDED_STATE".to_owned(), at(&format!("{home}/state"))),
            ("WARDED_SSHD_CONFIG".to_owned(), at("ssh/sshd_config")),
        ];
        if ["admin", "laptop"].contains(&host) {
            let file = self.ca.password_file().display().to_string();
            variables.push(("WARDED_PROVISIONER_PASSWORD_FILE".to_owned(), file));
        }
        if host == "laptop" {
            variables.push(("SSH_AUTH_SOCK".to_owned(), at("agent")));
        }
        variables
    }

    pub(super) fn prepare(&self, host: &str, command: &mut Command) {
        command.env_clear().envs(self.variables(host));
    }

    /// The command as it is run in the test.
    pub(super) fn here(&self, host: &str, command: &str) -> String {
        let at = |name: &str| self.member.machine.path(name).display().to_string();
        let home = home_of(host);
        let command = command
            .replace(CA, &self.ca.url())
            .replace("FINGERPRINT", &self.ca.fingerprint())
            .replace("/usr/local/bin", &at("bin"))
            .replace("/etc/cron.d", &at("cron.d"))
            .replace("/etc/systemd/system", &at("units"))
            .replace("/etc/ssh/", &at("ssh/"))
            .replace("/var/lib/warded", &at(&format!("{home}/state")))
            .replace("/etc/warded", &at(&format!("{home}/etc-warded")));
        format!("cd {}; {command}", at(home))
    }

    /// Runs a command of a page. Returns its exit code and its output. `code` is the last output of `invite`.
    pub(super) fn runs(&self, host: &str, command: &str, code: &mut String) -> (i32, String) {
        let line = self.here(host, command);
        if command == "sudo warded enrol" {
            let mut terminal = Terminal::run(&self.member.machine, 80, &line, |command| self.prepare(host, command));
            terminal.until("it is not shown): ").types(code);
            terminal.until("[y/N] ").types("y\n");
            return terminal.ends();
        }
        let mut shell = self.member.machine.command("sh");
        self.prepare(host, &mut shell);
        let run = Run::of(shell.args(["-ec", &line]));
        if command.contains("warded invite") {
            code.clone_from(&run.stdout);
        }
        (run.code.unwrap(), format!("{}{}", run.stdout, run.stderr))
    }
}

#[test]
fn every_command_of_the_page_does_what_it_says() {
    let Some(page) = Page::new() else { return };
    let before = page.member.machine.tree();
    let commands = commands_of(PAGE);
    assert!(commands.len() > 12, "{commands:?}");
    let mut code = String::new();
    for (host, command) in commands {
        let (ended, said) = page.runs(host, command, &mut code);
        assert_eq!(ended, 0, "{command}: {said}");
        if command.contains("warded remove") {
            assert_eq!(page.member.machine.tree(), before, "{command}");
            // The rest of the page is for another machine, whose keys had no certificate yet.
            fs::remove_dir_all(page.member.machine.path("web1/state")).unwrap();
        }
    }
    assert!(page.member.certificate("rsa").contains("-cert-v01@openssh.com"));
}
