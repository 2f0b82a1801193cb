//! After certification: somebody makes new host keys.

use super::{
    NEW,
    cells::{agrees, get_in_by_the_ca},
    certify, pinned_get_in, properties, trusting,
};
use crate::support::{Run, machine::KEYS, nethserver::NethServer};

#[test]
fn host_keys_that_are_made_anew_get_new_certificates() {
    let Some(machine) = NethServer::start(NEW, properties(false, true)) else { return };
    certify(&machine).ends(0);
    get_in_by_the_ca(&machine);
    // Removes the certificates together with the keys.
    let make = "rm /etc/ssh/ssh_host_*
                for kind in rsa ecdsa ed25519; do ssh-keygen -q -N '' -t $kind -f /etc/ssh/ssh_host_${kind}_key; done";
    Run::of(machine.command("sh").args(["-ec", make])).ends(0);
    machine.saves();
    pinned_get_in(&machine, &KEYS);
    let run = machine.client(&trusting(&machine)).by_name().tries();
    assert_ne!(run.code, Some(0), "{run:?}");
    let seen = "/etc/ssh/ssh_host_ed25519_key: no certificate; warded renew gets one";
    machine.warded(&["status"]).ends(4).prints(&[seen]);
    machine.warded(&["renew"]).ends(0);
    get_in_by_the_ca(&machine);
    pinned_get_in(&machine, &KEYS);
    agrees(&machine);
    let shown = machine.warded(&["status"]).prints(&["served"]).stdout;
    assert!(!shown.contains("no certificate"), "{shown}");
}
