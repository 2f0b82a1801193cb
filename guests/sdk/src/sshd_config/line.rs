//! One line of sshd's configuration, taken apart as sshd does it (`strdelim` for the keyword,
//! `argv_split` for the arguments; OpenSSH's misc.c and servconf.c).

/// The lines of a text, each with its line ending.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|&byte| byte == b'\n')
}

/// The keyword of a line, in lower case; none for an empty line and a comment.
pub(super) fn keyword(line: &[u8]) -> Option<String> {
    split(line).map(|(keyword, _)| keyword)
}

/// The arguments of a line that has this keyword, in any case; none for every other line.
pub(super) fn arguments(line: &[u8], keyword: &str) -> Option<Vec<String>> {
    let (found, rest) = split(line)?;
    found.eq_ignore_ascii_case(keyword).then(|| words(rest))
}

/// The first argument of each line that has this keyword.
pub(super) fn values(text: &[u8], keyword: &str) -> Vec<String> {
    lines(text).filter_map(|line| arguments(line, keyword)?.into_iter().next()).collect()
}

/// A line's keyword and what follows it. Between them stand spaces and at most one `=`. A quote
/// in the keyword runs to the next one, and ends it.
fn split(line: &[u8]) -> Option<(String, &[u8])> {
    let line = skip_delimiter(line);
    let end = line.iter().position(|&byte| is_space(byte) || matches!(byte, b'=' | b'"')).unwrap_or(line.len());
    let (mut keyword, mut rest) = line.split_at_checked(end).map(|(keyword, rest)| (keyword.to_vec(), rest))?;
    if let Some(quoted) = rest.strip_prefix(b"\"") {
        let end = quoted.iter().position(|&byte| byte == b'"')?;
        keyword.extend_from_slice(quoted.get(..end)?);
        rest = quoted.get(end + 1..)?;
    }
    if keyword.is_empty() || keyword.starts_with(b"#") {
        return None;
    }
    Some((String::from_utf8_lossy(&keyword).to_ascii_lowercase(), skip_delimiter(rest)))
}

/// What follows spaces with at most one `=` among them.
fn skip_delimiter(text: &[u8]) -> &[u8] {
    let text = skip_spaces(text);
    text.strip_prefix(b"=").map_or(text, skip_spaces)
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| !is_space(byte)).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

/// Spaces as sshd sees them; a form feed only at a line's end, where it does no harm here.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0c)
}

/// The words of the rest of a line, up to a comment. Quotes of both kinds group; a backslash
/// escapes a quote, a backslash and a space, and is itself elsewhere.
fn words(text: &[u8]) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut rest = skip_spaces(text);
    while !rest.is_empty() && !rest.starts_with(b"#") {
        let (word, after) = word(rest);
        words.push(String::from_utf8_lossy(&word).into_owned());
        rest = skip_spaces(after);
    }
    words
}

fn word(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut word = Vec::new();
    let mut quote: Option<u8> = None;
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, quote, after.first()) {
            (b'\\', None, Some(&escaped @ (b'"' | b'\'' | b'\\' | b' ')))
            | (b'\\', Some(_), Some(&escaped @ (b'"' | b'\'' | b'\\'))) => {
                word.push(escaped);
                rest = after.get(1..).unwrap_or_default();
                continue;
            }
            (b'"' | b'\'', None, _) => quote = Some(byte),
            (_, Some(open), _) if open == byte => quote = None,
            (_, None, _) if is_space(byte) => break,
            _ => word.push(byte),
        }
        rest = after;
    }
    (word, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_found_as_sshd_finds_them() {
        let cases = [
            ("Port 22", Some("port")),
            ("  \tPORT\t22\r\n", Some("port")),
            ("Port=22", Some("port")),
            ("Port = 22", Some("port")),
            ("\"Match\" all", Some("match")),
            ("Mat\"ch\" all", Some("match")),
            ("Match\" all", None),
            ("Match\n", Some("match")),
            ("=Match all", Some("match")),
            ("# Match all", None),
            ("#Match all", None),
            ("  #Match", None),
            ("", None),
            (" \r\n", None),
            ("\u{feff}Match all", Some("\u{feff}match")),
        ];
        for (line, expected) in cases {
            assert_eq!(keyword(line.as_bytes()).as_deref(), expected, "{line:?}");
        }
    }

    #[test]
    fn arguments_are_split_as_sshd_splits_them() {
        let cases: &[(&str, &[&str])] = &[
            ("Include a b", &["a", "b"]),
            ("include=a\r\n", &["a"]),
            ("Include = a", &["a"]),
            ("Include \"a b\" 'c d'", &["a b", "c d"]),
            ("Include a # b", &["a"]),
            ("Include a#b", &["a#b"]),
            ("Include a\\ b \\\"c", &["a b", "\"c"]),
            ("Include a\\d", &["a\\d"]),
            ("Include", &[]),
            ("Include # x", &[]),
            ("Include \"open", &["open"]),
        ];
        for (line, expected) in cases {
            assert_eq!(arguments(line.as_bytes(), "Include").unwrap(), *expected, "{line:?}");
        }
        assert_eq!(arguments(b"Included a", "Include"), None);
    }
}
