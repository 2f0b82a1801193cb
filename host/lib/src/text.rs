//! Makes text from elsewhere — a guest, sshd, a file, the CA — safe to show to a person, or to write to a log.

pub mod diff;

use std::{ops::RangeInclusive, path::Path};

/// Characters that reorder text, end a line, or are invisible: Unicode's `Bidi_Control`, its separators of lines and
/// paragraphs, its interlinear annotations, and `Default_Ignorable_Code_Point` (`DerivedCoreProperties.txt`).
const HIDDEN: [RangeInclusive<char>; 17] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

/// Examples of every kind of character that [`neutral`] makes visible; none of them could stand in a line of text.
#[cfg(test)]
pub(crate) const HIDDEN_SAMPLES: [char; 20] = [
    '\u{7}',
    '\u{8}',
    '\u{1b}',
    '\u{7f}',
    '\u{85}',
    '\u{9b}',
    '\u{9d}',
    '\u{ad}',
    '\u{61c}',
    '\u{200b}',
    '\u{200d}',
    '\u{200f}',
    '\u{2028}',
    '\u{202e}',
    '\u{2060}',
    '\u{2066}',
    '\u{2069}',
    '\u{3164}',
    '\u{feff}',
    '\u{e0041}',
];

/// Returns `text` with every character made visible that could move a cursor, hide something or forge a line: control
/// characters (including newlines), and the Unicode characters that reorder or hide text (Trojan Source,
/// CVE-2021-42574).
#[must_use]
pub fn neutral(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || HIDDEN.iter().any(|range| range.contains(&character)) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// A path, passed through [`neutral`].
#[must_use]
pub fn neutral_path(path: &Path) -> String {
    neutral(&path.display().to_string())
}

/// A word of a command line, quoted so that a person may copy it into a shell.
#[must_use]
pub fn shell_word(text: &str) -> String {
    let text = neutral(text);
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// The command line of this process with `sudo`. Without the arguments, if one of them may be a secret.
#[must_use]
pub fn by_sudo() -> String {
    by_sudo_of(std::env::args().skip(1))
}

fn by_sudo_of(arguments: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = arguments.map(|word| shell_word(&word)).collect();
    if words.iter().any(|word| word.starts_with("--token") && !word.starts_with("--token-file")) {
        return "run it with sudo".to_owned();
    }
    format!("sudo warded {}", words.join(" "))
}

/// Whether [`neutral`] would leave `text` unchanged.
#[must_use]
pub fn is_neutral(text: &str) -> bool {
    neutral(text) == text
}

/// [`neutral`] line by line: newlines and tabs stay, a carriage return before a newline is removed.
#[must_use]
pub fn neutral_lines(text: &str) -> String {
    let line = |line: &str| line.split('\t').map(neutral).collect::<Vec<_>>().join("\t");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A count with its noun: `1 file`, `3 files`.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Joins things: `a`, `a and b`, `a, b and c`.
#[must_use]
pub fn list(things: &[String]) -> String {
    match things {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_listed_as_in_a_sentence() {
        for (things, text) in [(&[][..], ""), (&["a"], "a"), (&["a", "b"], "a and b"), (&["a", "b", "c"], "a, b and c")]
        {
            let things: Vec<String> = things.iter().map(|thing| (*thing).to_owned()).collect();
            assert_eq!(list(&things), text);
        }
    }

    #[test]
    fn a_word_survives_a_shell() {
        for (text, word) in [("/etc/ssh/key", "/etc/ssh/key"), ("a b", "'a b'"), ("it's", "'it'\\''s'"), ("", "''")] {
            assert_eq!(shell_word(text), word);
        }
        assert!(is_neutral(&shell_word("a\n\u{202e}")));
    }

    #[test]
    fn nothing_that_moves_a_cursor_survives() {
        for (raw, shown) in [
            ("plain ü 漢", "plain ü 漢"),
            ("\x1b[2Jgone", "\\u{1b}[2Jgone"),
            ("a\nb\r", "a\\nb\\r"),
            ("\u{202e}txt", "\\u{202e}txt"),
            ("\u{61c}txt", "\\u{61c}txt"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("/etc/sha\u{ad}dow", "/etc/sha\\u{ad}dow"),
            ("\u{3164}\u{206a}\u{fe0f}\u{e01ef}", "\\u{3164}\\u{206a}\\u{fe0f}\\u{e01ef}"),
        ] {
            assert_eq!(neutral(raw), shown);
            assert_eq!(is_neutral(raw), raw == shown);
        }
        assert_eq!(neutral_lines("a\r\nb\x07"), "a\nb\\u{7}");
    }

    #[test]
    fn root_is_given_the_same_command() {
        let of = |words: &[&str]| by_sudo_of(words.iter().map(|word| (*word).to_owned()));
        assert_eq!(of(&["plan", "x", "--set", "a=b c"]), "sudo warded plan x --set 'a=b c'");
        assert_eq!(of(&["bootstrap", "--token-file", "-"]), "sudo warded bootstrap --token-file -");
        for secret in [&["bootstrap", "--token", "abc"][..], &["bootstrap", "--token=abc"]] {
            assert_eq!(of(secret), "run it with sudo");
        }
    }
}
