//! The data types of RFC 4251, section 5.

use super::fault::Fault;

/// The longest name in a list (RFC 4251, section 6).
const LONGEST_NAME: usize = 64;

/// Numbers of the messages.
pub(super) mod number {
    pub(in super::super) const DISCONNECT: u8 = 1;
    pub(in super::super) const IGNORE: u8 = 2;
    pub(in super::super) const DEBUG: u8 = 4;
    pub(in super::super) const SERVICE_REQUEST: u8 = 5;
    pub(in super::super) const SERVICE_ACCEPT: u8 = 6;
    pub(in super::super) const EXT_INFO: u8 = 7;
    pub(in super::super) const KEXINIT: u8 = 20;
    pub(in super::super) const NEWKEYS: u8 = 21;
    pub(in super::super) const KEX_ECDH_INIT: u8 = 30;
    pub(in super::super) const KEX_ECDH_REPLY: u8 = 31;
    pub(in super::super) const USERAUTH_REQUEST: u8 = 50;
    pub(in super::super) const USERAUTH_FAILURE: u8 = 51;
    pub(in super::super) const USERAUTH_SUCCESS: u8 = 52;
    pub(in super::super) const USERAUTH_BANNER: u8 = 53;
    pub(in super::super) const USERAUTH_PK_OK: u8 = 60;
    pub(in super::super) const GLOBAL_REQUEST: u8 = 80;
    pub(in super::super) const REQUEST_FAILURE: u8 = 82;
}

/// Bytes that are being written.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// An empty writer.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The beginning of a message.
    pub(super) fn message(number: u8) -> Self {
        Self(vec![number])
    }

    pub(super) fn byte(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Bytes without a length in front.
    pub(super) fn raw(mut self, value: &[u8]) -> Self {
        self.0.extend_from_slice(value);
        self
    }

    pub(super) fn string(self, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        // Nothing that is written here is longer than a packet.
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.u32(length).raw(value)
    }

    /// A number that is not negative, given in big-endian order.
    pub(super) fn mpint(self, value: &[u8]) -> Self {
        let first = value.iter().position(|byte| *byte != 0).unwrap_or(value.len());
        let value = value.get(first..).unwrap_or_default();
        let sign = value.first().is_some_and(|byte| byte & 0x80 != 0);
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX).saturating_add(u32::from(sign));
        let this = self.u32(length);
        if sign { this.byte(0).raw(value) } else { this.raw(value) }
    }

    pub(super) fn names<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: Vec<_> = names.into_iter().collect();
        self.string(names.join(","))
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Bytes that are being read, and the name of what they should be.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// The rest of a message whose number is known already.
    pub(super) fn after_number(payload: &'a [u8], what: &'static str) -> Self {
        Self::new(payload.get(1..).unwrap_or_default(), what)
    }

    pub(super) fn malformed(&self) -> Fault {
        Fault::Malformed { what: self.what }
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        let (first, rest) = self.rest.split_first().ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(*first)
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Fault> {
        Ok(self.byte()? != 0)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        let (first, rest) = self.rest.split_first_chunk().ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*first))
    }

    pub(super) fn string(&mut self) -> Result<&'a [u8], Fault> {
        let length = usize::try_from(self.u32()?).map_err(|_| self.malformed())?;
        self.take(length)
    }

    /// A number that is not negative and has no needless leading zeros; in big-endian order, without any.
    pub(super) fn mpint(&mut self) -> Result<&'a [u8], Fault> {
        match self.string()? {
            [0] => Err(self.malformed()),
            [0, rest @ ..] if rest.first().is_some_and(|byte| byte & 0x80 == 0) => Err(self.malformed()),
            [0, rest @ ..] => Ok(rest),
            [first, ..] if first & 0x80 != 0 => Err(self.malformed()),
            value => Ok(value),
        }
    }

    pub(super) fn names(&mut self) -> Result<Vec<String>, Fault> {
        let list = self.string()?;
        if list.is_empty() {
            return Ok(Vec::new());
        }
        let name = |name: &[u8]| {
            let is_name = (1..=LONGEST_NAME).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic);
            is_name.then(|| name.iter().copied().map(char::from).collect()).ok_or_else(|| self.malformed())
        };
        list.split(|byte| *byte == b',').map(name).collect()
    }

    /// Checks that nothing follows.
    pub(super) fn finish(self) -> Result<(), Fault> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4251, section 5.
    #[test]
    fn numbers_are_written_as_in_the_rfc() {
        let cases: [(&[u8], &[u8]); 5] = [
            (&[0, 0], &[0, 0, 0, 0]),
            (&[0x09, 0xa3, 0x78, 0xf9, 0xb2, 0xe3, 0x32, 0xa7], b"\0\0\0\x08\x09\xa3\x78\xf9\xb2\xe3\x32\xa7"),
            (&[0x80], &[0, 0, 0, 2, 0, 0x80]),
            (&[0, 0, 0x7f], &[0, 0, 0, 1, 0x7f]),
            (&[0, 0xff, 0], &[0, 0, 0, 3, 0, 0xff, 0]),
        ];
        for (value, written) in cases {
            assert_eq!(Writer::new().mpint(value).finish(), written);
            let first = value.iter().position(|byte| *byte != 0).unwrap_or(value.len());
            assert_eq!(Reader::new(written, "it").mpint().unwrap(), &value[first..]);
        }
    }

    #[test]
    fn no_other_numbers_are_read() {
        for wrong in [&b"\0\0\0\x01\0"[..], b"\0\0\0\x02\0\x7f", b"\0\0\0\x02\xed\xcc", b"\0\0\0\x02\x01", b"\0\0"] {
            assert!(matches!(Reader::new(wrong, "it").mpint(), Err(Fault::Malformed { what: "it" })), "{wrong:?}");
        }
    }

    #[test]
    fn lists_of_names() {
        let long = "x".repeat(65);
        let cases = [
            ("", Some(vec![])),
            ("zlib", Some(vec!["zlib"])),
            ("zlib,none", Some(vec!["zlib", "none"])),
            (",", None),
            ("zlib,", None),
            ("a b", None),
            ("a\x1b", None),
            ("\u{e9}", None),
            (&long, None),
        ];
        for (text, names) in cases {
            let bytes = Writer::new().string(text).finish();
            let read = Reader::new(&bytes, "it").names().ok();
            assert_eq!(read, names.map(|names| names.into_iter().map(String::from).collect()), "{text}");
        }
        let mut short = Reader::new(b"\0\0\0\x05zlib", "it");
        assert!(short.names().is_err());
    }

    #[test]
    fn what_follows_is_refused() {
        let mut reader = Reader::new(b"\0\0\0\x01ab", "it");
        assert_eq!(reader.string().unwrap(), b"a");
        assert!(reader.clone().finish().is_err());
        assert_eq!(reader.byte().unwrap(), b'b');
        assert!(reader.clone().byte().is_err());
        reader.finish().unwrap();
    }
}
