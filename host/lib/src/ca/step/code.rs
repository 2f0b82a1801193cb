//! The code of an invitation: one-time tokens in a form that survives a mail, a terminal and a person. It says how long
//! it is, so that a part of it is known as a part; and it has a checksum, so that what the CA refuses is no typing mistake.
//!
//! `warded1:LENGTH:TOKENS:CHECKSUM`: the length of all of it in characters; the tokens with `~` between them; the first
//! eight hexadecimal digits of the SHA-256 of what stands before the last colon.

use super::{fingerprint::Fingerprint, token::Token};
use zeroize::Zeroizing;

const PREFIX: &str = "warded1:";
const CHECKSUM: usize = 8;
/// What a terminal hands over of one line (`N_TTY_BUF_SIZE`, without the end of the line).
const TERMINAL_LINE: usize = 4095;
/// Far more than any code has.
const MAX: usize = 64 * 1024;

/// The contents of an invitation.
#[derive(Debug)]
pub struct Code {
    /// The tokens: one, or one for each host key.
    pub tokens: Vec<Token>,
}

/// Why a text is no code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// There is nothing.
    #[error("there is no code")]
    Empty,
    /// It begins otherwise.
    #[error(
        "it does not begin with \"{PREFIX}\", as the codes of `warded invite` do: its beginning is missing, or it is something else"
    )]
    OtherBeginning,
    /// It ends too early.
    #[error("it is cut off: {found} of its {whole} characters are there{}", terminal(*found))]
    CutOff {
        /// So many characters are there.
        found: usize,
        /// So many it has.
        whole: usize,
    },
    /// It goes on after its end.
    #[error("it has {found} characters, and says that it has {whole}: something else was copied with it")]
    TooLong {
        /// So many characters are there.
        found: usize,
        /// So many it has.
        whole: usize,
    },
    /// The checksum is another.
    #[error("a character of it was changed on the way: its checksum is wrong")]
    Changed,
}

fn terminal(found: usize) -> String {
    if found < TERMINAL_LINE {
        return String::new();
    }
    format!("; a terminal hands over at most {TERMINAL_LINE} characters of a line")
}

impl Code {
    /// The code as it is handed over.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let tokens: usize = self.tokens.iter().map(|token| token.as_str().len() + 1).sum();
        // The length has as many digits as itself says: one more at the border of a power of ten.
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

    /// Reads a code. Blanks, line ends and what is not seen do not matter.
    ///
    /// # Errors
    /// Why it is no code.
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

    /// How many characters of a code are still to come, where the text is the beginning of one.
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

/// The length that a code says it has.
fn length(text: &str) -> Result<usize, CodeError> {
    if text.is_empty() {
        return Err(CodeError::Empty);
    }
    let after = text.strip_prefix(PREFIX).ok_or(CodeError::OtherBeginning)?;
    let (digits, _) = after.split_once(':').ok_or(CodeError::OtherBeginning)?;
    digits.parse().ok().filter(|length| *length <= MAX).ok_or(CodeError::OtherBeginning)
}

/// The text without what mails, terminals and editors put into it.
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
                // Its length does not stand there yet.
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
        assert!(said(4095).contains("4095 of its 5022 characters are there; a terminal hands over"), "{}", said(4095));
        assert!(!said(4094).contains("terminal"));
    }
}
