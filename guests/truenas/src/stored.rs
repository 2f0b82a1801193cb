//! Reads the part of the middleware's settings that the host passes on: `{"options":"…"}` and
//! `[{"enabled":true,"id":1}]`.

/// The text of the one member of such an object; none if it is no such object.
pub(crate) fn options(answer: &[u8]) -> Option<String> {
    let answer = str::from_utf8(answer).ok()?.trim();
    let inner = answer.strip_prefix('{')?.strip_suffix('}')?.trim();
    let quoted = inner.strip_prefix("\"options\"")?.trim_start().strip_prefix(':')?.trim();
    unquoted(quoted.strip_prefix('"')?.strip_suffix('"')?)
}

/// Whether an existing job is disabled. The host writes no spaces into such a list, and the list contains no text.
pub(crate) fn is_disabled(jobs: &[u8]) -> bool {
    const DISABLED: &[u8] = b"\"enabled\":false";
    jobs.windows(DISABLED.len()).any(|window| window == DISABLED)
}

/// Decodes the text between the quotes of a JSON string.
fn unquoted(quoted: &str) -> Option<String> {
    let mut text = String::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    while let Some(character) = rest.next() {
        match character {
            '\\' => text.push(escaped(&mut rest)?),
            '"' => return None,
            plain => text.push(plain),
        }
    }
    Some(text)
}

/// The character after a backslash.
fn escaped(rest: &mut std::str::Chars<'_>) -> Option<char> {
    Some(match rest.next()? {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'u' => char::from_u32(unit(rest)?)?,
        quoted @ ('"' | '\\' | '/') => quoted,
        _ => return None,
    })
}

/// Four hexadecimal digits. The host escapes only control characters in this way, and never half of a surrogate pair.
fn unit(rest: &mut std::str::Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |value, _| Some(value * 16 + rest.next()?.to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_read_back_as_it_was() {
        for (answer, expected) in [
            (r#"{"options":""}"#, Some("")),
            (r#"{"options":"Banner none\n# \"x\" \\ \/ \t\r\u0001é"}"#, Some("Banner none\n# \"x\" \\ / \t\r\u{1}é")),
            (" { \"options\" : \"a\" }\n", Some("a")),
            (r#"{"options":null}"#, None),
            (r#"{"options":"a","other":"b"}"#, None),
            (r#"{"other":"a"}"#, None),
            (r#"{"options":"a\"}"#, None),
            (r#"{"options":"\x"}"#, None),
            (r#"{"options":"\u12"}"#, None),
            (r#"[{"options":"a"}]"#, None),
            ("{}", None),
            ("Traceback", None),
            ("\"", None),
        ] {
            assert_eq!(options(answer.as_bytes()).as_deref(), expected, "{answer}");
        }
        assert_eq!(options(b"{\"options\":\"\xff\"}"), None);
    }

    #[test]
    fn a_job_is_disabled_where_it_says_so() {
        for (answer, expected) in [
            (r#"[{"enabled":false,"id":4}]"#, true),
            (r#"[{"enabled":true,"id":4}]"#, false),
            (r#"[{"id":4}]"#, false),
            ("[]", false),
        ] {
            assert_eq!(is_disabled(answer.as_bytes()), expected, "{answer}");
        }
    }
}
