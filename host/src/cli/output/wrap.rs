//! Wraps lines at the width of a terminal, between words. A word that is longer than the width stays whole, since
//! people copy paths and keys.

/// Below this width, nobody reads sentences, and the terminal wraps the lines itself.
const NARROW: usize = 40;
/// The deepest indentation of a continuation line.
const DEEPEST: usize = 12;

/// The text with line breaks between words, so that no line is wider than `width` if possible.
pub(super) fn wrapped(text: &str, width: usize) -> String {
    if width < NARROW {
        return text.to_owned();
    }
    text.split('\n').map(|line| wrapped_line(line, width)).collect::<Vec<_>>().join("\n")
}

fn wrapped_line(line: &str, width: usize) -> String {
    let indent = " ".repeat(hanging(line));
    let (mut out, mut rest, mut room) = (String::with_capacity(line.len()), line, width);
    while visible(rest) > room {
        let Some(end) = last_blank(rest, room) else { break };
        let (now, later) = rest.split_at(end);
        out.push_str(now.trim_end());
        out.push('\n');
        out.push_str(&indent);
        (rest, room) = (later.trim_start(), width - indent.len());
    }
    out.push_str(rest);
    out
}

/// The indentation of continuation lines: below the line's text, after its blanks and its sign or label.
fn hanging(line: &str) -> usize {
    let text = line.trim_start();
    let blanks = line.len() - text.len();
    let label = text.split(' ').next().unwrap_or_default();
    let after = text.get(label.len()..).unwrap_or_default();
    let is_sign = matches!(label, "+" | "~" | "-" | ">" | "!");
    let behind =
        if is_sign || label.ends_with(':') { visible(label) + (after.len() - after.trim_start().len()) } else { 0 };
    let at = blanks + behind;
    if at <= DEEPEST { at } else { blanks.min(DEEPEST) }
}

/// The position of the blank at which to break a line, so that it has at most `room` characters: the last blank that
/// fits, or else the first blank after a longer word. `None` if the line has no blank.
fn last_blank(text: &str, room: usize) -> Option<usize> {
    let start = text.len() - text.trim_start().len();
    let blanks = || text.match_indices(' ').map(|(at, _)| at).filter(|at| *at > start);
    let fits = |at: &usize| text.get(..*at).is_some_and(|part| visible(part) <= room);
    blanks().take_while(fits).last().or_else(|| blanks().next())
}

/// The number of visible characters: colour codes take no space.
fn visible(text: &str) -> usize {
    let (mut seen, mut is_escape) = (0, false);
    for letter in text.chars() {
        match (is_escape, letter) {
            (true, 'm') => is_escape = false,
            (true, _) => {}
            (false, '\x1b') => is_escape = true,
            (false, _) => seen += 1,
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_between_words_and_goes_on_below_its_text() {
        let path = "/etc/ssh/a-very-long-directory/with/a/name/that/does/not/fit";
        for (text, expected) in [
            ("short", "short"),
            (
                "next:  set this machine's clock, or the CA's if that one is wrong",
                "next:  set this machine's clock, or the\n       CA's if that one is wrong",
            ),
            (
                "> reload ssh (systemd unit ssh.service, or sshd.service)",
                "> reload ssh (systemd unit ssh.service,\n  or sshd.service)",
            ),
            (
                "       and a line that goes on, which is indented",
                "       and a line that goes on, which is\n       indented",
            ),
            ("one\ntwo words and more than fit into one line", "one\ntwo words and more than fit into one\nline"),
            ("aligned          in columns     stays", "aligned          in columns     stays"),
            (
                "\x1b[32m+\x1b[0m forty letters are seen of this line, and no",
                "\x1b[32m+\x1b[0m forty letters are seen of this line,\nand no",
            ),
        ] {
            assert_eq!(wrapped(text, 40), expected, "{text}");
        }
        assert_eq!(wrapped(&format!("see {path} for more"), 40), format!("see\n{path}\nfor more"));
        assert_eq!(wrapped("a narrow terminal breaks what it likes", 20), "a narrow terminal breaks what it likes");
    }
}
