//! What a server says before its version, and after the first exchange.

use crate::handshake::{
    Fault, HostKeyAlgorithm, KeyKind, Limits, Login, Query, Session,
    server::Host,
    testing::{identities, key, limits},
    transport::{LONGEST_PACKET, Transport},
    wire::{Writer, number},
};
use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

/// A client that receives these bytes and then nothing more.
fn told(bytes: &[u8]) -> Fault {
    let (client, mut server) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            // The client may have left.
            drop(server.write_all(bytes));
            drop(server.shutdown(std::net::Shutdown::Write));
            drop(server.read_to_end(&mut Vec::new()));
        });
        Session::open(client, &limits()).unwrap_err()
    })
}

#[test]
fn what_comes_before_the_version() {
    let is_closed = |fault: &Fault, words: &[u8]| matches!(fault, Fault::Closed { said } if said == words);
    assert!(is_closed(&told(b""), b""));
    assert!(is_closed(&told(b"Not allowed at this time\r\n"), b"Not allowed at this time"));
    assert!(is_closed(&told(b"Exceeded MaxStartups"), b"Exceeded MaxStartups"));
    assert!(is_closed(&told(b"one\ntwo\r\nSSH-2.0-x\r\n"), b""));
    for wrong in [
        b"x".repeat(9000),
        b"\n".repeat(2000),
        b"SSH-2.0-\x1b[2J\r\n".to_vec(),
        [&b"SSH-2.0-"[..], &b"x".repeat(250), b"\r\n"].concat(),
    ] {
        let fault = told(&wrong);
        assert!(matches!(fault, Fault::Malformed { .. }), "{fault}");
    }
    for other in ["SSH-1.5-x\r\n", "SSH-3.0-x\r\n", "SSH-\n"] {
        let fault = told(other.as_bytes());
        assert!(matches!(fault, Fault::Version { .. }), "{fault}");
    }
}

#[test]
fn packets_that_are_none() {
    let packet = |bytes: &[u8]| told(&[b"SSH-2.0-x\r\n", bytes].concat());
    for length in [35_000_u32, 1 << 20, u32::MAX] {
        let fault = packet(&length.to_be_bytes());
        assert!(matches!(fault, Fault::Oversized { .. }), "{length}: {fault}");
    }
    for wrong in [
        // Too short; not a multiple of eight; less padding than four; padding only; more padding than packet.
        &[0, 0, 0, 0, 0, 0, 0, 0][..],
        &[0, 0, 0, 4, 0, 0, 0, 0],
        &[0, 0, 0, 13, 4],
        &[0, 0, 0, 12, 3, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0, 0, 0, 12, 11, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0, 0, 0, 12, 255, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let fault = packet(wrong);
        assert!(matches!(fault, Fault::Malformed { what: "a packet" }), "{wrong:?}: {fault}");
    }
}

/// A client that logs in, or only queries, at a server that answers every request with these messages.
fn answered(messages: &[Vec<u8>], signed: bool) -> Result<bool, Fault> {
    let (client, server) = UnixStream::pair().unwrap();
    let user = key(KeyKind::Ed25519);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut transport = Transport::new(server, limits());
            let (_, keys) = Host::new(&identities()[..1])?.exchange(&mut transport)?;
            keys.take_up_keys(&mut transport)?;
            for message in messages {
                transport.send(message)?;
            }
            // Until the client leaves.
            loop {
                transport.receive()?;
            }
            #[expect(unreachable_code, reason = "says what is returned above")]
            Ok::<_, Fault>(())
        });
        let mut session = Session::open(client, &Limits::within(Duration::from_millis(300)))?;
        session.exchange(HostKeyAlgorithm::key(KeyKind::Ed25519))?;
        if signed {
            return Ok(session.authenticate("root", &user)? == Login::Accepted);
        }
        Ok(session.query("root", user.public_key())? == Query::Acceptable)
    })
}

fn service() -> Vec<u8> {
    Writer::message(number::SERVICE_ACCEPT).string("ssh-userauth").finish()
}

