//! How packets are encrypted and authenticated.

use super::{
    fault::Fault,
    keys::Derivation,
    negotiate::{Negotiable, Protection},
};
use aes::{Aes128, Aes192, Aes256};
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit as _, StreamCipher as _},
};
use ring::{
    aead::{
        AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey, chacha20_poly1305_openssh as chacha,
    },
    hmac,
};
use std::fmt;
use zeroize::Zeroizing;

/// The size of a packet's length field.
const LENGTH: usize = 4;
const AES_BLOCK: usize = 16;
const AEAD_TAG: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cipher {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
    Aes128Ctr,
    Aes192Ctr,
    Aes256Ctr,
}

impl Cipher {
    pub(super) const ALL: [Self; 6] =
        [Self::Aes128Gcm, Self::Aes256Gcm, Self::ChaCha20Poly1305, Self::Aes128Ctr, Self::Aes192Ctr, Self::Aes256Ctr];

    /// Whether the cipher also authenticates.
    pub(super) fn is_aead(self) -> bool {
        matches!(self, Self::Aes128Gcm | Self::Aes256Gcm | Self::ChaCha20Poly1305)
    }

    fn key_length(self) -> usize {
        match self {
            Self::Aes128Gcm | Self::Aes128Ctr => 16,
            Self::Aes192Ctr => 24,
            Self::Aes256Gcm | Self::Aes256Ctr => 32,
            Self::ChaCha20Poly1305 => chacha::KEY_LEN,
        }
    }
}

impl Negotiable for Cipher {
    fn name(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "aes128-gcm@openssh.com",
            Self::Aes256Gcm => "aes256-gcm@openssh.com",
            Self::ChaCha20Poly1305 => "chacha20-poly1305@openssh.com",
            Self::Aes128Ctr => "aes128-ctr",
            Self::Aes192Ctr => "aes192-ctr",
            Self::Aes256Ctr => "aes256-ctr",
        }
    }
}

/// A message authentication code. The `Etm` variants cover the encrypted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mac {
    Sha256Etm,
    Sha512Etm,
    Sha256,
    Sha512,
}

impl Mac {
    pub(super) const ALL: [Self; 4] = [Self::Sha256Etm, Self::Sha512Etm, Self::Sha256, Self::Sha512];

