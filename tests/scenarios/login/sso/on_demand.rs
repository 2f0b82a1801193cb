//! `warded login --on-demand`, which real `ssh` runs before it connects: how often somebody is logged in, and how long
//! anything waits for it.

use super::Member;
use crate::support::{Run, missing};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A browser whose person signs in at once.
const BROWSER: &str = "#!/usr/bin/python3\nimport sys, urllib.request\nurllib.request.urlopen(sys.argv[1]).read()\n";
const NAME: &str = "web1.lab.test";

impl Member {
    /// With the line in ssh_config, the machine by a name of the domain, and that browser.
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

    /// A program in the environment in which `warded` is run by hand.
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
    // What is only looked at logs in, too, and nothing of it is in what is printed.
    let asked = member.logged_out();
    let run = Run::of(&mut member.program("ssh", &["-G", NAME])).ends(0);
    assert!(run.stdout.lines().all(|line| line.contains(' ')) && run.stdout.contains("port 2222"), "{}", run.stdout);
    assert_eq!(member.person.asked(), asked + 1);
    // A host of another domain.
    let asked = member.logged_out();
    Run::of(&mut member.program("ssh", &["-G", "web1.other.test"])).ends(0);
    assert_eq!(member.person.asked(), asked);
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
    let time = |_| {
        let begun = Instant::now();
        Run::of(&mut member.command(&["--on-demand"])).ends(0);
        begun.elapsed()
    };
    let best = (0..20).map(time).min().unwrap();
    assert!(best < Duration::from_millis(50), "{best:?}");
    assert_eq!(member.person.asked(), 1);
}

/// Nobody to ask, a login that fails, a CA that hangs, a program that is gone: `ssh` goes on.
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

    // It fails, and nobody is asked again within a minute.
    member.issuer.claims(&json!({ "email": null }));
    let run = Run::of(&mut member.program("ssh", &[NAME, "echo in"])).ends(255).says(&["no claim \"email\""]);
    assert_eq!(run.stdout, "");
    let begun = Instant::now();
    let again = Run::of(&mut member.command(&["--on-demand"])).ends(0);
    assert_eq!((again.stdout.as_str(), again.stderr.as_str(), member.person.asked()), ("", "", 1));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());

    // A CA that accepts connections and says nothing.
    let port: u16 = member.person.ca.url().rsplit(':').next().unwrap().parse().unwrap();
    member.person.ca.stop();
    drop(fs::remove_dir_all(member.person.home(".ssh/warded-login")));
    let silent = member.network().on(|| std::net::TcpListener::bind(("127.0.0.1", port)).unwrap());
    let begun = Instant::now();
    Run::of(&mut member.program("ssh", &[NAME, "echo in"])).ends(255);
    assert!(begun.elapsed() < Duration::from_secs(65), "{:?}", begun.elapsed());
    drop(silent);
    member.person.ca.serve();

    // The program is gone; by the certificate of before, `ssh` still gets in.
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
    line(&[]).ends(2).says(&["for which hosts is not known", "ssh-config '*.example.org'"]);
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
    // `ssh` runs it.
    member.person.write(".ssh/config", &printed);
    let mut ssh = member.program("ssh", &["-G", "x.lab.test"]);
    Run::of(ssh.env_remove("BROWSER").env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY"))
        .ends(0)
        .says(&["nobody to ask"]);
}
