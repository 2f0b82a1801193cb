//! `status` predicts how the next renewal will end.

use crate::support::{
    Machine, Member,
    step_ca::{Provisioner, Setup, StepCa},
};
use std::fs;

#[track_caller]
fn status_says(member: &Member, words: &[&str]) {
    for command in ["status", "doctor"] {
        let run = member.warded(&[command]).ends(4);
        for word in words {
            assert!(run.stdout.contains(word), "{command} does not say {word:?}: {}", run.stdout);
        }
    }
}

#[test]
fn a_provisioner_that_is_gone_is_told() {
    let machine = Machine::stopped();
    let Some(mut ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    member.warded(&["status"]).ends(0);
    ca.reconfigure(|config| {
        let provisioners = config["authority"]["provisioners"].as_array_mut().unwrap();
        provisioners.retain(|provisioner| provisioner["type"] != "SSHPOP");
    });
    status_says(&member, &["SSHPOP"]);
}

/// The CA answers, and so will refuse the next renewal as it refuses this question.
#[test]
fn a_ca_without_ssh_is_told_before_a_renewal_is_due() {
    let machine = Machine::stopped();
    let Some(mut ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    member.warded(&["status"]).ends(0);
    ca.reconfigure(|config| drop(config.as_object_mut().unwrap().remove("ssh")));
    member.warded(&["status"]).ends(4).prints(&["renew would fail: ", "does not issue SSH certificates"]);
    member.warded(&["doctor"]).ends(4).prints(&["does not issue SSH certificates"]);
    member.warded(&["renew", "--force"]).ends(1);
}

#[test]
fn a_ca_that_does_not_answer_is_a_problem_once_a_renewal_is_due() {
    let machine = Machine::stopped();
    let Some(mut ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    ca.stop();
    let status = member.warded(&["status"]).ends(0);
    assert!(status.stdout.contains("cannot be reached"), "{}", status.stdout);
    member.signed_by_hand(&ca, &["-V", "-20d:+5d"]);
    let status = member.warded(&["status"]).ends(4);
    assert!(status.stdout.contains("renew would fail"), "{}", status.stdout);
    assert!(!status.stdout.contains("the last renewal"), "{}", status.stdout);
    member.warded(&["renew"]).ends(6);
    let status = member.warded(&["status", "--json"]).ends(4).object("warded.status/1");
    assert_eq!((&status["ca_reachable"], &status["last_renewal"]["exit"]), (&false.into(), &6.into()), "{status}");
    let problems = status["problems"].to_string();
    assert!(problems.contains("did not reach the CA (exit code 6): the CA https://"), "{problems}");
    ca.serve();
    status_says(&member, &["a renewal has been due for", "there was none"]);
    // A forced renewal does not wait, although the CA failed a moment ago.
    member.warded(&["renew", "--force"]).ends(0);
    let status = member.warded(&["status", "--json"]).ends(0).object("warded.status/1");
    assert_eq!((&status["ca_reachable"], &status["last_renewal"]["exit"]), (&true.into(), &0.into()), "{status}");
}

#[test]
fn certificates_that_end_between_two_renewals_are_told() {
    let machine = Machine::stopped();
    let short = |provisioner: Provisioner| provisioner.lasting("30h");
    let setup = Setup::of([short(Provisioner::jwk("admin")), short(Provisioner::sshpop("sshpop"))]);
    let Some(ca) = StepCa::with(&machine.network(), &setup) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    status_says(&member, &["last 30 h", "renew-every"]);
    let config = fs::read_to_string(member.config()).unwrap();
    fs::write(member.config(), format!("renew-every = 6\n{config}")).unwrap();
    member.warded(&["status"]).ends(0);
}

const DAY: i64 = 24 * 3600;

#[test]
fn an_end_of_the_cas_that_is_near_is_told() {
    let machine = Machine::stopped();
    let setup = Setup { ends: Some([300 * DAY, 5 * DAY]), ..Setup::default() };
    let Some(ca) = StepCa::with(&machine.network(), &setup) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    status_says(
        &member,
        &["intermediate certificate CN=\"Test, Inc. Intermediate\" expires on", "make a new intermediate"],
    );
    // Also after the expiry, although no renewal is due yet.
    let status = member.warded_at(6 * DAY, &["status"]).ends(4);
    assert!(status.stdout.contains("problem      renew would fail"), "{status:?}");

    let machine = Machine::stopped();
    let setup = Setup { ends: Some([29 * DAY, 28 * DAY]), ..Setup::default() };
    let Some(ca) = StepCa::with(&machine.network(), &setup) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    status_says(&member, &["root certificate CN=\"Test, Inc. Root\" expires on", "make a new root"]);
}

#[test]
fn another_root_that_the_ca_announces_is_told() {
    let machine = Machine::stopped();
    let Some(ca) = StepCa::with(&machine.network(), &Setup { second_root: true, ..Setup::default() }) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    status_says(&member, &["the CA lists another root", "warded bootstrap --ca-url"]);
}

/// `renew` finds the current provisioner, so this is not a problem.
#[test]
fn a_renamed_provisioner_is_a_note() {
    let machine = Machine::stopped();
    let Some(mut ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    ca.reconfigure(|config| config["authority"]["provisioners"][1]["name"] = "renewed".into());
    let status = member.warded(&["status"]).ends(0);
    assert!(status.stdout.contains("note") && status.stdout.contains("\"renewed\" can renew"), "{}", status.stdout);
    member.warded(&["doctor"]).ends(0).prints(&["note    renewal", "\"renewed\" can renew"]);
}
