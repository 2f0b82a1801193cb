//! `apply certify-host` once more, on a machine that has certificates.

use super::enrol::Site;
use crate::support::{
    Machine, Member,
    step_ca::{Setup, StepCa},
};

/// A certificate that is due, and valid for five days.
const DUE: [&str; 2] = ["-V", "-20d:+5d"];

/// The requests for new certificates, and for renewals, that the CA had.
fn requests(ca: &StepCa) -> [usize; 2] {
    ["sign", "renew"].map(|what| ca.log().matches(&format!("\"/ssh/{what}\"")).count())
}

#[test]
fn what_only_is_due_is_renewed_without_a_password() {
    let machine = Machine::stopped();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    member.certifies(&[]).ends(0).prints(&["Nothing to do."]);
    member.signed_by_hand(&ca, &DUE);
    let [issued, renewed] = requests(&ca);
    member.certifies(&[]).ends(0).prints(&["Certified 3 keys"]);
    assert_eq!(requests(&ca), [issued, renewed + 3]);
    member.certifies(&[]).ends(0).prints(&["Nothing to do."]);

    // A password is given to be used, and so is --force.
    member.signed_by_hand(&ca, &DUE);
    let password = ca.password_file();
    member.certifies(&["--provisioner-password-file", password.to_str().unwrap()]).ends(0);
    assert_eq!(requests(&ca)[1], renewed + 3);
    member.certifies(&["--force"]).ends(2).says(&["the password of the provisioner admin is needed"]);

    // What is to say something else, or has expired, is a new certificate.
    let tree = member.machine.tree();
    member.certifies(&["--set", "principal=www.example.org"]).ends(2).says(&["password", "nothing was changed"]);
    assert_eq!(member.machine.tree(), tree);
    member.signed_by_hand(&ca, &["-V", "-20d:-1d"]);
    member.certifies(&[]).ends(2).says(&["password", "nothing was changed"]);
}

#[test]
fn a_refused_renewal_says_how_to_get_a_new_certificate() {
    let machine = Machine::stopped();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    member.signed_by_hand(&ca, &DUE);
    member.warded(&["revoke", member.certificate_file("ed25519").to_str().unwrap(), "--yes"]).ends(0);
    let tree = member.machine.tree();
    member.certifies(&[]).ends(1).says(&["refused to renew", "repeat the command with --force", "nothing was changed"]);
    assert_eq!(member.machine.tree(), tree);
}

/// As Ansible's role `host` does it on every run.
#[test]
fn a_further_code_is_used_only_where_something_has_to_change() {
    let Some(site) = Site::new(Machine::stopped(), &Setup::default()) else { return };
    let tokens = ["--keys", "3"];
    site.enrols(&site.invites(&[]), &[]).ends(0);
    let asked = requests(&site.ca);
    let tree = site.member.machine.tree();
    site.enrols(&site.invites(&tokens), &[]).ends(0).prints(&["Nothing to do."]);
    assert_eq!(requests(&site.ca), asked);
    assert_eq!(site.member.machine.tree(), tree);
    for life in [DUE, ["-V", "-20d:-1d"]] {
        site.member.signed_by_hand(&site.ca, &life);
        site.enrols(&site.invites(&tokens), &[]).ends(0).prints(&["Certified 3 keys"]);
        site.enrols(&site.invites(&tokens), &[]).ends(0).prints(&["Nothing to do."]);
    }
    site.enrols(&site.invites(&[&tokens[..], &["-n", "www.example.org"]].concat()), &[])
        .ends(0)
        .prints(&["Certified 3 keys"]);
}
