//! Warded's lines in sshd's configuration: in a fragment of the templates, and in the file that the templates generate.

use ::sshd_config::line;
use warded_guest::block::{BrokenBlock, Marks};
use warded_guest::sshd_config::{self, broken_block};
use warded_guest::{Error, actions, files, machine};

/// Warded's fragment. If two have the same name, NethServer uses the one in `templates-custom`; it has none of this
/// name itself.
const FRAGMENT: &str = "/etc/e-smith/templates-custom/etc/ssh/sshd_config/80Certificates";
/// The only file that these templates generate.
const CONFIG: &str = "/etc/ssh/sshd_config";
/// The comment above Warded's lines.
const COMMENT: &str = "# Managed by Warded (policy nethserver). `warded undo` takes it out.";
/// The policy's name for the query that expands the templates, with what is staged.
const EXPAND: &str = "expand-sshd-config";

/// sshd's configuration as it is, and the fragment with Warded's lines.
#[derive(Debug)]
pub(crate) struct Generated {
    fragment: Option<Vec<u8>>,
    live: Vec<u8>,
    marks: Marks,
}

impl Generated {
    /// Reads both files.
    ///
    /// # Errors
    /// `no-sshd`, `other-configuration` if sshd reads another file than the one that the templates generate,
    /// `broken-block`, and those of `files`.
    pub(crate) fn find() -> Result<Self, Error> {
        let path = machine::fact("sshd.config").unwrap_or_default();
        if path != CONFIG {
            return Err(Error::new(
                "other-configuration",
                format!("sshd reads {path}, but NethServer's templates generate {CONFIG}."),
            )
            .about("path", path)
            .next("use a policy for that sshd, or run this for the sshd that NethServer configures"));
        }
        let live = files::read(CONFIG)?
            .ok_or_else(|| Error::new("no-sshd", format!("{CONFIG} does not exist.")).about("path", CONFIG))?;
        let found = Self { fragment: files::read(FRAGMENT)?, live, marks: Marks::default() };
        for (path, text) in [(CONFIG, &found.live), (FRAGMENT, found.fragment.as_ref().unwrap_or(&Vec::new()))] {
            found.marks.find(text).map_err(|BrokenBlock| broken_block(path, text))?;
        }
        Ok(found)
    }

    /// The arguments of a keyword in Warded's present lines.
    pub(crate) fn values(&self, keyword: &str) -> Vec<String> {
        sshd_config::values(self.block(), keyword)
    }

    /// Warded's present lines with another keyword: those of another procedure.
    pub(crate) fn others(&self, keyword: &str) -> Vec<String> {
        sshd_config::others(self.block(), keyword)
    }

    fn block(&self) -> &[u8] {
        let text = self.fragment.as_deref().unwrap_or_default();
        self.marks.find(text).ok().flatten().and_then(|range| text.get(range)).unwrap_or_default()
    }

    /// Replaces Warded's lines with `lines`, in the fragment and in the file that the templates generate with it; if
    /// there are none, removes them. Returns whether the machine will differ.
    ///
    /// # Errors
    /// `stale-configuration` if the templates' result differs from the present file in more than Warded's lines,
    /// `broken-block`, and those of `files` and `actions`.
    pub(crate) fn set(&self, lines: &[String]) -> Result<bool, Error> {
        let wanted: Vec<&str> = std::iter::once(COMMENT).chain(lines.iter().map(String::as_str)).collect();
        let now = self.fragment.as_deref().unwrap_or_default();
        let next = if lines.is_empty() { self.marks.remove(now) } else { self.marks.set(now, &wanted) };
        let next = next.map_err(|BrokenBlock| broken_block(FRAGMENT, now))?;
        let mut changed = match self.fragment {
            None if next.is_empty() => false,
            Some(_) if next.is_empty() => files::remove(FRAGMENT)?,
            Some(_) | None => files::write(FRAGMENT, &next, None)?,
        };
        let product = actions::query(EXPAND, &[])?;
        let broken = |path, text| move |BrokenBlock| broken_block(path, text);
        let outside = |text, path| self.marks.remove(text).map_err(broken(path, text));
        let (foreign, expected) = (outside(&product, FRAGMENT)?, outside(&self.live, CONFIG)?);
        if let Some(difference) = first_difference(&foreign, &expected) {
            return Err(stale(&difference));
        }
        changed |= files::write(CONFIG, &product, None)?;
        Ok(changed)
    }
}

/// The first line in which two texts differ: the templates' line, and the file's.
fn first_difference(templates: &[u8], file: &[u8]) -> Option<(String, String)> {
    let (mut of_templates, mut of_file) = (line::lines(templates), line::lines(file));
    loop {
        let pair = (of_templates.next(), of_file.next());
        if pair == (None, None) {
            return None;
        }
        if pair.0 != pair.1 {
            let shown = |line: Option<&[u8]>| match line {
                Some(line) => format!("`{}`", String::from_utf8_lossy(line).trim_end()),
                None => "nothing more".to_owned(),
            };
            return Some((shown(pair.0), shown(pair.1)));
        }
    }
}

fn stale((templates, file): &(String, String)) -> Error {
    Error::new(
        "stale-configuration",
        format!(
            "The templates do not generate the {CONFIG} that is there: either a template or a property of the database \
             changed without an event being signalled, or the file was edited by hand. First difference: the templates \
             give {templates}, the file has {file}."
        ),
    )
    .about("path", CONFIG)
    .next("see what the templates give: /sbin/e-smith/expand-template --output_filename=/root/sshd_config.new /etc/ssh/sshd_config")
    .next("check that: sshd -t -f /root/sshd_config.new")
    .next("if it is right, have NethServer apply it: /sbin/e-smith/signal-event nethserver-openssh-save; then run this again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(fragment: Option<&str>) -> Generated {
        let live = b"Port 22\n".to_vec();
        Generated { fragment: fragment.map(|text| text.as_bytes().to_vec()), live, marks: Marks::default() }
    }

    #[test]
    fn our_lines_are_those_between_the_marks() {
        let text = "HostKey /theirs\nHostCertificate /theirs-cert.pub\n# BEGIN warded\n# Managed\nHostCertificate /a\n\
                    TrustedUserCAKeys /b\n# END warded\n";
        let generated = found(Some(text));
        assert_eq!(generated.values("HostCertificate"), ["/a"]);
        assert_eq!(generated.others("HostCertificate"), ["TrustedUserCAKeys /b"]);
        assert!(found(None).values("HostCertificate").is_empty() && found(None).others("Port").is_empty());
    }

    #[test]
    fn where_two_texts_differ() {
        let some = |left: &str, right: &str| Some((left.to_owned(), right.to_owned()));
        for (templates, file, expected) in [
            ("", "", None),
            ("a\nb\n", "a\nb\n", None),
            ("a\nb\n", "a\nc\n", some("`b`", "`c`")),
            ("a\nb", "a\n", some("`b`", "nothing more")),
            ("a\n", "a\nb\n", some("nothing more", "`b`")),
            ("a", "a\n", some("`a`", "`a`")),
        ] {
            assert_eq!(first_difference(templates.as_bytes(), file.as_bytes()), expected, "{templates:?} {file:?}");
        }
    }
}
