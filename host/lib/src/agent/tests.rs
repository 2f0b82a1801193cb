//! Tests with stand-in agents that send fixed bytes.

use super::*;
use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    thread,
};

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// Lists an agent that sends these bytes to its client, and then waits for the end of the connection.
fn listed(answer: &[u8]) -> Result<Vec<Identity>, AgentError> {
    let scratch = tempfile::tempdir().unwrap();
    let socket = scratch.path().join("agent");
    let listener = UnixListener::bind(&socket).unwrap();
    let answer = answer.to_owned();
    let agent = thread::spawn(move || {
        // The first connection only finds out which process listens.
        drop(listener.accept().unwrap());
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        stream.write_all(&answer).unwrap();
        if !answer.is_empty() {
            drop(stream.read(&mut [0]));
        }
    });
    let listed = Agent::open(&socket).unwrap().list();
    agent.join().unwrap();
    listed
}

#[test]
fn a_key_of_an_unknown_type_hides_no_other() {
    let unknown = string(b"ssh-of-tomorrow");
    let entries = [string(&unknown), string(b"one"), string(b"\0"), string(b"\xff two")].concat();
    let body = [&[IDENTITIES][..], &2_u32.to_be_bytes(), &entries].concat();
    let found = listed(&string(&body)).unwrap();
    assert_eq!(found.iter().map(|one| one.comment.as_str()).collect::<Vec<_>>(), ["one", "\u{fffd} two"]);
    assert_eq!(found[0].blob, unknown);
    assert!(found[0].certificate().is_none());
}

#[test]
fn an_answer_that_is_none_is_told_at_once() {
    let cut = [&[IDENTITIES][..], &u32::MAX.to_be_bytes(), &string(b"x")].concat();
    for (answer, expected) in [
        (Vec::new(), "closed the connection"),
        (vec![0xff; 4], "4294967295 bytes"),
        ([&(MAX + 1).to_be_bytes()[..], b"x"].concat(), "262145 bytes"),
        (string(&[]), "damaged"),
        (string(&cut), "damaged"),
        (string(&[5]), "refuses to list its keys"),
        (string(&[28]), "refuses to list its keys"),
        (string(&[6]), "message type 6"),
    ] {
        let said = listed(&answer).unwrap_err().to_string();
        assert!(said.contains(expected), "{answer:?}: {said}");
    }
}

const MAX: u32 = exchange::MAX_ANSWER;

#[test]
fn an_agent_that_is_not_there_is_told_from_one_that_is_silent() {
    let scratch = tempfile::tempdir().unwrap();
    let socket = scratch.path().join("agent");
    assert!(matches!(Agent::open(&socket), Err(AgentError::NotThere)));
    let file = scratch.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(Agent::open(&file), Err(AgentError::NotASocket)));
    let listener = UnixListener::bind(&socket).unwrap();
    let agent = Agent::open(&socket).unwrap();
    assert_eq!(agent.peer().program, fs::read_to_string("/proc/self/comm").ok().map(|name| name.trim().to_owned()));
    assert!(matches!(agent.list(), Err(AgentError::Silent)));
    drop(listener);
    assert!(matches!(Agent::open(&socket), Err(AgentError::NotListening)));
    assert!(matches!(agent.list(), Err(AgentError::NotListening)));
    let long = scratch.path().join("x".repeat(200));
    assert!(matches!(Agent::open(&long), Err(AgentError::Io(_))));
}

#[test]
fn gpg_agent_is_known_by_its_program_and_by_its_socket() {
    let peer =
        |program: Option<&str>, socket: &str| Peer { program: program.map(str::to_owned), socket: socket.into() };
    for (peer, is_gpg) in [
        (peer(Some("gpg-agent"), "/home/ann/agent"), true),
        // With socket activation, systemd holds the socket.
        (peer(Some("systemd"), "/run/user/1000/gnupg/S.gpg-agent.ssh"), true),
        (peer(None, "/run/user/1000/gnupg/d.x/S.gpg-agent.ssh"), true),
        (peer(Some("ssh-agent"), "/tmp/ssh-x/agent.1"), false),
        (peer(None, "/tmp/ssh-x/agent.1"), false),
    ] {
        assert_eq!(peer.is_gpg_agent(), is_gpg, "{peer:?}");
    }
}
