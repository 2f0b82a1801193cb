//! Whole runs of the guard, from the survey to the look afterwards, and what it refuses on the way.

use crate::private_sshd::PrivateSshd;
use std::time::{Duration, Instant};
use warded_lib::{
    guard::{Baseline, Candidate, Logins, MayChange, client::hosts::ProofMethod, live, served},
    machine::sshd::tree::StagedFiles,
};

const GRANTED: [&str; 1] = ["HostCertificate"];

#[test]
fn a_whole_run_goes_through() {
    let mut private = PrivateSshd::started();
    let keys = ["rsa", "ecdsa", "ed25519"];
    let certificates: Vec<_> =
        keys.iter().zip(100..).map(|(key, serial)| private.certificate(key, serial, &[])).collect();
    let pairs: Vec<_> = keys.into_iter().zip(&certificates).collect();
    let staged = private.staged(&pairs);
    let granted = GRANTED.map(str::to_owned);
    let mut times = Vec::new();
    let mut clock = Instant::now();
    let mut lap = |name: &str| {
        times.push(format!("{name} {} ms", clock.elapsed().as_millis()));
        clock = Instant::now();
    };

    let sshd = private.found();
    lap("find");
    assert_eq!(sshd.listener.as_ref().unwrap().sockets.as_ref().unwrap().len(), 1);
    let baseline = Baseline::take(&sshd).unwrap();
    lap("baseline");
    assert_eq!(baseline.offered.as_ref().unwrap().keys.len(), 3);
    let candidate = Candidate::build(&sshd, &staged).unwrap();
    lap("build");
    candidate.check(&baseline, MayChange::Only(&granted)).unwrap();
    lap("check");
    let proof = candidate.prove(&baseline, &certificates, &[private.key("ca")]).unwrap();
    lap("prove");
    assert_eq!((proof.certificates.as_slice(), proof.keys.len()), (&[100, 101, 102][..], 3));
    assert_eq!((proof.way, proof.by_program), (ProofMethod::Session, false));
    // The change does not touch anything that decides about logins.
    let logins = candidate.keeps_logins(&baseline, MayChange::Only(&granted)).unwrap();
    assert_eq!(logins, Logins::default());
    private.commit(&staged);
    private.reload();
    lap("(commit)");
    let verified = live::verify(&sshd, &baseline, &certificates).unwrap();
    lap("verify");
    assert_eq!((verified.certificates.len(), verified.keys.len(), verified.live), (3, 3, true));
    let offered = served(&sshd).unwrap().unwrap();
    lap("served");
    assert_eq!((offered.certificates.len(), offered.keys.len()), (3, 3));
    assert_eq!(offered.certificates[0].seen.principals, ["a.example", "b.example"]);
    eprintln!("{}", times.join(", "));

    // The roll back is checked like any other change.
    let back = StagedFiles::from([(private.drop_in(), None)]);
    assert_eq!(private.checked(&back, &GRANTED), "");
    assert!(private.checked(&back, &[]).contains("50-warded.conf line 1 removes"));
}

#[test]
fn a_broken_line_is_told_in_its_real_place() {
    let private = PrivateSshd::started();
    let told = private.checked(&private.drop_in_with("# a\n\nHostCertifcate /x\n"), &["HostCertifcate"]);
    let place = format!("{}: line 3: Bad configuration option: HostCertifcate", private.drop_in().display());
    assert!(told.contains(&place), "{told}");
    assert!(!told.contains("/warded-"), "{told}");
}

