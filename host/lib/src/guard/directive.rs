//! One line of an sshd configuration file, split as sshd does it (readconf's `strdelim`, misc.c's
//! `argv_split`): a keyword, perhaps `=`, arguments that may be quoted, perhaps a comment.

/// A line that says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// The keyword in lower case.
    pub keyword: String,
    /// Its arguments.
    pub arguments: Vec<Argument>,
}

/// An argument, and where in the line it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its text without quotes and escapes; invalid UTF-8 replaced.
    pub text: String,
    /// The bytes of the line it takes, quotes included.
    pub span: std::ops::Range<usize>,
}

impl Directive {
    /// Splits a line. None if it says nothing to sshd: it is empty, a comment, or has a quote in its
    /// keyword that is never closed.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        // The first byte stays, whatever it is.
        let last = line.iter().rposition(|byte| !is_blank(*byte) && *byte != FORM_FEED).unwrap_or_default();
        let line = line.get(..=last)?;
        let (mut keyword, mut at) = delimited(line, 0)?;
        if keyword.is_empty() {
            // What was taken is what stood before it.
            (keyword, at) = delimited(line, at)?;
        }
        if keyword.is_empty() || keyword.starts_with(b"#") {
            return None;
        }
        Some(Self { keyword: String::from_utf8_lossy(&keyword).to_ascii_lowercase(), arguments: arguments(line, at) })
    }

    /// The keyword and arguments in one form: two lines that mean the same to sshd are equal in it.
    #[must_use]
    pub fn normal(&self) -> String {
        let words = self.arguments.iter().map(|argument| format!(" {:?}", argument.text));
        std::iter::once(self.keyword.clone()).chain(words).collect()
    }

    /// Whether it opens a block for some connections only.
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        self.keyword == "match" && !self.is_match_all()
    }

    /// Whether it is `Match all`, which ends every block.
    #[must_use]
    pub fn is_match_all(&self) -> bool {
        let only = matches!(self.arguments.as_slice(), [one] if one.text.eq_ignore_ascii_case("all"));
        self.keyword == "match" && only
    }
}

/// Blank at the end of a line only.
const FORM_FEED: u8 = 0x0c;

/// What sshd skips beside a keyword.
fn is_blank(byte: u8) -> bool {
    b" \t\r\n".contains(&byte)
}

/// What separates arguments.
fn separates(byte: u8) -> bool {
    b" \t".contains(&byte)
}

/// The word up to the next blank or `=`, and where what follows them begins: `strdelim`. A quote in
/// the word runs to the next one and ends it.
fn delimited(line: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
    let rest = line.get(at..)?;
    let skip = |at: usize| at + line.get(at..).unwrap_or_default().iter().take_while(|byte| is_blank(**byte)).count();
    let Some(length) = rest.iter().position(|byte| is_blank(*byte) || b"=\"".contains(byte)) else {
        return Some((rest.to_vec(), line.len()));
    };
    let mut word = rest.get(..length)?.to_vec();
    let stop = at + length;
    if line.get(stop) == Some(&b'"') {
        let quoted = line.get(stop + 1..)?;
        let length = quoted.iter().position(|byte| *byte == b'"')?;
        word.extend_from_slice(quoted.get(..length)?);
        return Some((word, skip(stop + length + 2)));
    }
    let mut next = skip(stop + 1);
    // Only one `=` is skipped.
    if line.get(stop) != Some(&b'=') && line.get(next) == Some(&b'=') {
        next = skip(next + 1);
    }
    Some((word, next))
}

