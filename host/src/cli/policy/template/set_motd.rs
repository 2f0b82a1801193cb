//! `set-motd`: writes the given lines to /etc/motd.

use warded_guest::{Error, Settings, files, log};

pub(crate) fn run(settings: &Settings) -> Result<(), Error> {
    if !files::write("/etc/motd", &contents(&settings.all("line")), None)? {
        log::info("The message is what it should be.");
    }
    Ok(())
}

/// The lines, each with a line ending.
fn contents(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_bytes(), b"\n"]).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::contents;

    #[test]
    fn every_line_is_ended() {
        assert_eq!(contents(&["Welcome.", ""]), b"Welcome.\n\n");
    }
}
