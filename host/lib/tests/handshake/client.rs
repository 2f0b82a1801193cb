//! The handshake in the server's role, against OpenSSH's clients: what their known_hosts make them prefer and accept.

use crate::peer::{HOST_KEYS, each, limits};
use ssh_key::{Certificate, PrivateKey};
use std::{fs, net::TcpListener, process::Stdio, thread};
use warded_lib::handshake::{ClientReport, Identity, serve};

/// Serves one `ssh` with these host keys. Returns what the server saw of the client, and what `ssh` printed.
fn meet(
    peer: &crate::peer::Peer,
    known_hosts: &str,
    identities: &[Identity],
    options: &[&str],
) -> (ClientReport, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let file = peer.path("known_hosts");
    fs::write(&file, known_hosts).unwrap();
    let mut command = peer.command("/usr/bin/ssh");
    command.args(["-F", "none", "-p", &port, "-o", "BatchMode=yes", "-o", "GlobalKnownHostsFile=/dev/null"]);
    command.args(["-o", &format!("UserKnownHostsFile={}", file.display()), "-o", "StrictHostKeyChecking=yes"]);
    command.args(["-o", "HostKeyAlias=web1.example.org", "-o", "PreferredAuthentications=none"]);
    command.args(options).args(["x@127.0.0.1", "true"]).stdin(Stdio::null());
    thread::scope(|scope| {
        let ssh = scope.spawn(move || String::from_utf8(command.output().unwrap().stderr).unwrap());
        let served = serve(listener.accept().unwrap().0, identities, &limits());
        let said = ssh.join().unwrap();
        (served.unwrap_or_else(|fault| panic!("{fault}: {said}")), said)
    })
}

#[test]
fn clients_take_what_they_know() {
    each(|peer| {
        let ca = fs::read_to_string(peer.path("ca.pub")).unwrap();
        for name in HOST_KEYS {
            let key = PrivateKey::read_openssh_file(&peer.path(name)).unwrap();
            let certificate = Certificate::read_file(&peer.path(&format!("{name}-cert.pub"))).unwrap();
            let certified = [Identity { key: key.clone(), certificate: Some(certificate.to_bytes().unwrap()) }];
            let plain = [Identity { key: key.clone(), certificate: None }];
            let pin = format!("web1.example.org {}\n", key.public_key().to_openssh().unwrap());
            let trust = format!("@cert-authority *.example.org {ca}");
            for (known, identities, accepted, is_certificate) in [
                (&trust, &certified, true, true),
                (&pin, &plain, true, false),
                (&trust, &plain, false, false),
                (&format!("@cert-authority *.example.com {ca}"), &certified, false, true),
            ] {
                let (served, said) = meet(peer, known, identities, &[]);
                assert_eq!(
                    (served.accepted, served.algorithm.certificate),
                    (accepted, is_certificate),
                    "{name}: {said}"
                );
                let words = if accepted { "Permission denied (publickey)" } else { "Host key verification failed" };
                assert!(said.contains(words), "{name}: {said}");
                assert!(served.client.starts_with("SSH-2.0-OpenSSH_"), "{}", served.client);
            }
        }
    });
}

#[test]
fn clients_with_few_algorithms_are_served() {
    each(|peer| {
        let key = PrivateKey::read_openssh_file(&peer.path("ed25519")).unwrap();
        let pin = format!("web1.example.org {}\n", key.public_key().to_openssh().unwrap());
        let identities = [Identity { key, certificate: None }];
        for option in
            ["KexAlgorithms=ecdh-sha2-nistp521", "Ciphers=aes256-ctr", "Ciphers=chacha20-poly1305@openssh.com"]
        {
            let (served, said) = meet(peer, &pin, &identities, &["-o", option]);
            assert!(served.accepted && said.contains("Permission denied (publickey)"), "{option}: {said}");
        }
    });
}
