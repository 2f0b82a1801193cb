//! Unusual CAs: odd names, certificates that expire soon, roots that are replaced.

use crate::support::{
    Machine, Member, Run,
    step_ca::{Provisioner, Setup, StepCa},
};
use std::fs;

const DAY: i64 = 24 * 3600;

/// The output of `doctor` and `ca show`.
fn looked_at(member: &Member) -> String {
    let doctor = member.warded(&["doctor"]);
    assert_eq!(doctor.code, Some(4), "{}", doctor.stdout);
    doctor.stdout + &member.warded(&["ca", "show"]).ends(0).stdout
}

#[test]
fn provisioners_may_have_any_name() {
    for name in ["100% Renewal", "Bob's [new]", "%41", "Gr\u{f6}\u{df}e #1"] {
        let machine = Machine::stopped();
        let setup = Setup::of([Provisioner::x5c(&format!("{name} x5c")), Provisioner::sshpop(name)]);
        let Some(ca) = StepCa::with(&machine.network(), &setup) else { return };
        let member = Member::of(machine, &ca);
        let (chain, key) = ca.x5c();
        eprintln!("name: {name}");
        member.certifies(&["--x5c-cert", chain.to_str().unwrap(), "--x5c-key", key.to_str().unwrap()]).ends(0);
        member.warded(&["renew", "--force"]).ends(0);
    }
}

/// step-ca compares the audience letter by letter with its own list of names, which may be long.
#[test]
fn the_ca_may_write_its_name_as_it_likes() {
    let mut names: Vec<String> = (0..30).map(|number| format!("n{number}.example.org")).collect();
    names.push("LocalHost".to_owned());
    for spelling in ["localhost", "LocalHost", "LOCALHOST"] {
        let machine = Machine::stopped();
        let Some(ca) = StepCa::with(&machine.network(), &Setup { names: names.clone(), ..Setup::default() }) else {
            return;
        };
        let member = Member { machine };
        member.bootstrap(&ca.url_by(spelling), &ca.fingerprint()).ends(0);
        let password = ca.password_file();
        let make = ["token", "web1.example.org", "--host", "--provisioner-password-file", password.to_str().unwrap()];
        let file = member.machine.path("tokens");
        fs::write(&file, member.warded(&make).ends(0).stdout).unwrap();
        member.certifies(&["--token-file", file.to_str().unwrap()]).ends(0);
        member.warded(&["renew", "--force"]).ends(0);
    }
}

#[test]
fn an_end_that_is_near_is_told_before_it_comes() {
    for (ends, told, silent) in [
        ([3 * DAY, 2 * DAY], &["root certificate", "intermediate certificate", "expires on"][..], "expired on"),
        (
            [300 * DAY, 29 * DAY],
            &["intermediate certificate CN=\"Test, Inc. Intermediate\"", "expires on"],
            "root certificate",
        ),
    ] {
        let machine = Machine::stopped();
        let Some(ca) = StepCa::with(&machine.network(), &Setup { ends: Some(ends), ..Setup::default() }) else {
            return;
        };
        let member = Member { machine };
        let run = member.bootstrap(&ca.url(), &ca.fingerprint()).ends(0);
        assert!(run.stdout.contains("CN=\"Test, Inc. Root\""), "{}", run.stdout);
        run.says(told);
        let seen = looked_at(&member);
        assert!(told.iter().all(|words| seen.contains(words)), "{seen}");
        assert!(!seen.contains(silent), "{seen}");
    }
}

/// Warded names the certificate that has expired, and does not blame this machine's clock, which is right.
#[test]
fn what_has_expired_is_named() {
    for (ends, code, told) in [
        ([-DAY, -DAY], 5, "its root certificate CN=\"Test, Inc. Root\" expired on"),
        ([300 * DAY, -DAY], 6, "its intermediate certificate CN=\"Test, Inc. Intermediate\" expired on"),
    ] {
        let machine = Machine::stopped();
        let setup = Setup { ends: Some(ends), ..Setup::default() };
        let Some(ca) = StepCa::unchecked(&machine.network(), &setup) else { return };
        let member = Member { machine };
        let run = member.bootstrap(&ca.url(), &ca.fingerprint()).ends(code).says(&[told]);
        assert!(!run.stderr.contains("timedatectl"), "{}", run.stderr);
        assert!(!member.config().exists() && !member.machine.path("root_ca.crt").exists());
    }
}