    fn algorithm(self) -> hmac::Algorithm {
        match self {
            Self::Sha256Etm | Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512Etm | Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

impl Negotiable for Mac {
    fn name(self) -> &'static str {
        match self {
            Self::Sha256Etm => "hmac-sha2-256-etm@openssh.com",
            Self::Sha512Etm => "hmac-sha2-512-etm@openssh.com",
            Self::Sha256 => "hmac-sha2-256",
            Self::Sha512 => "hmac-sha2-512",
        }
    }
}

/// The cipher and the message authentication code of one direction.
pub(super) enum Guard {
    Clear,
    Gcm { key: Box<LessSafeKey>, nonce: [u8; NONCE_LEN] },
    ChaCha { sealing: Box<chacha::SealingKey>, opening: Box<chacha::OpeningKey> },
    Ctr { keystream: Keystream, mac: Box<hmac::Key>, before: bool },
}

/// The key stream of a block cipher in counter mode.
pub(super) enum Keystream {
    Aes128(Box<Ctr128BE<Aes128>>),
    Aes192(Box<Ctr128BE<Aes192>>),
    Aes256(Box<Ctr128BE<Aes256>>),
}

impl Keystream {
    fn apply(&mut self, bytes: &mut [u8]) {
        match self {
            Self::Aes128(stream) => stream.apply_keystream(bytes),
            Self::Aes192(stream) => stream.apply_keystream(bytes),
            Self::Aes256(stream) => stream.apply_keystream(bytes),
        }
    }
}

/// The letters by which RFC 4253, section 7.2, distinguishes the keys of one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letters {
    pub(super) iv: u8,
    pub(super) key: u8,
    pub(super) mac: u8,
}

impl Letters {
    /// For the bytes to the server, and for those from it.
    pub(super) const BOTH: [Self; 2] =
        [Self { iv: b'A', key: b'C', mac: b'E' }, Self { iv: b'B', key: b'D', mac: b'F' }];
}

impl Guard {
    pub(super) fn new(protection: Protection, letters: Letters, keys: &Derivation) -> Result<Self, Fault> {
        let cipher = protection.cipher;
        let key = keys.derive(letters.key, cipher.key_length());
        let gcm = |algorithm| -> Result<Self, Fault> {
            let key = Box::new(LessSafeKey::new(UnboundKey::new(algorithm, &key)?));
            let mut nonce = [0; NONCE_LEN];
            nonce.copy_from_slice(&keys.derive(letters.iv, NONCE_LEN));
            Ok(Self::Gcm { key, nonce })
        };
        let iv = || keys.derive(letters.iv, AES_BLOCK);
        let keystream = match cipher {
            Cipher::Aes128Gcm => return gcm(&AES_128_GCM),
            Cipher::Aes256Gcm => return gcm(&AES_256_GCM),
            Cipher::ChaCha20Poly1305 => {
                let mut bytes = Zeroizing::new([0; chacha::KEY_LEN]);
                bytes.copy_from_slice(&key);
                let (sealing, opening) = (chacha::SealingKey::new(&bytes), chacha::OpeningKey::new(&bytes));
                return Ok(Self::ChaCha { sealing: Box::new(sealing), opening: Box::new(opening) });
            }
            Cipher::Aes128Ctr => Ctr128BE::new_from_slices(&key, &iv()).map(|ctr| Keystream::Aes128(Box::new(ctr))),
            Cipher::Aes192Ctr => Ctr128BE::new_from_slices(&key, &iv()).map(|ctr| Keystream::Aes192(Box::new(ctr))),
            Cipher::Aes256Ctr => Ctr128BE::new_from_slices(&key, &iv()).map(|ctr| Keystream::Aes256(Box::new(ctr))),
        };
        let (Ok(keystream), Some(code)) = (keystream, protection.mac) else { return Err(Fault::Random) };
        let algorithm = code.algorithm();
        let secret = keys.derive(letters.mac, algorithm.digest_algorithm().output_len());
        let mac = Box::new(hmac::Key::new(algorithm, &secret));
        Ok(Self::Ctr { keystream, mac, before: matches!(code, Mac::Sha256 | Mac::Sha512) })
    }

    /// The padded part of a packet is a multiple of this size.
    pub(super) fn block(&self) -> usize {
        match self {
            Self::Clear | Self::ChaCha { .. } => 8,
            Self::Gcm { .. } | Self::Ctr { .. } => AES_BLOCK,
        }
    }

    /// How much of the length field belongs to the padded part.
    pub(super) fn padded_length_field(&self) -> usize {
        match self {
            Self::Clear | Self::Ctr { before: true, .. } => LENGTH,
            Self::Gcm { .. } | Self::ChaCha { .. } | Self::Ctr { before: false, .. } => 0,
        }
    }

    /// How many bytes have to arrive before the length of a packet can be read.
    pub(super) fn head(&self) -> usize {
        if matches!(self, Self::Ctr { before: true, .. }) { AES_BLOCK } else { LENGTH }
    }

    /// The size of the authentication code that follows a packet.
    pub(super) fn tag(&self) -> usize {
        match self {
            Self::Clear => 0,
            Self::Gcm { .. } | Self::ChaCha { .. } => AEAD_TAG,
            Self::Ctr { mac, .. } => mac.algorithm().digest_algorithm().output_len(),
        }
    }