#[test]
fn keywords_that_are_not_granted_are_refused() {
    let private = PrivateSshd::started();
    for (text, seen) in [
        ("DenyUsers *\n", "line 1 has `denyusers"),
        ("HostCertificate /x\nForceCommand /bin/false\n", "line 2 has `forcecommand"),
        ("Match User root\n  DenyUsers root\n", "line 1 has `match"),
        ("Match all\nHostCertificate /x\n", "line 1 has `match \"all\"`"),
        ("AuthorizedKeysCommand /usr/bin/id\n", "line 1 has `authorizedkeyscommand"),
        ("HostKey /x\n", "line 1 has `hostkey"),
        ("Include /etc/ssh/moduli\n", "line 1 has `include"),
    ] {
        let told = private.checked(&private.drop_in_with(text), &GRANTED);
        assert!(told.contains(seen) && told.contains("granted: HostCertificate"), "{text}: {told}");
    }
}

#[test]
fn an_include_is_never_granted() {
    let private = PrivateSshd::started();
    std::fs::write(private.path("extra"), "DenyUsers nobody\n").unwrap();
    let text = format!("Include {}\n", private.path("extra"));
    let told = private.checked(&private.drop_in_with(&text), &["Include", "DenyUsers"]);
    assert!(told.contains("line 1 has `include") && told.contains("which is not granted"), "{told}");
}

#[test]
fn machines_on_which_nobody_is_let_in_are_proved_by_connections() {
    let private = PrivateSshd::started();
    let certificates: Vec<_> =
        ["rsa", "ecdsa", "ed25519"].map(|key| private.certificate(key, 21, &[])).into_iter().collect();
    let pairs: Vec<_> = ["rsa", "ecdsa", "ed25519"].into_iter().zip(&certificates).collect();
    let staged = private.staged(&pairs);
    let main = std::fs::read_to_string(&private.main).unwrap();
    for (lines, way) in [
        ("", ProofMethod::Session),
        ("PermitRootLogin no\n", ProofMethod::Session),
        ("AuthenticationMethods publickey,password\n", ProofMethod::Session),
        ("DenyUsers *\n", ProofMethod::Connections),
        ("AllowGroups nogroup\n", ProofMethod::Connections),
        ("AuthorizedKeysCommand /bin/false\nAuthorizedKeysCommandUser nobody\n", ProofMethod::Connections),
        ("KexAlgorithms ecdh-sha2-nistp384\nCiphers aes256-ctr\nMACs hmac-sha2-512\n", ProofMethod::Session),
    ] {
        std::fs::write(&private.main, format!("{lines}{main}")).unwrap();
        let sshd = private.found();
        let baseline = Baseline::take(&sshd).unwrap();
        let candidate = Candidate::build(&sshd, &staged).unwrap();
        let proof = candidate.prove(&baseline, &certificates, &[]).unwrap();
        assert_eq!((proof.certificates.len(), proof.keys.len(), proof.way), (3, 3, way), "{lines}");
        let both = Candidate::build(&sshd, &staged).unwrap().with_second_opinion(true);
        assert_eq!(both.prove(&baseline, &certificates, &[]).unwrap().keys.len(), 3);
    }
}

#[test]
fn files_that_sshd_is_silent_about_are_refused() {
    let private = PrivateSshd::started();
    let certificate = |extra: &[&str]| private.staged(&[("ed25519", &private.certificate("ed25519", 7, extra))]);
    let foreign = private.staged(&[("ed25519", &private.certificate("ca", 7, &[]))]);
    for (staged, seen) in [
        (
            private.drop_in_with(&format!("HostCertificate {}\n", private.path("none"))),
            "Could not load host certificate",
        ),
        (foreign, "No matching private key for certificate"),
        (certificate(&["-V", "20200101:20200102"]), "expired at 2020-01-02"),
        (certificate(&["-V", "+1h:+2h"]), "is not valid before"),
        (certificate(&["USER"]), "is a user certificate"),
        (certificate(&["ANY"]), "names no principal"),
        (certificate(&["-O", "critical:x=y"]), "critical options"),
        (certificate(&[]), ""),
        (certificate(&["OTHER"]), ""),
    ] {
        let told = private.checked(&staged, &GRANTED);
        assert!(told.contains(seen) && told.is_empty() == seen.is_empty(), "{seen}: {told}");
        assert!(!told.contains("/warded-"), "{told}");
    }
    let revoked = format!("RevokedKeys {}\n", private.path("no-list"));
    let told = private.checked(&private.drop_in_with(&revoked), &["RevokedKeys"]);
    assert!(told.contains("refuse every public key"), "{told}");
    let mut trusted = private.drop_in_with(&format!("TrustedUserCAKeys {}\n", private.path("user_ca")));
    trusted.insert(private.path("user_ca").into(), Some(b"garbage\n".to_vec()));
    assert!(private.checked(&trusted, &["TrustedUserCAKeys"]).contains("no key in line 1"));
}

