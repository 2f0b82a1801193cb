//! `write-file`: writes the given lines to the given path.

use warded_guest::{Error, Settings, files, services};

pub(crate) fn run(settings: &Settings) -> Result<(), Error> {
    files::write(settings.one("path")?, &contents(&settings.all("text")), None)?;
    if settings.optional("reload")? == Some("yes") { services::reload("ssh") } else { Ok(()) }
}

/// The lines, each with a line ending. No lines: an empty file.
fn contents(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_bytes(), b"\n"]).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::contents;

    #[test]
    fn every_line_is_ended() {
        assert_eq!(contents(&["a", "", "b"]), b"a\n\nb\n");
        assert_eq!(contents(&[]), b"");
    }
}
