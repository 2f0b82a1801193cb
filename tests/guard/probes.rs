//! Runs every fault that a handshake can show through both probes: the handshakes of this process and the `ssh`
//! program.

use crate::private_sshd::PrivateSshd;
use std::fs;
use warded_lib::{
    guard::client::{
        Client, Question,
        bench::{Bench, Connection},
        known_hosts::ClientKnowledge,
        program::Route,
        transcript::{End, Transcript},
    },
    machine::exec::find,
};

/// What each probe sees.
fn asked(client: &Client, bench: &Bench, question: &Question<'_>) -> [Transcript; 2] {
    let route = Route::Pipe(bench.words().to_vec());
    let exchanged = match bench.open().unwrap() {
        Ok(Connection { mut session, service: _service }) => question.ask(&mut session),
        Err((fault, _)) => Err(fault),
    };
    let ours = client.settled(exchanged, question, &route, "root").unwrap();
    [ours, client.ask_program(question, &route, "root").unwrap()]
}

/// What a probe shows of the server, regardless of who logs in afterwards. The `ssh` program first says that it knows
/// the CA, and then why it rejects the certificate nevertheless.
fn shown(seen: &Transcript) -> Transcript {
    let is_past = seen.is_past_host_key();
    Transcript {
        end: if is_past { End::LoggedIn } else { seen.end },
        key: seen.key.clone().filter(|_| seen.certificate.is_none()),
        by_certificate: is_past && seen.by_certificate,
        words: Vec::new(),
        ..seen.clone()
    }
}

/// With which certificates and keys a client accepts the host, and with which it does not. A certificate without
/// principals is not among them: Warded refuses it, and whether `ssh` accepts it for every name or for none depends on
/// the release.
#[test]
fn both_probes_find_every_fault() {
    let private = PrivateSshd::new();
    let (ca, other, own) = ([private.key("ca")], [private.key("other_ca")], [private.key("ed25519")]);
    let [rsa, ecdsa] = ["rsa", "ecdsa"].map(|name| [private.key(name)]);
    let main = fs::read_to_string(&private.main).unwrap();
    let binary = find("sshd").unwrap().display().to_string();
    let words = [&binary, "-i", "-e", "-f", private.main.to_str().unwrap()].map(str::to_owned).to_vec();
    let bench = Bench::new(words, vec![[127, 0, 0, 1].into()]);
    let client = Client::default();
    let (taken, refused, absent) = (End::NotLoggedIn, End::HostKeyRefused, End::NotOffered);
    let plain = "HostKeyAlgorithms ssh-ed25519,rsa-sha2-512\n";
    for (case, lines, key, extra, by_certificate, by_rsa, by_ecdsa) in [
        ("nothing wrong", "", "ed25519", &[][..], taken, taken, taken),
        ("expired", "", "ed25519", &["-V", "20200101:20200102"], refused, taken, taken),
        ("not valid yet", "", "ed25519", &["-V", "+1h:+2h"], refused, taken, taken),
        ("a critical option", "", "ed25519", &["-O", "critical:x=y"], refused, taken, taken),
        ("another signer", "", "ed25519", &["OTHER"], refused, taken, taken),
        ("another name", "", "ed25519", &["-n", "c.example"], refused, taken, taken),
        ("a user's", "", "ed25519", &["USER"], refused, taken, taken),
        ("for another key", "", "ca", &[], absent, taken, taken),
        ("not listed", plain, "ed25519", &[], absent, taken, absent),
    ] {
        fs::write(&private.main, format!("{lines}{main}")).unwrap();
        private.commit(&private.staged(&[("ed25519", &private.certificate(key, 7, extra))]));
        let by_other = match extra {
            ["OTHER"] => taken,
            _ if by_certificate == absent => absent,
            _ => refused,
        };
        for (knows, key_type, certificate, end) in [
            (ClientKnowledge::Authorities(&ca), "ssh-ed25519", true, by_certificate),
            (ClientKnowledge::Authorities(&other), "ssh-ed25519", true, by_other),
            (ClientKnowledge::Keys(&own), "ssh-ed25519", false, taken),
            (ClientKnowledge::Keys(&rsa), "ssh-rsa", false, by_rsa),
            (ClientKnowledge::Keys(&ecdsa), "ecdsa-sha2-nistp256", false, by_ecdsa),
            (ClientKnowledge::Keys(&other), "ssh-ed25519", false, refused),
            (ClientKnowledge::Nothing, "ssh-ed25519", false, refused),
            (ClientKnowledge::Nothing, "ecdsa-sha2-nistp384", false, absent),
        ] {
            let question = Question { knows, key_type, certificate, name: "a.example" };
            let [ours, theirs] = asked(&client, &bench, &question);
            assert_eq!(ours.end, end, "{case}: {question:?}: {ours:?}");
            assert_eq!(shown(&ours), shown(&theirs), "{case}: {question:?}");
        }
    }
    assert!(!client.needed_program());
}
