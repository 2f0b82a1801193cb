//! Key revocation lists (OpenSSH's PROTOCOL.krl): the serial numbers of certificates that sshd
//! refuses. What somebody else put into a list stays in it.

/// "SSHKRL\n\0", and the version of the format.
const MAGIC: &[u8] = b"SSHKRL\n\0\x00\x00\x00\x01";
/// A section about the certificates of one CA.
const CERTIFICATES: u8 = 1;
/// A section with a signature, which would not hold any more.
const SIGNATURE: u8 = 4;
/// Within a section about certificates: a list, a range, a set of serial numbers.
const LIST: u8 = 0x20;
const RANGE: u8 = 0x21;
const BITMAP: u8 = 0x22;

/// A list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Krl {
    version: u64,
    comment: Vec<u8>,
    sections: Vec<(u8, Vec<u8>)>,
}

/// Why bytes are no list that can be added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unusable(pub &'static str);

const DAMAGED: Unusable = Unusable("it is no key revocation list, or damaged");

impl Krl {
    /// Reads a list.
    ///
    /// # Errors
    /// It is none, is damaged, or is signed.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unusable> {
        let mut rest = Bytes(bytes.strip_prefix(MAGIC).ok_or(DAMAGED)?);
        let version = rest.number()?;
        let (_date, _flags, _reserved) = (rest.number()?, rest.number()?, rest.string()?);
        let comment = rest.string()?.to_vec();
        let mut sections = Vec::new();
        while !rest.0.is_empty() {
            let (kind, data) = (rest.byte()?, rest.string()?);
            if kind == SIGNATURE {
                return Err(Unusable("it is signed, and the signature would not hold for a longer list"));
            }
            if kind == CERTIFICATES {
                // Whatever is wrong in it shows now.
                revoked_in(data, None, 0)?;
            }
            sections.push((kind, data.to_vec()));
        }
        Ok(Self { version, comment, sections })
    }

    /// Whether certificates of that CA (its key's wire form) with that serial number are refused.
    #[must_use]
    pub fn revokes(&self, authority: &[u8], serial: u64) -> bool {
        self.sections
            .iter()
            .any(|(kind, data)| *kind == CERTIFICATES && revoked_in(data, Some(authority), serial) == Ok(true))
    }

    /// Adds serial numbers of that CA's. True: some were not in it. Zero is what a CA gives that
    /// does not number its certificates, and sshd takes no list with it.
    pub fn revoke(&mut self, authority: &[u8], serials: &[u64]) -> bool {
        let mut new: Vec<u64> =
            serials.iter().copied().filter(|serial| *serial != 0 && !self.revokes(authority, *serial)).collect();
        new.sort_unstable();
        new.dedup();
        if new.is_empty() {
            return false;
        }
        let list: Vec<u8> = new.iter().flat_map(|serial| serial.to_be_bytes()).collect();
        let mut section = string(authority);
        section.extend(string(b""));
        section.push(LIST);
        section.extend(string(&list));
        self.sections.push((CERTIFICATES, section));
        self.version = self.version.saturating_add(1);
        true
    }

    /// The file. It has no date: a procedure has no clock.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for number in [self.version, 0, 0] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(string(b""));
        bytes.extend(string(&self.comment));
        for (kind, data) in &self.sections {
            bytes.push(*kind);
            bytes.extend(string(data));
        }
        bytes
    }
}

/// Whether a section about certificates has that serial number of that CA.
fn revoked_in(section: &[u8], authority: Option<&[u8]>, serial: u64) -> Result<bool, Unusable> {
    let mut rest = Bytes(section);
    let of = rest.string()?;
    let _reserved = rest.string()?;
    let mut found = false;
    while !rest.0.is_empty() {
        let (kind, data) = (rest.byte()?, rest.string()?);
        let mut data = Bytes(data);
        found |= match kind {
            LIST => {
                let mut listed = false;
                while !data.0.is_empty() {
                    listed |= data.number()? == serial;
                }
                listed
            }
            RANGE => (data.number()?..=data.number()?).contains(&serial),
            BITMAP => {
                let offset = data.number()?;
                let bits = data.string()?;
                serial.checked_sub(offset).and_then(|bit| usize::try_from(bit).ok()).is_some_and(|bit| {
                    let byte = bits.iter().rev().nth(bit / 8);
                    byte.is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
                })
            }
            _ => false,
        };
    }
    // A section without a CA's key is about all of them.
    Ok(found && authority.is_some_and(|authority| of.is_empty() || of == authority))
}

/// The wire form of a public key in one line of OpenSSH's format.
#[must_use]
pub fn wire_form(line: &str) -> Option<Vec<u8>> {
    let text = line.split_whitespace().nth(1)?.trim_end_matches('=');
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0_u32, 0);
    for letter in text.bytes() {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = (held << 6 | u32::from(six)) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    Some(bytes)
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

/// What has not been read yet.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Unusable> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DAMAGED)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Unusable> {
        self.take(1)?.first().copied().ok_or(DAMAGED)
    }

    fn number(&mut self) -> Result<u64, Unusable> {
        self.take(8)?.try_into().map(u64::from_be_bytes).map_err(|_| DAMAGED)
    }

    fn string(&mut self) -> Result<&'a [u8], Unusable> {
        let length = self.take(4)?.try_into().map(u32::from_be_bytes).map_err(|_| DAMAGED)?;
        self.take(usize::try_from(length).map_err(|_| DAMAGED)?)
    }
}

#[cfg(test)]
mod tests;