    /// Encrypts a packet with its length field, and appends its authentication code.
    pub(super) fn seal(&mut self, sequence: u32, packet: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            Self::Clear => {}
            Self::Gcm { key, nonce } => {
                let (length, body) = packet.split_at_mut_checked(LENGTH).ok_or(Fault::Integrity)?;
                let tag = key.seal_in_place_separate_tag(next(nonce), Aad::from(&*length), body)?;
                packet.extend_from_slice(tag.as_ref());
            }
            Self::ChaCha { sealing, .. } => {
                let mut tag = [0; chacha::TAG_LEN];
                sealing.seal_in_place(sequence, packet, &mut tag);
                packet.extend_from_slice(&tag);
            }
            Self::Ctr { keystream, mac, before } => {
                let tag = if *before {
                    let tag = code(mac, sequence, packet);
                    keystream.apply(packet);
                    tag
                } else {
                    keystream.apply(packet.get_mut(LENGTH..).unwrap_or_default());
                    code(mac, sequence, packet)
                };
                packet.extend_from_slice(tag.as_ref());
            }
        }
        Ok(())
    }

    /// The length of a packet, from its head. Decrypts as much of the head as [`Self::open`] expects to be decrypted.
    pub(super) fn length(&mut self, sequence: u32, head: &mut [u8]) -> u32 {
        if let Self::Ctr { keystream, before: true, .. } = self {
            keystream.apply(head);
        }
        let field = head.first_chunk().copied().unwrap_or_default();
        match self {
            Self::ChaCha { opening, .. } => u32::from_be_bytes(opening.decrypt_packet_length(sequence, field)),
            Self::Clear | Self::Gcm { .. } | Self::Ctr { .. } => u32::from_be_bytes(field),
        }
    }

    /// Authenticates and decrypts a packet with its authentication code, after its length was read. What remains is
    /// what follows the length field.
    pub(super) fn open(&mut self, sequence: u32, packet: &mut Vec<u8>) -> Result<(), Fault> {
        let end = packet.len().checked_sub(self.tag()).ok_or(Fault::Integrity)?;
        match self {
            Self::Clear => {}
            Self::Gcm { key, nonce } => {
                let (length, body) = packet.split_at_mut_checked(LENGTH).ok_or(Fault::Integrity)?;
                key.open_in_place(next(nonce), Aad::from(&*length), body).map_err(|_| Fault::Integrity)?;
            }
            Self::ChaCha { opening, .. } => {
                let (body, tag) = packet.split_at_mut_checked(end).ok_or(Fault::Integrity)?;
                let tag = tag.first_chunk().ok_or(Fault::Integrity)?;
                opening.open_in_place(sequence, body, tag).map_err(|_| Fault::Integrity)?;
            }
            Self::Ctr { keystream, mac, before } => {
                let (body, tag) = packet.split_at_mut_checked(end).ok_or(Fault::Integrity)?;
                if *before {
                    keystream.apply(body.get_mut(AES_BLOCK..).unwrap_or_default());
                    verify(mac, sequence, body, tag)?;
                } else {
                    verify(mac, sequence, body, tag)?;
                    keystream.apply(body.get_mut(LENGTH..).unwrap_or_default());
                }
            }
        }
        packet.truncate(end);
        packet.drain(..LENGTH.min(end));
        Ok(())
    }
}

/// The nonce for the present packet, and the next one in its place: the last eight bytes are the counter (RFC 5647,
/// section 7.1).
fn next(nonce: &mut [u8; NONCE_LEN]) -> Nonce {
    let current = Nonce::assume_unique_for_key(*nonce);
    if let Some(counter) = nonce.last_chunk_mut() {
        *counter = u64::from_be_bytes(*counter).wrapping_add(1).to_be_bytes();
    }
    current
}

fn code(key: &hmac::Key, sequence: u32, packet: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(&sequence.to_be_bytes());
    context.update(packet);
    context.sign()
}

/// Checks the authentication code in constant time.
fn verify(key: &hmac::Key, sequence: u32, packet: &[u8], tag: &[u8]) -> Result<(), Fault> {
    let authenticated = [&sequence.to_be_bytes(), packet].concat();
    hmac::verify(key, &authenticated, tag).map_err(|_| Fault::Integrity)
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clear => "Clear",
            Self::Gcm { .. } => "Gcm",
            Self::ChaCha { .. } => "ChaCha",
            Self::Ctr { .. } => "Ctr",
        })
    }
}