fn arguments(line: &[u8], mut at: usize) -> Vec<Argument> {
    let mut found = Vec::new();
    while let Some(byte) = line.get(at) {
        if separates(*byte) {
            at += 1;
            continue;
        }
        if *byte == b'#' {
            break;
        }
        let start = at;
        let mut text = Vec::new();
        let mut quote = None;
        while let Some(&byte) = line.get(at) {
            let following = line.get(at + 1).copied();
            match (byte, quote) {
                (b'\\', _) if matches!(following, Some(b'"' | b'\'' | b'\\')) => {
                    text.extend(following);
                    at += 1;
                }
                (b'\\', None) if following == Some(b' ') => {
                    text.push(b' ');
                    at += 1;
                }
                (byte, None) if separates(byte) => break,
                (b'"' | b'\'', None) => quote = Some(byte),
                (byte, Some(open)) if byte == open => quote = None,
                (byte, _) => text.push(byte),
            }
            at += 1;
        }
        found.push(Argument { text: String::from_utf8_lossy(&text).into_owned(), span: start..at });
    }
    found
}

/// A line with some of its arguments replaced, each new one quoted.
#[must_use]
pub fn with_arguments(line: &[u8], replaced: &[(std::ops::Range<usize>, Vec<String>)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len() + 64);
    let mut at = 0;
    for (span, texts) in replaced {
        out.extend_from_slice(line.get(at..span.start).unwrap_or_default());
        out.extend_from_slice(texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(" ").as_bytes());
        at = span.end;
    }
    out.extend_from_slice(line.get(at..).unwrap_or_default());
    out
}

/// An argument as it can stand in a line.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_as_sshd_does_it() {
        for (line, expected) in [
            ("", None),
            ("  \t", None),
            ("# HostKey /x", None),
            ("HostKey /a", Some(("hostkey", vec!["/a"]))),
            ("\thostkey=/a", Some(("hostkey", vec!["/a"]))),
            ("Port = 22\r", Some(("port", vec!["22"]))),
            ("Include \"/a b\" '/c' d\\ e # f", Some(("include", vec!["/a b", "/c", "d e"]))),
            ("Banner a\"b c\"d", Some(("banner", vec!["ab cd"]))),
            ("Banner x#y", Some(("banner", vec!["x#y"]))),
            ("\"Port\" 22", Some(("port", vec!["22"]))),
            ("Match", Some(("match", vec![]))),
            (" = Include /a", Some(("include", vec!["/a"]))),
            ("=Include = /a", Some(("include", vec!["/a"]))),
            ("==Include /a", None),
            ("Inc\"lude\" /a", Some(("include", vec!["/a"]))),
            ("\"\"Include /a", Some(("include", vec!["/a"]))),
            ("Include\"/a", None),
            ("Match all\u{b}# x", Some(("match", vec!["all\u{b}#", "x"]))),
            ("\u{c}\r", Some(("\u{c}", vec![]))),
            ("Port 22\u{c}\r", Some(("port", vec!["22"]))),
            ("\u{212a}ey x", Some(("\u{212a}ey", vec!["x"]))),
        ] {
            let parsed = Directive::parse(line.as_bytes());
            let parsed = parsed.map(|one| (one.keyword, one.arguments.into_iter().map(|a| a.text).collect::<Vec<_>>()));
            let expected = expected
                .map(|(keyword, words)| (keyword.to_owned(), words.into_iter().map(str::to_owned).collect::<Vec<_>>()));
            assert_eq!(parsed, expected, "{line:?}");
        }
    }

    #[test]
    fn arguments_are_replaced_in_place() {
        let line = b"  HostCertificate = \"/a b\"  # why\r";
        let directive = Directive::parse(line).unwrap();
        let replaced = with_arguments(line, &[(directive.arguments[0].span.clone(), vec!["/tmp/0 1".into()])]);
        assert_eq!(String::from_utf8(replaced).unwrap(), "  HostCertificate = \"/tmp/0 1\"  # why\r");
    }

    #[test]
    fn only_match_all_is_unconditional() {
        for (line, conditional) in [
            ("Match all", false),
            ("match ALL", false),
            ("Match User x", true),
            ("Match all user x", true),
            ("X", false),
        ] {
            assert_eq!(Directive::parse(line.as_bytes()).unwrap().is_conditional(), conditional, "{line}");
        }
    }
}
