//! The page of the first day: every command of it, in its order.

use crate::support::{Machine, Member, Run, step_ca::StepCa, terminal::Terminal};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

const PAGE: &str = include_str!("../../../docs/DAY-ONE.md");
/// On the page, and here.
const CA: &str = "https://ca.example.org";

/// The commands of the page: on which machine, and what.
fn commands() -> Vec<(&'static str, &'static str)> {
    let hosts = ["build", "ca", "admin", "web1", "laptop"];
    let command = |line: &'static str| {
        let (host, command) = line.split_once("$ ")?;
        hosts.contains(&host).then_some((host, command))
    };
    PAGE.lines().filter_map(command).collect()
}

fn program(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The machines of the page: each with a home, and with files of Warded's own.
struct Page {
    member: Member,
    ca: StepCa,
}

impl Page {
    fn new() -> Option<Self> {
        let machine = Machine::start();
        let ca = StepCa::start(&machine.network())?;
        let page = Self { member: Member { machine }, ca };
        let at = |name: &str| page.member.machine.path(name);
        for host in ["build", "ca-host", "admin", "web1", "laptop"] {
            fs::create_dir_all(at(host).join(".ssh")).unwrap();
        }
        fs::create_dir_all(at("bin")).unwrap();
        fs::create_dir_all(at("cron.d")).unwrap();
        fs::create_dir_all(at("build/.cache/warded/target/release")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_warded"), at("build/.cache/warded/target/release/warded")).unwrap();
        fs::write(at("ca-host/root_ca.crt"), page.ca.root()).unwrap();
        program(&at("bin/sudo"), "exec \"$@\"");
        // No name leads to this machine, and its sshd has another port.
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

    fn variables(&self, host: &str) -> Vec<(String, String)> {
        let at = |name: &str| self.member.machine.path(name).display().to_string();
        let home = if host == "ca" { "ca-host" } else { host };
        let mut variables = vec![
            ("HOME".to_owned(), at(home)),
            ("PATH".to_owned(), format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", at("bin"))),
            ("WARDED_CONFIG".to_owned(), at(&format!("{home}/config.toml"))),
            ("WARDED_STATE".to_owned(), at(&format!("{home}/state"))),
            ("WARDED_SSHD_CONFIG".to_owned(), at("ssh/sshd_config")),
        ];
        if host == "admin" {
            let file = self.ca.password_file().display().to_string();
            variables.push(("WARDED_PROVISIONER_PASSWORD_FILE".to_owned(), file));
        }
        variables
    }

    fn prepare(&self, host: &str, command: &mut Command) {
        command.env_clear().envs(self.variables(host));
    }

    /// The command as it is run here.
    fn here(&self, host: &str, command: &str) -> String {
        let at = |name: &str| self.member.machine.path(name).display().to_string();
        let home = if host == "ca" { "ca-host" } else { host };
        let command = command
            .replace(CA, &self.ca.url())
            .replace("FINGERPRINT", &self.ca.fingerprint())
            .replace("/usr/local/bin", &at("bin"))
            .replace("/etc/cron.d", &at("cron.d"));
        format!("cd {}; {command}", at(home))
    }
}

#[test]
fn every_command_of_the_page_does_what_it_says() {
    let Some(page) = Page::new() else { return };
    let before = page.member.machine.tree();
    let commands = commands();
    assert!(commands.len() > 12, "{commands:?}");
    let mut code = String::new();
    for (host, command) in commands {
        let line = page.here(host, command);
        if command == "sudo warded enrol" {
            let mut terminal = Terminal::run(&page.member.machine, 80, &line, |command| page.prepare(host, command));
            terminal.until("it is not shown): ").types(&code);
            terminal.until("[y/N] ").types("y\n");
            let (ended, screen) = terminal.ends();
            assert_eq!(ended, 0, "{screen}");
            continue;
        }
        let mut shell = page.member.machine.command("sh");
        page.prepare(host, &mut shell);
        let run = Run::of(shell.args(["-ec", &line]));
        // Nothing is scheduled on this machine, which `status` may tell.
        let is_status = command.ends_with("warded status");
        assert!(run.code == Some(0) || (is_status && run.code == Some(4)), "{command}: {run:?}");
        if command.contains("warded invite") {
            code = run.stdout;
        }
        if command.contains("warded remove") {
            assert_eq!(page.member.machine.tree(), before, "{command}");
        }
    }
    assert!(page.member.certificate("rsa").contains("-cert-v01@openssh.com"));
}