/// Builds and proves without checking, for faults that only a handshake shows.
fn proved(private: &PrivateSshd, staged: &StagedFiles, certificates: &[ssh_key::Certificate]) -> String {
    let sshd = private.found();
    let baseline = Baseline::take(&sshd).unwrap();
    let candidate = Candidate::build(&sshd, staged).unwrap();
    let result = candidate.prove(&baseline, certificates, &[private.key("ca")]);
    result.map_or_else(|error| error.to_string(), |proof| format!("{proof:?}"))
}

#[test]
fn handshakes_show_what_configurations_hide() {
    let mut private = PrivateSshd::new();
    let certificate = private.certificate("ed25519", 9, &[]);
    let staged = private.staged(&[("ed25519", &certificate)]);
    let place = private.drop_in();
    let with = |text: &str| {
        let mut staged = staged.clone();
        let drop_in = staged.get_mut(&place).unwrap().as_mut().unwrap();
        drop_in.extend_from_slice(text.as_bytes());
        staged
    };
    // Both without a listener and with one.
    for start in [false, true] {
        if start {
            private.start();
        }
        let all = std::slice::from_ref(&certificate);
        let hidden = proved(&private, &with("HostKeyAlgorithms ssh-ed25519,ecdsa-sha2-nistp256,rsa-sha2-512\n"), all);
        let place = format!("HostKeyAlgorithms ({} line 2) does not list their types", private.drop_in().display());
        assert!(hidden.contains(&place), "{hidden}");
        let foreign = private.certificate("ed25519", 9, &["OTHER"]);
        let told = proved(&private, &private.staged(&[("ed25519", &foreign)]), &[foreign]);
        assert!(told.contains("a client that trusts the CA would not accept sshd"), "{told}");
        let older = private.certificate("ed25519", 8, &[]);
        let told = proved(&private, &staged, &[older]);
        assert!(told.contains("another certificate") && told.contains("serial 9"), "{told}");
        let told = proved(&private, &with("HostKeyAlgorithms ssh-ed25519,ssh-ed25519-cert-v01@openssh.com\n"), all);
        assert!(
            told.contains("rsa host key could not connect") || told.contains("ecdsa-sha2-nistp256 host key"),
            "{told}"
        );
        assert!(proved(&private, &staged, all).contains("certificates: [9]"));
    }
}

#[test]
fn a_listener_that_shuts_out_the_network_is_seen_and_recovers() {
    let mut private = PrivateSshd::started();
    let certificate = private.certificate("ed25519", 11, &[]);
    let mut staged = private.staged(&[("ed25519", &certificate)]);
    let good = staged.clone();
    let drop_in = staged.get_mut(&private.drop_in()).unwrap().as_mut().unwrap();
    drop_in.extend_from_slice(b"PerSourceMaxStartups 0\n");
    let sshd = private.found();
    let baseline = Baseline::take(&sshd).unwrap();
    let candidate = Candidate::build(&sshd, &staged).unwrap();
    let granted = ["HostCertificate".to_owned(), "PerSourceMaxStartups".to_owned()];
    candidate.check(&baseline, MayChange::Only(&granted)).unwrap();
    let all = std::slice::from_ref(&certificate);
    candidate.prove(&baseline, all, &[private.key("ca")]).unwrap();
    private.commit(&staged);
    private.reload();
    let told = live::verify_within(&sshd, &baseline, all, Duration::from_secs(2)).unwrap_err();
    assert!(told.to_string().contains("does not serve the new certificate"), "{told}");
    private.commit(&good);
    private.reload();
    assert_eq!(live::verify(&sshd, &baseline, all).unwrap().certificates, [11]);
    // A renewed certificate of which sshd has not been told, and a listener that is gone.
    let newer = private.certificate("ed25519", 12, &[]);
    let told = live::verify_within(&sshd, &baseline, &[newer], Duration::from_millis(300)).unwrap_err();
    assert!(told.to_string().contains("serial 11 instead of 12"), "{told}");
    private.stop();
    let told = live::verify_within(&sshd, &baseline, all, Duration::from_millis(300)).unwrap_err();
    assert!(told.to_string().contains("does not listen any more"), "{told}");
}

