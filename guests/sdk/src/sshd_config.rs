//! Puts Warded's lines into sshd's configuration, and keeps everything else as it is: in a drop-in if sshd reads one
//! outside every `Match`, else in a marked block in the main file.
//!
//! The decisions over plain bytes are in the crate `sshd-config`.

use crate::{Error, files, machine};
use sshd_config::{
    block::{BEGIN, BrokenBlock, END, Marks},
    include, line,
};

pub use include::leads_to;
pub use line::{Directive, directives, values};

/// The name of the drop-in of `certify-host`, below a directory of sshd's configuration. Earlier versions of
/// `revoke-users` wrote their line there, too.
const DROP_IN: &str = "sshd_config.d/50-warded.conf";

/// Warded's own lines in sshd's configuration, and where they are or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnLines {
    place: Place,
    /// The directory of sshd's configuration in which the lines are.
    directory: String,
    path: String,
    /// The marks around the lines in the main file.
    marks: Marks,
    /// The file's bytes; none if there is no such file.
    contents: Option<Vec<u8>>,
}

/// Where Warded's lines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a file of their own.
    DropIn,
    /// Between two marks in the main file.
    Block,
}

/// The edit of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Edit {
    Nothing,
    Write(Vec<u8>),
    Remove,
}

impl OwnLines {
    /// Finds the lines of `certify-host`, or the place for them.
    ///
    /// # Errors
    /// As [`OwnLines::of`].
    pub fn find() -> Result<Self, Error> {
        Self::look(DROP_IN, Marks::default())
    }

    /// Finds a procedure's own lines, or the place for them: a drop-in that an effective `Include` reads, beside the
    /// main file or, if that file is the vendor's (openSUSE's `/usr/etc/ssh/sshd_config`), in `/etc/ssh`. The drop-ins
    /// belong to the sshd whose main file is called `sshd_config`: any other sshd has its lines in its main file. Needs
    /// the facts `sshd.config` and `sshd.directory`, and to read the main file and the drop-ins.
    ///
    /// # Errors
    /// `no-sshd` if this machine has no sshd configuration, `broken-block` if Warded's marks in it are not a pair,
    /// `vendors-file` if there is no place for the lines outside the vendor's file, and the errors of `files`.
    pub fn of(procedure: &str) -> Result<Self, Error> {
        Self::look(&format!("sshd_config.d/50-warded-{procedure}.conf"), Marks::of(procedure))
    }

    fn look(drop_in: &str, marks: Marks) -> Result<Self, Error> {
        let main_path = fact("sshd.config")?;
        let directory = fact("sshd.directory")?;
        let main = files::read(&main_path)?.ok_or_else(|| no_sshd(&format!("{main_path} does not exist")))?;
        if marks.find(&main).map_err(|BrokenBlock| broken_block(&main_path, &main))?.is_none() {
            for directory in included(&main, &directory, drop_in).filter(|_| has_drop_ins(&main_path)) {
                if files::list(&format!("{directory}/sshd_config.d"))?.is_some() {
                    let path = format!("{directory}/{drop_in}");
                    let contents = files::read(&path)?;
                    return Ok(Self { place: Place::DropIn, directory: directory.to_owned(), path, marks, contents });
                }
            }
            if is_vendors(&main_path) {
                return Err(vendors_file(&main_path, included(&main, &directory, drop_in).next()));
            }
        }
        Ok(Self { place: Place::Block, directory, path: main_path, marks, contents: Some(main) })
    }

    /// The directory of sshd's configuration with Warded's lines, in which the files that they name belong.
    #[must_use]
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// The arguments of a keyword in Warded's present lines, one entry per line.
    #[must_use]
    pub fn values(&self, keyword: &str) -> Vec<String> {
        values(self.text(), keyword)
    }

    /// All arguments of a keyword in Warded's present lines.
    #[must_use]
    pub fn arguments(&self, keyword: &str) -> Vec<String> {
        let of_keyword = directives(self.text()).filter(|(_, found)| found.keyword.eq_ignore_ascii_case(keyword));
        of_keyword.flat_map(|(_, found)| found.arguments).map(|argument| argument.text).collect()
    }

    /// Whether Warded's lines are in a file of their own.
    #[must_use]
    pub fn is_drop_in(&self) -> bool {
        self.place == Place::DropIn
    }

