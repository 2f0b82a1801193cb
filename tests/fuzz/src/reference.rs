//! How others do it, written down a second time: sshd's way to take a line apart, glob(3)'s and our
//! patterns' way to match, each as plainly as can be.

const WHITESPACE: &[u8] = b" \t\r\n";

/// OpenSSH's `process_server_config_line_depth` (servconf.c) as far as the keyword and `argv_split`
/// (misc.c): what a line says, or nothing. `Err`: sshd refuses the line for its quotes.
pub fn sshd_line(line: &[u8]) -> Result<Option<(Vec<u8>, Vec<Vec<u8>>)>, ()> {
    let mut buffer = line.to_vec();
    while buffer.len() > 1 && buffer.last().is_some_and(|byte| WHITESPACE.contains(byte) || *byte == 0x0c) {
        buffer.pop();
    }
    let mut rest = Some(buffer);
    let Some(mut keyword) = strdelim(&mut rest) else { return Ok(None) };
    if keyword.is_empty() {
        let Some(second) = strdelim(&mut rest) else { return Ok(None) };
        keyword = second;
    }
    if keyword.is_empty() || keyword[0] == b'#' {
        return Ok(None);
    }
    Ok(Some((keyword, argv_split(&rest.unwrap_or_default())?)))
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

/// Whether a name matches a pattern as glob(3) has it, but for classes.
#[must_use]
pub fn glob_matches(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) => glob_matches(rest, name) || (!name.is_empty() && glob_matches(pattern, &name[1..])),
        (['?', rest @ ..], [_, left @ ..]) => glob_matches(rest, left),
        (['\\', first, rest @ ..], [character, left @ ..]) => first == character && glob_matches(rest, left),
        (['\\', _, ..], []) => false,
        ([first, rest @ ..], [character, left @ ..]) => first == character && glob_matches(rest, left),
        _ => false,
    }
}