#[test]
fn an_unfinished_edit_of_somebody_else_is_not_switched_on() {
    let private = PrivateSshd::started();
    let text = std::fs::read_to_string(&private.main).unwrap();
    let certificate = private.certificate("ed25519", 7, &[]);
    let staged = private.staged(&[("ed25519", &certificate)]);
    std::fs::write(&private.main, text.replace(&format!("Port {}", private.port), "Port 1")).unwrap();
    assert!(private.checked(&staged, &GRANTED).contains("a reload would close 127.0.0.1"));
    std::fs::write(&private.main, text.replace(&format!("HostKey {}\n", private.path("rsa")), "")).unwrap();
    assert!(private.checked(&staged, &GRANTED).contains("no longer offer its ssh-rsa host key"));
    std::fs::write(&private.main, &text).unwrap();
    assert_eq!(private.checked(&staged, &GRANTED), "");
    std::fs::write(&private.main, format!("Foo bar\n{text}")).unwrap();
    let told = Baseline::take(&private.found()).unwrap_err().to_string();
    assert!(told.contains("is broken already") && told.contains("line 1: Bad configuration option: Foo"), "{told}");
}

#[test]
fn several_ports_and_addresses_are_kept() {
    let mut private = PrivateSshd::new();
    let text = std::fs::read_to_string(&private.main).unwrap();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("Port {other}\nListenAddress 127.0.0.1\nListenAddress 127.0.0.9\n");
    std::fs::write(&private.main, text.replace("ListenAddress 127.0.0.1\n", &listen)).unwrap();
    private.start();
    let sshd = private.found();
    assert_eq!(sshd.listener.as_ref().unwrap().sockets.as_ref().unwrap().len(), 4);
    let baseline = Baseline::take(&sshd).unwrap();
    assert_eq!(live::verify(&sshd, &baseline, &[]).unwrap().keys.len(), 3);
    let staged = StagedFiles::from([(private.main.clone(), Some(text.into_bytes()))]);
    let told = private.checked(&staged, &["Port", "ListenAddress"]);
    assert!(told.contains("a reload would close 127.0.0."), "{told}");
}

#[test]
fn an_sshd_that_is_installed_nowhere_is_found_by_its_listener() {
    let mut private = PrivateSshd::new();
    let copy = private.directory.join("bin");
    std::fs::create_dir(&copy).unwrap();
    let copy = copy.join("sshd");
    std::fs::copy(warded_lib::machine::exec::find("sshd").unwrap(), &copy).unwrap();
    private.start_with(&copy, &["-o", "ClientAliveInterval=77"]);
    let sshd = private.found();
    assert_eq!(sshd.binary, copy);
    assert_eq!(sshd.arguments, ["-o", "ClientAliveInterval=77"]);
    assert!(sshd.listener.as_ref().unwrap().unit.is_none());
    let pid = std::fs::read_to_string(sshd.pid_file().unwrap()).unwrap();
    assert_eq!(pid.trim(), sshd.listener.as_ref().unwrap().pid.to_string());
    let baseline = Baseline::take(&sshd).unwrap();
    assert_eq!(baseline.view.effective.values("clientaliveinterval"), ["77"]);
}