#[test]
fn what_may_come_at_any_time_is_passed_over() {
    let extensions = Writer::message(number::EXT_INFO).u32(2).string("server-sig-algs").string("ssh-ed25519");
    let messages = [
        extensions.string("x@example.org").string("\0").finish(),
        Writer::message(number::IGNORE).string("x").finish(),
        service(),
        Writer::message(number::USERAUTH_BANNER).string("Welcome\n").string("").finish(),
        Writer::message(number::DEBUG).byte(1).string("x").string("").finish(),
        Writer::message(number::GLOBAL_REQUEST).string("hostkeys-00@openssh.com").byte(0).string("x").finish(),
        Writer::message(number::GLOBAL_REQUEST).string("keepalive@openssh.com").byte(1).finish(),
        Writer::message(number::USERAUTH_SUCCESS).finish(),
    ];
    assert!(answered(&messages, true).unwrap());
}

#[test]
fn other_answers_are_refused() {
    let refused = Writer::message(number::USERAUTH_FAILURE).names(["publickey"]);
    let other_key = Writer::message(number::USERAUTH_PK_OK).string("ssh-ed25519").string("x");
    for (answer, is) in [
        (vec![number::SERVICE_ACCEPT], "cut"),
        (vec![number::KEXINIT], "an exchange by the server"),
        (vec![number::NEWKEYS], "keys without an exchange"),
        (vec![number::USERAUTH_SUCCESS, 0], "a longer success"),
        (refused.finish(), "a cut refusal"),
        (other_key.finish(), "the answer to another question"),
        (Writer::message(number::EXT_INFO).u32(u32::MAX).finish(), "extensions that are not there"),
        (vec![3, 0, 0, 0, 0], "not implemented"),
        (vec![255], "nothing known"),
    ] {
        for signed in [false, true] {
            let fault = answered(&[service(), answer.clone()], signed).expect_err(is);
            let is_named = matches!(fault, Fault::Malformed { .. } | Fault::Unexpected { .. });
            assert!(is_named, "{is}: {fault}");
        }
    }
    let other_service = Writer::message(number::SERVICE_ACCEPT).string("ssh-connection").finish();
    assert!(answered(&[other_service], true).is_err());
    assert!(answered(&[vec![number::USERAUTH_SUCCESS]], true).is_err(), "before the service");
    assert!(answered(&[service(), vec![number::USERAUTH_SUCCESS]], false).is_err(), "without a signature");
    let fault = answered(&[service()], true).unwrap_err();
    assert!(matches!(fault, Fault::Timeout), "{fault}");
}

#[test]
fn every_answer_with_a_byte_wrong_ends() {
    let refused = Writer::message(number::USERAUTH_FAILURE).names(["publickey", "password"]).byte(0).finish();
    for message in [service(), refused] {
        for at in 0..message.len() {
            let mut flipped = message.clone();
            flipped[at] ^= 0x81;
            for wrong in [flipped, message[..at.max(1)].to_vec(), [&message[..], &[0]].concat()] {
                let mut messages = vec![wrong, vec![number::USERAUTH_SUCCESS]];
                if message[0] != number::SERVICE_ACCEPT {
                    messages.insert(0, service());
                }
                // A method may have any name. No other fault lets a user in.
                assert!(!matches!(answered(&messages, true), Ok(true)), "{at}");
            }
        }
    }
}

#[test]
fn a_server_that_never_stops_is_bounded() {
    let (client, server) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut transport = Transport::new(server, limits());
            let (_, keys) = Host::new(&identities()[..1])?.exchange(&mut transport)?;
            keys.take_up_keys(&mut transport)?;
            let most = vec![0; LONGEST_PACKET - 100];
            loop {
                transport.send(&Writer::message(number::IGNORE).string(&most).finish())?;
            }
            #[expect(unreachable_code, reason = "says what is returned above")]
            Ok::<_, Fault>(())
        });
        let user = key(KeyKind::Ed25519);
        let mut session = Session::open(client, &limits()).unwrap();
        session.exchange(HostKeyAlgorithm::key(KeyKind::Ed25519)).unwrap();
        let fault = session.authenticate("root", &user).unwrap_err();
        assert!(matches!(fault, Fault::Budget { .. }), "{fault}");
    });
}
