//! Key revocation lists (OpenSSH's PROTOCOL.krl), read to the last byte, as sshd does. A list that sshd would not load
//! is a fault here, because sshd then refuses every public key, and `sshd -t` does not report it. A list that only some
//! releases of OpenSSH load is a fault, too.

use std::fmt;

/// How a list begins.
const MAGIC: &[u8] = b"SSHKRL\n\0";
/// The only version of the format.
const FORMAT: u32 = 1;
/// Kinds of sections: about the certificates of one CA, plain keys, fingerprints of keys, a
/// signature.
const CERTIFICATES: u8 = 1;
const KEYS: u8 = 2;
const SHA1: u8 = 3;
const SIGNATURE: u8 = 4;
const SHA256: u8 = 5;
/// Kinds of parts of a section about certificates: a list, a range, a set of serial numbers, and
/// key ids.
const LIST: u8 = 0x20;
const RANGE: u8 = 0x21;
const BITMAP: u8 = 0x22;
const IDS: u8 = 0x23;
/// The longest number that sshd reads, in bytes (`SSHBUF_MAX_BIGNUM` in OpenSSH's sshbuf.h).
pub const LONGEST_NUMBER: usize = 16384 / 8;

/// A list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Krl {
    version: u64,
    comment: Vec<u8>,
    sections: Vec<(u8, Vec<u8>)>,
}

/// Why sshd, or some release of it, would not load a list. Shown as the rest of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does not begin like a list.
    NoList,
    /// It ends too early.
    CutOff,
    /// Its format has another version.
    Format(u32),
    /// It is signed.
    Signed,
    /// It has a section of another kind.
    Section(u8),
    /// It lists certificates in another form.
    Part(u8),
    /// It has an impossible value.
    Damaged(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoList => f.write_str("is not a key revocation list"),
            Self::CutOff => f.write_str("is cut off"),
            Self::Format(version) => write!(f, "is damaged: its format has the version {version}"),
            Self::Signed => f.write_str("is signed, and not every sshd reads signed lists"),
            Self::Section(kind) => write!(f, "has a section of type {kind}, and not every sshd reads such sections"),
            Self::Part(kind) => {
                write!(f, "lists certificates in a form (type {kind:#x}) that not every sshd reads")
            }
            Self::Damaged(how) => write!(f, "is damaged: {how}"),
        }
    }
}

impl std::error::Error for Fault {}

/// Whether these bytes are meant to be a list.
#[must_use]
pub fn is_list(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

impl Krl {
    /// Reads a list. It does not check whether sshd can read the CAs' keys in it: for these see [`Krl::authorities`].
    ///
    /// # Errors
    /// Why sshd would not load it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let mut rest = Bytes(bytes.strip_prefix(MAGIC).ok_or(Fault::NoList)?);
        match u32::from_be_bytes(rest.array()?) {
            FORMAT => {}
            other => return Err(Fault::Format(other)),
        }
        let version = rest.number()?;
        let (_date, _flags, _reserved) = (rest.number()?, rest.number()?, rest.string()?);
        let comment = rest.text()?.to_vec();
        let mut sections = Vec::new();
        while !rest.0.is_empty() {
            let ([kind], data) = (rest.array()?, rest.string()?);
            match kind {
                CERTIFICATES => drop(Certificates::parse(data)?),
                KEYS => blobs(data, None)?,
                SHA1 => blobs(data, Some(20))?,
                SHA256 => blobs(data, Some(32))?,
                SIGNATURE => return Err(Fault::Signed),
                other => return Err(Fault::Section(other)),
            }
            sections.push((kind, data.to_vec()));
        }
        Ok(Self { version, comment, sections })
    }

    /// Whether it revokes plain keys, and not only certificates.
    #[must_use]
    pub fn revokes_keys(&self) -> bool {
        self.sections.iter().any(|(kind, _)| *kind != CERTIFICATES)
    }

    /// The CAs that it names, as the wire form of their keys. sshd loads no list with a key that it cannot read.
    pub fn authorities(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates().map(|section| section.authority).filter(|authority| !authority.is_empty())
    }

    /// Whether certificates of that CA (its key's wire form) with that serial number are refused.
    #[must_use]
    pub fn revokes(&self, authority: &[u8], serial: u64) -> bool {
        self.certificates()
            // A section without a CA's key applies to all CAs.
            .filter(|section| section.authority.is_empty() || section.authority == authority)
            .any(|section| section.parts.iter().any(|part| part.has(serial)))
    }

    /// Adds serial numbers of that CA. Returns whether some were not in it. Zero is left out: it is the number from a
    /// CA that does not number its certificates, and sshd loads no list that contains it.
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
        let mut bytes = [MAGIC, &FORMAT.to_be_bytes()].concat();
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

    fn certificates(&self) -> impl Iterator<Item = Certificates<'_>> {
        let sections = self.sections.iter().filter(|(kind, _)| *kind == CERTIFICATES);
        sections.filter_map(|(_, data)| Certificates::parse(data).ok())
    }
}

