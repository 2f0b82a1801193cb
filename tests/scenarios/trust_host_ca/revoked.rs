//! `@revoked` and `RevokedHostKeys`: what `verify` says about a machine with a revoked key agrees with ssh.

use super::{Client, USER};
use crate::support::Run;
use std::fs;

const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDOu+GOIRRAH2+0BR2aQmOYRjvJhESqjO0sF9Fiw6p4L";
const KNOWN: &str = "/home/ann/.ssh/known_hosts";

impl Client {
    /// The key of the certificate that ssh accepts.
    fn host_key(&self) -> String {
        let line = fs::read_to_string(self.file("/etc/ssh/ssh_host_ed25519_key.pub")).unwrap();
        line.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// Runs a line of sh(1) as the ordinary user, who has an agent.
    fn ann(&self, line: &str) -> Run {
        let mut command = self.0.command("chroot");
        command.env("HOME", "/home/ann").env("SSH_AUTH_SOCK", "/home/ann/agent").env("WARDED_CA", "/srv-ca");
        Run::of(command.args([&format!("--userspec={USER}:{USER}"), "/", "sh", "-c", line]))
    }
}

#[test]
fn verify_judges_a_revoked_key_as_ssh_does() {
    let Some(client) = Client::named() else { return };
    let (own, authority) = (client.host_key(), client.key());
    client.sh(&format!(
        "cd /home/ann; echo '{own}' >own; echo '{OTHER}' >other; echo '{authority}' >ca.pub; echo 'web1.lab.test {own}' >hashed
         ssh-keygen -q -H -f hashed; ssh-keygen -q -k -f key.krl own; ssh-keygen -q -k -f other.krl other
         ssh-keygen -L -f /etc/ssh/ssh_host_ed25519_key-cert.pub >shown
         while read -r word number; do if [ \"$word\" = Serial: ]; then echo \"serial: $number\"; fi; done <shown >serial
         ssh-keygen -q -k -f serial.krl -s ca.pub serial; chmod 644 *"
    ));
    let hashed = fs::read_to_string(client.file("/home/ann/hashed")).unwrap();
    let hashed = hashed.split(' ').next().unwrap();
    let list = |name: &str| format!("RevokedHostKeys /home/ann/{name}\n");
    let line = |words: &str| format!("{KNOWN} line 2 revokes {words}");
    for (known, config, expected) in [
        (String::new(), String::new(), None),
        (format!("@revoked web1.lab.test {own}\n"), String::new(), Some(line("this host's own key"))),
        (format!("@revoked *.lab.test {own} stolen\n"), String::new(), Some(line("this host's own key"))),
        (format!("@revoked {hashed} {own}\n"), String::new(), Some(line("this host's own key"))),
        (format!("@revoked * {authority}\n"), String::new(), Some(line("the CA's key"))),
        (format!("@revoked *.other.test {own}\n"), String::new(), None),
        (format!("@revoked *,!web1.lab.test {own}\n"), String::new(), None),
        (format!("@revoked * {OTHER}\n#@revoked * {own}\n"), String::new(), None),
        (String::new(), list("own"), Some("/home/ann/own, which revokes this certificate".to_owned())),
        (String::new(), list("ca.pub"), Some("/home/ann/ca.pub, which revokes this certificate".to_owned())),
        (String::new(), list("key.krl"), Some("/home/ann/key.krl, which revokes this certificate".to_owned())),
        (String::new(), list("serial.krl"), Some("/home/ann/serial.krl, which revokes this certificate".to_owned())),
        (String::new(), list("missing"), Some("/home/ann/missing, which cannot be read".to_owned())),
        (String::new(), list("other"), None),
        (String::new(), list("other.krl"), None),
    ] {
        let case = format!("{known}{config}");
        client.knows(format!("{}{known}", client.line("/srv-ca")).as_bytes());
        client.configures(&config);
        assert_eq!(client.reaches_by_name(), expected.is_none(), "{case}");
        let run = client.user(&["verify", "web1.lab.test"]);
        assert_eq!(run.code, Some(if expected.is_none() { 0 } else { 4 }), "{case}: {}", run.stdout);
        let state = if expected.is_none() { "ok " } else { "wrong " };
        assert!(run.stdout.starts_with(state), "{case}: {}", run.stdout);
        assert!(run.stdout.contains(expected.as_deref().unwrap_or_default()), "{case}: {}", run.stdout);
    }
}

#[test]
fn nobody_logs_in_to_a_machine_whose_key_is_revoked() {
    let Some(client) = Client::named() else { return };
    client.root(&["apply", "trust-user-ca", "--yes", "--accept-risk=root-by-certificate"]).ends(0);
    client.sh(
        "cd /home/ann; ssh-keygen -q -t ed25519 -N '' -f key; ssh-keygen -q -s /root/ca/user_ca -I ann -n root key.pub
         chown 1500:1500 key*",
    );
    client.ann("ssh-agent -a $SSH_AUTH_SOCK >/dev/null; ssh-add -q /home/ann/key").ends(0);
    let verify = || client.ann("warded verify --login-as root web1.lab.test");
    verify().ends(0).prints(&["in   root@web1.lab.test"]);
    client.knows(format!("@revoked web1.lab.test {}\n", client.host_key()).as_bytes());
    verify().ends(4).prints(&["not  root@web1.lab.test", "REVOKED"]);
    client.knows(format!("@revoked web2.lab.test {}\n", client.host_key()).as_bytes());
    verify().ends(0);
}
