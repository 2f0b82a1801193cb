//! A person with two CAs in one home directory: one without a name, and one called `work`.

use super::Person;
use crate::support::{
    Run,
    agent::Agent,
    step_ca::{self, Provisioner, StepCa},
};
use std::{fs, io::Write as _, path::Path};

impl Person {
    /// Adds another CA, which the person trusts by this name, and this machine's sshd trusts too.
    fn with_another(&self, name: &str) -> Option<StepCa> {
        let setup = step_ca::Setup::of([Provisioner::jwk("admin")]);
        let ca = StepCa::with(&self.machine().network(), &setup)?;
        let (url, fingerprint) = (ca.url(), ca.fingerprint());
        self.warded(None, &["bootstrap", "--ca-url", &url, "--fingerprint", &fingerprint, "--name", name])
            .ends(0)
            .prints(&["Trusted: ", &format!("root_ca-{name}.crt")]);
        let mut trusted = fs::OpenOptions::new().append(true).open(self.ca.path("user_ca.pub")).unwrap();
        trusted.write_all(ca.authority("user").as_bytes()).unwrap();
        Some(ca)
    }

    /// Runs `warded login root` with the CA of this name.
    fn login_with(&self, name: &str, ca: &StepCa, agent: Option<&Path>, more: &[&str]) -> Run {
        let password = ca.password_file();
        let login = ["login", "root", "--ca", name, "--provisioner-password-file", password.to_str().unwrap()];
        self.warded(agent, &[&login[..], more].concat())
    }

    /// Replaces a text of the configuration.
    fn reconfigure(&self, from: &str, to: &str) {
        let file = self.member.config();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&file, text.replace(from, to)).unwrap();
    }
}

fn asked(ca: &StepCa) -> usize {
    ca.log().matches("\"/ssh/sign\"").count()
}

#[test]
fn each_of_two_cas_has_its_certificate_and_keeps_the_others() {
    let Some(person) = Person::new() else { return };
    let Some(work) = person.with_another("work") else { return };
    let agent = Agent::openssh(person.machine(), "agent");
    let (socket, agent) = (agent.socket.as_path(), Some(agent.socket.as_path()));
    let listed = || person.listed(socket);

    let first = person.login(agent, &["--json"]).ends(0).object("warded.login/1");
    let mine = listed();
    let second = person.login_with("work", &work, agent, &["--json"]).ends(0).object("warded.login/1");
    assert_eq!((&first["ca"], &second["ca"]), (&person.ca.url().into(), &work.url().into()));
    assert_eq!((&first["status"], &second["status"]), (&"new".into(), &"new".into()));
    assert!(listed().len() == 2 && listed().contains(&mine[0]), "{:?}", listed());
    let theirs = listed().into_iter().find(|one| *one != mine[0]).unwrap();
    for one in [".ssh/warded-root-cert.pub", ".ssh/warded-login-work/warded-root-cert.pub"] {
        assert!(person.home(one).is_file(), "{one}");
    }
    let file = second["identity_file"].as_str().unwrap();
    assert_eq!(file, "~/.ssh/warded-login-work/warded-root-cert.pub");

    // Each certificate lets the person in.
    let of_work = person.home(".ssh/warded-login-work/warded-root-cert.pub");
    for file in [person.home(".ssh/warded-root-cert.pub"), of_work] {
        let identity = format!("IdentityFile={}", file.display());
        person.ssh(agent, &["-o", "IdentitiesOnly=yes", "-o", &identity]).ends(0).prints(&["in"]);
    }

    // Neither login is repeated, and a new certificate replaces only the one of its own CA.
    let before = (person.asked(), asked(&work));
    for more in [&["login", "root", "--json"][..], &["login", "root", "--json", "--ca", "work"]] {
        assert_eq!(person.warded(agent, more).ends(0).object("warded.login/1")["status"], "unchanged");
    }
    assert_eq!((person.asked(), asked(&work)), before);
    person.login(agent, &["--force"]).ends(0);
    assert!(listed().len() == 2 && listed().contains(&theirs) && !listed().contains(&mine[0]), "{:?}", listed());
    let mine = listed().into_iter().find(|one| *one != theirs).unwrap();
    person.login_with("work", &work, agent, &["--force"]).ends(0);
    assert!(listed().len() == 2 && listed().contains(&mine) && !listed().contains(&theirs), "{:?}", listed());

    // Logs out of one CA, and then of all.
    person.warded(agent, &["logout", "--ca", "work"]).ends(0).prints(&["1 certificate from the agent"]);
    assert_eq!(listed(), [mine]);
    assert!(!person.home(".ssh/warded-login-work").exists());
    person.warded(agent, &["logout", "--ca", "work"]).ends(0).prints(&["There is no login"]);
    person.login_with("work", &work, agent, &[]).ends(0);
    person.warded(agent, &["logout"]).ends(0).prints(&["2 certificates from the agent"]);
    assert!(listed().is_empty());
    assert_eq!(fs::read_dir(person.home(".ssh")).unwrap().count(), 0);
}

