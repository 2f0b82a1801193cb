//! `warded login --on-demand`, which a real `ssh` runs before it connects: how often it logs the person in, and how
//! long `ssh` waits for it.

use super::Member;
use crate::support::{
    Run,
    agent::{Manner, StandIn},
    missing,
};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A browser whose user signs in at once.
const BROWSER: &str = "#!/usr/bin/python3\nimport sys, urllib.request\nurllib.request.urlopen(sys.argv[1]).read()\n";
const NAME: &str = "web1.lab.test";

impl Member {
    /// A member with the line in ssh_config, the machine under a name of the domain, and that browser.
    pub(super) fn on_demand() -> Option<Self> {
        let member = Self::new()?;
        let machine = member.person.machine();
        fs::write(member.browser(), BROWSER).unwrap();
        fs::set_permissions(member.browser(), fs::Permissions::from_mode(0o755)).unwrap();
        let hosts = machine.path("hosts");
        fs::write(&hosts, format!("127.0.0.1 localhost\n127.0.0.1 {NAME} {NAME}.\n")).unwrap();
        Run::of(machine.command("mount").arg("--bind").arg(&hosts).arg("/etc/hosts")).ends(0);
        let line = member.person.warded(None, &["ssh-config", "*.lab.test"]).ends(0).stdout;
        assert!(line.lines().filter(|line| !line.starts_with('#')).count() == 1 && !line.contains("%h"), "{line}");
        member.configure(&line);
        Some(member)
    }

    pub(super) fn configure(&self, line: &str) {
        let known = "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\nBatchMode yes\n";
        let any = format!("Port 2222\nUser root\n{known}");
        self.person.write(".ssh/config", &format!("{any}{line}"));
    }

    fn browser(&self) -> PathBuf {
        self.person.machine().path("browser")
    }

