//! `verify --login-as` uses nothing of the person's own ssh configuration but the way to the host.

use super::{Client, USER};
use crate::support::Run;
use std::fs;

impl Client {
    /// Logs in with the certificate of a recent login, in an agent of its own.
    fn logs_in(&self, name: &str) -> Run {
        let mut command = self.0.command("chroot");
        let script = format!("warded login ann >/dev/null && warded verify --login-as ann {name}");
        command.env("HOME", "/home/ann").env("XDG_STATE_HOME", "/home/ann/state").env("WARDED_CA", "/srv-ca");
        command.args([&format!("--userspec={USER}:{USER}"), "/", "ssh-agent", "sh", "-c", &script]);
        Run::of(&mut command)
    }
}

#[test]
fn a_login_is_by_the_certificate_and_the_ca_alone() {
    let Some(client) = Client::named() else { return };
    let trust = ["apply", "trust-user-ca", "--yes", "--accept-risk=root-by-certificate"];
    client.root(&trust).ends(0);
    for (config, name) in [
        ("", "web1.lab.test"),
        ("Host box\n HostName web1.lab.test\n", "box"),
        ("Host box\n HostName 127.0.0.1\n HostKeyAlias web1.lab.test\n", "box"),
        ("RemoteCommand echo in\n", "web1.lab.test"),
        ("ForkAfterAuthentication yes\n", "web1.lab.test"),
        ("SessionType none\n", "web1.lab.test"),
    ] {
        client.configures(config);
        client.logs_in(name).ends(0).prints(&["in   ann@", "by the certificate in the agent, trusting the CA alone"]);
    }
    // The host must be certified for the name that ssh looks up, whatever name was given.
    client.configures("Host web1.lab.test\n HostName 127.0.0.1\n");
    client.logs_in("web1.lab.test").ends(4).prints(&["not  ann@", "Host key verification failed"]);

    // Another key lets the person in, and not the certificate.
    client.root(&["undo", "--yes"]).ends(0);
    client
        .sh("cd /home/ann/.ssh; ssh-keygen -q -t ed25519 -N '' -f key; cp key.pub authorized_keys; chown 1500:1500 *");
    client.configures("IdentityFile ~/.ssh/key\n");
    client.logs_in("web1.lab.test").ends(4).prints(&["not  ann@", "Permission denied"]);

    // Another name for the host, for which it has no certificate.
    client.root(&trust).ends(0);
    let key = fs::read_to_string(client.file("/etc/ssh/ssh_host_ed25519_key.pub")).unwrap();
    fs::write(client.file("/home/ann/vouches"), format!("#!/bin/sh\necho 'web1.lab.test {}'\n", key.trim())).unwrap();
    client.sh("chmod 755 /home/ann/vouches; rm /etc/ssh/*-cert.pub; kill -HUP $(cat /run/sshd.pid); sleep 1");
    for config in ["KnownHostsCommand /home/ann/vouches\n", "NoHostAuthenticationForLocalhost yes\n"] {
        client.configures(config);
        client.logs_in("web1.lab.test").ends(4).prints(&["not  ann@", "Host key verification failed"]);
    }
}
