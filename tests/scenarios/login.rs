//! `warded login` and `warded logout`: a person's certificate from the real step-ca, in real agents and stand-ins, and
//! a real login with it.

mod agents;
mod files;
mod identities;
mod screens;
mod several;
mod sso;

use crate::support::{
    Machine, Member, Run, Setup,
    agent::Agent,
    missing,
    network::Network,
    step_ca::{self, Provisioner, StepCa},
};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

/// A person on a machine that trusts a CA, with a home directory of their own there, and an sshd that trusts the CA's
/// user key. The person is root, since only root can make a namespace in which `~` is another directory.
struct Person {
    member: Member,
    ca: StepCa,
}

impl Person {
    fn new() -> Option<Self> {
        let provisioners = ["admin"].map(Provisioner::jwk).into_iter().chain([Provisioner::x5c("x5c")]);
        Self::of(|_| provisioners.collect())
    }

    /// A person whose CA has these provisioners.
    fn of(provisioners: impl FnOnce(&Network) -> Vec<Provisioner>) -> Option<Self> {
        Self::with(|network| step_ca::Setup::of(provisioners(network)))
    }

    /// A person whose CA has this setup.
    fn with(setup: impl FnOnce(&Network) -> step_ca::Setup) -> Option<Self> {
        if missing::root() {
            return None;
        }
        let mut machine = Machine::with(&Setup { stopped: true, without_rsa: true, ..Setup::default() });
        let ca = StepCa::with(&machine.network(), &setup(&machine.network()))?;
        // `ssh` takes `~` from passwd(5), and so does Warded.
        let home = machine.path("home");
        fs::create_dir(&home).unwrap();
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let root = users.lines().find(|line| line.starts_with("root:")).unwrap();
        let moved = root.replace(":/root:", &format!(":{}:", home.display()));
        fs::write(machine.path("passwd"), users.replace(root, &moved)).unwrap();
        Run::of(machine.command("mount").arg("--bind").arg(machine.path("passwd")).arg("/etc/passwd")).ends(0);
        let mut config = fs::OpenOptions::new().append(true).open(machine.config()).unwrap();
        writeln!(config, "TrustedUserCAKeys {}", ca.path("user_ca.pub").display()).unwrap();
        fs::write(machine.path("principals"), "root\ndwho\n").unwrap();
        writeln!(config, "AuthorizedPrincipalsFile {}", machine.path("principals").display()).unwrap();
        fs::remove_file(machine.path("authorized_keys")).unwrap();
        machine.serve();
        Some(Self { member: Member::of(machine, &ca), ca })
    }

    fn machine(&self) -> &Machine {
        &self.member.machine
    }

    /// A path in the home directory.
    fn home(&self, name: &str) -> PathBuf {
        self.machine().path("home").join(name)
    }

