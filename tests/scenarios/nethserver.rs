//! NethServer 7, whose template engine generates sshd's configuration from fragments. A real sshd judges every result.

mod cells;
mod instructions;
mod lasting;
mod removal;
mod stops;

use crate::support::{
    ClientKnowledge, Peer,
    nethserver::{NethServer, Properties},
};
use std::fs;

const SET: &str = "principal=web1.example.org";
/// Debian 12's OpenSSH, 9.2.
const NEW: &str = "bookworm";

fn certify(machine: &NethServer) -> crate::support::Run {
    machine.warded(&["apply", "certify-host", "--set", SET, "--yes"])
}

/// A client that knows only the CA.
fn trusting(machine: &NethServer) -> ClientKnowledge {
    ClientKnowledge::Authority(machine.warded(&["ca", "roots", "--host"]).ends(0).stdout.trim().to_owned())
}

/// Checks that clients that have pinned one of these keys can connect.
fn pinned_get_in(machine: &NethServer, kinds: &[&str]) {
    machine.pins(kinds).iter().for_each(|pin| drop(machine.client(pin).connects()));
}

/// NethServer 8 is a Rocky Linux with containers, and has no templates for sshd.
#[test]
fn the_next_release_gets_the_usual_policy() {
    let Some(peer) = Peer::start(NEW, "") else { return };
    peer.adds_policy("nethserver");
    let release = "NAME=\"Rocky Linux\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.4\"\n";
    fs::remove_file(peer.file("/etc/os-release")).unwrap_or_default();
    fs::write(peer.file("/etc/os-release"), release).unwrap();
    let plan = peer.warded(&["plan", "certify-host", "--set", SET]).ends(3);
    assert!(!plan.stdout.contains("nethserver") && plan.stdout.contains("sshd_config.d/50-warded.conf"), "{plan:?}");
    let shown = peer.warded(&["policy", "show", "nethserver", "--json"]).ends(0).object("warded.policy-show/1");
    assert_eq!(shown["policy"]["applies"], false, "{shown}");
}

fn instruction(name: &str) -> String {
    let path = format!("{}/../tests/peers/nethserver/instructions/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).unwrap()
}

fn properties(strong: bool, shell_override: bool) -> Properties {
    Properties { strong, shell_override }
}
