//! NethServer 7: sshd's configuration is what a template engine makes of fragments. A real sshd judges every result.

mod cells;
mod instructions;
mod removal;
mod stops;

use crate::support::{
    Knows,
    nethserver::{NethServer, Properties},
};
use std::fs;

const SET: &str = "principal=web1.example.org";
/// Debian 12's, 9.2.
const NEW: &str = "bookworm";

fn certify(machine: &NethServer) -> crate::support::Run {
    machine.warded(&["apply", "certify-host", "--set", SET, "--yes"])
}

/// A client that knows only the CA.
fn trusting(machine: &NethServer) -> Knows {
    Knows::Authority(machine.warded(&["ca", "roots", "--host"]).ends(0).stdout.trim().to_owned())
}

/// Everybody with one of these keys pinned gets in.
fn pinned_get_in(machine: &NethServer, kinds: &[&str]) {
    machine.pins(kinds).iter().for_each(|pin| drop(machine.client(pin).connects()));
}

fn instruction(name: &str) -> String {
    let path = format!("{}/../tests/peers/nethserver/instructions/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).unwrap()
}

fn properties(strong: bool, shell_override: bool) -> Properties {
    Properties { strong, shell_override }
}
