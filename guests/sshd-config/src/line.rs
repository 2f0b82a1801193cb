//! One line of sshd's configuration: a keyword, perhaps `=`, arguments that may be quoted, perhaps
//! a comment (OpenSSH's servconf.c; `strdelim` and `argv_split` in misc.c).

use std::ops::Range;

/// How sshd splits what follows the keyword. OpenSSH 8.7 changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Splitting {
    /// Since 8.7. Quotes of both kinds group, a backslash escapes a quote, a backslash and a space,
    /// and `#` opens a comment only where an argument would begin.
    ArgvSplit,
    /// Before 8.7. A double quote ends the argument that it groups, `=` separates arguments, and
    /// `#` opens a comment anywhere, within quotes too.
    Strdelim,
}

/// A line that says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// The keyword in lower case.
    pub keyword: String,
    /// The arguments after it, up to a comment.
    pub arguments: Vec<Argument>,
}

/// An argument, and its place in the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its text without quotes and escapes; invalid UTF-8 is replaced.
    pub text: String,
    /// The bytes of the line that it takes, quotes included.
    pub span: Range<usize>,
}

impl Directive {
    /// Splits a line as OpenSSH has done since 8.7. None if the line means nothing to sshd: it is empty, a comment, or
    /// has a quote in its keyword that is never closed.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        Self::split(line, Splitting::ArgvSplit)
    }

    /// Splits a line as the given releases do. A quote that is never closed runs to the end of the line. sshd refuses
    /// such a line, so nothing depends on how it is read here.
    #[must_use]
    pub fn split(line: &[u8], splitting: Splitting) -> Option<Self> {
        let line = match splitting {
            Splitting::ArgvSplit => line,
            Splitting::Strdelim => line.split(|byte| *byte == b'#').next()?,
        };
        let start = line.iter().position(|byte| !b" \t\r".contains(byte))?;
        // The first byte stays, whatever it is.
        let last =
            line.iter().rposition(|byte| !is_blank(*byte) && *byte != FORM_FEED).map_or(start, |at| at.max(start));
        let line = line.get(..=last)?;
        let mut keyword = delimited(line, start)?;
        if keyword.text.is_empty() {
            // The line begins with a delimiter, and the word before it is empty: the next word is the keyword.
            keyword = delimited(line, keyword.next)?;
        }
        if keyword.text.is_empty() || keyword.text.starts_with(b"#") {
            return None;
        }
        let arguments = match splitting {
            Splitting::ArgvSplit => argv_split(line, keyword.next),
            Splitting::Strdelim => strdelim(line, keyword.next),
        };
        Some(Self { keyword: String::from_utf8_lossy(&keyword.text).to_ascii_lowercase(), arguments })
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

/// The lines of a text, each with its line ending.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

/// The lines of a text that say something, with their numbers from 1.
pub fn directives(text: &[u8]) -> impl Iterator<Item = (usize, Directive)> {
    lines(text).enumerate().filter_map(|(index, line)| Some((index + 1, Directive::parse(line)?)))
}

/// The first argument of each line that has this keyword, in any case.
#[must_use]
pub fn values(text: &[u8], keyword: &str) -> Vec<String> {
    let of_keyword = directives(text).filter(|(_, directive)| directive.keyword.eq_ignore_ascii_case(keyword));
    of_keyword.filter_map(|(_, directive)| Some(directive.arguments.into_iter().next()?.text)).collect()
}

/// A line with an absolute path as its argument, quoted if needed. None if sshd's releases would not all read the path
/// back, whatever the quoting.
#[must_use]
pub fn path_line(keyword: &str, path: &str) -> Option<String> {
    if !path.starts_with('/') || path.contains(char::is_control) {
        return None;
    }
    let reads_back = |line: &String| {
        [Splitting::ArgvSplit, Splitting::Strdelim].into_iter().all(|splitting| {
            Directive::split(line.as_bytes(), splitting)
                .is_some_and(|directive| matches!(directive.arguments.as_slice(), [one] if one.text == path))
        })
    };
    [format!("{keyword} {path}"), format!("{keyword} \"{path}\"")].into_iter().find(reads_back)
}

/// A line with some of its arguments replaced, each new one quoted as OpenSSH reads it since 8.7.
#[must_use]
pub fn with_arguments(line: &[u8], replaced: &[(Range<usize>, Vec<String>)]) -> Vec<u8> {
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

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Blank at the end of a line only.
const FORM_FEED: u8 = 0x0c;

/// What sshd skips beside a keyword.
fn is_blank(byte: u8) -> bool {
    b" \t\r\n".contains(&byte)
}

/// A word, its end, and the start of the text after its delimiter.
struct Word {
    text: Vec<u8>,
    end: usize,
    next: usize,
}

/// The word up to the next blank or `=`. A quote in the word runs to the next quote and ends it; none if there is no
/// next quote.
fn delimited(line: &[u8], at: usize) -> Option<Word> {
    let rest = line.get(at..)?;
    let skip = |at: usize| at + line.get(at..).unwrap_or_default().iter().take_while(|byte| is_blank(**byte)).count();
    let Some(length) = rest.iter().position(|byte| is_blank(*byte) || b"=\"".contains(byte)) else {
        return Some(Word { text: rest.to_vec(), end: line.len(), next: line.len() });
    };
    let mut text = rest.get(..length)?.to_vec();
    let stop = at + length;
    if line.get(stop) == Some(&b'"') {
        let quoted = line.get(stop + 1..)?;
        let length = quoted.iter().position(|byte| *byte == b'"')?;
        text.extend_from_slice(quoted.get(..length)?);
        let end = stop + length + 2;
        return Some(Word { text, end, next: skip(end) });
    }
    let mut next = skip(stop + 1);
    // Only one `=` is skipped.
    if line.get(stop) != Some(&b'=') && line.get(next) == Some(&b'=') {
        next = skip(next + 1);
    }
    Some(Word { text, end: stop, next })
}

/// Arguments as before 8.7: an empty one ends the line.
fn strdelim(line: &[u8], mut at: usize) -> Vec<Argument> {
    let mut found = Vec::new();
    while let Some(word) = delimited(line, at).filter(|word| !word.text.is_empty()) {
        found.push(Argument { text: String::from_utf8_lossy(&word.text).into_owned(), span: at..word.end });
        at = word.next;
    }
    found
}

fn argv_split(line: &[u8], mut at: usize) -> Vec<Argument> {
    let separates = |byte: u8| b" \t".contains(&byte);
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

#[cfg(test)]
mod tests;
