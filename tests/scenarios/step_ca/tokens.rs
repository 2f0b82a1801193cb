//! One-time tokens: the CA's password never leaves the admin's machine.

use crate::support::{
    Machine, Member, Run,
    machine::keygen,
    request::{claims, for_host},
    step_ca::{Provisioner, Setup, StepCa},
    wait::{LONG, wait},
};
use std::{fs, io::Write as _, path::PathBuf, process::Stdio};

const NAME: &str = "web1.example.org";

/// Tokens that the admin makes with these arguments.
fn tokens(member: &Member, ca: &StepCa, more: &[&str]) -> Vec<String> {
    let password = ca.password_file();
    let make = ["token", NAME, "--host", "--provisioner-password-file", password.to_str().unwrap()];
    let run = member.warded(&[&make[..], more].concat()).ends(0);
    run.stdout.lines().map(str::to_owned).collect()
}

/// Certifies the machine with these tokens.
fn certifies(member: &Member, tokens: &[String]) -> Run {
    let file: PathBuf = member.machine.path("tokens");
    fs::write(&file, tokens.join("\n")).unwrap();
    member.certifies(&["--token-file", file.to_str().unwrap()])
}

#[test]
fn each_token_serves_once_and_what_it_got_is_not_lost() {
    let machine = Machine::stopped();
    // Without SSHPOP each key needs a token.
    let setup = Setup::of([Provisioner::jwk("admin")]);
    let Some(ca) = StepCa::with(&machine.network(), &setup) else { return };
    let member = Member::of(machine, &ca);
    let three = tokens(&member, &ca, &[]);
    assert_eq!(three.len(), 3);
    certifies(&member, &three[..2]).ends(2).says(&["3 one-time tokens needed", "2 given", "--count 3"]);
    // The third token was used up by the second key: the run fails after two certificates.
    let repeated = [three[0].clone(), three[1].clone(), three[1].clone()];
    certifies(&member, &repeated).ends(1).says(&["the cause is not known", "serves once", "warded token"]);
    assert!(!member.certificate_file("rsa").exists());
    // Those two certificates are still valid, so one token is enough now.
    certifies(&member, &three[2..]).ends(0);
    for name in ["rsa", "ecdsa", "ed25519"] {
        assert!(member.certificate(name).contains("-cert-v01@openssh.com"), "{name}");
    }
    member.machine.audit();
}

/// Piped from the admin's machine, as the guide does it.
#[test]
fn one_token_is_enough_where_there_is_sshpop() {
    let machine = Machine::stopped();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca);
    let password = ca.password_file();
    let make = ["token", NAME, "--host", "--provisioner-password-file", password.to_str().unwrap()];
    let made = member.warded(&make).ends(0).says(&["One is enough for all host keys that never had a certificate"]);
    assert_eq!(made.stdout.lines().count(), 1);
    member.warded(&[&make[..], &["--count", "2"]].concat()).ends(0).says(&["One is enough: the CA certifies"]);
    let certify = ["apply", "certify-host", "--set", "principal=web1.example.org", "--yes", "--token-file", "-"];
    let mut command = member.command(&certify);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(made.stdout.as_bytes()).unwrap();
    Run::ended(child).ends(0);
    for name in ["rsa", "ecdsa", "ed25519"] {
        assert!(member.certificate(name).contains("-cert-v01@openssh.com"), "{name}");
    }
    assert_eq!(ca.log().matches("\"path\":\"/ssh/rekey\"").count(), 2);
}

/// The CA may have revoked the key's certificate, which only the CA knows.
#[test]
fn a_key_that_had_a_certificate_takes_a_token_of_its_own() {
    let machine = Machine::stopped();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    let lose = |names: &[&str]| names.iter().for_each(|name| fs::remove_file(member.certificate_file(name)).unwrap());
    let rekeys = || ca.log().matches("\"path\":\"/ssh/rekey\"").count();
    let give = |count: &str| {
        let file = member.machine.path("tokens");
        fs::write(&file, tokens(&member, &ca, &["--count", count]).join("\n")).unwrap();
        file.to_str().unwrap().to_owned()
    };
    lose(&["rsa", "ed25519"]);
    let told = ["2 one-time tokens needed", "1 given", "rsa_key needs a separate token", "may have revoked"];
    let next = format!("warded token {NAME} --host --count 2, or for `warded enrol`: warded invite {NAME} --keys 2");
    member.certifies(&["--token-file", &give("1")]).ends(2).says(&told).says(&["nothing was changed", &next]);
    // The replaced key gets the only token, and the other key waits.
    let ecdsa = member.machine.path("ssh/ssh_host_ecdsa_key");
    fs::remove_file(&ecdsa).unwrap();
    keygen(&["-q", "-N", "", "-t", "ecdsa", "-f"], &ecdsa);
    lose(&["ecdsa"]);
    member.warded(&["renew", "--token-file", &give("1")]).ends(4).prints(&["rsa_key needs a new certificate"]);
    assert!(member.certificate_file("ecdsa").exists() && !member.certificate_file("rsa").exists());
    member.certifies(&["--token-file", &give("2")]).ends(0);
    for name in ["rsa", "ecdsa", "ed25519"] {
        assert!(member.certificate(name).contains("-cert-v01@openssh.com"), "{name}");
    }
    assert_eq!(rekeys(), 0);
}