    fn write(&self, name: &str, contents: &str) {
        let path = self.home(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    /// A Warded command with an agent, or without one.
    fn command(&self, agent: Option<&Path>, arguments: &[&str]) -> Command {
        let mut command = self.member.command(arguments);
        // The environment does not determine `~`.
        command.env_remove("SSH_AUTH_SOCK").env("HOME", "/nonexistent");
        if let Some(agent) = agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        command
    }

    fn warded(&self, agent: Option<&Path>, arguments: &[&str]) -> Run {
        Run::of(&mut self.command(agent, arguments))
    }

    /// `warded login root` with the provisioner's password.
    fn login(&self, agent: Option<&Path>, more: &[&str]) -> Run {
        let password = self.ca.password_file();
        let login = ["login", "root", "--provisioner-password-file", password.to_str().unwrap()];
        self.warded(agent, &[&login[..], more].concat())
    }

    /// Runs one of OpenSSH's programs with that agent.
    fn program(&self, name: &str, agent: Option<&Path>, arguments: &[&str]) -> Run {
        let mut command = self.machine().command(name);
        command.env_remove("SSH_AUTH_SOCK").args(arguments);
        if let Some(agent) = agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        Run::of(&mut command)
    }

    /// Logs in by `ssh` on this machine.
    fn ssh(&self, agent: Option<&Path>, more: &[&str]) -> Run {
        let known = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"];
        self.program("ssh", agent, &[&["-p", "2222"], &known[..], more, &["root@127.0.0.1", "echo in"]].concat())
    }

    /// What `ssh-add -L` lists.
    fn listed(&self, agent: &Path) -> Vec<String> {
        let listed = self.program("ssh-add", Some(agent), &["-L"]).stdout;
        listed.lines().filter(|line| line.contains(" AAAA")).map(str::to_owned).collect()
    }

    /// How many times the CA was asked for a certificate.
    fn asked(&self) -> usize {
        self.ca.log().matches("\"/ssh/sign\"").count()
    }
}

#[test]
fn a_person_gets_in_by_a_certificate_and_not_after_logout() {
    let Some(person) = Person::new() else { return };
    let agent = Agent::openssh(person.machine(), "agent");
    let (socket, agent) = (agent.socket.as_path(), Some(agent.socket.as_path()));
    assert_ne!(person.ssh(agent, &[]).code, Some(0));

    let planned = person.warded(agent, &["login", "root", "--plan"]).ends(3);
    planned.prints(&["root would get a new certificate", "into        the agent at ", "no certificate was asked for"]);
    assert_eq!((person.asked(), person.listed(socket).len(), person.home(".ssh").exists()), (0, 0, false));
    let run = person.login(agent, &[]).ends(0).prints(&[
        "root has a certificate",
        "\"root\"",
        "forgets it then",
        "15 h left, until ",
    ]);
    assert_eq!(run.stderr, "");
    let listed = person.listed(socket);
    assert!(matches!(listed.as_slice(), [one] if one.starts_with("ssh-ed25519-cert-v01@openssh.com")), "{listed:?}");
    let private =
        fs::read_dir(person.home(".ssh")).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(private, ["warded-root-cert.pub"], "no private key is in a file");
    person.ssh(agent, &[]).ends(0).prints(&["in"]);

    // A second login does nothing, and neither needs a password nor asks the CA for a certificate.
    let asked = person.asked();
    let again = person.warded(agent, &["login", "root", "--json"]).ends(0).object("warded.login/1");
    assert_eq!((&again["status"], &again["principals"]), (&"unchanged".into(), &serde_json::json!(["root"])));
    assert_eq!((person.asked(), person.listed(socket)), (asked, listed.clone()));
    let planned = person.warded(agent, &["login", "root", "--force", "--plan", "--json"]).ends(3);
    let planned = planned.object("warded.login/1");
    assert_eq!((&planned["status"], &planned["replaced"]), (&"planned".into(), &1.into()));
    assert_eq!((person.asked(), person.listed(socket)), (asked, listed.clone()));
    // A new certificate replaces the first.
    let forced = person.login(agent, &["--force", "--json"]).ends(0).object("warded.login/1");
    assert_eq!((&forced["status"], &forced["forgets"]), (&"new".into(), &true.into()));
    let renewed = person.listed(socket);
    assert!(renewed.len() == 1 && renewed != listed, "{renewed:?}");

    // The logout works without the CA.
    let mut person = person;
    person.ca.stop();
    let planned = person.warded(agent, &["logout", "--plan", "--json"]).ends(3).object("warded.logout/1");
    assert_eq!((&planned["planned"], person.listed(socket)), (&true.into(), renewed));
    let out = person.warded(agent, &["logout", "--json"]).ends(0).object("warded.logout/1");
    assert_eq!((&out["identities"], &out["planned"]), (&1.into(), &false.into()));
    assert_eq!((&planned["identities"], &planned["files"]), (&out["identities"], &out["files"]));
    assert!(person.listed(socket).is_empty() && !person.home(".ssh/warded-root-cert.pub").exists());
    assert_ne!(person.ssh(agent, &[]).code, Some(0));
    person.ca.serve();
    for arguments in [&["logout"][..], &["logout", "--plan"]] {
        person.warded(agent, arguments).ends(0).prints(&["There is no login"]);
    }
}

#[test]
fn an_x509_certificate_serves_too() {
    let Some(person) = Person::new() else { return };
    let agent = Agent::openssh(person.machine(), "agent");
    let agent = Some(agent.socket.as_path());
    let (certificate, key) = person.ca.x5c();
    let x5c = ["--x5c-cert", certificate.to_str().unwrap(), "--x5c-key", key.to_str().unwrap()];
    person.warded(agent, &[&["login", "root"][..], &x5c].concat()).ends(0);
    person.ssh(agent, &[]).ends(0).prints(&["in"]);
}

#[test]
fn names_are_shown_as_they_are_and_never_taken_for_options() {
    let Some(person) = Person::new() else { return };
    let agent = Agent::openssh(person.machine(), "agent");
    let agent = Some(agent.socket.as_path());
    let run = person.login(agent, &["-n", "Root", "-n", "root@lab.test"]).ends(0);
    run.prints(&["\"Root\", \"root@lab.test\""]).says(&["warning: it does not hold for the login name \"root\""]);
    assert_ne!(person.ssh(agent, &[]).code, Some(0));
    let asked = person.asked();
    for words in [
        &["login", "--", "-oProxyCommand=x"][..],
        &["login", "../x"],
        &["login", "a b"],
        &["login", "root", "-n", "-x"],
        &["login", "root", "-n", "*"],
        &["login", "root", "--host", "-oProxyCommand=x"],
        &["login", "root", "--host=-oProxyCommand=x"],
        &["login", "../x", "-n", "root"],
        &["login", "root", "--agent"],
    ] {
        person.warded(agent, words).ends(2);
    }
    assert_eq!(person.asked(), asked);
}

/// `remove` takes away everything that Warded brought, including the logins of the person who runs it.
#[test]
fn a_removal_takes_the_callers_logins_along() {
    let Some(person) = Person::new() else { return };
    let agent = Agent::openssh(person.machine(), "agent");
    person.login(Some(&agent.socket), &[]).ends(0);
    assert_eq!(person.listed(&agent.socket).len(), 1);
    let is_there = || {
        fs::read_dir(person.home(".ssh"))
            .unwrap()
            .any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with("warded-"))
    };
    assert!(is_there());
    let removed = person.warded(Some(&agent.socket), &["remove", "--yes", "--json"]).ends(0).object("warded.remove/1");
    assert_eq!((&removed["logout"]["identities"], &removed["logout"]["cause"]), (&1.into(), &serde_json::Value::Null));
    assert!(person.listed(&agent.socket).is_empty() && !is_there());
    let again = person.warded(Some(&agent.socket), &["remove", "--yes", "--json"]).ends(0).object("warded.remove/1");
    assert_eq!(again["logout"]["identities"], 0);
}