/// Warded asks a CA for its keys if its certificate is only in the agent. It does not ask the other CAs.
#[test]
fn a_certificate_whose_file_is_gone_is_removed_from_the_agent() {
    let Some(person) = Person::new() else { return };
    let Some(mut work) = person.with_another("work") else { return };
    let agent = Agent::openssh(person.machine(), "agent");
    let (socket, agent) = (agent.socket.as_path(), Some(agent.socket.as_path()));
    let lose = || fs::remove_file(person.home(".ssh/warded-login-work/warded-root-cert.pub")).unwrap();
    person.login(agent, &[]).ends(0);
    person.login_with("work", &work, agent, &[]).ends(0);
    lose();
    person.warded(agent, &["logout"]).ends(0).prints(&["2 certificates from the agent"]);
    assert!(person.listed(socket).is_empty());

    person.login(agent, &[]).ends(0);
    person.login_with("work", &work, agent, &[]).ends(0);
    lose();
    work.stop();
    let left = person.warded(agent, &["logout", "--json"]).ends(4);
    let left = left.says(&["the CA work could not be asked for its keys", "may still be in the agent"]);
    let object = left.object("warded.logout/1");
    assert_eq!((&object["identities"], &object["not_asked"]), (&1.into(), &serde_json::json!(["the CA work"])));
    assert_eq!(person.listed(socket).len(), 1);
    // Only that certificate is left to log out of, and the other CA does answer.
    person.warded(agent, &["logout"]).ends(4).says(&["the CA work could not be asked for its keys"]);
    let mut person = person;
    person.ca.stop();
    person.warded(agent, &["logout"]).ends(6);
    person.ca.serve();
    // A CA whose configuration cannot be read is named as well.
    let step = person.machine().path("step");
    fs::create_dir_all(step.join("config")).unwrap();
    fs::write(step.join("config/defaults.json"), "{").unwrap();
    person.reconfigure("[step-ca]", "[named-ca.lab]");
    let mut command = person.command(agent, &["logout"]);
    Run::of(command.env("STEPPATH", &step)).ends(4).says(&["the CA without a name could not be asked", "the CA work"]);
}

