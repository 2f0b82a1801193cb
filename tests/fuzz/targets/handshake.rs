//! The SSH handshake, before encryption: any bytes are read as a server's, and as a client's. None prove a host
//! key, since a proof is made of random numbers of this side; and none are said to have accepted one.
//! The first byte of the input says for which algorithm the server is asked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ssh_key::private::Ed25519Keypair;
use std::{
    io::{self, Read, Write},
    time::Duration,
};
use warded_fuzz::is_harmless;
use warded_lib::handshake::{Fault, HostKeyAlgorithm, Identity, Limits, Session, Stream, serve};

/// A peer that says this, a few bytes at a time, whatever it hears.
struct Script<'a>(&'a [u8]);

impl Read for Script<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(100);
        self.0.read(&mut buffer[..length])
    }
}

impl Write for Script<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Script<'_> {
    fn set_patience(&mut self, _: Duration) -> io::Result<()> {
        Ok(())
    }
}

fn limits() -> Limits {
    Limits { bytes: 6000, ..Limits::within(Duration::from_secs(5)) }
}

fn client(bytes: &[u8], algorithm: HostKeyAlgorithm) -> Fault {
    let mut session = match Session::open(Script(bytes), &limits()) {
        Ok(session) => session,
        Err(fault) => return fault,
    };
    assert!(session.server().version.is_ascii());
    let offers = session.server().offers(algorithm);
    let fault = session.exchange(algorithm).expect_err("proved by bytes from nowhere");
    assert!(offers || matches!(fault, Fault::NotOffered { .. }));
    fault
}

fuzz_target!(|data: &[u8]| {
    let Some((first, bytes)) = data.split_first() else { return };
    let algorithm = HostKeyAlgorithm::all().cycle().nth(usize::from(*first)).unwrap();
    let fault = client(bytes, algorithm);
    is_harmless(&fault.to_string());
    if let Fault::Closed { said } | Fault::Disconnected { reason: said, .. } = &fault {
        assert!(said.len() <= 8192);
    }
    let key = Ed25519Keypair::from_seed(&[7; 32]).into();
    match serve(Script(bytes), &[Identity { key, certificate: None }], &limits()) {
        Ok(served) => assert!(served.client.is_ascii()),
        Err(fault) => is_harmless(&fault.to_string()),
    }
});