/// A section about the certificates of one CA, or of all CAs if it names none.
struct Certificates<'a> {
    authority: &'a [u8],
    parts: Vec<Part<'a>>,
}

enum Part<'a> {
    /// Numbers of eight bytes each.
    List(&'a [u8]),
    Range(u64, u64),
    /// A number as bytes, whose bits count from the offset.
    Bitmap(u64, &'a [u8]),
    Ids,
}

impl<'a> Certificates<'a> {
    fn parse(section: &'a [u8]) -> Result<Self, Fault> {
        let mut rest = Bytes(section);
        let (authority, _reserved) = (rest.string()?, rest.string()?);
        let mut parts = Vec::new();
        while !rest.0.is_empty() {
            let ([kind], data) = (rest.array()?, rest.string()?);
            parts.push(Part::parse(kind, data)?);
        }
        Ok(Self { authority, parts })
    }
}

impl<'a> Part<'a> {
    fn parse(kind: u8, part: &'a [u8]) -> Result<Self, Fault> {
        let mut rest = Bytes(part);
        let parsed = match kind {
            LIST => {
                while !rest.0.is_empty() {
                    serials(rest.number()?, 0)?;
                }
                Self::List(part)
            }
            RANGE => {
                let (first, last) = (rest.number()?, rest.number()?);
                let more = last.checked_sub(first).ok_or(Fault::Damaged("a range in it ends before it begins"))?;
                serials(first, more)?;
                Self::Range(first, last)
            }
            BITMAP => {
                let (offset, bits) = (rest.number()?, rest.string()?);
                bitmap(offset, bits)?;
                Self::Bitmap(offset, bits)
            }
            IDS => {
                while !rest.0.is_empty() {
                    rest.text()?;
                }
                Self::Ids
            }
            other => return Err(Fault::Part(other)),
        };
        if rest.0.is_empty() { Ok(parsed) } else { Err(Fault::Damaged("it has bytes that sshd does not expect")) }
    }

    fn has(&self, serial: u64) -> bool {
        match self {
            Self::List(numbers) => numbers.chunks_exact(8).any(|number| number == serial.to_be_bytes()),
            Self::Range(first, last) => (first..=last).contains(&&serial),
            Self::Bitmap(offset, bits) => {
                serial.checked_sub(*offset).and_then(|bit| usize::try_from(bit).ok()).is_some_and(|bit| {
                    let byte = bits.iter().rev().nth(bit / 8);
                    byte.is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
                })
            }
            Self::Ids => false,
        }
    }
}

/// Checks the serial numbers from `first` to `first + more`.
fn serials(first: u64, more: u64) -> Result<(), Fault> {
    if first == 0 || first.checked_add(more).is_none() {
        return Err(Fault::Damaged("it has a serial number that cannot exist"));
    }
    Ok(())
}

fn bitmap(offset: u64, bits: &[u8]) -> Result<(), Fault> {
    let is_negative = bits.first().is_some_and(|byte| byte & 0x80 != 0);
    let is_long = bits.len() > LONGEST_NUMBER + 1 || bits.len() == LONGEST_NUMBER + 1 && bits.first() != Some(&0);
    if is_negative || is_long {
        return Err(Fault::Damaged("a set of serial numbers in it is not valid"));
    }
    let Some(highest) = bits.iter().position(|byte| *byte != 0) else { return Ok(()) };
    let top = 7 - bits.get(highest).map_or(0, |byte| byte.leading_zeros().min(7));
    let last = u64::try_from((bits.len() - highest - 1) * 8).unwrap_or(u64::MAX) + u64::from(top);
    // Zero is in the set only if its lowest bit is set. From one on, only the end of the set matters.
    let has_zero = offset == 0 && bits.last().is_some_and(|byte| byte & 1 == 1);
    serials(if has_zero { 0 } else { offset.max(1) }, if offset == 0 { last.saturating_sub(1) } else { last })
}

/// Checks a section of keys, or of fingerprints of the given length.
fn blobs(section: &[u8], length: Option<usize>) -> Result<(), Fault> {
    let mut rest = Bytes(section);
    while !rest.0.is_empty() {
        let one = rest.string()?;
        if length.is_some_and(|length| one.len() != length) {
            return Err(Fault::Damaged("a fingerprint in it has the wrong length"));
        }
    }
    Ok(())
}

/// The wire form of a public key in one line of OpenSSH's format, as a list names a CA.
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

/// The bytes that have not been read yet.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Fault::CutOff)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_be_bytes)
    }

    fn string(&mut self) -> Result<&'a [u8], Fault> {
        let length = usize::try_from(u32::from_be_bytes(self.array()?)).unwrap_or(usize::MAX);
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Fault::CutOff)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A string that sshd keeps as a C string: a NUL may only be its last byte.
    fn text(&mut self) -> Result<&'a [u8], Fault> {
        let text = self.string()?;
        match text.iter().position(|byte| *byte == 0) {
            Some(at) if at + 1 < text.len() => Err(Fault::Damaged("a text in it has a NUL byte")),
            Some(_) | None => Ok(text),
        }
    }
}

#[cfg(test)]
mod tests;
