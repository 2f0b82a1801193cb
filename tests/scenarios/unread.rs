//! Somebody changed sshd's configuration, and sshd has not read the change yet: a reload puts it into effect.

use crate::support::Peer;
use std::fs;

const CERTIFY: [&str; 5] = ["apply", "certify-host", "--set", "principal=web1.example.org", "--yes"];
const TOLD: &str = "that everybody who can log in now still can: sshd has not read \
                    /etc/ssh/sshd_config.d/deny.conf since it was changed, and the reload puts that change into effect, too.";

#[test]
fn a_change_that_sshd_has_not_read_is_told_before_a_reload() {
    let Some(peer) = Peer::start("trixie", "") else { return };
    let deny = peer.file("/etc/ssh/sshd_config.d/deny.conf");
    fs::write(&deny, "DenyUsers jane\n").unwrap();
    let plan = peer.warded(&["plan", "certify-host", "--set", "principal=web1.example.org"]).ends(3);
    assert!(plan.stdout.contains(&format!("Would not be proved: {TOLD}\n")), "{plan:?}");
    let applied = peer.warded(&CERTIFY).ends(0);
    assert!(applied.stdout.contains(&format!("Not proved: {TOLD}\n")), "{applied:?}");

    // By now sshd has read it.
    let is_silent = |words: &[&str]| {
        let run = peer.warded(words).ends(0);
        assert!(!run.stdout.contains("has not read"), "{run:?}");
    };
    is_silent(&["renew", "--force"]);
    fs::write(&deny, "DenyUsers john\n").unwrap();
    let renewed = peer.warded(&["renew", "--force"]).ends(0);
    assert!(renewed.stdout.contains(&format!("Not proved: {TOLD}\n")), "{renewed:?}");
    // A run that does not reload sshd does not hide it.
    fs::write(&deny, "DenyUsers jack\n").unwrap();
    peer.warded(&["renew"]).ends(0);
    let renewed = peer.warded(&["renew", "--force"]).ends(0);
    assert!(renewed.stdout.contains(&format!("Not proved: {TOLD}\n")), "{renewed:?}");
    // Nor does a reload that changes no file.
    let certificate = peer.file("/etc/ssh/ssh_host_ed25519_key-cert.pub");
    let former = fs::read(&certificate).unwrap();
    peer.warded(&["renew", "--force"]).ends(0);
    let newer = fs::read(&certificate).unwrap();
    fs::write(&certificate, former).unwrap();
    peer.reloads_sshd();
    fs::write(&certificate, newer).unwrap();
    fs::write(&deny, "DenyUsers jill\n").unwrap();
    let renewed = peer.warded(&["renew"]).ends(0);
    assert!(renewed.stdout.contains(&format!("Not proved: {TOLD}\n")), "{renewed:?}");
    fs::write(&deny, "DenyUsers jim\n").unwrap();
    peer.reloads_sshd();
    is_silent(&["renew", "--force"]);
    is_silent(&["undo", "--yes"]);
    fs::remove_file(&deny).unwrap();
    fs::write(&deny, "DenyUsers joe\n").unwrap();
    peer.restarts_sshd();
    is_silent(&["undo", "--yes"]);
}
