//! Questions to a name server, and its answers (RFC 1035, 4). The content of an answer is not trusted: it only says
//! which address to connect to, and the server there has to prove that it holds a key.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HEADER: usize = 12;
const LONGEST_LABEL: usize = 63;
/// In bytes, including the lengths of its labels.
const LONGEST_NAME: usize = 255;
/// More pointers than a name can have labels: in an honest name, each pointer leads to at least one label.
const MOST_PLACES: usize = 128;
/// The limit for a chain of aliases.
const MOST_NAMES: usize = 16;
const INTERNET: u16 = 1;
const CNAME: u16 = 5;

/// The type of record to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `A`
    V4,
    /// `AAAA`
    V6,
}

impl Kind {
    const fn number(self) -> u16 {
        match self {
            Self::V4 => 1,
            Self::V6 => 28,
        }
    }
}

/// A server's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// These addresses; empty if the name has none of this type.
    Addresses(Vec<IpAddr>),
    /// The name does not exist.
    NoSuchName,
    /// An error code.
    Failed(u8),
    /// The answer did not fit into the datagram.
    Truncated,
}

/// The message that asks for the addresses of a name. `None`: the text cannot be a name in the DNS.
pub(super) fn question(id: [u8; 2], name: &str, kind: Kind) -> Option<Vec<u8>> {
    // Flags: recursion desired. Counts: one question.
    let mut message = [id.as_slice(), &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        if label.is_empty() || label.len() > LONGEST_LABEL {
            return None;
        }
        message.push(u8::try_from(label.len()).ok()?);
        message.extend(label.as_bytes());
    }
    message.push(0);
    if message.len() > HEADER + LONGEST_NAME {
        return None;
    }
    message.extend(kind.number().to_be_bytes());
    message.extend(INTERNET.to_be_bytes());
    Some(message)
}

/// Parses an answer. `None`: it does not answer this question, or is malformed.
pub(super) fn read(question: &[u8], answer: &[u8]) -> Option<Reply> {
    let (asked, header) = (question.get(HEADER..)?, answer.get(..HEADER)?);
    let [_, _, flags, code, questions_high, questions_low, count_high, count_low, ..] = *header else { return None };
    let is_answer = question.get(..2)? == answer.get(..2)? && flags & 0xf8 == 0x80;
    let repeated = answer.get(HEADER..question.len())?;
    if !is_answer || [questions_high, questions_low] != [0, 1] || !repeated.eq_ignore_ascii_case(asked) {
        return None;
    }
    if flags & 2 != 0 {
        return Some(Reply::Truncated);
    }
    match code & 15 {
        0 => {}
        3 => return Some(Reply::NoSuchName),
        code => return Some(Reply::Failed(code)),
    }
    let kind = u16::from_be_bytes(*asked.last_chunk::<4>()?.first_chunk::<2>()?);
    let mut names = vec![Reader { message: question, at: HEADER }.name()?];
    let mut found = Vec::new();
    let mut reader = Reader { message: answer, at: question.len() };
    for _ in 0..u16::from_be_bytes([count_high, count_low]) {
        let owner = reader.name()?;
        let (record, class) = (reader.number()?, reader.number()?);
        reader.take(4)?;
        let length = usize::from(reader.number()?);
        let begins = reader.at;
        let data = reader.take(length)?;
        if class != INTERNET || !names.contains(&owner) {
            continue;
        }
        if record == CNAME {
            if names.len() == MOST_NAMES {
                return None;
            }
            names.push(Reader { message: answer, at: begins }.name()?);
        } else if record == kind && record == Kind::V4.number() {
            found.push(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into());
        } else if record == kind {
            found.push(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into());
        }
    }
    Some(Reply::Addresses(found))
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.message.get(self.at..self.at + length)?;
        self.at += length;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// Reads a name in lower case, including the lengths of its labels.
    fn name(&mut self) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        let (mut after, mut places) = (None, 0);
        loop {
            let begins = self.at;
            let length = *self.take(1)?.first()?;
            match length {
                0 => break,
                1..=63 => {
                    name.push(length);
                    name.extend(self.take(usize::from(length))?.to_ascii_lowercase());
                }
                // A pointer to an earlier position. A loop would have to contain a label, so the name would exceed its
                // maximum length.
                192..=255 if places < MOST_PLACES => {
                    places += 1;
                    let low = *self.take(1)?.first()?;
                    let place = usize::from(u16::from_be_bytes([length & 63, low]));
                    after.get_or_insert(self.at);
                    self.at = Some(place).filter(|place| *place < begins)?;
                }
                64.. => return None,
            }
            if name.len() > LONGEST_NAME {
                return None;
            }
        }
        self.at = after.unwrap_or(self.at);
        Some(name)
    }
}
