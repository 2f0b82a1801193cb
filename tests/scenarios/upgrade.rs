//! An enrolled machine gets another OpenSSH, as an upgrade of the release brings it.

use crate::support::{ClientKnowledge, Peer, Run, upgrade};
use std::fs;

const NOTE: &str = "was proved with 10.0";

#[test]
fn renewals_go_on_with_another_openssh_and_a_fourth_host_key() {
    let Some(peer) = Peer::start("trixie", "") else { return };
    peer.warded(&["apply", "certify-host", "--yes", "--set", "principal=web1.example.org"]).ends(0);
    // Nothing schedules renewals on this machine, hence the exit code.
    assert!(!peer.warded(&["status"]).ends(4).stdout.contains(NOTE));

    let Some(()) = upgrade::openssh("sid", &peer.file("/")) else { return };
    // Until the package restarts sshd, the old listener with the new programs serves nobody. That is not a time for a
    // change.
    let waits = peer.warded(&["renew", "--force"]).ends(5);
    waits.says(&["cannot be asked which host keys it offers", "nothing was changed"]);
    peer.warded(&["status"]).ends(4).prints(&[NOTE, "cannot be asked which host keys it offers"]);

    Run::of(peer.command("ssh-keygen").arg("-A")).ends(0);
    let keys = peer.keys();
    assert_eq!(keys.len(), 4, "{keys:?}");
    peer.restarts_sshd();
    let unproved = peer.warded(&["status"]).ends(4);
    let fourth = "keys of the type ssh-mldsa44-ed25519 are not certified; sshd goes on offering it";
    unproved.prints(&[NOTE, "`warded renew --force` proves it anew", fourth, "nothing renews automatically"]);

    let renewed = peer.warded(&["renew", "--force"]).ends(0).prints(&["Certified 3 keys", "3 certificates served"]);
    assert!(renewed.stdout.contains(fourth), "{}", renewed.stdout);
    assert!(!peer.warded(&["status"]).ends(4).stdout.contains(NOTE));
    let authority = fs::read_to_string(peer.file("/root/ca/host_ca.pub")).unwrap();
    peer.client(&ClientKnowledge::Authority(authority)).connects();
    for name in keys {
        let key = fs::read_to_string(peer.file(&format!("/etc/ssh/ssh_host_{name}_key.pub"))).unwrap();
        peer.client(&ClientKnowledge::Keys(key)).connects();
    }
}
