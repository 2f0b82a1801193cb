//! `allowed_signers`, as far as Warded checks it itself; ssh-keygen does the rest. Lines are parsed as OpenSSH's
//! sshsig.c does it.

use warded_lib::error::{Error, Result};

const WHITESPACE: [u8; 4] = *b" \t\r\n";

/// Refuses a list in which a certificate authority may vouch for any publisher: everybody with a certificate for
/// logging in could then publish what root runs.
///
/// # Errors
/// Refused: the list has such a line.
pub fn refuse_everybody(signers: &[u8]) -> Result<()> {
    let is_everybody = |pattern: &[u8]| !pattern.is_empty() && pattern.iter().all(|one| matches!(one, b'*' | b'?'));
    for (number, line) in (1..).zip(signers.split(|byte| *byte == b'\n')) {
        let Some((principals, rest)) = principals(line) else { continue };
        if principals.split(|byte| *byte == b',').any(is_everybody) && has_option(rest, b"cert-authority") {
            return Err(Error::refused(format!("line {number} of allowed_signers lets everybody publish policies"))
                .cause("it is a cert-authority for the principals *: whoever has a certificate could sign for any publisher")
                .next("name the publishers whose certificates count"));
        }
    }
    Ok(())
}

/// A line's principals, and the rest of the line. As in misc.c (`strdelimw`), a quote anywhere in the word is dropped,
/// and the word ends at the next quote.
fn principals(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let line = line.trim_ascii_start();
    if line.is_empty() || line.starts_with(b"#") {
        return None;
    }
    let end = line.iter().position(|byte| *byte == b'"' || WHITESPACE.contains(byte))?;
    let (plain, rest) = (line.get(..end)?, line.get(end + 1..)?);
    if line.get(end) != Some(&b'"') {
        return Some((plain.to_vec(), rest.trim_ascii_start()));
    }
    let close = rest.iter().position(|byte| *byte == b'"')?;
    Some(([plain, rest.get(..close)?].concat(), rest.get(close + 1..)?.trim_ascii_start()))
}

/// Whether the options before a key include one of this name: `a,b="c,d",e ssh-ed25519 …`.
fn has_option(rest: &[u8], name: &[u8]) -> bool {
    let (mut quoted, mut start, mut at) = (false, 0, 0);
    while let Some(byte) = rest.get(at) {
        match byte {
            // An escaped quote does not end a quoted part.
            b'\\' if rest.get(at + 1) == Some(&b'"') => at += 1,
            b'"' => quoted = !quoted,
            b',' | b' ' | b'\t' if !quoted => {
                if rest.get(start..at).is_some_and(|option| option.eq_ignore_ascii_case(name)) {
                    return true;
                }
                start = at + 1;
                if *byte != b',' {
                    return false;
                }
            }
            _ => {}
        }
        at += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_makes_everybody_a_publisher_is_refused() {
        const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7";
        for (line, refused) in [
            (format!("* cert-authority {KEY}"), true),
            (format!("\t* namespaces=\"a,b\",cert-authority {KEY}"), true),
            (format!("\"*\" CERT-AUTHORITY,valid-after=\"2020\" {KEY}"), true),
            (format!("ops@example.org,* cert-authority {KEY}"), true),
            (format!("\"ops of b,*\" cert-authority {KEY}"), true),
            (format!("x,\"*\" cert-authority {KEY}"), true),
            (format!("x,\"*\"cert-authority {KEY}"), true),
            (format!("x\"y\" cert-authority {KEY}"), false),
            (format!("*\rcert-authority {KEY}"), true),
            (format!("* namespaces=\"a\\\"b\",cert-authority {KEY}"), true),
            (format!("* namespaces=\"a\\\",cert-authority\" {KEY}"), false),
            (format!("?* cert-authority {KEY}"), true),
            (format!("* {KEY}"), false),
            (format!("* namespaces=\"cert-authority\" {KEY}"), false),
            (format!("*@example.org cert-authority {KEY}"), false),
            (format!("# * cert-authority {KEY}"), false),
            (format!("* {KEY} cert-authority"), false),
        ] {
            let list = format!("a@example.org {KEY}\n{line}\n");
            let found = refuse_everybody(list.as_bytes());
            assert_eq!(found.is_err(), refused, "{line}");
            assert!(found.err().is_none_or(|error| error.message().starts_with("line 2 ")), "{line}");
        }
    }
}
