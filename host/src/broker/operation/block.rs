//! Warded's marked block in sshd's main configuration file: nothing else of that file may change.

/// The line that opens it.
pub const BEGIN: &str = "# BEGIN warded";
/// The line that closes it.
pub const END: &str = "# END warded";

/// The lines outside the block; none where the marks are not one pair at most.
#[must_use]
pub fn outside(contents: &[u8]) -> Option<Vec<&[u8]>> {
    let mut outside = Vec::new();
    let (mut inside, mut blocks) = (false, 0);
    for line in contents.split_inclusive(|byte| *byte == b'\n') {
        match line.trim_ascii() {
            mark if mark == BEGIN.as_bytes() && !inside => {
                inside = true;
                blocks += 1;
            }
            mark if mark == END.as_bytes() && inside => inside = false,
            mark if mark == BEGIN.as_bytes() || mark == END.as_bytes() => return None,
            _ if inside => {}
            _ => outside.push(line),
        }
    }
    (!inside && blocks <= 1).then_some(outside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_block_may_differ() {
        let same = |a: &str, b: &str| {
            let (a, b) = (outside(a.as_bytes()), outside(b.as_bytes()));
            a.is_some() && a == b
        };
        assert!(same("a\nb\n", "a\n# BEGIN warded\nx\n# END warded\nb\n"));
        assert!(same("a\r\n# BEGIN warded\r\nx\r\n# END warded\r\n", "a\r\n"));
        for bad in [
            "a\nc\n",
            "a\nb",
            "a\n# BEGIN warded\nb\n",
            "# END warded\na\nb\n",
            "a\n# BEGIN warded\n# BEGIN warded\n# END warded\nb\n",
            "# BEGIN warded\n# END warded\na\n# BEGIN warded\n# END warded\nb\n",
        ] {
            assert!(!same("a\nb\n", bad), "{bad:?}");
        }
    }
}
