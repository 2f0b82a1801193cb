//! Who may sign, and until when: certificates of an authority, lines with an end, and an ssh-keygen that does not
//! support signatures.

use super::{Desk, PUBLISHER, keygen};
use crate::support::{Run, missing};
use std::{fs, os::unix::fs::PermissionsExt as _};

const UNTIL: &str = "who may sign until ";

/// Certifies the desk's key; the certificate is `key-cert.pub`.
fn certify(desk: &Desk, authority: &str, principal: &str, life: &str) {
    let path = |name: &str| desk.path(name).to_str().unwrap().to_owned();
    keygen(&["-q", "-s", &path(authority), "-I", "id", "-n", principal, "-V", life, &path("key.pub")]);
}

#[test]
fn a_certificate_of_an_authority_signs_as_long_as_it_is_valid() {
    let desk = Desk::new();
    desk.key("authority");
    desk.key("stranger");
    let line = |principals: &str| {
        format!("{principals} cert-authority,namespaces=\"warded-policy\" {}\n", desk.public("authority"))
    };
    let file = desk.component("1.0.0", &[]);
    for (authority, principal, life, principals) in [
        ("authority", PUBLISHER, "20200101:20200102", PUBLISHER),
        ("authority", PUBLISHER, "20980101:20990101", PUBLISHER),
        ("authority", "other@example.org", "-1m:+16h", PUBLISHER),
        ("stranger", PUBLISHER, "-1m:+16h", PUBLISHER),
        ("authority", PUBLISHER, "-1m:+16h", "other@example.org"),
        ("authority", PUBLISHER, "-1m:+16h", "!ops@example.org,*@example.org"),
    ] {
        desk.trusts(&line(principals));
        certify(&desk, authority, principal, life);
        desk.sign(&file, PUBLISHER, "key-cert.pub").ends(0);
        desk.add(&file, &[]).ends(5).says(&["is not one that ops@example.org may make on this machine"]);
        assert_eq!(desk.policies(), [], "{authority} {principal} {life} {principals}");
    }
    desk.trusts(&line("*@example.org"));
    certify(&desk, "authority", PUBLISHER, "-1m:+16h");
    desk.sign(&file, PUBLISHER, "key-cert.pub").ends(0);
    desk.add(&file, &[]).ends(0).prints(&["signed by ops@example.org", UNTIL]);
    let shown = desk.run(&["policy", "show", "mine", "--json"]).ends(0).object("warded.policy-show/1");
    let until: jiff::Timestamp = shown["policy"]["publisher"]["until"].as_str().unwrap().parse().unwrap();
    let hours = until.duration_since(jiff::Timestamp::now()).as_hours();
    assert!((14..=16).contains(&hours), "{until}");
    // The key of this certificate may no longer sign.
    fs::write(desk.machine.path("revoked_signers"), desk.public("key")).unwrap();
    let newer = desk.component("1.1.0", &[]);
    desk.sign(&newer, PUBLISHER, "key-cert.pub").ends(0);
    desk.update(&newer).ends(5).says(&["may make on this machine"]);
}

#[test]
fn the_end_of_a_line_is_shown_and_recorded() {
    let desk = Desk::new();
    let file = desk.signed("1.0.0", &[]);
    desk.add(&file, &[]).ends(0);
    let shown = || desk.run(&["policy", "show", "mine"]).ends(0).stdout;
    assert!(!shown().contains(UNTIL), "{}", shown());
    // The line that is valid longest counts.
    desk.trusts(&[desk.signer("valid-before=\"20980601\""), desk.signer("valid-before=\"20970601\"")].concat());
    let file = desk.signed("1.1.0", &[]);
    desk.update(&file).ends(0);
    let (in_zone, shown) = (["2098-06-01", "2098-05-31"], shown());
    assert!(in_zone.iter().any(|day| shown.contains(&format!("{UNTIL}{day}"))), "{shown}");
    let added = desk.machine.audit().into_iter().rfind(|record| record["capability"] == "policy.add").unwrap();
    assert!(added["detail"].as_str().unwrap().contains(UNTIL), "{added}");
    // Another end of the same line changes nothing that was accepted.
    desk.trusts(&desk.signer("valid-before=\"20990601\""));
    let before = desk.policies();
    desk.update(&file).ends(0).prints(&["is there already"]);
    assert_eq!(desk.policies(), before);
}

/// What ssh-keygen of OpenSSH 8.0 answers to `-Y`: it has verified nothing.
const TOO_OLD: &str = "#!/bin/sh
echo 'unknown option -- Y' >&2
echo 'usage: ssh-keygen [-q] [-b bits] [-t dsa | ecdsa | ed25519 | rsa] [-m format]' >&2
exit 1
";

#[test]
fn an_ssh_keygen_that_knows_no_signatures_is_no_bad_signature() {
    if missing::root() {
        return;
    }
    let desk = Desk::new();
    let (file, old) = (desk.signed("1.0.0", &[]), desk.path("ssh-keygen"));
    fs::write(&old, TOO_OLD).unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    let digest = warded_lib::digest::Digest::of(&fs::read(&file).unwrap()).to_string();
    let (add, sign) = (
        format!("policy add {} --yes --digest {digest}", file.display()),
        format!("policy sign {} --publisher {PUBLISHER} --key {}", file.display(), desk.path("key").display()),
    );
    for words in [add, sign] {
        let program = "p=$(command -v ssh-keygen); mount --bind \"$0\" \"$p\"; exec \"$@\"";
        let line =
            format!("unshare --mount sh -ec '{program}' {} {} {words}", old.display(), env!("CARGO_BIN_EXE_warded"));
        let mut command = desk.machine.command("sh");
        desk.machine.environment(&mut command);
        let run = Run::of(command.args(["-c", &line])).ends(1);
        run.says(&["ssh-keygen of this machine does not support signatures", "unknown option -- Y", "8.1 or later"]);
    }
    assert_eq!(desk.policies(), []);
}

/// People read the policy file beside a component, so it must be the same as the component's request.
#[test]
fn a_file_beside_the_component_has_to_be_its_request() {
    let desk = Desk::new();
    let file = desk.signed("1.0.0", &["files.write = [\"/etc/motd\"]"]);
    let beside = file.with_extension("toml");
    let made = fs::read_to_string(desk.path("made/mine.toml")).unwrap();
    let request = "name = \"mine\"\nversion = \"1.0.0\"\n[procedure.go]\nsummary = \"s\"\n";
    for (text, why) in [
        (made.replace("/etc/motd", "/etc/issue"), "only in the file: files.write /etc/issue (of go)"),
        (request.to_owned(), "only in the component: files.write /etc/motd (of go)"),
        ("what is this".to_owned(), "mine.toml:1:"),
    ] {
        fs::write(&beside, text).unwrap();
        let refused = desk.add(&file, &[]).ends(5);
        refused.says(&[
            "mine.toml is not the request that the component carries",
            why,
            "--grants ",
            "nothing was changed",
        ]);
        assert_eq!(desk.policies(), [], "{why}");
    }
    fs::write(&beside, request).unwrap();
    desk.add(&file, &["--grants", beside.to_str().unwrap()]).ends(0);
    let newer = desk.signed("1.1.0", &[]);
    desk.update(&newer).ends(5).says(&["mine.toml is not the request"]);
    fs::copy(desk.path("made/mine.toml"), &beside).unwrap();
    desk.update(&newer).ends(0);
}