#[test]
fn a_second_root_is_told_and_either_may_stand_first_in_a_file() {
    let machine = Machine::stopped();
    let setup = Setup { second_root: true, ..Setup::default() };
    let Some(ca) = StepCa::with(&machine.network(), &setup) else { return };
    let member = Member::of(machine, &ca);
    let second = fs::read_to_string(ca.path("second.crt")).unwrap();
    let file = member.machine.path("second.crt");
    fs::write(&file, &second).unwrap();
    let fingerprint = member.warded(&["root-fingerprint", file.to_str().unwrap()]).ends(0).stdout;
    let seen = looked_at(&member);
    assert_eq!(seen.matches(fingerprint.trim()).count(), 3, "doctor: what and the remedy; ca show: {seen}");
    // The file as `step ca roots` writes it while a root is being replaced.
    fs::write(member.machine.path("root_ca.crt"), second.clone() + &ca.root()).unwrap();
    member.warded(&["ca", "show"]).ends(0);
    let printed =
        member.warded(&["root-fingerprint", member.machine.path("root_ca.crt").to_str().unwrap()]).ends(0).stdout;
    assert_eq!(printed.lines().count(), 2, "{printed}");
    // Without the pinned root nothing is trusted: the other roots in the file do not count.
    fs::write(member.machine.path("root_ca.crt"), second).unwrap();
    member.warded(&["ca", "show"]).ends(2).says(&["cannot be used", "is configured"]);
}

#[test]
fn nothing_is_praised_that_cannot_be() {
    for (only, machines, people) in [("host", "admin (JWK)", "nothing"), ("user", "nothing", "admin (JWK)")] {
        let machine = Machine::stopped();
        let Some(ca) = StepCa::with(&machine.network(), &Setup { only: Some(only), ..Setup::default() }) else {
            return;
        };
        let member = Member { machine };
        let said = member.bootstrap(&ca.url(), &ca.fingerprint()).ends(0).stdout;
        for words in [format!("For machines: {machines}."), format!("For people: {people}.")] {
            assert!(said.contains(&words), "{only}: {said}");
        }
        let renewals = if only == "host" { "Renewals: sshpop (SSHPOP)." } else { "Renewals: nothing." };
        assert!(said.contains(renewals), "{only}: {said}");
        if only == "user" {
            assert!(looked_at(&member).contains("no key that signs host certificates"));
        }
    }
}

#[test]
fn a_renamed_provisioner_is_found_and_told() {
    let machine = Machine::stopped();
    let Some(mut ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    ca.reconfigure(|config| config["authority"]["provisioners"][1]["name"] = "renewed".into());
    member.warded(&["renew", "--force"]).ends(0);
    member.warded(&["doctor"]).ends(0).prints(&["names the provisioner \"sshpop\" for renewals"]);
    member.warded(&["bootstrap"]).ends(0);
    assert!(fs::read_to_string(member.config()).unwrap().contains("renewal-provisioner = \"renewed\""));
    member.warded(&["doctor"]).ends(0);
}

#[test]
fn certificates_that_are_short_are_told() {
    let machine = Machine::stopped();
    let setup = Setup::of([Provisioner::jwk("admin").lasting("8h"), Provisioner::sshpop("sshpop")]);
    let Some(ca) = StepCa::with(&machine.network(), &setup) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    let seen = looked_at(&member);
    assert!(seen.contains("is valid for 8 h in total: too short to be renewed every"), "{seen}");
}

#[test]
fn the_keys_of_a_ca_are_printed_with_what_they_are_for() {
    let machine = Machine::stopped();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca);
    let both = member.warded(&["ca", "roots"]).ends(0).stdout;
    let key =
        |kind| ca.authority(kind).split(' ').take(2).map(|field| field.trim().to_owned()).collect::<Vec<_>>().join(" ");
    let lines: Vec<&str> = both.lines().collect();
    assert_eq!(lines.len(), 4, "{both}");
    assert!(lines[0].starts_with("# Host CA") && lines[2].starts_with("# User CA"), "{both}");
    assert_eq!((lines[1], lines[3]), (format!("@cert-authority * {}", key("host")).as_str(), key("user").as_str()));
    let object = member.warded(&["ca", "roots", "--json"]).ends(0).object("warded.ca-roots/2");
    assert_eq!((&object["host_keys"][0], &object["user_keys"][0]), (&key("host").into(), &key("user").into()));
    let line = member.warded(&["ca", "roots", "--known-hosts", "*.example.org,web1"]).ends(0).stdout;
    assert_eq!(line, format!("@cert-authority *.example.org,web1 {}\n", key("host")));
    member.warded(&["ca", "roots", "--known-hosts", "a b"]).ends(2).says(&["list of host name patterns"]);
}

#[test]
fn no_ca_is_not_one_that_cannot_be_reached() {
    let member = Member { machine: Machine::stopped() };
    fs::write(member.config(), "").unwrap();
    let certify = ["plan", "certify-host", "--set", "principal=web1.example.org"];
    for arguments in [&["ca", "show"][..], &["token", "a", "--host"], &certify] {
        let run = Run::of(&mut member.command(arguments)).says(&["no CA is configured", "warded bootstrap"]);
        assert!(run.code == Some(7) && !run.stderr.contains("cannot be reached"), "{arguments:?}: {run:?}");
    }
}
