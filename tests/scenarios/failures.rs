//! A failure after each stage of `apply`. The machine is as before to the byte, and the message says so; sshd serves as
//! before; and the next run succeeds.

mod injected;
mod stages;

use crate::support::{ClientKnowledge, Machine, Run, machine::Found};
use std::{collections::BTreeMap, path::PathBuf};

type Tree = BTreeMap<PathBuf, Found>;

/// Checks that the run failed, says that the machine is as before, and left it so.
#[track_caller]
fn left_as_before(machine: &Machine, before: &Tree, run: &Run, what: &str) {
    assert!(matches!(run.code, Some(1 | 5 | 6)), "{what}: {run:?}");
    let says = run.stderr.contains("nothing was changed") || run.stderr.contains("state: as before");
    assert!(says, "{what}: it does not say how the machine was left\n{}", run.stderr);
    assert_eq!(*before, machine.tree(), "{what}\n{}", run.stderr);
    machine.client(&ClientKnowledge::Keys(machine.host_key("ed25519"))).connects();
}

/// Certifies this machine.
const CERTIFY: [&str; 5] = ["apply", "certify-host", "--set", "principal=web1.example.org", "--yes"];