#[test]
fn a_listener_that_does_not_answer_is_not_taken_for_one_without_keys() {
    let mut private = PrivateSshd::new();
    let text = std::fs::read_to_string(&private.main).unwrap();
    std::fs::write(&private.main, format!("PerSourceMaxStartups 0\n{text}")).unwrap();
    private.start();
    let baseline = Baseline::take(&private.found()).unwrap();
    assert!(baseline.offered.is_none());
    let told = baseline.unseen.unwrap().to_string();
    assert!(told.starts_with("refused: sshd at 127.0.0.1") && told.contains("cannot be asked"), "{told}");
}

#[test]
fn a_listener_on_ipv6_only_is_asked_from_its_own_address() {
    let mut private = PrivateSshd::new();
    let text = std::fs::read_to_string(&private.main).unwrap();
    std::fs::write(&private.main, text.replace("ListenAddress 127.0.0.1", "ListenAddress ::1")).unwrap();
    private.start_at("::1");
    let offered = served(&private.found()).unwrap().unwrap();
    assert_eq!((offered.keys.len(), offered.certificates.len()), (3, 0));
}

#[test]
fn a_staged_host_key_is_used_by_the_candidate() {
    let private = PrivateSshd::started();
    let sshd = private.found();
    let baseline = Baseline::take(&sshd).unwrap();
    let (_, key) = warded_lib::machine::sshd::host_key::throw_away().unwrap();
    let staged = StagedFiles::from([(private.path("ed25519").into(), Some(key.to_vec()))]);
    let candidate = Candidate::build(&sshd, &staged).unwrap();
    let told = candidate.check(&baseline, MayChange::Only(&[])).unwrap_err().to_string();
    assert!(told.contains("no longer offer its ssh-ed25519 host key"), "{told}");
}

/// The error names the cause that was found: the line that takes precedence, with its place, or the key that comes
/// first.
#[test]
fn the_cause_of_a_certificate_that_is_not_served_is_what_was_found() {
    let private = PrivateSshd::new();
    let ours = private.certificate("ed25519", 7, &[]);
    let staged = private.staged(&[("ed25519", &ours)]);
    let main = std::fs::read_to_string(&private.main).unwrap();
    let [key, first] = ["ed25519", "other_ca"].map(|name| format!("HostKey {}\n", private.path(name)));
    let theirs = private.path("theirs-cert.pub");
    let line = format!("HostCertificate {theirs}\n");
    let place = |text: &str, line: &str| {
        let number = text.lines().position(|one| one == line.trim_end()).unwrap() + 1;
        format!("{} line {number}", private.main.display())
    };
    let later = main.replacen(&key, &format!("{key}{line}"), 1);
    let (wins, comes_first) = (place(&later, &line), main.replacen(&key, &format!("{first}{key}{line}"), 1));
    let keys = place(&comes_first, &first);
    for (text, certified, says) in [
        (&later, "ed25519", vec!["serial 900", "is read later", wins.as_str(), "expected serial 7", theirs.as_str()]),
        (
            &comes_first,
            "other_ca",
            vec!["another ssh-ed25519 host key comes first", "remove the HostKey line", keys.as_str()],
        ),
    ] {
        std::fs::write(&private.main, text).unwrap();
        std::fs::write(&theirs, private.certificate(certified, 900, &[]).to_openssh().unwrap()).unwrap();
        let sshd = private.found();
        let baseline = Baseline::take(&sshd).unwrap();
        let candidate = Candidate::build(&sshd, &staged).unwrap();
        let told = candidate.prove(&baseline, std::slice::from_ref(&ours), &[]).unwrap_err().to_string();
        assert!(says.iter().all(|word| told.contains(word)), "{says:?}: {told}");
    }
}
