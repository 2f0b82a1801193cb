//! File names in a component's data that the wildcard of a grant may be meant for. The code may build other names at
//! run time, so this is a hint to a person, and no decision depends on it.

use std::collections::BTreeSet;
use wasmparser::{Parser, Payload};

/// The maximum number of characters in a name that a wildcard may stand for.
const LONGEST: usize = 64;
/// Up to this many names are a useful list; more are chance, or a table of everything.
const MOST: usize = 8;

/// The names in a component's data that start with `before` and end with `after`, with something between; empty if
/// there are too many.
#[must_use]
pub fn names(component: &[u8], (before, after): (&str, &str)) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if before.is_empty() || after.is_empty() {
        return found;
    }
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        let Payload::DataSection(section) = payload else { continue };
        for segment in section.into_iter().map_while(Result::ok) {
            add(&mut found, segment.data, (before.as_bytes(), after.as_bytes()));
            if found.len() > MOST {
                return BTreeSet::new();
            }
        }
    }
    found
}

/// Texts are stored one after another without a terminator, so each name is taken as short as possible.
fn add(found: &mut BTreeSet<String>, data: &[u8], (before, after): (&[u8], &[u8])) {
    let starts = data.windows(before.len()).enumerate().filter(|(_, window)| *window == before);
    for (start, _) in starts {
        let Some(rest) = data.get(start + before.len()..) else { continue };
        let length = rest.iter().take(LONGEST + after.len()).take_while(|byte| is_of_name(**byte)).count();
        let Some(run) = rest.get(..length) else { continue };
        let Some(end) = run.windows(after.len()).skip(1).position(|window| window == after) else { continue };
        let name = [before, run.get(..end + 1 + after.len()).unwrap_or_default()].concat();
        found.extend(String::from_utf8(name));
        if found.len() > MOST {
            return;
        }
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._@-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_data_however_texts_lie_together() {
        let component = |data: &str| {
            wat::parse_str(format!("(component (core module (memory 1) (data (i32.const 0) \"{data}\")))")).unwrap()
        };
        let of = |data: &str| Vec::from_iter(names(&component(data), ("ssh_host_", "_key")));
        assert_eq!(of("ssh_host_rsa_keyssh_host_ed25519_key.pub"), ["ssh_host_ed25519_key", "ssh_host_rsa_key"]);
        assert_eq!(of("ssh_host__key ssh_host_ _key, ssh_host_\\00_key"), [""; 0]);
        assert_eq!(of(&format!("ssh_host_{}_key", "a".repeat(LONGEST + 1))), [""; 0]);
        let many: String = (0..20).map(|number| format!("ssh_host_{number}_key ")).collect();
        assert_eq!(of(&many), [""; 0]);
        assert_eq!(names(&component("a.conf"), ("", ".conf")), BTreeSet::new());
    }
}
