//! What the tests of a handshake share: keys, certificates, and a stream that changes what passes through it.

use super::{
    algorithm::KeyKind,
    server::Identity,
    stream::{Limits, Stream},
};
use ssh_key::{
    Algorithm, EcdsaCurve, PrivateKey,
    certificate::{Builder, CertType},
    private::RsaKeypair,
    rand_core::OsRng,
};
use std::{
    io::{self, Read, Write},
    sync::OnceLock,
    time::Duration,
};

/// Time enough for an honest peer.
pub(super) fn limits() -> Limits {
    Limits::within(Duration::from_secs(20))
}

/// A new key.
pub(crate) fn key(kind: KeyKind) -> PrivateKey {
    let ecdsa = |curve| PrivateKey::random(&mut OsRng, Algorithm::Ecdsa { curve }).unwrap();
    match kind {
        KeyKind::Ed25519 => PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap(),
        KeyKind::EcdsaP256 => ecdsa(EcdsaCurve::NistP256),
        KeyKind::EcdsaP384 => ecdsa(EcdsaCurve::NistP384),
        KeyKind::EcdsaP521 => ecdsa(EcdsaCurve::NistP521),
        KeyKind::RsaSha512 | KeyKind::RsaSha256 => RsaKeypair::random(&mut OsRng, 2048).unwrap().into(),
    }
}

/// A key with a certificate.
fn identity(kind: KeyKind) -> Identity {
    let key = key(kind);
    let mut builder = Builder::new_with_random_nonce(&mut OsRng, key.public_key(), 1, 1 << 40).unwrap();
    builder.cert_type(CertType::Host).unwrap().valid_principal("web1.example.org").unwrap();
    let certificate = builder.sign(&self::key(KeyKind::Ed25519)).unwrap();
    Identity { key, certificate: Some(certificate.to_bytes().unwrap()) }
}

/// One key of each type, with a certificate. They are made only once.
pub(super) fn identities() -> &'static [Identity] {
    static MADE: OnceLock<Vec<Identity>> = OnceLock::new();
    MADE.get_or_init(|| {
        let kinds = [KeyKind::Ed25519, KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::EcdsaP521, KeyKind::RsaSha512];
        kinds.map(identity).into()
    })
}

/// A stream in which one byte is read other than it was written.
pub(super) struct FaultyStream<S> {
    pub(super) stream: S,
    /// Which byte, counted from 0.
    pub(super) at: usize,
    /// What happens to it.
    pub(super) how: ByteFault,
    pub(super) read: Vec<u8>,
}

/// What happens to a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteFault {
    Nothing,
    Flip(u8),
    /// The connection ends before the byte.
    End,
    /// The byte comes twice.
    Double,
    /// The byte is lost.
    Lose,
}

impl<S: Read> Read for FaultyStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let before = self.read.len();
        // Reads byte by byte around the spoilt byte, so that it is alone in its read.
        let length = if self.at >= before { (self.at - before).clamp(1, buffer.len()) } else { buffer.len() };
        if self.at == before && self.how == ByteFault::End {
            return Ok(0);
        }
        let got = self.stream.read(&mut buffer[..length])?;
        let is_it = got > 0 && self.at == before;
        self.read.extend_from_slice(&buffer[..got]);
        Ok(match self.how {
            ByteFault::Flip(bits) if is_it => {
                buffer[0] ^= bits;
                got
            }
            ByteFault::Double if is_it => {
                buffer[1] = buffer[0];
                2
            }
            ByteFault::Lose if is_it => self.read(buffer)?,
            ByteFault::Nothing | ByteFault::Flip(_) | ByteFault::End | ByteFault::Double | ByteFault::Lose => got,
        })
    }
}

impl<S: Write> Write for FaultyStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<S: Stream> Stream for FaultyStream<S> {
    fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        self.stream.set_patience(patience)
    }
}
