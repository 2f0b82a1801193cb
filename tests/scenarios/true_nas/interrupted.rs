//! The machine loses power before a change is confirmed. Only the middleware can restore its stored settings, so they are
//! restored once it runs.

use super::USER;
use crate::support::true_nas::{CERTIFY, REMOVE, Settings, State, TrueNas};

/// Has the machine lose power while the run of this command waits to be confirmed, and boot.
fn is_rolled_back(machine: &TrueNas, words: &[&str], before: &State, is_certified: [bool; 2]) {
    machine.warded(&[words, &["--confirm-within", "10m"]].concat()).ends(0);
    machine.loses_power();
    machine.calls(&["etc.generate", "ssh"]).ends(0);
    machine.serves();
    // sshd has what was proved before it was written.
    machine.lets_everybody_in(is_certified[1]);
    // What TrueNAS is to run at the end of each start (docs/TRUENAS.md).
    machine.warded(&["recover"]).ends(0).prints(&["had been interrupted; it was rolled back"]);
    assert_eq!(machine.state(), *before, "{words:?}");
    machine.is_as_generated();
    machine.lets_everybody_in(is_certified[0]);
}

#[test]
fn a_change_that_nobody_confirmed_is_rolled_back_after_the_boot() {
    let settings = Settings { password_user: USER, options: "Banner none", ..Settings::of("25.10") };
    let Some(machine) = TrueNas::start(settings) else { return };
    is_rolled_back(&machine, &CERTIFY, &machine.state(), [false, true]);
    machine.warded(&CERTIFY).ends(0);
    is_rolled_back(&machine, &REMOVE, &machine.state(), [true, false]);
}