    /// The file that has Warded's lines, or will have them.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A file's text with empty lines in place of Warded's lines.
    ///
    /// # Errors
    /// `broken-block`.
    pub fn foreign(&self, path: &str, mut text: Vec<u8>) -> Result<Vec<u8>, Error> {
        let ours = match self.place {
            _ if path != self.path => return Ok(text),
            Place::DropIn => Some(0..text.len()),
            Place::Block => self.marks.find(&text).map_err(|BrokenBlock| broken_block(path, &text))?,
        };
        if let Some(range) = ours {
            let empty = text
                .get(range.clone())
                .unwrap_or_default()
                .iter()
                .copied()
                .filter(|byte| *byte == b'\n')
                .collect::<Vec<_>>();
            text.splice(range, empty);
        }
        Ok(text)
    }

    /// Warded's present lines with another keyword: those of another procedure.
    #[must_use]
    pub fn others(&self, keyword: &str) -> Vec<String> {
        others(self.text(), keyword)
    }

    /// The comment above Warded's lines, if there are any.
    #[must_use]
    pub fn comment(&self) -> Option<String> {
        let lines = line::lines(self.text()).map(|line| String::from_utf8_lossy(line).trim_end().to_owned());
        lines.into_iter().find(|line| line.starts_with("# Managed by Warded"))
    }

    /// Replaces Warded's lines with `lines`, below a comment that says whose they are; if there are none, removes them.
    /// Returns whether the machine will differ.
    ///
    /// # Errors
    /// `broken-block`, and the errors of `files`.
    pub fn set(&self, comment: &str, lines: &[String]) -> Result<bool, Error> {
        match self.edit(comment, lines)? {
            Edit::Nothing => Ok(false),
            Edit::Write(contents) => files::write(&self.path, &contents, None),
            Edit::Remove => files::remove(&self.path),
        }
    }

    fn edit(&self, comment: &str, lines: &[String]) -> Result<Edit, Error> {
        let wanted: Vec<&str> = std::iter::once(comment).chain(lines.iter().map(String::as_str)).collect();
        let now = self.contents.as_deref();
        let broken = |BrokenBlock| broken_block(&self.path, now.unwrap_or_default());
        let next = match self.place {
            Place::DropIn if lines.is_empty() => None,
            Place::DropIn => Some(wanted.iter().flat_map(|line| [line.as_bytes(), b"\n"]).flatten().copied().collect()),
            Place::Block if lines.is_empty() => Some(self.marks.remove(now.unwrap_or_default()).map_err(broken)?),
            Place::Block => Some(self.marks.set(now.unwrap_or_default(), &wanted).map_err(broken)?),
        };
        Ok(match next {
            next if next.as_deref() == now => Edit::Nothing,
            Some(contents) => Edit::Write(contents),
            None => Edit::Remove,
        })
    }

    fn text(&self) -> &[u8] {
        let contents = self.contents.as_deref().unwrap_or_default();
        match self.place {
            Place::DropIn => contents,
            Place::Block => {
                self.marks.find(contents).ok().flatten().and_then(|range| contents.get(range)).unwrap_or_default()
            }
        }
    }
}

/// The lines of a text that have another keyword.
#[must_use]
pub fn others(text: &[u8], keyword: &str) -> Vec<String> {
    line::lines(text)
        .filter(|line| Directive::parse(line).is_some_and(|found| !found.keyword.eq_ignore_ascii_case(keyword)))
        .map(|line| String::from_utf8_lossy(line).trim_end().to_owned())
        .collect()
}

/// A line of sshd's configuration with a path as its argument, quoted if needed.
///
/// # Errors
/// `invalid-path` if sshd's releases would not all read the path back, whatever the quoting.
pub fn path_line(keyword: &str, path: &str) -> Result<String, Error> {
    line::path_line(keyword, path).ok_or_else(|| {
        Error::new("invalid-path", format!("sshd's configuration cannot name the file `{path}`."))
            .about("path", path)
            .next("give it an absolute path without line breaks, quotes and `#`")
    })
}

/// The directories whose drop-in an `Include` of the main file reads: the main file's directory before `/etc/ssh`.
fn included<'a>(main: &'a [u8], own: &'a str, drop_in: &'a str) -> impl Iterator<Item = &'a str> {
    let others = Some(include::DIRECTORY).filter(|other| *other != own);
    let is_read = move |directory: &&str| include::reads_outside_match(main, &format!("{directory}/{drop_in}"));
    [own].into_iter().chain(others).filter(is_read)
}

