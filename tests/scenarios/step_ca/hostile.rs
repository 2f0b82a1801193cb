//! A CA that lies, breaks off, or never stops answering. Warded refuses with a clear text, in bounded time and memory,
//! and changes nothing.

use crate::support::{
    Machine, Member, Run,
    hostile_ca::{Connection, Fault, HostileCa, Lie, Manner},
    step_ca::PASSWORD,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

/// In KiB: several times what Warded needs with an honest CA.
const MEMORY: u64 = 256 * 1024;
/// No command waits longer than this for a CA.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine began to trust the CA while that was honest, and now asks it for certificates.
fn certifies(fault: Fault) -> (Member, Run, Duration) {
    let machine = Machine::stopped();
    let ca = HostileCa::start(&machine.network(), fault);
    let member = Member { machine };
    let config = format!(
        "[step-ca]\nurl = \"{}\"\nfingerprint = \"{}\"\nroot = \"{}\"\n",
        ca.url(),
        ca.fingerprint(),
        member.machine.path("root_ca.crt").display()
    );
    fs::write(member.config(), config).unwrap();
    fs::write(member.machine.path("root_ca.crt"), ca.root()).unwrap();
    let password = member.machine.path("password");
    fs::write(&password, PASSWORD).unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let before = member.machine.tree();
    let begun = Instant::now();
    let weighed = member.machine.path("memory");
    let mut command = member.machine.command("/usr/bin/time");
    member.machine.environment(&mut command);
    command.env_remove("WARDED_CA").env("STEPPATH", "/nonexistent").env("WARDED_CONFIG", member.config());
    command.args(["-q", "-f", "%M", "-o"]).arg(&weighed).arg(env!("CARGO_BIN_EXE_warded"));
    command.args(["apply", "certify-host", "--set", "principal=web1.example.org", "--yes"]);
    let run = Run::of(command.arg("--provisioner-password-file").arg(&password));
    let time = begun.elapsed();
    let memory: u64 = fs::read_to_string(weighed).unwrap().trim().parse().unwrap();
    assert!(memory < MEMORY, "{fault:?}: {memory} KiB");
    assert!(run.code == Some(0) || member.machine.tree() == before, "{fault:?}: something was changed");
    assert!(time < PATIENCE, "{fault:?}: {time:?}");
    (member, run, time)
}

#[test]
fn an_honest_one_is_believed() {
    certifies(Fault::Nothing).1.ends(0);
}

#[test]
fn every_lie_in_a_certificate_is_seen() {
    for (lie, words) in [
        (Lie::OtherKey, "it is for another key"),
        (Lie::OtherKind, "it is a user certificate"),
        (Lie::NoPrincipals, "it names no principal"),
        (Lie::ExtraPrincipal, "which was not asked for"),
        (Lie::OtherPrincipal, "is missing"),
        (Lie::UnknownSigner, "not a key of this CA"),
        (Lie::BadSignature, "its signature is not the CA's"),
        (Lie::Sha1, "SHA-1"),
        (Lie::Expired, "it expired at"),
        (Lie::NotYetValid, "it holds only from"),
        (Lie::Forever, "it never expires"),
        (Lie::PlainKey, "not an SSH certificate"),
        (Lie::Noise, "the certificate is not base64"),
        (Lie::Missing, "not what a step-ca answers"),
    ] {
        let (_, run, _) = certifies(Fault::Certificate(lie));
        assert_ne!(run.code, Some(0), "{lie:?}");
        assert!(run.stderr.contains(words), "{lie:?}: {}", run.stderr);
    }
}

#[test]
fn every_broken_answer_is_told() {
    let slow = Manner::Slow(Duration::from_secs(1));
    for (fault, words) in [
        (Fault::Connection(Connection::Closed), "cannot be reached"),
        (Fault::Connection(Connection::Silent), "no answer in time"),
        (Fault::Connection(Connection::Plain), "TLS"),
        (Fault::Connection(Connection::OtherRoot), "not issued by the root that this machine trusts"),
        (Fault::Connection(Connection::OtherName), "is not for 127.0.0.1"),
        (Fault::Connection(Connection::Expired), "its TLS certificate CN=127.0.0.1 expired on"),
        (Fault::Answer("/ssh/sign", Manner::Page(500)), "it reports an internal error"),
        (Fault::Answer("/ssh/sign", Manner::Page(502)), "HTTP 502"),
        (Fault::Answer("/ssh/sign", Manner::Refused(401)), "the cause is not known"),
        (Fault::Answer("/ssh/sign", Manner::Refused(403)), "it does not allow this"),
        (Fault::Answer("/ssh/sign", Manner::Busy(3600)), "asks clients to wait 60 min"),
        (Fault::Answer("/ssh/sign", Manner::Redirect("https://127.0.0.1:1/")), "redirection"),
        (Fault::Answer("/ssh/sign", Manner::Truncated), "not what a step-ca answers"),
        (Fault::Answer("/ssh/sign", Manner::Cut), "ended before the answer did: the server closed it"),
        (Fault::Answer("/provisioners", Manner::Endless), "longer than"),
        (Fault::Answer("/ssh/roots", Manner::EndlessHead), "cannot be reached"),
        (Fault::Answer("/ssh/roots", slow), "no answer in time"),
        (Fault::Answer("/provisioners", Manner::Silent), "no answer in time"),
        (Fault::Iterations(1 << 31), "2147483648 rounds of PBKDF2"),
        (Fault::Pages, "its list does not end"),
        (Fault::Clock(7230), "2 h behind the CA's"),
        (Fault::Clock(-7200), "ahead of the CA's"),
    ] {
        let (_, run, _) = certifies(fault);
        assert_ne!(run.code, Some(0), "{fault:?}");
        assert!(run.stderr.contains(words), "{fault:?}: {words:?} is not in\n{}", run.stderr);
        assert!(!run.stderr.contains("docs.rs"), "{fault:?}: {}", run.stderr);
    }
}

#[test]
fn no_other_root_is_pinned() {
    let member = Member { machine: Machine::stopped() };
    let ca = HostileCa::start(&member.machine.network(), Fault::OtherRoot);
    member.bootstrap(&ca.url(), &ca.fingerprint()).ends(5).says(&["it returned a certificate with the fingerprint"]);
    assert!(!member.config().exists() && !member.machine.path("root_ca.crt").exists());
}

/// A proxy lets only some paths through. The root is enough to begin with, and the provisioner's name and key are
/// enough to continue.
#[test]
fn a_list_of_provisioners_that_is_hidden_is_done_without() {
    for manner in [Manner::Page(403), Manner::Page(200), Manner::Redirect("https://127.0.0.1:1/")] {
        let member = Member { machine: Machine::stopped() };
        let ca = HostileCa::start(&member.machine.network(), Fault::Answer("/provisioners", manner));
        let run = member.bootstrap(&ca.url(), &ca.fingerprint()).ends(0);
        assert!(run.stdout.contains("does not show its provisioners"), "{manner:?}: {}", run.stdout);
        let key = member.machine.path("key.jwk");
        fs::write(&key, format!("\u{feff}{}", ca.provisioner_key())).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let with_key = ["--provisioner-key-file", key.to_str().unwrap()];
        let unnamed = member.certifies(&with_key);
        assert_ne!(unnamed.code, Some(0), "{manner:?}");
        unnamed.says(&["--provisioner NAME --provisioner-key-file FILE"]);
        member.certifies(&[&with_key[..], &["--provisioner", "admin"]].concat()).ends(0);
        let unnamed = member.warded(&["renew", "--force"]);
        assert_ne!(unnamed.code, Some(0), "{manner:?}");
        unnamed.says(&["renewal-provisioner = \"NAME\""]);
        member.warded(&["doctor"]).ends(4).prints(&["does not show its provisioners", "renewal-provisioner"]);
        let config = fs::read_to_string(member.config()).unwrap() + "renewal-provisioner = \"sshpop\"\n";
        fs::write(member.config(), config).unwrap();
        member.warded(&["renew", "--force"]).ends(0);
        member.warded(&["ca", "show"]).ends(0).prints(&["not shown"]);
        assert!(!ca.requests().iter().any(|request| request.contains("encrypted-key")), "{manner:?}");
    }
}
