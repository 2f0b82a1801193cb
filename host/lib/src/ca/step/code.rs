//! The code of an invitation: one-time tokens in a form that survives a mail, a terminal and a person. The code
//! contains its length, so that a truncated code is recognised. It also contains a checksum, so that a refusal by the
//! CA cannot be due to a typing error.
//!
//! `warded1:LENGTH:TOKENS:CHECKSUM`: LENGTH counts all characters of the code; TOKENS are separated by `~`; CHECKSUM is
//! the first eight hexadecimal digits of the SHA-256 of everything before the last colon.

use super::{fingerprint::Fingerprint, token::Token};
use zeroize::Zeroizing;

const PREFIX: &str = "warded1:";
const CHECKSUM: usize = 8;
/// The longest line that a terminal delivers (`N_TTY_BUF_SIZE`, without the newline).
const TERMINAL_LINE: usize = 4095;
/// Far longer than any code.
const MAX: usize = 64 * 1024;

/// The contents of an invitation.
#[derive(Debug)]
pub struct Code {
    /// One token for all host keys, or one for each.
    pub tokens: Vec<Token>,
}

/// Why a text is not a code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// The text is empty.
    #[error("there is no code")]
    Empty,
    /// The text has another beginning.
    #[error(
        "it does not begin with \"{PREFIX}\", as the codes of `warded invite` do: its beginning is missing, or it is something else"
    )]
    OtherBeginning,
    /// The text ends too early.
    #[error("it is cut off: {found} of its {whole} characters are there{}", terminal(*found))]
    CutOff {
        /// The number of characters in the text.
        found: usize,
        /// The length of the complete code.
        whole: usize,
    },
    /// The text continues after the code's end.
    #[error("it has {found} characters instead of {whole}: other text was copied with it")]
    TooLong {
        /// The number of characters in the text.
        found: usize,
        /// The length of the complete code.
        whole: usize,
    },
    /// The checksum does not match.
    #[error("its checksum is wrong: a character was changed in copying")]
    Changed,
}

fn terminal(found: usize) -> String {
    if found < TERMINAL_LINE {
        return String::new();
    }
    format!("; a terminal passes on at most {TERMINAL_LINE} characters per line")
}

impl Code {
    /// The code as text, to hand over.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let tokens: usize = self.tokens.iter().map(|token| token.as_str().len() + 1).sum();
        // LENGTH includes its own digits, so one more digit may be needed at a power of ten.
        let around = PREFIX.len() + tokens + 1 + CHECKSUM;
        let mut length = around;
        while around + length.to_string().len() != length {
            length = around + length.to_string().len();
        }
        let mut text = Zeroizing::new(String::with_capacity(length));
        text.push_str(PREFIX);
        text.push_str(&length.to_string());
        for (at, token) in self.tokens.iter().enumerate() {
            text.push(if at == 0 { ':' } else { '~' });
            text.push_str(token.as_str());
        }
        let checksum = checksum(&text);
        text.push(':');
        text.push_str(&checksum);
        text
    }

    /// Parses a code. Blanks, newlines and control characters are ignored.
    ///
    /// # Errors
    /// The text is not a code; says why.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let text = bare(text);
        let whole = length(&text)?;
        let found = text.chars().count();
        if found < whole {
            return Err(CodeError::CutOff { found, whole });
        }
        if found > whole {
            return Err(CodeError::TooLong { found, whole });
        }
        let (before, checked) = text.rsplit_once(':').ok_or(CodeError::Changed)?;
        if checksum(before) != checked {
            return Err(CodeError::Changed);
        }
        let tokens = before.splitn(3, ':').nth(2).ok_or(CodeError::Changed)?;
        Ok(Self { tokens: tokens.split('~').map(Token::given).collect() })
    }

    /// How many characters are missing, if the text is the beginning of a code.
    #[must_use]
    pub fn missing(text: &str) -> Option<usize> {
        match Self::parse(text) {
            Err(CodeError::CutOff { found, whole }) => Some(whole - found),
            Ok(_)
            | Err(CodeError::Empty | CodeError::OtherBeginning | CodeError::TooLong { .. } | CodeError::Changed) => {
                None
            }
        }
    }
}