/// Whether the files in `sshd_config.d` are meant for the sshd with this main file. A main file of another name may
/// include them, but belongs to another sshd than the system's.
fn has_drop_ins(main_path: &str) -> bool {
    main_path.rsplit('/').next() == Some("sshd_config")
}

/// Whether a file belongs to a package and is not the administrator's to edit.
fn is_vendors(path: &str) -> bool {
    path.starts_with("/usr/") && !path.starts_with("/usr/local/")
}

fn vendors_file(main: &str, included: Option<&str>) -> Error {
    let (why, next) = match included {
        Some(directory) => (
            format!("the directory {directory}/sshd_config.d, which it includes, does not exist"),
            format!("make it: mkdir -m 755 {directory}/sshd_config.d"),
        ),
        None => (
            format!("it does not include {}/{DROP_IN}", include::DIRECTORY),
            format!("include {}/sshd_config.d/*.conf in a main file of your own", include::DIRECTORY),
        ),
    };
    Error::new("vendors-file", format!("{main} belongs to the vendor, so Warded does not change it, and {why}."))
        .about("path", main)
        .next(next)
}

fn fact(name: &str) -> Result<String, Error> {
    machine::fact(name).ok_or_else(|| no_sshd("no sshd was found"))
}

/// The error for a text whose marks are not a pair.
#[must_use]
pub fn broken_block(path: &str, text: &[u8]) -> Error {
    let found = line::lines(text).enumerate().filter(|(_, line)| Marks::is_mark(line));
    let numbers: Vec<String> = found.map(|(index, _)| (index + 1).to_string()).collect();
    let lines = numbers.join(", ");
    Error::new(
        "broken-block",
        format!(
            "In {path}, a line `{BEGIN}` or `{BEGIN} PROCEDURE` is not followed by its own line `{END}`, or occurs \
             twice: such marks are in line {lines}."
        ),
    )
    .about("path", path)
    .about("line", lines)
    .next("correct these lines, or take them out together with the lines that Warded wrote between them")
}

