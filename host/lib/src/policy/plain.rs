//! People read a policy before they accept it. So it may contain nothing that a terminal or an editor would not show as
//! it is.

use crate::text::{is_neutral, neutral};
use std::fmt;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A piece of text that is not what it looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HiddenText {
    /// Its offset in the file, in bytes.
    pub(super) offset: usize,
    text: String,
}

impl fmt::Display for HiddenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a character that a terminal would not show as it is: {}", self.text)
    }
}

/// The first text in a policy file that is not what it looks like; comments are checked, too.
pub(super) fn hidden(text: &str) -> Option<HiddenText> {
    in_text(text).or_else(|| in_values(text))
}

/// Looks for such a character in the file's own text.
fn in_text(text: &str) -> Option<HiddenText> {
    let line_end = |offset| text.get(offset..).is_some_and(|rest| rest.starts_with("\r\n"));
    text.char_indices()
        .filter(|(offset, character)| !matches!(character, '\n' | '\t') && !line_end(*offset))
        .map(|(offset, character)| (offset, character.to_string()))
        .find(|(_, character)| !is_neutral(character))
        .map(|(offset, character)| HiddenText { offset, text: neutral(&character) })
}

/// Looks for a key or a string whose value contains such a character as an escape (`\u001b`), or contains a newline or
/// a tab. Text that is not valid TOML has none.
fn in_values(text: &str) -> Option<HiddenText> {
    table(DeTable::parse(text).ok()?.get_ref())
}

fn table(table: &DeTable<'_>) -> Option<HiddenText> {
    // Not in the order of the file, but one finding is enough.
    table.iter().find_map(|(key, inner)| string(key.get_ref(), key.span().start).or_else(|| value(inner)))
}

fn value(found: &Spanned<DeValue<'_>>) -> Option<HiddenText> {
    match found.get_ref() {
        DeValue::String(text) => string(text, found.span().start),
        DeValue::Array(values) => values.iter().find_map(value),
        DeValue::Table(inner) => table(inner),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => None,
    }
}

fn string(text: &str, offset: usize) -> Option<HiddenText> {
    (!is_neutral(text)).then(|| HiddenText { offset, text: neutral(text) })
}

#[cfg(test)]
mod tests {
    use crate::{policy::file::Policy, text::HIDDEN_SAMPLES};

    const BEFORE: &str = "name = 'x'\n[procedure.do-it]\nsummary = 's'\n";

    fn refused(text: &str, place: &str) {
        let error = Policy::parse(text, "p.toml").unwrap_err();
        assert!(error.message().starts_with(&format!("p.toml:{place}: a character that a ")), "{text:?}: {error}");
        assert!(error.to_string().lines().all(crate::text::is_neutral), "{error}");
    }

    #[test]
    fn what_a_terminal_would_not_show_is_refused_wherever_it_stands() {
        for hidden in HIDDEN_SAMPLES {
            let code = u32::from(hidden);
            for line in [
                "facts = [\"hostname",
                "facts = [\"init\", \"hostname",
                "files.read = [\"/etc/x",
                "files.write = [\"{sshd}/x",
                "keys = [\"/etc/x",
                "certificates = [\"/etc/x",
                "settings.a = { type = \"choice\", values = [\"a",
            ] {
                let close = if line.starts_with("settings") { "\"], help = 'h' }" } else { "\"]" };
                // The character itself, then as an escape.
                refused(&format!("{BEFORE}{line}{hidden}{close}\n"), &format!("4:{}", line.chars().count() + 1));
                let place = format!("4:{}", line.rfind('"').unwrap() + 1);
                refused(&format!("{BEFORE}{line}\\U{code:08x}{close}\n"), &place);
            }
            for line in ["version = \"1", "summary = \"s", "when = [{ os = \"debian"] {
                let close = if line.starts_with("when") { "\" }]" } else { "\"" };
                let at = line.rfind('"').unwrap() + 1;
                refused(&format!("{line}\\U{code:08x}{close}\n{BEFORE}"), &format!("1:{at}"));
            }
            for line in [
                "settings.a = { type = 'string', help = \"h",
                "settings.a = { type = 'string', help = 'h', default = \"h",
            ] {
                let at = line.rfind('"').unwrap() + 1;
                refused(&format!("{BEFORE}{line}\\U{code:08x}\" }}\n"), &format!("4:{at}"));
            }
            refused(&format!("{BEFORE}# a{hidden}\n"), "4:4");
        }
    }

    #[test]
    fn a_text_is_one_line() {
        refused(&format!("summary = '''a\nb'''\n{BEFORE}"), "1:11");
        refused(&format!("summary = \"a\\tb\"\n{BEFORE}"), "1:11");
        refused("name = 'x'\r\n#\r#\r\n", "2:2");
        let text = format!("# plain ü 漢\tx\nsummary = 'ü'\n{BEFORE}");
        assert_eq!(Policy::parse(&text.replace('\n', "\r\n"), "p.toml").unwrap().summary, "ü");
    }
}
