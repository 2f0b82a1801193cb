//! An agent with many identities: sshd closes a connection after six that it does not accept.

use super::Person;
use crate::support::agent::Agent;
use std::fs;

impl Person {
    /// Adds new keys to an agent. If `certified` has options for ssh-keygen, adds only their certificates by the CA.
    fn fill(&self, agent: &Agent, number: usize, certified: Option<&[&str]>) {
        for index in 0..number {
            let key = agent.socket.with_extension(format!("key-{index}"));
            let (name, public) = (key.to_str().unwrap(), format!("{}.pub", key.display()));
            self.program("ssh-keygen", None, &["-q", "-t", "ed25519", "-N", "", "-f", name]).ends(0);
            let Some(options) = certified else {
                self.program("ssh-add", Some(&agent.socket), &["-q", name]).ends(0);
                continue;
            };
            let authority = self.ca.path("user_ca");
            let sign = ["-q", "-s", authority.to_str().unwrap(), "-I", "root", "-n", "root"];
            self.program("ssh-keygen", None, &[&sign[..], options, &[&public]].concat()).ends(0);
            self.program("ssh-add", Some(&agent.socket), &["-q", name]).ends(0);
            // If a certificate lies beside a key, `ssh-add` adds both, and with `-d` removes both. So the bare key gets
            // a file of its own.
            let bare = self.machine().path("bare.pub");
            fs::copy(public, &bare).unwrap();
            self.program("ssh-add", Some(&agent.socket), &["-q", "-d", bare.to_str().unwrap()]).ends(0);
        }
    }
}

#[test]
fn expired_certificates_of_this_ca_go_first() {
    let Some(person) = Person::new() else { return };
    let agent = Agent::openssh(person.machine(), "agent");
    person.fill(&agent, 7, Some(&["-V", "20200101:20200102"]));
    let certificates =
        |person: &Person| person.listed(&agent.socket).iter().filter(|one| one.contains("-cert-")).count();
    assert_eq!(certificates(&person), 7);
    person.login(Some(&agent.socket), &[]).ends(0);
    assert_eq!(certificates(&person), 1);
    person.ssh(Some(&agent.socket), &[]).ends(0).prints(&["in"]);
}

#[test]
fn six_identities_are_warned_of_and_the_line_helps() {
    let Some(person) = Person::new() else { return };
    let [few, enough, many] = ["few", "enough", "many"].map(|name| Agent::openssh(person.machine(), name));
    person.fill(&few, 4, None);
    let run = person.login(Some(&few.socket), &[]).ends(0);
    assert_eq!(run.stderr, "", "five are few enough");
    person.fill(&enough, 5, None);
    person.login(Some(&enough.socket), &[]).ends(0).says(&["the agent has 6 identities", "MaxAuthTries"]);
    person.fill(&many, 7, None);
    let run = person.login(Some(&many.socket), &[]).ends(0).says(&["the agent has 8 identities", "MaxAuthTries"]);
    assert_ne!(person.ssh(Some(&many.socket), &[]).code, Some(0), "sshd ends it before the eighth");
    let line = run.stdout.lines().find_map(|line| line.strip_prefix("ssh_config  ")).unwrap();
    let line = line.split("   (").next().unwrap();
    person.write(".ssh/config", &format!("IdentitiesOnly yes\n{line}\n"));
    person.ssh(Some(&many.socket), &[]).ends(0).prints(&["in"]);
}