    /// A program in the environment in which a person runs `warded`.
    pub(super) fn program(&self, name: &str, arguments: &[&str]) -> Command {
        let own = self.command(&[]);
        let mut command = self.person.machine().command(name);
        command.args(arguments).stdin(Stdio::null());
        for (name, value) in own.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    fn logged_out(&self) -> usize {
        self.person.warded(self.socket(), &["logout"]);
        self.person.asked()
    }
}

#[test]
fn every_program_over_ssh_logs_in_once() {
    let Some(member) = Member::on_demand() else { return };
    if missing::program("git", "git") || missing::program("rsync", "rsync") {
        return;
    }
    let machine = member.person.machine();
    let (from, to) = (machine.path("from"), machine.path("to"));
    fs::write(&from, "contents").unwrap();
    let repository = machine.path("repository");
    Run::of(&mut member.program("git", &["init", "-q", "--bare", repository.to_str().unwrap()])).ends(0);
    let at = |path: &PathBuf| format!("{NAME}:{}", path.display());
    let url = format!("ssh://root@{NAME}:2222{}", repository.display());
    for (words, prints) in [
        (vec!["ssh", NAME, "echo in"], "in\n"),
        (vec!["scp", "-O", "-q", from.to_str().unwrap(), &at(&to)], ""),
        (vec!["rsync", from.to_str().unwrap(), &at(&to)], ""),
        (vec!["git", "ls-remote", &url], ""),
        (vec!["ssh", "-J", NAME, NAME, "echo through"], "through\n"),
        (
            vec!["ssh", "-o", "CanonicalizeHostname=yes", "-o", "CanonicalDomains=lab.test", "web1", "echo canonical"],
            "canonical\n",
        ),
    ] {
        let asked = member.logged_out();
        for times in 1..=2 {
            let run = Run::of(&mut member.program(words[0], &words[1..])).ends(0);
            assert_eq!(run.stdout, prints, "{words:?}: nothing else is on stdout");
            assert_eq!(member.person.asked(), asked + 1, "{words:?}, the {times}. time");
        }
    }
    // `ssh -G` connects to nothing, but also logs in. Nothing of the login is in its output.
    let asked = member.logged_out();
    let run = Run::of(&mut member.program("ssh", &["-G", NAME])).ends(0);
    assert!(run.stdout.lines().all(|line| line.contains(' ')) && run.stdout.contains("port 2222"), "{}", run.stdout);
    assert_eq!(member.person.asked(), asked + 1);
    // A host of another domain needs no login.
    let asked = member.logged_out();
    Run::of(&mut member.program("ssh", &["-G", "web1.other.test"])).ends(0);
    assert_eq!(member.person.asked(), asked);
}

/// With `Match final`, `ssh` reads its configuration twice: ssh_config(5).
#[test]
fn a_configuration_that_is_read_twice_logs_in_once() {
    let Some(member) = Member::on_demand() else { return };
    let line = member.person.warded(None, &["ssh-config", "*.lab.test"]).ends(0).stdout;
    member.configure(&format!("{line}Match final\n\tCompression no\n"));
    let run = Run::of(&mut member.program("ssh", &["-v", NAME, "echo in"])).ends(0);
    assert!(run.stderr.matches("Executing command").count() != 1 && run.stdout == "in\n", "{}", run.stderr);
    assert_eq!(member.person.asked(), 1);
}

/// A login asks `ssh -G` for its agent, with the given host or else with an invalid name. If the line matches those
/// names, this `ssh` would run another login, which would run `ssh` again.
#[test]
fn a_login_that_runs_ssh_runs_no_login() {
    let Some(member) = Member::on_demand() else { return };
    let line = member.person.warded(None, &["ssh-config", "*.lab.test", "host.invalid"]).ends(0).stdout;
    assert!(line.contains("Match host *.lab.test,host.invalid exec"), "{line}");
    member.configure(&line);
    for (more, times) in [(&["root", "--host", NAME][..], 1), (&["root", "--force"], 2), (&["--on-demand"], 2)] {
        let mut command = member.command(more);
        Run::of(command.stdin(Stdio::null())).ends(0);
        assert_eq!(member.person.asked(), times, "{more:?}");
    }
}

/// A certificate counts as a login whatever name it was asked for, even if no agent took its key.
#[test]
fn a_login_by_another_name_is_one() {
    let Some(member) = Member::on_demand() else { return };
    member.issuer.claims(&json!({ "email": "jane@lab.test" }));
    let look = || Run::of(&mut member.program("ssh", &["-G", NAME])).ends(0);
    Run::of(member.command(&["jane"]).stdin(Stdio::null())).ends(0);
    assert!(member.person.home(".ssh/warded-jane-cert.pub").is_file());
    assert!(!member.person.home(".ssh/warded-root-cert.pub").exists());
    look();
    assert_eq!(member.person.asked(), 1, "the local user is root, the certificate jane's");
    // Removed from the agent, the login is gone: the person has to sign in again.
    member.person.program("ssh-add", member.socket(), &["-q", "-D"]).ends(0);
    look();
    assert_eq!(member.person.asked(), 2);

    let asked = member.logged_out();
    let agent = StandIn::start(&member.person.machine().path("read-only"), Manner::ReadOnly, &[]);
    let mut command = member.command(&["jane"]);
    Run::of(command.env("SSH_AUTH_SOCK", &agent.socket).stdin(Stdio::null())).ends(1).says(&["in files"]);
    assert_eq!(member.person.asked(), asked + 1);
    for _ in 0..2 {
        let mut ssh = member.program("ssh", &["-G", NAME]);
        Run::of(ssh.env("SSH_AUTH_SOCK", &agent.socket)).ends(0);
    }
    assert_eq!(member.person.asked(), asked + 1, "the key is in a file");
}

/// If the person does not sign in, the login says why within the time limit, and every `ssh` that waited for it
/// continues.
#[test]
fn a_browser_that_nobody_uses_holds_ssh_up_for_a_minute_at_most() {
    let Some(member) = Member::on_demand() else { return };
    let opened = member.person.machine().path("opened-times");
    fs::write(member.browser(), format!("#!/bin/sh\necho opened >> {}\n", opened.display())).unwrap();
    let begun = Instant::now();
    let start = || {
        let mut command = member.program("ssh", &[NAME, "echo in"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let (first, second) = (start(), start());
    let runs = [Run::ended(first), Run::ended(second)].map(|run| run.ends(255));
    let taken = begun.elapsed();
    assert!((Duration::from_secs(45)..Duration::from_secs(100)).contains(&taken), "{taken:?}");
    let said = runs.map(|run| run.stderr).concat();
    for part in ["Still waiting for the browser", "register exactly http://127.0.0.1:", "the browser did not come back"]
    {
        assert_eq!(said.matches(part).count(), 1, "{part}: {said}");
    }
    assert!(!said.contains("took too long"), "{said}");
    assert_eq!(fs::read_to_string(&opened).unwrap(), "opened\n", "one browser was opened");
    assert_eq!(member.person.asked(), 0);
}

#[test]
fn of_fifty_at_once_one_logs_in_and_a_login_that_is_there_costs_nothing() {
    let Some(member) = Member::on_demand() else { return };
    let start = |_| {
        let mut command = member.command(&["--on-demand"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let all: Vec<Child> = (0..50).map(start).collect();
    for child in all {
        assert_eq!(Run::ended(child).ends(0).stdout, "");
    }
    assert_eq!(member.person.asked(), 1);
    let provider = member.issuer.log().len();
    Run::of(&mut member.command(&["--on-demand"])).ends(0);
    assert_eq!((member.person.asked(), member.issuer.log().len()), (1, provider));
}

/// Nobody to ask, a login that fails, a CA that hangs, or a missing program: `ssh` continues in each case.
#[test]
fn ssh_goes_on_whatever_happens() {
    let Some(mut member) = Member::on_demand() else { return };
    let mut alone = member.program("ssh", &[NAME, "echo in"]);
    for name in ["BROWSER", "DISPLAY", "WAYLAND_DISPLAY"] {
        alone.env_remove(name);
    }
    let run = Run::of(&mut alone).ends(255);
    assert_eq!(run.stderr.matches("warded").count(), 2, "one line, which names the command: {}", run.stderr);
    assert!(run.stderr.contains("nobody to ask here") && member.person.asked() == 0, "{}", run.stderr);

    // The login fails, and is not tried again within a minute.
    member.issuer.claims(&json!({ "email": null }));
    let run = Run::of(&mut member.program("ssh", &[NAME, "echo in"])).ends(255).says(&["no claim \"email\""]);
    assert_eq!(run.stdout, "");
    let again = Run::of(&mut member.command(&["--on-demand"])).ends(0);
    assert_eq!((again.stdout.as_str(), again.stderr.as_str(), member.person.asked()), ("", "", 1));

    // A CA that accepts connections and does not answer.
    let port: u16 = member.person.ca.url().rsplit(':').next().unwrap().parse().unwrap();
    member.person.ca.stop();
    drop(fs::remove_dir_all(member.person.home(".ssh/warded-login")));
    let silent = member.network().on(|| std::net::TcpListener::bind(("127.0.0.1", port)).unwrap());
    let begun = Instant::now();
    Run::of(&mut member.program("ssh", &[NAME, "echo in"])).ends(255);
    assert!(begun.elapsed() < Duration::from_secs(100), "{:?}", begun.elapsed());
    drop(silent);
    member.person.ca.serve();

    // The program is missing. `ssh` still gets in by the earlier certificate.
    member.issuer.claims(&json!({ "email": "root@lab.test" }));
    fs::remove_dir_all(member.person.home(".ssh/warded-login")).unwrap();
    Run::of(&mut member.program("ssh", &[NAME, "echo in"])).ends(0);
    member.configure("Match host *.lab.test exec \"/nonexistent/warded login --on-demand\"\n");
    assert_eq!(Run::of(&mut member.program("ssh", &[NAME, "echo in"])).ends(0).stdout, "in\n");
}

#[test]
fn the_line_is_for_a_domain_and_quotes_what_is_odd() {
    let Some(member) = Member::new() else { return };
    let line = |patterns: &[&str]| member.person.warded(None, &[&["ssh-config"][..], patterns].concat());
    line(&[]).ends(2).says(&["it is not known which hosts the line is for", "ssh-config '*.example.org'"]);
    for patterns in [&["*"][..], &["*.*"], &["a b"], &["a\"b"]] {
        line(patterns).ends(2);
    }
    let object = line(&["*.lab.test", "--json"]).ends(0).object("warded.ssh-config/1");
    let last = object["lines"].as_array().unwrap().last().unwrap().as_str().unwrap();
    assert!(
        last.starts_with("Match host *.lab.test exec \"/") && last.ends_with("/warded login --on-demand\""),
        "{last}"
    );
    let directory = member.person.machine().path("100% mine");
    fs::create_dir(&directory).unwrap();
    let odd = directory.join("warded");
    Run::copies_warded(&odd);
    let mut command = member.program(odd.to_str().unwrap(), &["ssh-config", "*.lab.test"]);
    let printed = Run::of(&mut command).ends(0).stdout;
    assert!(printed.contains("100%% mine/warded' login --on-demand\""), "{printed}");
    // `ssh` can run the printed line.
    member.person.write(".ssh/config", &printed);
    let mut ssh = member.program("ssh", &["-G", "x.lab.test"]);
    Run::of(ssh.env_remove("BROWSER").env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY"))
        .ends(0)
        .says(&["nobody to ask"]);
}
