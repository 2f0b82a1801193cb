//! Tests with stand-in agents that sign correctly, or misbehave.

use super::*;
use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    thread,
};

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// The result of signing a message when the agent answers with `answer`.
fn signed(key: &PublicKey, answer: impl FnOnce(&[u8]) -> Vec<u8> + Send + 'static) -> Result<Vec<u8>, KeyError> {
    let scratch = tempfile::tempdir().unwrap();
    let socket = scratch.path().join("agent");
    let listener = UnixListener::bind(&socket).unwrap();
    let agent = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut request = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        stream.read_exact(&mut request).unwrap();
        stream.write_all(&string(&answer(&request))).unwrap();
    });
    let signed = AgentKey::new(&socket, key).unwrap().sign(MESSAGE);
    agent.join().unwrap();
    signed
}

const MESSAGE: &[u8] = b"header.body";

#[test]
fn a_signature_has_the_form_of_a_web_signature_or_is_none() {
    for kind in KeyKind::ALL.into_iter().filter(|kind| *kind != KeyKind::RsaSha512) {
        let key = handshake::test_key(kind);
        let public = key.public_key().clone();
        assert_eq!(AgentKey::new(Path::new("/x"), &public).unwrap().kind, kind);
        let by = |message: &'static [u8], kind| {
            let key = key.clone();
            move |request: &[u8]| {
                let mut blob = Vec::new();
                key.public_key().key_data().encode(&mut blob).unwrap();
                let flags: u32 = if kind == KeyKind::RsaSha256 { 2 } else { 0 };
                let asked = [&[13][..], &string(&blob), &string(MESSAGE), &flags.to_be_bytes()].concat();
                assert_eq!(request, asked);
                [&[SIGNATURE][..], &string(&handshake::sign(kind, &key, message).unwrap())].concat()
            }
        };
        let signature = signed(&public, by(MESSAGE, kind)).unwrap();
        let length = match kind {
            KeyKind::Ed25519 | KeyKind::EcdsaP256 => 64,
            KeyKind::EcdsaP384 => 96,
            KeyKind::EcdsaP521 => 132,
            KeyKind::RsaSha256 | KeyKind::RsaSha512 => signature.len(),
        };
        assert_eq!(signature.len(), length, "{kind:?}");
        let other = signed(&public, by(b"header.other", kind)).unwrap_err().to_string();
        assert!(other.contains("gave a signature that was not made with this key"), "{kind:?}: {other}");
    }
}

#[test]
fn an_agent_that_does_not_sign_is_told() {
    let key = handshake::test_key(KeyKind::Ed25519).public_key().clone();
    for (answer, expected) in [
        (vec![5], "does not sign with this key"),
        (vec![6], "gave an unexpected answer (message type 6)"),
        (vec![], "damaged"),
        ([&[SIGNATURE][..], &[0, 0, 0, 9]].concat(), "damaged"),
        ([&[SIGNATURE][..], &string(b"")].concat(), "not made with this key"),
    ] {
        let said = signed(&key, move |_| answer).unwrap_err().to_string();
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let gone = AgentKey::new(Path::new("/nonexistent"), &key).unwrap();
    assert!(gone.sign(MESSAGE).unwrap_err().to_string().contains("there is no socket of that name"));
    assert!(gone.next().contains("SSH_AUTH_SOCK=/nonexistent ssh-add -L"));
}
