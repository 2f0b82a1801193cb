//! What the two sides agree on (RFC 4253, section 7.1).

use super::{
    algorithm::HostKeyAlgorithm,
    cipher::{Cipher, Mac},
    fault::{Choice, Fault},
    kex::Kex,
    wire::{Reader, Writer, number},
};
use ring::rand::{SecureRandom as _, SystemRandom};

/// Names in the list of key exchange methods that do not name a method.
pub(super) const EXT_INFO_CLIENT: &str = "ext-info-c";
pub(super) const STRICT_CLIENT: &str = "kex-strict-c-v00@openssh.com";
pub(super) const STRICT_SERVER: &str = "kex-strict-s-v00@openssh.com";

/// Something that the two sides choose by name.
pub(super) trait Negotiable: Copy + 'static {
    fn name(self) -> &'static str;
}

/// The lists of one side's KEXINIT. Where there are two lists, the first is for bytes to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lists {
    pub(super) kex: Vec<String>,
    pub(super) host_keys: Vec<String>,
    pub(super) ciphers: [Vec<String>; 2],
    pub(super) macs: [Vec<String>; 2],
    pub(super) compression: [Vec<String>; 2],
    /// Whether a key exchange packet follows that was sent on a guess.
    pub(super) guessed: bool,
}

impl Lists {
    pub(super) fn parse(payload: &[u8], what: &'static str) -> Result<Self, Fault> {
        let mut reader = Reader::after_number(payload, what);
        reader.take(16)?;
        let kex = reader.names()?;
        let host_keys = reader.names()?;
        let mut two = || Ok::<_, Fault>([reader.names()?, reader.names()?]);
        let (ciphers, macs, compression, _languages) = (two()?, two()?, two()?, two()?);
        let guessed = reader.boolean()?;
        reader.u32()?;
        reader.finish()?;
        Ok(Self { kex, host_keys, ciphers, macs, compression, guessed })
    }
}

/// The algorithms of this side, in order of preference.
#[derive(Clone, Debug)]
pub(super) struct Abilities {
    pub(super) kex: Vec<Kex>,
    pub(super) ciphers: Vec<Cipher>,
    pub(super) macs: Vec<Mac>,
}

impl Default for Abilities {
    fn default() -> Self {
        Self { kex: Kex::ALL.to_vec(), ciphers: Cipher::ALL.to_vec(), macs: Mac::ALL.to_vec() }
    }
}

impl Abilities {
    /// A KEXINIT message with these algorithms.
    pub(super) fn init(&self, host_keys: &[HostKeyAlgorithm], signals: &[&str]) -> Result<Vec<u8>, Fault> {
        let mut cookie = [0; 16];
        SystemRandom::new().fill(&mut cookie)?;
        let (ciphers, macs) = (names(&self.ciphers), names(&self.macs));
        let kex = names(&self.kex).into_iter().chain(signals.iter().copied());
        let mut writer = Writer::message(number::KEXINIT).raw(&cookie).names(kex);
        writer = writer.names(host_keys.iter().map(|algorithm| algorithm.name()));
        for list in [&ciphers, &ciphers, &macs, &macs] {
            writer = writer.names(list.iter().copied());
        }
        for list in ["none", "none", "", ""] {
            writer = writer.string(list);
        }
        Ok(writer.byte(0).u32(0).finish())
    }
}

fn names<T: Negotiable>(of: &[T]) -> Vec<&'static str> {
    of.iter().map(|one| one.name()).collect()
}

/// A cipher, and the message authentication code for one that does not authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Protection {
    pub(super) cipher: Cipher,
    pub(super) mac: Option<Mac>,
}

/// The negotiated algorithms, except for the host key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suite {
    pub(super) kex: Kex,
    /// The protection of bytes to the server, and of those from it.
    pub(super) protection: [Protection; 2],
}

/// Which side this is. The client's order of preference decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

impl Role {
    /// The algorithm on which both sides agree.
    pub(super) fn choose<T: Negotiable>(self, ours: &[T], theirs: &[String], choice: Choice) -> Result<T, Fault> {
        let is = |one: &T, name: &String| one.name() == name;
        let chosen = match self {
            Self::Client => ours.iter().find(|one| theirs.iter().any(|name| is(one, name))),
            Self::Server => theirs.iter().find_map(|name| ours.iter().find(|one| is(one, name))),
        };
        chosen.copied().ok_or_else(|| Fault::NotSpoken { choice, allowed: theirs.to_vec() })
    }

