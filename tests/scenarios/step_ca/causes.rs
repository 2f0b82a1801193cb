//! The CA gives the same reason for every refusal. Warded prints the true cause.

use crate::support::{
    Machine, Member, Run,
    step_ca::{PASSWORD, Provisioner, Setup, StepCa},
};
use serde_json::json;
use std::{fs, os::unix::fs::PermissionsExt as _};

fn setup(provisioners: impl IntoIterator<Item = Provisioner>) -> Setup {
    Setup::of(provisioners)
}

/// A name, the CA's setup, the arguments, the exit code, and the words that say why.
type Case = (&'static str, Setup, &'static [&'static str], i32, &'static [&'static str]);

#[test]
fn enrolments() {
    let admin = || Provisioner::jwk("admin");
    let cases: Vec<Case> = vec![
        ("fine", setup([admin()]), &[], 0, &[]),
        (
            "two that would do",
            setup([admin(), Provisioner::jwk("web")]),
            &[],
            2,
            &["several of its provisioners", "admin (JWK), web (JWK)", "--provisioner \"admin\""],
        ),
        ("two, one named", setup([admin(), Provisioner::jwk("web")]), &["--provisioner", "web"], 0, &[]),
        ("unknown", setup([admin()]), &["--provisioner", "me"], 1, &["no provisioner \"me\"", "admin (JWK)"]),
        (
            "not for SSH, named",
            setup([admin(), Provisioner::jwk("tls").claim("enableSSHCA", false)]),
            &["--provisioner", "tls"],
            1,
            &["tls (JWK) does not issue", "enableSSHCA is false"],
        ),
        (
            "not for SSH, not named",
            setup([Provisioner::jwk("tls").claim("enableSSHCA", false)]),
            &[],
            1,
            &["none of its provisioners can issue", "tls (JWK): its claim enableSSHCA is false"],
        ),
        (
            "renewals only",
            setup([Provisioner::sshpop("sshpop")]),
            &[],
            1,
            &["no provisioner that can issue SSH certificates"],
        ),
        (
            "uninitialised, named",
            setup([admin(), Provisioner::unreachable("sso")]),
            &["--provisioner", "sso"],
            1,
            &["sso (OIDC) does not issue", "the CA could not initialise it (Uninitialized"],
        ),
        (
            "no SSH",
            Setup { ssh: false, ..setup([admin()]) },
            &[],
            1,
            &["this CA does not issue SSH certificates", "step ca init --ssh"],
        ),
        (
            "a policy",
            Setup { allowed: vec!["*.other.example".to_owned()], ..setup([admin()]) },
            &[],
            1,
            &["refused to certify", "it does not allow this", "web1.example.org", "policy"],
        ),
    ];
    for (case, setup, arguments, code, words) in cases {
        let machine = Machine::stopped();
        let Some(ca) = StepCa::with(&machine.network(), &setup) else { return };
        let member = Member::of(machine, &ca);
        let before = member.machine.tree();
        let password = ca.password_file();
        let more = [&["--provisioner-password-file", password.to_str().unwrap()], arguments].concat();
        eprintln!("case: {case}");
        let run = member.certifies(&more).ends(code).says(words);
        if code != 0 {
            assert_eq!(member.machine.tree(), before, "{case}");
        }
        assert!(!run.stderr.contains(PASSWORD), "{case}");
    }
}

#[test]
fn passwords() {
    let machine = Machine::stopped();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca);
    let wrong = member.machine.path("wrong");
    fs::write(&wrong, "nope\n").unwrap();
    let file = wrong.to_str().unwrap();
    let mode = |mode| fs::set_permissions(&wrong, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    for option in ["--provisioner-password-file", "--provisioner-key-file"] {
        member.certifies(&[option, file]).ends(2).says(&["other users of this machine can read", "chmod 600"]);
    }
    mode(0o600);
    member.certifies(&["--provisioner-password-file", file]).ends(2).says(&["the password is wrong"]);
    member.certifies(&["--provisioner-password-file", "/gone"]).ends(2).says(&["cannot read /gone"]);
    member.certifies(&[]).ends(2).says(&["there is no terminal to ask for it", "--token-file"]);
    // From the environment, and from systemd; with the characters that Kubernetes, echo and editors add.
    for password in [PASSWORD.to_owned(), format!("{PASSWORD}\n"), format!("\u{feff}{PASSWORD}\r\n")] {
        let mut command = member.command(&["token", "a", "--host", "--count", "1"]);
        Run::of(command.env("WARDED_PROVISIONER_PASSWORD", password)).ends(0);
    }
    let utf16: Vec<u8> = PASSWORD.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(&wrong, [&b"\xff\xfe"[..], &utf16].concat()).unwrap();
    member.certifies(&["--provisioner-password-file", file]).ends(2).says(&["the password is wrong", "UTF-16"]);
    let credentials = member.machine.path("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::write(credentials.join("provisioner-password"), format!("{PASSWORD}\n")).unwrap();
    fs::set_permissions(credentials.join("provisioner-password"), fs::Permissions::from_mode(0o400)).unwrap();
    Run::of(member.command(&["token", "a", "--host"]).env("CREDENTIALS_DIRECTORY", &credentials)).ends(0);
}

/// Renewals: the CA's provisioners, a change to the certificates or to the CA, and how the renewal ends.
#[test]
fn renewals() {
    type Change = fn(&mut StepCa, &Member);
    type Case = (&'static str, Vec<Provisioner>, Change, i32, &'static [&'static str]);
    let usual = || vec![Provisioner::jwk("admin"), Provisioner::sshpop("sshpop")];
    let cases: Vec<Case> = vec![
        ("fine", usual(), |_, _| (), 0, &[]),
        ("restarted", usual(), |ca, _| ca.restart(), 0, &[]),
        (
            "no SSHPOP",
            vec![Provisioner::jwk("admin")],
            |_, _| (),
            1,
            &["no provisioner that can renew host certificates", "\"type\": \"SSHPOP\""],
        ),
        (
            "SSHPOP taken away since",
            usual(),
            |ca, _| {
                ca.reconfigure(|config| {
                    config["authority"]["provisioners"].as_array_mut().unwrap().pop();
                });
            },
            1,
            &["no SSHPOP provisioner \"sshpop\"", "\"type\": \"SSHPOP\""],
        ),
        (
            "renewals disabled since",
            usual(),
            |ca, _| {
                ca.reconfigure(|config| {
                    config["authority"]["provisioners"][1]["claims"]["disableRenewal"] = json!(true);
                });
            },
            1,
            &["sshpop (SSHPOP): its claim disableRenewal is true"],
        ),
        (
            "expired, and not allowed",
            usual(),
            |ca, member| member.signed_by_hand(ca, &["-V", "-2d:-1d"]),
            2,
            &["the password of the provisioner admin is needed", "\"allowRenewalAfterExpiry\": true"],
        ),
        (
            "for ever",
            usual(),
            |ca, member| member.signed_by_hand(ca, &["-V", "always:forever"]),
            1,
            &["it never expires"],
        ),
        (
            "SSHPOP renamed since",
            usual(),
            |ca, _| {
                ca.reconfigure(|config| {
                    config["authority"]["provisioners"][1]["name"] = json!("other");
                });
            },
            0,
            &[],
        ),
        ("stopped", usual(), |ca, _| ca.stop(), 6, &["cannot be reached"]),
    ];
    for (case, provisioners, change, code, words) in cases {
        let machine = Machine::stopped();
        let Some(mut ca) = StepCa::with(&machine.network(), &Setup::of(provisioners)) else { return };
        let member = Member::of(machine, &ca).certified(&ca);
        change(&mut ca, &member);
        let before = member.machine.tree();
        eprintln!("case: {case}");
        member.warded(&["renew", "--force"]).ends(code).says(words);
        assert_eq!(member.machine.tree() == before, code != 0, "{case}");
    }
}

/// step-ca tolerates a minute. Warded reports a larger difference with its amount, before a token is used up.
#[test]
fn clocks() {
    let machine = Machine::stopped();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    let log = || fs::read_to_string(ca.path("log")).unwrap().matches("\"/ssh/renew\"").count();
    for (seconds, words) in [
        (30, None),
        (-30, None),
        (95, Some(["clock is 9", "s ahead of the CA's"])),
        (-95, Some(["clock is 9", "s behind the CA's"])),
        (3630, Some(["60 min", "ahead of the CA's"])),
        (-3630, Some(["60 min", "behind the CA's"])),
    ] {
        let before = log();
        let run = member.warded_at(seconds, &["renew", "--force"]);
        let Some(words) = words else {
            run.ends(0);
            continue;
        };
        assert_ne!(run.code, Some(0), "{seconds}");
        run.says(&words).says(&["set this machine's clock"]);
        assert_eq!(log(), before, "{seconds}: nothing was asked for");
    }
}

#[test]
fn names() {
    let machine = Machine::stopped();
    let setup = Setup { names: vec!["127.0.0.1".to_owned(), "ca.example.org".to_owned()], ..Setup::default() };
    let Some(ca) = StepCa::with(&machine.network(), &setup) else { return };
    let member = Member { machine };
    member.bootstrap(&ca.url_by("localhost"), &ca.fingerprint()).ends(6).says(&[
        "not for localhost",
        "127.0.0.1",
        "ca.example.org",
        "\"dnsNames\"",
    ]);
}