/// A login removes the expired certificates of its own CA only.
#[test]
fn a_login_sweeps_up_behind_its_own_ca_alone() {
    let Some(person) = Person::new() else { return };
    let Some(work) = person.with_another("work") else { return };
    let agent = Agent::openssh(person.machine(), "agent");
    let (socket, agent) = (agent.socket.as_path(), Some(agent.socket.as_path()));
    for (ca, name) in [(&person.ca, "old-1"), (&work, "old-2")] {
        let key = person.machine().path(name);
        let made = person.program("ssh-keygen", None, &["-q", "-N", "", "-t", "ed25519", "-f", key.to_str().unwrap()]);
        made.ends(0);
        let signer = ca.path("user_ca");
        let validity = ["-V", "20200101:20200102", "-I", name, "-n", "root"];
        let sign = [&["-q", "-s", signer.to_str().unwrap()][..], &validity, &[key.to_str().unwrap()]].concat();
        person.program("ssh-keygen", None, &sign).ends(0);
        person.program("ssh-add", agent, &["-q", key.to_str().unwrap()]).ends(0);
    }
    let certificates = || person.listed(socket).iter().filter(|one| one.contains("-cert-v01@")).count();
    assert_eq!(certificates(), 2);
    person.login(agent, &[]).ends(0);
    assert_eq!(certificates(), 2, "its own expired one is gone, and the other CA's is not");
    person.login_with("work", &work, agent, &[]).ends(0);
    assert_eq!(certificates(), 2);
}

#[test]
fn which_ca_is_never_guessed() {
    let Some(person) = Person::new() else { return };
    let setup = step_ca::Setup::of([Provisioner::jwk("admin")]);
    let Some(other) = StepCa::with(&person.machine().network(), &setup) else { return };
    // A second CA without a name does not replace the first.
    person
        .warded(None, &["bootstrap", "--ca-url", &other.url(), "--fingerprint", &other.fingerprint()])
        .ends(5)
        .says(&["this machine trusts another CA", "--name NAME"]);
    let Some(work) = person.with_another("work") else { return };
    person.warded(None, &["config", "check"]).ends(0).prints(&["named-ca.work", "(the file)"]);
    person.warded(None, &["ca", "show", "--ca", "work"]).ends(0);
    person
        .warded(None, &["login", "root", "--ca", "wrok"])
        .ends(2)
        .says(&["there is no CA called wrok", "the configuration names work"]);
    // A machine's certificates come from the CA without a name.
    person
        .warded(None, &["plan", "certify-host", "--set", "principal=web1.example.org", "--ca", "work"])
        .says(&["work is a CA for logins", "without --name"]);

    // Each CA has its own hosts, by the domain of its address.
    let port = |ca: &StepCa| ca.url().rsplit(':').next().unwrap().to_owned();
    let address = |ca: &StepCa, name: &str| (ca.url(), format!("https://{name}:{}", port(ca)));
    person.warded(None, &["ssh-config"]).ends(2).says(&["names no domain"]);
    let (from, to) = address(&person.ca, "ca.lab.test");
    person.reconfigure(&from, &to);
    person.warded(None, &["ssh-config"]).ends(2).says(&["names no domain", "ssh-config --ca work '*.example.org'"]);
    let (from, to) = address(&work, "ca.work.test");
    person.reconfigure(&from, &to);
    let blocks = |more: &[&str]| {
        let printed = person.warded(None, &[&["ssh-config"][..], more].concat()).ends(0).stdout;
        let blocks = printed.lines().filter(|line| !line.starts_with('#'));
        blocks.map(|line| line.replace(env!("CARGO_BIN_EXE_warded"), "warded")).collect::<Vec<_>>()
    };
    let of_work = "Match host *.work.test exec \"warded login --on-demand --ca work\"";
    let own = "Match host *.lab.test exec \"warded login --on-demand\"";
    assert_eq!(blocks(&[]), [own, of_work]);
    assert_eq!(blocks(&["--ca", "work"]), [of_work]);
    let named = "Match host db.test exec \"warded login --on-demand --ca work\"";
    assert_eq!(blocks(&["--ca", "work", "db.test"]), [named]);

    // If all CAs have names, none is the default.
    person.reconfigure("[step-ca]", "[named-ca.lab]");
    person.warded(None, &["login", "root"]).ends(2).says(&["several CAs are configured: lab, work", "--ca lab"]);
    person.warded(None, &["ssh-config", "*.lab.test"]).ends(2).says(&["several CAs are configured"]);
    assert_eq!(blocks(&[]), ["Match host *.lab.test exec \"warded login --on-demand --ca lab\"", of_work]);
}
