//! The guard's judgement of who can log in, compared with a real sshd.

use crate::{private_sshd::PrivateSshd, root};
use warded_lib::{
    guard::{Baseline, Candidate, MayChange, Risks},
    machine::{sshd::tree::StagedFiles, users},
};

#[test]
fn who_gets_in_is_compared_where_it_may_change() {
    if root::is_missing("who_gets_in_is_compared_where_it_may_change") {
        return;
    }
    let private = PrivateSshd::started();
    let key = std::fs::read_to_string(private.path("ca.pub")).unwrap();
    let authorized = private.path("authorized");
    let main = std::fs::read_to_string(&private.main).unwrap();
    std::fs::write(
        &private.main,
        main.replacen("UsePAM no\n", &format!("UsePAM no\nAuthorizedKeysFile {authorized}\n"), 1),
    )
    .unwrap();
    std::fs::write(&authorized, &key).unwrap();
    let sshd = private.found();
    let mut baseline = Baseline::take(&sshd).unwrap();
    // Other people may be logged in on the machine on which the tests run.
    baseline.users = users::to_keep();
    let told = |staged: &StagedFiles, granted: &[&str], risks: Risks| {
        let granted: Vec<_> = granted.iter().map(|&one| one.to_owned()).collect();
        let candidate = Candidate::build(&sshd, staged).unwrap().accepting(risks);
        let kept = candidate.keeps_logins(&baseline, MayChange::Only(&granted));
        kept.map_or_else(|error| error.to_string(), |logins| format!("{logins:?}"))
    };
    let none = Risks::default();
    for (text, granted, risks, said) in [
        ("DenyUsers root\n", "DenyUsers", none, "denyusers root"),
        ("DenyUsers root\n", "DenyUsers", Risks { lose: true, ..none }, "root: accepted by --accept-risk=lose-ssh"),
        ("ForceCommand /bin/false\n", "ForceCommand", none, "forcecommand decides who gets in"),
        ("AuthorizedKeysFile none\n", "AuthorizedKeysFile", none, "root: a key in"),
        ("MaxAuthTries 0\n", "MaxAuthTries", none, "maxauthtries decides who gets in"),
        ("RefuseConnection yes\n", "RefuseConnection", none, ""),
        ("LoginGraceTime 30\n", "LoginGraceTime", none, "proved: [\"root\"]"),
        ("X11Forwarding no\n", "X11Forwarding", none, "proved: []"),
    ] {
        let found = told(&private.drop_in_with(text), &[granted], risks);
        assert!(found.contains(said), "{text}: {found}");
    }
    // Only the file of authorized keys changes, and nothing in the configuration.
    let file = |text: &str| StagedFiles::from([(authorized.clone().into(), Some(text.as_bytes().to_vec()))]);
    let other = std::fs::read_to_string(private.path("other_ca.pub")).unwrap();
    assert!(told(&file(""), &[], none).contains("a way to log in would be gone"));
    let more = file(&format!("{key}{other}"));
    assert!(told(&more, &[], none).contains("a way to log in would be new"), "{}", told(&more, &[], none));
    for granted in [&["AuthorizedKeysFile"][..], &[]] {
        let risks = Risks { admit: granted.is_empty(), ..none };
        assert!(told(&more, granted, risks).contains("proved: [\"root\"]"));
    }
    let changed = |path: &str| StagedFiles::from([(path.into(), Some(Vec::new()))]);
    for path in ["/etc/nsswitch.conf", "/root/.k5login"] {
        assert!(told(&changed(path), &[], none).contains(&format!("{path} decides who gets in")), "{path}");
    }
    let system = changed("/etc/pam.d/sshd");
    for risks in [none, Risks { lose: true, ..none }, Risks { admit: true, ..none }] {
        assert!(told(&system, &[], risks).contains("/etc/pam.d/sshd decides who gets in"));
    }
    assert!(told(&system, &[], Risks { lose: true, admit: true, ..none }).contains("proved: []"));
    let main = std::fs::read_to_string(&private.main).unwrap();
    // Among these: a key that is one of two required factors, and a file that only a `Match` block names.
    let conditional = private.path("conditional");
    let hosts = "/etc/ssh/ssh_known_hosts";
    assert!(told(&changed(hosts), &[], none).contains("proved: []"));
    for (before, after, staged, said) in [
        ("HostbasedAuthentication yes\n", "", changed(hosts), "ssh_known_hosts decides who gets in"),
        ("", "Match User ann\n  HostbasedAuthentication yes\n", changed(hosts), "ssh_known_hosts decides who gets in"),
        ("AuthenticationMethods publickey,password\n", "", file(""), "a way to log in would be gone"),
        ("PubkeyAuthentication no\n", "", file(""), "decides who gets in"),
        (
            "",
            &*format!("Match Group sftp\n  AuthorizedKeysFile {conditional}\n"),
            StagedFiles::from([(conditional.clone().into(), Some(key.as_bytes().to_vec()))]),
            "decides who gets in",
        ),
    ] {
        std::fs::write(&private.main, format!("{before}{main}{after}")).unwrap();
        let sshd = private.found();
        let baseline = Baseline::take(&sshd).unwrap();
        let candidate = Candidate::build(&sshd, &staged).unwrap();
        let refused = candidate.keeps_logins(&baseline, MayChange::Only(&[])).unwrap_err().to_string();
        assert!(refused.contains(said), "{before}{after}: {refused}");
    }
}

