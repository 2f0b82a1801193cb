//! What a person sees of a login by certificate and of a logout: with an agent, with files, and without the CA.

use super::Person;
use crate::support::{Run, agent::Agent, screen::Screens};
use std::path::Path;

impl Person {
    /// Runs a Warded command line, and keeps its screen.
    fn show(&self, screens: &mut Screens, agent: Option<&Path>, line: &str) {
        let (url, password) = (self.ca.url(), self.ca.password_file());
        let directory = self.machine().path("").display().to_string();
        let words = line.replace("DIR", directory.trim_end_matches('/'));
        let words = words.replace("PASSWORD", password.to_str().unwrap());
        let mut run: Run = self.warded(agent, &words.split(' ').collect::<Vec<_>>());
        for text in [&mut run.stdout, &mut run.stderr] {
            *text = text.replace(&url, "https://ca.example.org").replace(password.to_str().unwrap(), "PASSWORD");
        }
        screens.keep(line, &run);
    }
}

#[test]
fn of_a_login_and_a_logout() {
    let Some(mut person) = Person::new() else { return };
    let agent = Agent::openssh(person.machine(), "agent");
    let agent = Some(agent.socket.as_path());
    let mut screens = Screens::of(person.machine());
    let login = "login root --provisioner-password-file PASSWORD";
    for (agent, line) in [
        (None, login),
        (agent, "login ../root"),
        (agent, "login root --provisioner nobodys --provisioner-password-file PASSWORD"),
        (agent, login),
        (agent, "login root"),
        (agent, "logout"),
        (agent, "logout"),
        (None, "login root --out DIR/home/keys/mine --provisioner-password-file PASSWORD"),
        (None, "logout --out DIR/home/keys/mine"),
    ] {
        person.show(&mut screens, agent, line);
    }
    person.ca.stop();
    person.show(&mut screens, agent, login);
    insta::assert_snapshot!(screens.seen(), @r#"
    $ warded login root --provisioner-password-file PASSWORD
    error: ssh uses no agent, so there is none to put a certificate into
    cause: SSH_AUTH_SOCK is not set: there is no agent
    state: no certificate was asked for
    next:  start OpenSSH's agent, in this shell: eval "$(ssh-agent)"; for a key in files: warded login --out FILE
    [1]

    $ warded login ../root
    error: these names cannot be used in a certificate
    cause: "../root" cannot be a user principal: it has a character that no login name has
    [2]

    $ warded login root --provisioner nobodys --provisioner-password-file PASSWORD
    error: the CA https://ca.example.org refused
    cause: it has no provisioner "nobodys"
    next:  name one of these: admin (JWK)
    [1]

    $ warded login root --provisioner-password-file PASSWORD
    root has a certificate of the CA https://ca.example.org: N h left, until 00:00 UTC.
    holds for   "root"
    in          the agent at /tmp/warded-test-dddddd/agent, which forgets it then
    ssh_config  IdentityFile ~/.ssh/warded-root-cert.pub   (needed only with IdentitiesOnly)
    [0]

    $ warded login root
    root has a certificate of the CA https://ca.example.org already: N h left, until 00:00 UTC. Nothing was changed; for a new one: --force
    holds for   "root"
    in          the agent at /tmp/warded-test-dddddd/agent
    ssh_config  IdentityFile ~/.ssh/warded-root-cert.pub   (needed only with IdentitiesOnly)
    [0]

    $ warded logout
    Removed: 1 certificate from the agent, /tmp/warded-test-dddddd/home/.ssh/warded-root-cert.pub
    [0]

    $ warded logout
    There is no login of Warded's here.
    [0]

    $ warded login root --out DIR/home/keys/mine --provisioner-password-file PASSWORD
    root has a certificate of the CA https://ca.example.org: N h left, until 00:00 UTC.
    holds for   "root"
    in          /tmp/warded-test-dddddd/home/keys/mine, /tmp/warded-test-dddddd/home/keys/mine-cert.pub (without a passphrase)
    ssh_config  IdentityFile ~/keys/mine   (or on the command line: ssh -i /tmp/warded-test-dddddd/home/keys/mine)
    [0]

    $ warded logout --out DIR/home/keys/mine
    Removed: 0 certificates from the agent, /tmp/warded-test-dddddd/home/keys/mine, /tmp/warded-test-dddddd/home/keys/mine.pub, /tmp/warded-test-dddddd/home/keys/mine-cert.pub
    [0]

    $ warded login root --provisioner-password-file PASSWORD
    error: the CA https://ca.example.org cannot be reached
    cause: Connection refused (os error 111)
    next:  make sure that the CA runs, and that this machine reaches it
    [6]
    "#);
}
