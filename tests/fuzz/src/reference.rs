//! How others do it, written down a second time: sshd's way to take a line apart, glob(3)'s and our
//! patterns' way to match, each as plainly as can be.

const WHITESPACE: &[u8] = b" \t\r\n";

/// A keyword, and its arguments.
type Words = (Vec<u8>, Vec<Vec<u8>>);

/// OpenSSH's `load_server_config` and `process_server_config_line_depth` (servconf.c) as far as the
/// keyword and `argv_split` (misc.c): what a line says, or nothing. `Err`: sshd refuses the line for
/// its quotes.
pub fn sshd_line(line: &[u8]) -> Result<Option<Words>, ()> {
    let Some((keyword, rest)) = keyword(line) else { return Ok(None) };
    Ok(Some((keyword, argv_split(&rest.unwrap_or_default())?)))
}

/// The same as before OpenSSH 8.7: without comments, and with `strdelim` for every argument.
#[must_use]
pub fn sshd_line_before_8_7(line: &[u8]) -> Option<Words> {
    let comment = line.iter().position(|byte| *byte == b'#').unwrap_or(line.len());
    let (keyword, mut rest) = keyword(&line[..comment])?;
    let mut arguments = Vec::new();
    while let Some(argument) = strdelim(&mut rest) {
        if argument.is_empty() {
            break;
        }
        arguments.push(argument);
    }
    Some((keyword, arguments))
}

fn keyword(line: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let mut buffer = line.to_vec();
    while buffer.first().is_some_and(|byte| b" \t\r".contains(byte)) {
        buffer.remove(0);
    }
    while buffer.len() > 1 && buffer.last().is_some_and(|byte| WHITESPACE.contains(byte) || *byte == 0x0c) {
        buffer.pop();
    }
    let mut rest = Some(buffer);
    let mut keyword = strdelim(&mut rest)?;
    if keyword.is_empty() {
        keyword = strdelim(&mut rest)?;
    }
    let says = !keyword.is_empty() && keyword[0] != b'#';
    says.then_some((keyword, rest))
}

fn strdelim(s: &mut Option<Vec<u8>>) -> Option<Vec<u8>> {
    let mut text = s.take()?;
    let Some(stop) = text.iter().position(|byte| WHITESPACE.contains(byte) || *byte == b'"' || *byte == b'=') else {
        return Some(text);
    };
    let skip = |text: &[u8], from: usize| {
        from + text.get(from..).unwrap_or_default().iter().take_while(|byte| WHITESPACE.contains(byte)).count()
    };
    if text[stop] == b'"' {
        text.remove(stop);
        let end = stop + text[stop..].iter().position(|byte| *byte == b'"')?;
        let next = skip(&text, end + 1);
        *s = Some(text.get(next..).unwrap_or_default().to_vec());
        text.truncate(end);
        return Some(text);
    }
    let was_equals = text[stop] == b'=';
    let mut next = skip(&text, stop + 1);
    if text.get(next) == Some(&b'=') && !was_equals {
        next = skip(&text, next + 1);
    }
    *s = Some(text.get(next..).unwrap_or_default().to_vec());
    text.truncate(stop);
    Some(text)
}

fn argv_split(s: &[u8]) -> Result<Vec<Vec<u8>>, ()> {
    let at = |i: usize| s.get(i).copied().unwrap_or(0);
    let mut found = Vec::new();
    let mut i = 0;
    while at(i) != 0 {
        if at(i) == b' ' || at(i) == b'\t' {
            i += 1;
            continue;
        }
        if at(i) == b'#' {
            break;
        }
        let (mut quote, mut argument) = (0, Vec::new());
        while at(i) != 0 {
            if at(i) == b'\\' {
                let next = at(i + 1);
                if next == b'\'' || next == b'"' || next == b'\\' || (quote == 0 && next == b' ') {
                    i += 1;
                }
                argument.push(at(i));
            } else if quote == 0 && (at(i) == b' ' || at(i) == b'\t') {
                break;
            } else if quote == 0 && (at(i) == b'"' || at(i) == b'\'') {
                quote = at(i);
            } else if quote != 0 && at(i) == quote {
                quote = 0;
            } else {
                argument.push(at(i));
            }
            i += 1;
        }
        found.push(argument);
        if at(i) == 0 && quote != 0 {
            return Err(());
        }
    }
    Ok(found)
}

/// Whether a name matches a pattern of `*` alone, tried in every way there is.
#[must_use]
pub fn star_matches(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) => star_matches(rest, name) || (!name.is_empty() && star_matches(pattern, &name[1..])),
        ([first, rest @ ..], [character, left @ ..]) => first == character && star_matches(rest, left),
        _ => false,
    }
}

/// Whether a name matches a pattern as OpenSSH's glob has it, but for sets: byte by byte.
#[must_use]
pub fn glob_matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => glob_matches(rest, name) || (!name.is_empty() && glob_matches(pattern, &name[1..])),
        ([b'?', rest @ ..], [_, left @ ..]) => glob_matches(rest, left),
        ([b'\\', first, rest @ ..], [byte, left @ ..]) => first == byte && glob_matches(rest, left),
        ([b'\\', _, ..], []) => false,
        ([first, rest @ ..], [byte, left @ ..]) => first == byte && glob_matches(rest, left),
        _ => false,
    }
}

/// The bytes outside of a pair of marks, read line by line; none where the marks are not one pair
/// at most.
#[must_use]
pub fn outside_of_marks(text: &[u8], begin: &str, end: &str) -> Option<Vec<u8>> {
    let mut outside = Vec::new();
    let (mut inside, mut blocks) = (false, 0);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match line.trim_ascii() {
            mark if mark == begin.as_bytes() && !inside => {
                inside = true;
                blocks += 1;
            }
            mark if mark == end.as_bytes() && inside => inside = false,
            mark if mark == begin.as_bytes() || mark == end.as_bytes() => return None,
            _ if inside => {}
            _ => outside.extend_from_slice(line),
        }
    }
    (!inside && blocks <= 1).then_some(outside)
}
