//! The CA signs with a new key, and still lists the former one: clients that know only the former key continue to get
//! in.

use crate::support::{ClientKnowledge, Machine, Member, machine::KEYS, step_ca::StepCa};
use ssh_key::{HashAlg, PublicKey};
use std::fs;
use warded_lib::digest::Digest;

fn fingerprint(line: &str) -> String {
    PublicKey::from_openssh(line).unwrap().fingerprint(HashAlg::Sha256).to_string()
}

fn certificates(member: &Member) -> Vec<String> {
    KEYS.iter().map(|name| member.certificate(name)).collect()
}

/// What every command says that sees the new key.
const WORDS: [&str; 2] = ["signs with a new key", "warded ca roots --host"];

#[test]
fn renewals_are_put_off_until_the_operator_accepts_the_new_key() {
    let machine = Machine::start();
    let Some(mut ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    member.warded(&["status"]).ends(0);
    let former = ca.rotate_host_key();
    let (old, new) = (fingerprint(&former), fingerprint(&ca.authority("host")));
    let knows_former = || member.machine.client(&ClientKnowledge::Authority(former.clone()));
    let knows_new = || member.machine.client(&ClientKnowledge::Authority(ca.authority("host")));
    let before = certificates(&member);

    let renewal = member.warded(&["renew", "--force"]).ends(4).says(&WORDS);
    let renewal = renewal.says(&[&old, &new, "--accept-risk=new-ca-key", "the present certificates stay"]);
    assert!(renewal.stderr.contains("put off"), "{}", renewal.stderr);
    assert_eq!(certificates(&member), before);
    knows_former().connects();
    // The CA is asked once: the next run uses the certificates that this one got.
    let requests = || fs::read_to_string(ca.path("log")).unwrap().matches("\"/ssh/renew\"").count();
    assert_eq!(requests(), 3);
    member.warded(&["renew", "--force"]).ends(4);
    assert_eq!(requests(), 3);
    let status = member.warded(&["status"]).ends(4);
    assert!(WORDS.iter().all(|word| status.stdout.contains(word)), "{}", status.stdout);
    let problems = status.stdout.lines().filter(|line| line.starts_with("problem") && line.contains(WORDS[0]));
    assert_eq!(problems.count(), 1, "told once, not for each key: {}", status.stdout);
    let doctor = member.warded(&["doctor"]).ends(4);
    assert!(WORDS.iter().all(|word| doctor.stdout.contains(word)), "{}", doctor.stdout);
    let another_name = ["certify-host", "--set", "principal=web1.example.org", "--set", "principal=web2.example.org"];
    let plan = member.warded(&[&["plan"], &another_name[..]].concat()).ends(3);
    assert!(WORDS.iter().all(|word| plan.stdout.contains(word)), "{}", plan.stdout);
    plan.prints(&["`apply` puts the change off without --accept-risk=new-ca-key."]);
    // This is refused before the CA is asked: no password is given here.
    member.warded(&[&["apply"], &another_name[..], &["--yes"]].concat()).ends(4).says(&WORDS);
    assert_eq!(certificates(&member), before);
    let put_off = member.machine.audit().iter().any(|record| {
        record["detail"].as_str().is_some_and(|detail| detail.starts_with("put off: ") && detail.contains(&new))
    });
    assert!(put_off, "the log does not say it");

    let accepted = member.warded(&["renew", "--force", "--accept-risk=new-ca-key"]).ends(0);
    assert!(accepted.stdout.contains(&format!("former key, {old}")), "{}", accepted.stdout);
    knows_new().connects();
    knows_former().tries().ends(255);
    member.warded(&["renew", "--force"]).ends(0);
    member.warded(&["status"]).ends(0);
}

#[test]
fn renewals_go_on_by_themselves_once_clients_are_said_to_know_the_new_key() {
    let machine = Machine::start();
    let Some(mut ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    let former = fingerprint(&ca.rotate_host_key());
    let new = fingerprint(&ca.authority("host"));
    let config = fs::read_to_string(member.config()).unwrap();
    let known = |key: &str| fs::write(member.config(), format!("known-ca-keys = [\"{key}\"]\n{config}")).unwrap();
    let before = certificates(&member);

    known(&former);
    let setting = format!("known-ca-keys = [\"{new}\"]");
    member.warded(&["renew", "--force"]).ends(4).says(&WORDS).says(&[&setting]);
    assert!(member.warded(&["status"]).ends(4).stdout.contains(&setting));
    assert_eq!(certificates(&member), before);

    known(&new);
    member.warded(&["status"]).ends(0);
    member.warded(&["renew", "--force"]).ends(0);
    member.machine.client(&ClientKnowledge::Authority(ca.authority("host"))).connects();
}

/// Clients that know only the former key get in up to the last moment.
#[test]
fn the_new_key_is_put_off_until_the_former_certificates_end() {
    let machine = Machine::start();
    let Some(mut ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    member.signed_by_hand(&ca, &["-V", "-10d:+40h"]);
    let former = ca.rotate_host_key();
    let before = certificates(&member);
    member.warded(&["renew"]).ends(4).says(&WORDS).says(&["end soon"]);
    assert_eq!(certificates(&member), before);
    member.signed_with(&ca.path("former_host_ca"), &["-V", "-10d:+3m"]);
    let before = certificates(&member);
    let last = member.warded(&["renew"]).ends(4).says(&WORDS);
    last.says(&["end soon", "the present certificates stay", "installs them once the present ones have ended"]);
    assert_eq!(certificates(&member), before);
    member.machine.client(&ClientKnowledge::Authority(former)).connects();
}

#[test]
fn the_new_key_is_taken_where_the_former_certificates_have_expired() {
    let machine = Machine::stopped();
    let Some(mut ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    member.signed_by_hand(&ca, &["-V", "-10d:+40h"]);
    ca.rotate_host_key();
    member.warded(&["renew"]).ends(4).says(&WORDS);
    member.signed_with(&ca.path("former_host_ca"), &["-V", "-10d:-1m"]);
    let before = certificates(&member);
    // This CA does not renew expired certificates, but Warded got the new ones before.
    member.warded(&["renew"]).ends(0);
    assert!(certificates(&member).iter().zip(&before).all(|(now, before)| now != before));
}

/// A renewal was killed after the former key had signed its certificates. The operator who accepts the new key gets new
/// ones.
#[test]
fn an_operator_who_accepts_the_new_key_gets_no_certificate_of_the_former_one() {
    let machine = Machine::start();
    let Some(mut ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    let installed = certificates(&member);
    member.signed_by_hand(&ca, &["-V", "-1m:+30d"]);
    let issued = member.machine.path("state/issued");
    fs::create_dir_all(&issued).unwrap();
    for (name, before) in KEYS.iter().zip(&installed) {
        let file = member.certificate_file(name);
        let key = fs::read_to_string(file.with_file_name(format!("ssh_host_{name}_key.pub"))).unwrap();
        let digest = Digest::of(&PublicKey::from_openssh(&key).unwrap().to_bytes().unwrap()).to_string();
        let kept = issued.join(format!("{}-cert.pub", digest.trim_start_matches("sha256:")));
        fs::copy(&file, kept).unwrap();
        fs::write(&file, before).unwrap();
    }
    let former = ca.rotate_host_key();
    member.warded(&["renew", "--force", "--accept-risk=new-ca-key"]).ends(0);
    member.machine.client(&ClientKnowledge::Authority(ca.authority("host"))).connects();
    member.machine.client(&ClientKnowledge::Authority(former)).tries().ends(255);
}
