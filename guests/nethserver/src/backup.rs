//! Puts Warded's files into NethServer's backup of the configuration, by its list of further files. Warded's lines
//! stand before others, so that removing them leaves the others as they were.

use warded_guest::{Error, files};

/// The list: paths, one per line.
const INCLUDE: &str = "/etc/backup-config.d/custom.include";

/// Adds these files to the backup. Returns whether the machine will differ.
///
/// # Errors
/// Those of `files`.
pub(crate) fn include(paths: &[String]) -> Result<bool, Error> {
    let now = files::read(INCLUDE)?.unwrap_or_default();
    match with(&now, paths) {
        Some(next) => files::write(INCLUDE, &next, None),
        None => Ok(false),
    }
}

/// Takes these files out of the backup. Returns whether the machine will differ.
///
/// # Errors
/// Those of `files`.
pub(crate) fn exclude(paths: &[String]) -> Result<bool, Error> {
    let Some(now) = files::read(INCLUDE)? else { return Ok(false) };
    match without(&now, paths) {
        None => Ok(false),
        Some(next) if next.is_empty() => files::remove(INCLUDE),
        Some(next) => files::write(INCLUDE, &next, None),
    }
}

/// The list with those paths that it lacks; none if it has them all.
fn with(list: &[u8], paths: &[String]) -> Option<Vec<u8>> {
    let missing: String = paths.iter().filter(|path| !names(list, path)).map(|path| format!("{path}\n")).collect();
    (!missing.is_empty()).then(|| [missing.as_bytes(), list].concat())
}

/// The list without these paths; none if it has none of them.
fn without(list: &[u8], paths: &[String]) -> Option<Vec<u8>> {
    let is_ours = |line: &&[u8]| paths.iter().any(|path| line.trim_ascii() == path.as_bytes());
    let kept: Vec<&[u8]> = list.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_ours(line)).collect();
    let kept = kept.concat();
    (kept.len() < list.len()).then_some(kept)
}

fn names(list: &[u8], path: &str) -> bool {
    list.split(|byte| *byte == b'\n').any(|line| line.trim_ascii() == path.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_stays_as_it_is() {
        let paths = ["/a".to_owned(), "/b".to_owned()];
        for (before, after) in [
            ("", Some("/a\n/b\n")),
            ("/mine\n", Some("/a\n/b\n/mine\n")),
            ("/mine", Some("/a\n/b\n/mine")),
            ("/mine\r\n/a \n", Some("/b\n/mine\r\n/a \n")),
            ("/a\n/b\n", None),
            ("/a/b\n", Some("/a\n/b\n/a/b\n")),
        ] {
            let next = with(before.as_bytes(), &paths);
            assert_eq!(next.as_deref(), after.map(str::as_bytes), "{before:?}");
            if !before.contains("/a \n") && after.is_some() {
                assert_eq!(without(&next.unwrap(), &paths).as_deref(), Some(before.as_bytes()), "{before:?}");
            }
        }
        assert_eq!(without(b"/mine\n", &paths), None);
    }
}
