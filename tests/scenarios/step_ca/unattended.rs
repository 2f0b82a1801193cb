//! Unattended renewals: a CA that is away is asked less and less often, and only one run works at a time.

use crate::support::{
    Machine, Member, counts,
    hostile_ca::{Fault, HostileCa, Manner},
    step_ca::StepCa,
};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};

fn attempts(member: &Member) -> serde_json::Value {
    serde_json::from_slice(&fs::read(member.machine.path("state/renewal-attempts.json")).unwrap()).unwrap()
}

#[test]
fn a_ca_that_is_away_is_asked_again_after_a_while() {
    let machine = Machine::stopped();
    let Some(mut ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    member.signed_by_hand(&ca, &["-V", "-20d:+5d"]);
    ca.stop();
    // The wait is a random time up to a limit that doubles.
    let mut failures = 0;
    let waits = loop {
        let run = member.warded(&["renew"]);
        if run.code == Some(4) {
            break run;
        }
        run.ends(6);
        failures += 1;
        assert!(failures < 10, "it never waits");
    };
    assert!(waits.stdout.contains("Not tried") && waits.stdout.contains(" in a row, and waits ("), "{waits:?}");
    assert_eq!(attempts(&member)["failures"], failures);
    ca.serve();
    member.warded(&["renew", "--json"]).ends(4).object("warded.renew/1");
    // Shifts the record by an hour.
    let file = member.machine.path("state/renewal-attempts.json");
    fs::write(&file, format!(r#"{{"failures":{failures},"not_before":1}}"#)).unwrap();
    member.warded(&["renew"]).ends(0);
    assert!(!file.exists());
    let renewals = || ca.log().matches("\"/ssh/renew\"").count();
    assert_eq!(renewals(), 3, "one renewal a key, however many were missed");
    assert!(member.warded(&["renew"]).ends(0).stdout.contains("Nothing is due"));
    assert_eq!(renewals(), 3);
}

/// The first run allows for a CA that is just being restarted. Later runs make one attempt each.
#[test]
fn a_ca_that_stays_away_meets_one_connection_a_run() {
    let machine = Machine::stopped();
    let Some(mut ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    member.signed_by_hand(&ca, &["-V", "-20d:+5d"]);
    ca.stop();
    let connections = || counts::connections(&member.command(&["renew"]), &member.machine.path("trace"));
    let (run, tries) = connections();
    run.ends(6);
    assert_eq!(tries.len(), 3);
    let file = member.machine.path("state/renewal-attempts.json");
    for failures in [1, 2] {
        fs::write(&file, format!(r#"{{"failures":{failures},"not_before":1}}"#)).unwrap();
        let (run, tries) = connections();
        run.ends(6);
        assert_eq!(tries.len(), 1, "after {failures}");
    }
}

#[test]
fn what_the_ca_asks_for_is_honoured() {
    let member = Member { machine: Machine::stopped() };
    let ca = HostileCa::start(&member.machine.network(), Fault::Answer("/ssh/renew", Manner::Busy(1800)));
    member.bootstrap(&ca.url(), &ca.fingerprint()).ends(0);
    let key = member.machine.path("key.jwk");
    fs::write(&key, ca.provisioner_key()).unwrap();
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    member.certifies(&["--provisioner-key-file", key.to_str().unwrap()]).ends(0);
    let now = jiff::Timestamp::now().as_second();
    assert_ne!(member.warded(&["renew", "--force"]).code, Some(0));
    let not_before = attempts(&member)["not_before"].as_i64().unwrap();
    assert!((now + 1800..now + 1920).contains(&not_before), "{now} {not_before}");
    let asked = ca.requests().len();
    member.warded(&["renew"]).ends(4).prints(&["Not tried"]);
    assert_eq!(ca.requests().len(), asked);
}

#[test]
fn one_renewal_is_at_work_at_a_time() {
    let machine = Machine::stopped();
    machine.certify();
    machine.warded(["renew"]).ends(0).prints(&["Nothing is due"]);
    let held = File::open(machine.path("state/renewal")).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    machine.warded(["renew", "--force"]).ends(0).prints(&["Another `warded renew` is running."]);
    drop(held);
    machine.warded(["renew", "--force"]).ends(0).prints(&["Certified 3 keys"]);
}