#[test]
fn a_program_that_a_match_names_is_not_run_to_compare_logins() {
    if root::is_missing("a_program_that_a_match_names_is_not_run_to_compare_logins") {
        return;
    }
    let private = PrivateSshd::new();
    let (program, ran) = (private.path("program"), private.path("ran"));
    std::fs::write(&program, format!("#!/bin/sh\ntouch {ran}\n")).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let block = format!("Match User root\n  AuthorizedKeysCommand {program}\n  AuthorizedKeysCommandUser root\n");
    let main = std::fs::read_to_string(&private.main).unwrap();
    std::fs::write(&private.main, main + &block).unwrap();
    let sshd = private.found();
    let baseline = Baseline::take(&sshd).unwrap();
    let candidate = Candidate::build(&sshd, &private.drop_in_with("LoginGraceTime 30\n")).unwrap();
    let granted = ["LoginGraceTime".to_owned()];
    let logins = candidate.keeps_logins(&baseline, MayChange::Only(&granted)).unwrap();
    assert!(logins.proved.is_empty() && logins.not_proved[0].contains("would run a program"), "{logins:?}");
    assert!(!std::path::Path::new(&ran).exists());
}

/// After it has accepted a key, sshd asks PAM about the account. A proof runs none of PAM's modules, and says so.
#[test]
fn what_pam_would_say_is_not_proved() {
    if root::is_missing("what_pam_would_say_is_not_proved") {
        return;
    }
    for (pam, is_told) in [("yes", true), ("no", false)] {
        let private = PrivateSshd::new();
        let key = std::fs::read_to_string(private.path("ca.pub")).unwrap();
        let authorized = private.path("authorized");
        std::fs::write(&authorized, &key).unwrap();
        let main = std::fs::read_to_string(&private.main).unwrap();
        let lines = format!("UsePAM {pam}\nAuthorizedKeysFile {authorized}\n");
        std::fs::write(&private.main, main.replacen("UsePAM no\n", &lines, 1)).unwrap();
        let sshd = private.found();
        let mut baseline = Baseline::take(&sshd).unwrap();
        baseline.users = users::to_keep();
        let candidate = Candidate::build(&sshd, &private.drop_in_with("LoginGraceTime 30\n")).unwrap();
        let granted = ["LoginGraceTime".to_owned()];
        let logins = candidate.keeps_logins(&baseline, MayChange::Only(&granted)).unwrap();
        assert!(logins.proved.iter().any(|user| user == "root"), "{logins:?}");
        let told = logins.not_proved.iter().any(|what| what.starts_with("what PAM would say"));
        assert_eq!(told, is_told, "{logins:?}");
    }
}
