//! Configurations of ssh as people write them: what Warded says about them agrees with ssh.

use super::{Client, USER};
use crate::support::Run;
use std::fs;

const PIN: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDOu+GOIRRAH2+0BR2aQmOYRjvJhESqjO0sF9Fiw6p4L";

impl Client {
    /// Whether this user's ssh connects to this machine's sshd by its name. The command line has nothing that could
    /// change what a `Match` compares.
    pub(super) fn reaches_by_name(&self) -> bool {
        let mut command = self.0.command("chroot");
        // ssh resolves the files of an `Include` by HOME.
        command.env("HOME", "/home/ann").args([&format!("--userspec={USER}:{USER}"), "/", "ssh"]);
        let run = Run::of(command.args([
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
            "-l",
            "nobody",
            "web1.lab.test",
            "true",
        ]));
        run.stderr.contains("Permission denied (")
    }

    pub(super) fn configures(&self, config: &str) {
        fs::write(self.file("/home/ann/.ssh/config"), config).unwrap();
        self.sh("chown 1500:1500 /home/ann/.ssh/config");
    }

    /// A client on a machine that resolves its own sshd's certified name to itself.
    pub(super) fn named() -> Option<Self> {
        let client = Self::start("bookworm")?;
        fs::write(client.file("/etc/hosts"), "127.0.0.1 web1.lab.test\n").unwrap();
        fs::write(client.file("/etc/nsswitch.conf"), "hosts: files\n").unwrap();
        client.root(&["apply", "certify-host", "--set", "principal=web1.lab.test", "--yes"]).ends(0);
        Some(client)
    }
}

#[test]
fn what_ssh_does_with_a_configuration_is_what_is_said_of_it() {
    let Some(client) = Client::named() else { return };
    let key = client.key();
    fs::write(client.file("/home/ann/revoked"), format!("{PIN} other\n{key} the CA\n")).unwrap();
    fs::write(client.file("/home/ann/fine"), format!("{PIN} other\n")).unwrap();
    fs::write(client.file("/home/ann/ca.pub"), format!("{key}\n")).unwrap();
    client.sh("ssh-keygen -q -k -f /home/ann/list.krl /home/ann/ca.pub; chmod 644 /home/ann/list.krl");
    // Other files and programs from which ssh takes keys, and what each says about the CA's key.
    for name in ["other", "another one"] {
        fs::write(client.file(&format!("/home/ann/{name}")), format!("# more\n@revoked *.lab.test {key}\n")).unwrap();
    }
    fs::write(client.file("/home/ann/elsewhere"), format!("@revoked *.other.test {key}\n")).unwrap();
    for (name, hosts) in [("revoking", "*"), ("harmless", "*.other.test")] {
        let file = client.file(&format!("/home/ann/{name}"));
        let script = format!("#!/bin/sh\nprintf '%s\\n' 'web9.lab.test {PIN}' '@revoked {hosts} {key}'\n");
        fs::write(file, script).unwrap();
        client.sh(&format!("chmod 755 /home/ann/{name}"));
    }
    let canonical = "CanonicalizeHostname always\nCanonicalDomains lab.test\nMatch canonical host *.lab.test\n ";
    for (config, code, words) in [
        ("Match host *.lab.test\n HostKeyAlgorithms ssh-ed25519\n", 5, &["takes no host certificate"][..]),
        ("Match final host *.lab.test\n HostKeyAlgorithms ssh-ed25519\n", 5, &["takes no host certificate"]),
        ("Match host *.lab.test\n CASignatureAlgorithms rsa-sha2-512\n", 5, &["CASignatureAlgorithms"]),
        (&format!("{canonical}HostKeyAlgorithms ssh-ed25519\n"), 5, &["takes no host certificate"]),
        (&format!("{canonical}UserKnownHostsFile ~/.ssh/canonical\n"), 1, &["it reads /home/ann/.ssh/canonical"]),
        ("RevokedHostKeys /home/ann/revoked\n", 5, &["/home/ann/revoked", "the CA's own key"]),
        ("RevokedHostKeys /home/ann/list.krl\n", 5, &["/home/ann/list.krl", "the CA's own key"]),
        ("RevokedHostKeys /home/ann/gone\n", 5, &["/home/ann/gone"]),
        ("UserKnownHostsFile ~/.ssh/known_hosts ~/other\n", 5, &["/home/ann/other line 2 revokes the CA's own key"]),
        (
            "UserKnownHostsFile ~/.ssh/known_hosts \"/home/ann/another one\"\n",
            5,
            &["/home/ann/another one line 2 revokes the CA's own key"],
        ),
        ("KnownHostsCommand /home/ann/revoking %I \"%H\"\n", 5, &["KnownHostsCommand /home/ann/revoking", "REVOKED"]),
        ("KnownHostsCommand /bin/false\n", 5, &["KnownHostsCommand failed"]),
        ("UserKnownHostsFile none\n", 1, &["in ssh_config: UserKnownHostsFile /home/ann/.ssh/known_hosts"]),
        ("UserKnownHostsFile /dev/null\n", 1, &["in ssh_config: UserKnownHostsFile /home/ann/.ssh/known_hosts"]),
        ("UserKnownHostsFile ~/.ssh/hosts.d/%k\n", 1, &["after the files of the UserKnownHostsFile line"]),
        ("Include ~/.ssh/config\n", 5, &["ssh cannot use its configuration"]),
    ] {
        client.knows(b"");
        client.configures(config);
        let run = client.trusts().ends(code).says(words).says(&["nothing was changed"]);
        assert!(!run.stderr.contains("put this line into none") && !run.stderr.contains("hosts.d/warded-example: "));
        // Even with the line ssh does not connect.
        client.knows(client.line("/srv-ca").as_bytes());
        assert!(!client.reaches_by_name(), "{config}");
    }
    for config in [
        "Match host *.lab.test\n KexAlgorithms diffie-hellman-group16-sha512\n",
        "KexAlgorithms sntrup761x25519-sha512@openssh.com\nCiphers aes256-ctr\nMACs umac-128@openssh.com\n",
        "Match host 127.0.0.1\n HostKeyAlgorithms ssh-ed25519\n",
        "CanonicalizeHostname yes\nCanonicalDomains lab.test\n",
        "RevokedHostKeys /home/ann/fine\n",
        "UserKnownHostsFile ~/.ssh/known_hosts ~/elsewhere\nKnownHostsCommand /home/ann/harmless %I \"%H\"\n",
        "UserKnownHostsFile \"~/.ssh/known hosts\" %d/.ssh/known_hosts ~/.ssh/hosts.d/%k\n",
        "UserKnownHostsFile ${HOME}/.ssh/known_hosts\n",
        "Match exec \"false\"\n HostKeyAlgorithms ssh-ed25519\n",
        "ControlMaster auto\nControlPath ~/.ssh/master-%C\nRequestTTY force\nLogLevel DEBUG3\nHashKnownHosts yes\n",
        "Host *.lab.test\r\n  User ann\r\n",
    ] {
        client.knows(b"");
        client.configures(config);
        client.trusts().ends(0).prints(&["Proved beforehand: ssh trusts the CA for *.lab.test"]);
        assert!(client.reaches_by_name(), "{config}");
    }
}

