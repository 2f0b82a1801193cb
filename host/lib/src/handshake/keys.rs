//! The exchange hash (RFC 4253, section 8), and the keys derived from it (section 7.2).

use super::{kex::Hash, wire::Writer};
use zeroize::Zeroizing;

/// Everything that both sides have seen of an exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transcript<'a> {
    /// The version lines, without line ends, and the KEXINIT messages: first the client's, then the server's.
    pub(super) versions: [&'a [u8]; 2],
    pub(super) inits: [&'a [u8]; 2],
    pub(super) host_key: &'a [u8],
    /// The public values, client first.
    pub(super) shares: [&'a [u8]; 2],
}

impl Transcript<'_> {
    /// The exchange hash, with the shared secret in its encoding.
    pub(super) fn hash(&self, hash: Hash, secret: &[u8]) -> Vec<u8> {
        let [client, server] = self.versions;
        let [client_init, server_init] = self.inits;
        let [client_share, server_share] = self.shares;
        let writer = Writer::new().string(client).string(server).string(client_init).string(server_init);
        let writer = writer.string(self.host_key).string(client_share).string(server_share).raw(secret);
        hash.digest(&[&Zeroizing::new(writer.finish())])
    }
}

/// What the keys are derived from.
pub(super) struct Derivation {
    pub(super) hash: Hash,
    /// The shared secret, in its encoding.
    pub(super) secret: Zeroizing<Vec<u8>>,
    /// The hash of this exchange, and of the first one of the session.
    pub(super) exchange: Vec<u8>,
    pub(super) session: Vec<u8>,
}

impl Derivation {
    pub(super) fn derive(&self, letter: u8, length: usize) -> Zeroizing<Vec<u8>> {
        let mut key = Zeroizing::new(Vec::with_capacity(length + 64));
        key.extend(&*self.hash.secret_digest(&[&self.secret, &self.exchange, &[letter], &self.session]));
        while key.len() < length {
            let more = self.hash.secret_digest(&[&self.secret, &self.exchange, &key]);
            key.extend(&*more);
        }
        key.truncate(length);
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    }

    /// Computed by another program from the formula of RFC 4253, section 7.2.
    #[test]
    fn keys_are_derived_as_in_the_rfc() {
        let cases = [
            (Hash::Sha256, b'A', "35c2b8b5519e269b8fdf1f99"),
            (
                Hash::Sha256,
                b'C',
                "ac4c9d3bae878b131d6798870fd01e2b40d3e91ab06295354bca8fe564238a87\
                 1c67e150e4bed03388fd3efa68403e8bd059338a8b6eec8d1b70c3302c0753bf",
            ),
            (
                Hash::Sha384,
                b'E',
                "c820b0bf9a15d633019a1e265c8f784614aaf7f402af2f5c2ce54f01ae766891\
                 f9b6d6d6fda0c677c3fa1f84aed096b8a0ab71c6021bd9596bfd2d4146d38e19",
            ),
            (Hash::Sha512, b'F', "835a7aba4dba1399d5ccd3dadd1db62168b7927b1cd0f2696de61514e92e8c3a"),
        ];
        for (hash, letter, key) in cases {
            let secret = Writer::new().string("secre").finish().into();
            let keys = Derivation { hash, secret, exchange: (0..32).collect(), session: b"session".to_vec() };
            assert_eq!(hex(&keys.derive(letter, key.len() / 2)), key);
        }
    }

    /// Computed by another program from the formula of RFC 5656, section 4.
    #[test]
    fn an_exchange_is_hashed_as_in_the_rfc() {
        let transcript = Transcript {
            versions: [b"SSH-2.0-c", b"SSH-2.0-s"],
            inits: [b"ci", b"si"],
            host_key: b"ks",
            shares: [b"qc", b"qs"],
        };
        let hash = transcript.hash(Hash::Sha256, b"\0\0\0\x01k");
        assert_eq!(hex(&hash), "07a4783e094b1a41ece449bd9f36a4f889296622b7aad79a846f631c1849e377");
    }
}
