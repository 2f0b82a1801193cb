//! Metrics of expired certificates, and of certificates that cannot be read.

use crate::support::{
    Machine,
    machine::{NAME, Setup, keygen},
};
use jiff::Timestamp;
use std::{collections::BTreeMap, fs};

/// When each certificate expires, by the name of its key.
fn ends(machine: &Machine) -> BTreeMap<String, i64> {
    let text = machine.warded(["status", "--prometheus"]).stdout;
    let samples = text.lines().filter(|line| line.starts_with("warded_certificate_not_after_seconds{"));
    let end = |line: &str| {
        let (labels, value) = line.rsplit_once(' ').unwrap();
        let path = labels.split_once("path=\"").unwrap().1.split_once('"').unwrap().0;
        (path.rsplit_once('/').unwrap().1.to_owned(), value.parse().unwrap())
    };
    samples.map(end).collect()
}

/// An alert on an expiring certificate must stay on when it has expired. A value of 0 would mean that it expired in
/// 1970.
#[test]
fn an_end_that_is_past_stays_and_what_is_unknown_is_absent() {
    let machine = Machine::with(&Setup { without_rsa: true, ..Setup::default() });
    machine.certify();
    let (first, second) = ("ssh_host_ecdsa_key", "ssh_host_ed25519_key");
    let now = Timestamp::now().as_second();
    let both = ends(&machine);
    assert!(both.len() == 2 && both.values().all(|end| *end > now), "{both:?}");

    let authority = machine.path("ca/host_ca");
    let sign = ["-q", "-h", "-I", "x", "-n", NAME, "-V", "-3d:-2d", "-s", authority.to_str().unwrap()];
    keygen(&sign, &machine.path("ssh/ssh_host_ecdsa_key.pub"));
    let past = ends(&machine);
    assert!((past[first] - (now - 2 * 24 * 3600)).abs() < 120, "{past:?}");
    assert_eq!(past[second], both[second]);

    fs::write(machine.path(&format!("ssh/{second}-cert.pub")), "no certificate\n").unwrap();
    assert_eq!(ends(&machine), BTreeMap::from([(first.to_owned(), past[first])]));
    fs::remove_file(machine.path(&format!("ssh/{first}-cert.pub"))).unwrap();
    assert_eq!(ends(&machine), BTreeMap::new());
    let text = machine.warded(["status", "--prometheus"]).ends(4).stdout;
    assert!(text.contains("\nwarded_healthy 0\n"), "{text}");
    assert!(!text.contains("warded_certificate_due_seconds{"), "{text}");
}

#[test]
fn enrolment_drift_and_problems_are_counted() {
    let machine = Machine::with(&Setup { without_rsa: true, ..Setup::default() });
    let counted = |exit: i32, expected: [(&str, u32); 3]| {
        let text = machine.warded(["status", "--prometheus"]).ends(exit).stdout;
        for (name, value) in expected {
            assert!(text.contains(&format!("\nwarded_{name} {value}\n")), "{name} is not {value}: {text}");
        }
    };
    counted(0, [("enrolled", 0), ("drift", 0), ("problems", 0)]);
    machine.certify();
    counted(0, [("enrolled", 1), ("drift", 0), ("problems", 0)]);
    let drop_in = machine.path("ssh/sshd_config.d/50-warded.conf");
    let lines = fs::read_to_string(&drop_in).unwrap();
    fs::write(&drop_in, "").unwrap();
    counted(4, [("enrolled", 1), ("drift", 2), ("problems", 2)]);
    fs::write(&drop_in, lines).unwrap();
    // A fault of a certificate file does not count as drift.
    fs::write(machine.path("ssh/ssh_host_ecdsa_key-cert.pub"), "no certificate\n").unwrap();
    counted(4, [("enrolled", 1), ("drift", 0), ("problems", 1)]);
}
