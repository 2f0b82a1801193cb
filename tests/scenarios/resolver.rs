//! A resolver that does not answer costs no time: no proof asks for a name.

use crate::support::{Peer, Run, machine::NAME};
use std::{
    fs, iter,
    net::{Ipv4Addr, UdpSocket},
};

#[test]
fn no_proof_asks_for_a_name() {
    // This sshd looks up the name of each client.
    let Some(peer) = Peer::start("bookworm", "UseDNS yes\n") else { return };
    let names = peer.file("/etc/resolv.conf");
    if names.symlink_metadata().is_ok() {
        fs::remove_file(&names).unwrap();
    }
    fs::write(names, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").unwrap();
    let resolver = peer.network().on(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).unwrap());
    resolver.set_nonblocking(true).unwrap();
    let questions = || {
        let mut packet = [0; 512];
        let next =
            || resolver.recv(&mut packet).ok().map(|length| String::from_utf8_lossy(&packet[..length]).into_owned());
        iter::from_fn(next).collect::<Vec<_>>()
    };
    Run::of(peer.command("ssh").args(["-o", "BatchMode=yes", "nowhere.test"])).ends(255);
    assert!(!questions().is_empty(), "it is asked where a name is wanted");
    // /etc/hosts resolves the name of the peer's host, for which the resolver would otherwise be asked.
    for hosts in [format!("127.0.0.1 localhost {NAME}\n"), format!("127.0.1.1 {NAME}\n")] {
        fs::write(peer.file("/etc/hosts"), &hosts).unwrap();
        for words in [
            &["apply", "certify-host", "--set", &format!("principal={NAME}"), "--yes"][..],
            &["apply", "trust-user-ca", "--accept-risk=root-by-certificate", "--yes"],
            &["apply", "revoke-users", "--set", "serial=7", "--yes"],
            &["apply", "rekey-host", "--accept-risk=replace-host-keys", "--yes"],
            &["renew", "--force"],
            &["renew"],
            &["status"],
            &["undo", "--accept-risk=replace-host-keys", "--yes"],
            &["undo", "--yes"],
            &["undo", "--yes"],
            &["undo", "--yes"],
        ] {
            let run = peer.warded(words);
            assert!(matches!(run.code, Some(0 | 4)), "{run:?}");
            assert_eq!(questions(), [""; 0], "{words:?} with {hosts}");
        }
    }
}