/// The length that is written in a code.
fn length(text: &str) -> Result<usize, CodeError> {
    if text.is_empty() {
        return Err(CodeError::Empty);
    }
    let after = text.strip_prefix(PREFIX).ok_or(CodeError::OtherBeginning)?;
    let (digits, _) = after.split_once(':').ok_or(CodeError::OtherBeginning)?;
    digits.parse().ok().filter(|length| *length <= MAX).ok_or(CodeError::OtherBeginning)
}

/// The text without the characters that mails, terminals and editors insert.
fn bare(text: &str) -> Zeroizing<String> {
    let mut bare = Zeroizing::new(String::with_capacity(text.len()));
    bare.extend(text.chars().filter(|letter| !letter.is_whitespace() && !letter.is_control() && *letter != '\u{feff}'));
    bare
}

fn checksum(text: &str) -> String {
    Fingerprint::of(text.as_bytes()).to_string().chars().take(CHECKSUM).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(tokens: &[&str]) -> Code {
        Code { tokens: tokens.iter().map(|token| Token::given(token)).collect() }
    }

    fn tokens(text: &str) -> Result<Vec<String>, CodeError> {
        Ok(Code::parse(text)?.tokens.iter().map(|token| token.as_str().to_owned()).collect())
    }

    #[test]
    fn what_is_put_into_it_on_the_way_does_not_matter() {
        for given in [&["e30.e30.c2ln"][..], &["a.b.c", "d.e.f", "g.h.i"]] {
            let text = code(given).text();
            let letters: Vec<String> = text.chars().map(String::from).collect();
            let halves = text.split_at(text.len() / 2);
            for sent in [
                text.to_string(),
                format!("\u{feff}  {}\r\n\n", *text),
                format!("{}\n{}", halves.0, halves.1),
                letters.join(" "),
                letters.join("\r\n\t\u{a0}"),
            ] {
                assert_eq!(tokens(&sent).unwrap(), given, "{sent:?}");
            }
        }
    }

    #[test]
    fn its_length_is_right_at_each_power_of_ten() {
        for length in 1..1200 {
            let text = code(&["x".repeat(length).as_str()]).text();
            assert_eq!(tokens(&text).unwrap(), ["x".repeat(length)]);
        }
    }

    #[test]
    fn every_part_and_every_changed_letter_is_known() {
        let text = code(&["eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJhZG1pbiJ9.c2ln"]).text();
        let whole = text.len();
        for end in 0..whole {
            let part = &text[..end];
            let expected = match end {
                0 => CodeError::Empty,
                // The LENGTH field is not complete yet.
                1..=10 => CodeError::OtherBeginning,
                found => CodeError::CutOff { found, whole },
            };
            assert_eq!(tokens(part).unwrap_err(), expected, "{part}");
            assert_eq!(Code::missing(part), (end > 10).then_some(whole - end));
        }
        for at in PREFIX.len() + 3..whole {
            let mut changed: Vec<char> = text.chars().collect();
            changed[at] = if changed[at] == 'x' { 'y' } else { 'x' };
            let changed: String = changed.into_iter().collect();
            assert_eq!(tokens(&changed).unwrap_err(), CodeError::Changed, "{changed}");
        }
        assert_eq!(tokens(&format!("{}x", *text)).unwrap_err(), CodeError::TooLong { found: whole + 1, whole });
        assert_eq!(tokens("warded1:99999999:x").unwrap_err(), CodeError::OtherBeginning);
    }

    #[test]
    fn a_terminals_longest_line_is_named() {
        let text = code(&["x".repeat(5000).as_str()]).text();
        let said = |found: usize| tokens(&text[..found]).unwrap_err().to_string();
        assert!(said(4095).contains("4095 of its 5022 characters are there; a terminal passes on"), "{}", said(4095));
        assert!(!said(4094).contains("terminal"));
    }
}