fn no_sshd(why: &str) -> Error {
    Error::new("no-sshd", format!("This machine's SSH server cannot be set up: {why}."))
        .next("install OpenSSH's server, or name its main configuration file with --sshd-config FILE")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMENT: &str = "# Managed by Warded.";

    fn drop_in(contents: Option<&str>) -> OwnLines {
        let contents = contents.map(|text| text.as_bytes().to_vec());
        OwnLines {
            place: Place::DropIn,
            directory: "/".to_owned(),
            path: "/d".to_owned(),
            marks: Marks::default(),
            contents,
        }
    }

    fn main_file(contents: &str) -> OwnLines {
        let contents = Some(contents.as_bytes().to_vec());
        OwnLines {
            place: Place::Block,
            directory: "/".to_owned(),
            path: "/c".to_owned(),
            marks: Marks::default(),
            contents,
        }
    }

    fn text_of(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn a_drop_in_is_written_once() {
        let wanted = lines(&["HostCertificate /k-cert.pub"]);
        let text = "# Managed by Warded.\nHostCertificate /k-cert.pub\n";
        assert_eq!(drop_in(None).edit(COMMENT, &wanted).unwrap(), Edit::Write(text.into()));
        assert_eq!(drop_in(Some("old\n")).edit(COMMENT, &wanted).unwrap(), Edit::Write(text.into()));
        assert_eq!(drop_in(Some(text)).edit(COMMENT, &wanted).unwrap(), Edit::Nothing);
        assert_eq!(drop_in(Some(text)).edit(COMMENT, &[]).unwrap(), Edit::Remove);
        assert_eq!(drop_in(None).edit(COMMENT, &[]).unwrap(), Edit::Nothing);
    }

    #[test]
    fn a_block_is_written_once_and_taken_out() {
        let wanted = lines(&["HostCertificate /k-cert.pub"]);
        let text = "Port 22\n# BEGIN warded\n# Managed by Warded.\nHostCertificate /k-cert.pub\n# END warded\n";
        assert_eq!(main_file("Port 22\n").edit(COMMENT, &wanted).unwrap(), Edit::Write(text.into()));
        assert_eq!(main_file(text).edit(COMMENT, &wanted).unwrap(), Edit::Nothing);
        assert_eq!(main_file(text).edit(COMMENT, &[]).unwrap(), Edit::Write("Port 22\n".into()));
        assert_eq!(main_file("Port 22\n").edit(COMMENT, &[]).unwrap(), Edit::Nothing);
    }

    #[test]
    fn our_values_are_those_of_our_lines_only() {
        let block = "HostCertificate /theirs\n# BEGIN warded\nHostCertificate /a\nhostcertificate=\"/b c\"\n# END warded\nHostCertificate /d\n";
        assert_eq!(main_file(block).values("HostCertificate"), ["/a", "/b c"]);
        assert_eq!(drop_in(Some("HostCertificate /a # x\n#HostCertificate /b\n")).values("hostcertificate"), ["/a"]);
        assert!(drop_in(None).values("hostcertificate").is_empty());
        let both = drop_in(Some("# Managed by Warded.\nHostCertificate /a\nRevokedKeys /k\n"));
        assert_eq!(both.others("HostCertificate"), ["RevokedKeys /k"]);
        assert_eq!(both.comment().as_deref(), Some(COMMENT));
        assert_eq!(main_file(block).others("revokedkeys"), ["HostCertificate /a", "hostcertificate=\"/b c\""]);
        assert_eq!(main_file(block).comment(), None);
        assert_eq!(drop_in(Some("RevokedKeys /a \"/b c\"\n")).arguments("revokedkeys"), ["/a", "/b c"]);
        let foreign = |own: &OwnLines, path: &str, text: &str| text_of(own.foreign(path, text.into()).unwrap());
        assert_eq!(foreign(&main_file(block), "/c", block), "HostCertificate /theirs\n\n\n\n\nHostCertificate /d\n");
        assert_eq!(foreign(&main_file(block), "/d", block), block);
        assert_eq!(foreign(&drop_in(None), "/d", "x\n"), "\n");
    }

    #[test]
    fn the_drop_in_goes_where_an_include_looks() {
        for (main, own, expected) in [
            ("Include /etc/ssh/sshd_config.d/*.conf\n", "/etc/ssh", &["/etc/ssh"][..]),
            ("Include /etc/ssh/sshd_config.d/*.conf\n", "/usr/etc/ssh", &["/etc/ssh"]),
            ("Include sshd_config.d/*.conf\n", "/usr/etc/ssh", &["/etc/ssh"]),
            ("Include /usr/etc/ssh/sshd_config.d/*.conf\n", "/usr/etc/ssh", &["/usr/etc/ssh"]),
            (
                "Include /etc/ssh/sshd_config.d/*.conf\nInclude /usr/etc/ssh/sshd_config.d/*.conf\n",
                "/srv/ssh",
                &["/etc/ssh"],
            ),
            ("Match all\nInclude /etc/ssh/sshd_config.d/*.conf\n", "/usr/etc/ssh", &[]),
            ("Port 22\n", "/etc/ssh", &[]),
        ] {
            assert_eq!(included(main.as_bytes(), own, DROP_IN).collect::<Vec<_>>(), expected, "{main} {own}");
        }
        let one = b"Include /etc/ssh/sshd_config.d/50-warded.conf\n";
        let read = |drop_in| included(one, "/etc/ssh", drop_in).count();
        assert_eq!([DROP_IN, "sshd_config.d/50-warded-revoke-users.conf"].map(read), [1, 0], "by its whole name");
        assert!(has_drop_ins("/usr/etc/ssh/sshd_config"));
        assert!(!["/etc/ssh/sshd_config_sftp", "/etc/ssh/sshd_config/x"].into_iter().any(has_drop_ins));
        let vendors = ["/usr/etc/ssh/sshd_config", "/usr/lib/ssh/sshd_config"];
        assert!(vendors.into_iter().all(is_vendors));
        assert!(!["/etc/ssh/sshd_config", "/usr/local/etc/ssh/sshd_config"].into_iter().any(is_vendors));
    }

    #[test]
    fn a_path_that_no_line_can_name_is_an_error() {
        assert_eq!(path_line("HostCertificate", "/etc/ssh/k").unwrap(), "HostCertificate /etc/ssh/k");
        let broken = main_file("Port 22\n# END warded\nX\n# BEGIN warded\n").edit(COMMENT, &[]).unwrap_err();
        assert!(broken.message.ends_with("such marks are in line 2, 4."), "{}", broken.message);
        assert_eq!(path_line("HostCertificate", "/a#b").unwrap_err().code, "invalid-path");
    }
}
