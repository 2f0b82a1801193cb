//! One line of known_hosts.

/// What a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// A host's own key.
    None,
    /// `@cert-authority`
    Authority,
    /// `@revoked`
    Revoked,
}

/// The parts of a line that ssh uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it is for.
    pub marker: Marker,
    /// A list of patterns, or a hashed name.
    pub hosts: &'a [u8],
    key_type: &'a [u8],
    key: &'a [u8],
    comment: &'a [u8],
}

/// The lines of a file, each with its line ending.
pub fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split_inclusive(|byte| *byte == b'\n')
}

impl<'a> Entry<'a> {
    /// Reads a line; none if ssh ignores it.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        // To ssh a line ends at its first NUL byte.
        let text = line.split(|byte| matches!(byte, b'\n' | 0)).next().unwrap_or_default();
        let text = skip_blanks(text);
        if matches!(text.first(), None | Some(b'#')) {
            return None;
        }
        let (marker, text) = marker(text)?;
        let (hosts, rest) = word(text);
        let (key_type, rest) = word(rest);
        let (key, comment) = word(rest);
        let key = key.strip_suffix(b"\r").unwrap_or(key);
        if hosts.is_empty() || key_type.is_empty() || key_type.starts_with(b"#") || key.is_empty() {
            return None;
        }
        Some(Self { marker, hosts, key_type, key, comment: comment.trim_ascii_end() })
    }

    /// The key: its type, and its Base64.
    #[must_use]
    pub fn key(&self) -> (&'a [u8], &'a [u8]) {
        (self.key_type, self.key)
    }

    /// Whether it is the line of this key, which is written as type and Base64.
    #[must_use]
    pub fn has_key(&self, key: &str) -> bool {
        let (key_type, rest) = word(key.as_bytes());
        self.key() == (key_type, word(rest).0)
    }

    /// The CA that a line of Warded's is for; none for every other line.
    #[must_use]
    pub fn authority(&self) -> Option<&'a [u8]> {
        let ours = self.comment.strip_prefix(b"warded trust-host-ca ");
        ours.filter(|_| self.marker == Marker::Authority)
    }
}

/// A marker ends at the first space of the line or, if the line has no space, at the first tab. So ssh does not know a
/// marker with a tab behind it in a line that has a space.
fn marker(text: &[u8]) -> Option<(Marker, &[u8])> {
    if !text.starts_with(b"@") {
        return Some((Marker::None, text));
    }
    let at = |wanted: u8| text.iter().position(|byte| *byte == wanted);
    let (name, rest) = text.split_at_checked(at(b' ').or_else(|| at(b'\t'))?)?;
    let marker = match name {
        b"@cert-authority" => Marker::Authority,
        b"@revoked" => Marker::Revoked,
        _ => return None,
    };
    let rest = skip_blanks(rest);
    // A line with two markers is not valid.
    (!rest.starts_with(b"@")).then_some((marker, rest))
}

/// The first word, and what follows it without the blanks between.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| is_blank(*byte)).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    (word, skip_blanks(rest))
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_blank(*byte)).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}