/// A command in the configuration that never ends blocks ssh. Warded waits only until it can report that.
#[test]
fn a_configuration_that_waits_is_told_as_such() {
    let Some(client) = Client::start("trixie") else { return };
    client.configures("Match exec \"sleep 1000\"\n User x\n");
    client.trusts().ends(1).says(&["`ssh -G` did not end in time", "Match exec", "nothing was changed"]);
}

/// A certificate with the right name is useless for a client whose pattern does not match it.
#[test]
fn verify_names_what_the_pattern_misses() {
    let Some(client) = Client::named() else { return };
    fs::write(client.file("/etc/hosts"), "127.0.0.1 web1.lab.test web1 web1.other.test\n").unwrap();
    let names = ["principal=web1.lab.test", "principal=web1", "principal=web1.other.test"];
    let sets = names.iter().flat_map(|name| ["--set", name]);
    let certify: Vec<&str> = ["apply", "certify-host", "--yes"].into_iter().chain(sets).collect();
    client.root(&certify).ends(0);
    let verify = ["verify", "web1.lab.test", "web1", "web1.other.test"];
    let matches = || {
        let object = client.user(&[&verify[..], &["--json"]].concat()).ends(0).object("warded.verify/1");
        let hosts = object["hosts"].as_array().unwrap();
        assert!(hosts.iter().all(|host| host["state"] == "ok"), "{object}");
        hosts.iter().map(|host| host["pattern_matches"].as_bool()).collect::<Vec<_>>()
    };
    assert_eq!(matches(), [None; 3]);
    assert!(!client.user(&verify).ends(0).stderr.contains("note:"));
    client.trusts().ends(0);
    assert_eq!(matches(), [Some(true), Some(false), Some(false)]);
    assert!(client.reaches("web1.lab.test") && !client.reaches("web1"));
    let run = client.user(&verify).ends(0);
    let run = run.says(&["certificate of web1: no pattern holds", "/home/ann/.ssh/known_hosts line 1: *.lab.test"]);
    assert!(!run.stderr.contains("certificate of web1.lab.test"), "{}", run.stderr);
    // The name that ssh looks up counts, and not the name on the command line.
    client.configures("Host web1\n  HostName web1.lab.test\n");
    assert_eq!(matches(), [Some(true), Some(true), Some(false)]);
}

/// As in sshd(8) about known_hosts: a pattern without a port applies to every port, one with a port only to that port.
#[test]
fn a_pattern_with_a_port_holds_for_that_port_alone() {
    let Some(client) = Client::named() else { return };
    let second = "Port 2222\nUsePAM no\nInclude /etc/ssh/sshd_config.d/*.conf\n";
    fs::write(client.file("/etc/ssh/second_config"), second).unwrap();
    client.0.serve("/etc/ssh/second_config");
    let reaches = |port: &str| {
        let mut command = client.0.command("chroot");
        command.args([&format!("--userspec={USER}:{USER}"), "/", "ssh", "-o", "BatchMode=yes", "-p", port]);
        command.args(["-o", "StrictHostKeyChecking=yes", "-l", "nobody", "web1.lab.test", "true"]);
        Run::of(&mut command).stderr.contains("Permission denied (")
    };
    for (domain, holds) in
        [("[*.lab.test]:2222", [false, true]), ("[*.lab.test]:*", [false, true]), ("*.lab.test", [true, true])]
    {
        let set = format!("domain={domain}");
        client.user(&["apply", "trust-host-ca", "--yes", "--set", &set]).ends(0);
        assert_eq!([reaches("22"), reaches("2222")], holds, "{domain}");
        let hosts = ["verify", "web1.lab.test", "web1.lab.test:2222", "--json"];
        let told = client.user(&hosts).ends(0).object("warded.verify/1");
        let told: Vec<_> =
            told["hosts"].as_array().unwrap().iter().map(|host| host["pattern_matches"].as_bool().unwrap()).collect();
        assert_eq!(told, holds, "{domain}");
        client.user(&["undo", "--yes"]).ends(0);
    }
}