    pub(super) fn agree(self, ours: &Abilities, theirs: &Lists) -> Result<Suite, Fault> {
        let kex = self.choose(&ours.kex, &theirs.kex, Choice::Kex)?;
        let protection = |ciphers: &[String], macs: &[String]| {
            let cipher = self.choose(&ours.ciphers, ciphers, Choice::Cipher)?;
            let mac = if cipher.is_aead() { None } else { Some(self.choose(&ours.macs, macs, Choice::Mac)?) };
            Ok::<_, Fault>(Protection { cipher, mac })
        };
        let ([to_cipher, from_cipher], [to_mac, from_mac]) = (&theirs.ciphers, &theirs.macs);
        let protection = [protection(to_cipher, to_mac)?, protection(from_cipher, from_mac)?];
        for allowed in &theirs.compression {
            self.choose(&[NoCompression], allowed, Choice::Compression)?;
        }
        Ok(Suite { kex, protection })
    }
}

#[derive(Clone, Copy)]
struct NoCompression;

impl Negotiable for NoCompression {
    fn name(self) -> &'static str {
        "none"
    }
}

impl Negotiable for HostKeyAlgorithm {
    fn name(self) -> &'static str {
        Self::name(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::algorithm::KeyKind;

    fn theirs() -> Lists {
        let init = Abilities::default().init(&[HostKeyAlgorithm::key(KeyKind::Ed25519)], &[STRICT_SERVER]).unwrap();
        Lists::parse(&init, "it").unwrap()
    }

    fn list(text: &str) -> Vec<String> {
        text.split(',').map(String::from).collect()
    }

    #[test]
    fn an_init_is_read_as_written() {
        let lists = theirs();
        assert_eq!(lists.kex.last().map(String::as_str), Some(STRICT_SERVER));
        assert_eq!(lists.host_keys, ["ssh-ed25519"]);
        assert_eq!(lists.compression, [["none"], ["none"]]);
        assert!(!lists.guessed);
    }

    #[test]
    fn the_clients_order_counts() {
        let (ours, mut theirs) = (Abilities::default(), theirs());
        theirs.kex = list("x,ecdh-sha2-nistp384,curve25519-sha256");
        theirs.ciphers[1] = list("aes256-ctr,aes128-ctr");
        theirs.macs[1] = list("umac-64@openssh.com,hmac-sha2-256");
        let as_client = Role::Client.agree(&ours, &theirs).unwrap();
        assert_eq!(as_client.kex, Kex::Curve25519);
        assert_eq!(as_client.protection[0], Protection { cipher: Cipher::Aes128Gcm, mac: None });
        assert_eq!(as_client.protection[1], Protection { cipher: Cipher::Aes128Ctr, mac: Some(Mac::Sha256) });
        let as_server = Role::Server.agree(&ours, &theirs).unwrap();
        assert_eq!(as_server.kex, Kex::NistP384);
        assert_eq!(as_server.protection[1], Protection { cipher: Cipher::Aes256Ctr, mac: Some(Mac::Sha256) });
    }

    #[test]
    fn what_is_not_common_is_named() {
        type ListFault = fn(&mut Lists);
        let spoil: [(ListFault, Choice); 4] = [
            (|lists| lists.kex = list("diffie-hellman-group14-sha256"), Choice::Kex),
            (|lists| lists.ciphers[0] = list("3des-cbc"), Choice::Cipher),
            (
                |lists| {
                    lists.ciphers[1] = list("aes128-ctr");
                    lists.macs[1] = list("hmac-sha1");
                },
                Choice::Mac,
            ),
            (|lists| lists.compression[1] = list("zlib@openssh.com"), Choice::Compression),
        ];
        for (spoil, what) in spoil {
            let mut theirs = theirs();
            spoil(&mut theirs);
            for role in [Role::Client, Role::Server] {
                let fault = role.agree(&Abilities::default(), &theirs).unwrap_err();
                assert!(matches!(fault, Fault::NotSpoken { choice, .. } if choice == what), "{fault}");
            }
        }
    }

    #[test]
    fn a_cut_or_longer_init_is_refused() {
        let init = Abilities::default().init(&[], &[]).unwrap();
        Lists::parse(&init, "it").unwrap();
        for end in 0..init.len() {
            assert!(Lists::parse(&init[..end], "it").is_err(), "{end}");
        }
        assert!(Lists::parse(&[&init[..], b"x"].concat(), "it").is_err());
    }
}