/// If the CA gives the other keys less than the first, the tokens that are left are used.
#[test]
fn a_token_a_key_serves_where_the_word_of_the_first_does_not() {
    let machine = Machine::stopped();
    let setup = Setup::of([
        Provisioner::jwk("admin").lasting("100h"),
        Provisioner::sshpop("sshpop").claim("maxHostSSHCertDuration", "50h"),
    ]);
    let Some(ca) = StepCa::with(&machine.network(), &setup) else { return };
    let member = Member::of(machine, &ca);
    certifies(&member, &tokens(&member, &ca, &["--count", "3"])).ends(0);
}

#[test]
fn a_token_that_will_be_refused_is_not_used_up() {
    let machine = Machine::stopped();
    let Some(mut ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca);
    let sign = |claims| vec![ca.key("admin").token(&claims); 3];
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = for_host(claims(&ca.https(), "admin", "sign"), &[NAME]);
        claims[name] = value;
        sign(claims)
    };
    let past = jiff::Timestamp::now().as_second() - 3600;
    for (tokens, cause) in [
        (
            sign(for_host(claims(&ca.https(), "admin", "sign"), &["other.example.org"])),
            "this token is for other.example.org; web1.example.org is needed",
        ),
        (
            sign(for_host(claims(&ca.https(), "admin", "sign"), &[NAME, "x.example.org"])),
            "this token is also for x.example.org",
        ),
        (sign(claims(&ca.https(), "admin", "sign")), "--ssh --host"),
        (with("exp", past.into()), "expired 60 min ago"),
        (with("aud", "https://elsewhere.example/1.0/ssh/sign".into()), "this token is for the CA elsewhere.example"),
        (with("sha", "00".repeat(32).into()), "with the root 0000"),
        (vec!["nonsense".to_owned(); 3], "this is not a token"),
    ] {
        certifies(&member, &tokens).ends(2).says(&["the CA cannot be asked", cause]);
    }
    let log = fs::read_to_string(ca.path("log")).unwrap();
    assert!(!log.contains("\"/ssh/sign\""), "nothing was asked for");

    // Only the CA can know this: it was restarted after the token was made.
    let early = tokens(&member, &ca, &[]);
    // Tokens and the CA have a resolution of one second.
    let made = jiff::Timestamp::now().as_second();
    wait("a second passes", LONG, || jiff::Timestamp::now().as_second() > made);
    ca.restart();
    certifies(&member, &early).ends(1).says(&["before the CA was last started", "warded token"]);
}

#[test]
fn a_tokens_time_is_bounded() {
    let machine = Machine::stopped();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca);
    assert_eq!(tokens(&member, &ca, &["--count", "1", "--valid", "10s"]).len(), 1);
    let password = ca.password_file();
    for valid in ["5s", "2h"] {
        let make =
            ["token", NAME, "--host", "--valid", valid, "--provisioner-password-file", password.to_str().unwrap()];
        member.warded(&make).ends(2).says(&["from 10s to 1h"]);
    }
}

/// A person reads between the plan and the request, and meanwhile the CA closes the connection.
#[test]
fn a_token_survives_a_person_who_reads() {
    let machine = Machine::stopped();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca);
    let three = tokens(&member, &ca, &[]);
    // The tokens are read from standard input after the plan, and come late.
    let certify = ["apply", "certify-host", "--set", "principal=web1.example.org", "--yes", "--token-file", "-"];
    let mut command = member.command(&certify);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let port = ca.url().rsplit(':').next().unwrap().to_owned();
    // The CA has closed the connection that was used for the plan, and Warded has not noticed yet.
    let closed = ["-tnH", "state", "close-wait", "dport", "=", &format!(":{port}")];
    let closed = || Run::of(member.machine.command("ss").args(closed)).ends(0).stdout;
    wait("the CA closes what is idle", LONG, || !closed().is_empty());
    child.stdin.take().unwrap().write_all(three.join("\n").as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}
