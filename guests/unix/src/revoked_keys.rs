//! Which lists Warded's `RevokedKeys` line has to name, so that sshd ignores neither Warded's list nor anybody else's.
//!
//! sshd uses the first such line outside every `Match` and ignores a second one; a line in a `Match` replaces it where
//! that `Match` applies. Since OpenSSH 10.3 one line may name several lists, so that Warded's can stand beside others.

use warded_guest::{
    Error,
    sshd_config::{self, Directive, directives},
};

pub(crate) const KEYWORD: &str = "RevokedKeys";
/// The first release whose sshd reads several lists.
const SEVERAL: (u32, u32) = (10, 3);

/// A file of sshd's configuration, without Warded's own lines.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: Vec<u8>,
    pub(crate) place: Place,
}

/// Whether sshd reads a file's lines before or after Warded's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Warded's lines come first.
    After,
    /// The file's lines come first.
    Before,
    /// The file's lines come first, up to the `Include` that leads to Warded's.
    Around,
}

/// The state of `RevokedKeys` in sshd's configuration.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    /// sshd's version: `10.6p1`.
    pub(crate) version: Option<&'a str>,
    /// The path of Warded's list.
    pub(crate) own: &'a str,
    /// The file that has Warded's line, or will have it.
    pub(crate) own_file: &'a str,
    /// The lists that Warded's line names now.
    pub(crate) ours: &'a [String],
    /// The lists that sshd uses outside every `Match`.
    pub(crate) effective: &'a [String],
    /// The other files.
    pub(crate) files: &'a [File],
}

/// A line that is not Warded's.
#[derive(Debug)]
struct Line<'a> {
    file: &'a str,
    number: usize,
    names: Vec<String>,
    is_conditional: bool,
    is_before: bool,
}

impl Line<'_> {
    fn place(&self) -> String {
        format!("{} line {}", self.file, self.number)
    }
}

impl Known<'_> {
    /// The lists that Warded's line has to name; none if an effective line of somebody else's already names Warded's
    /// list.
    ///
    /// # Errors
    /// `other-revoked-keys` if sshd would ignore one of the lists.
    pub(crate) fn names(&self) -> Result<Vec<String>, Error> {
        let lines: Vec<Line<'_>> = self.files.iter().flat_map(|file| lines(file, self.own_file)).collect();
        if let Some(none) = lines.iter().find(|line| line.names.iter().any(|name| is_none(name))) {
            return Err(none_is_said(none));
        }
        let is_ours = |line: &&Line<'_>| line.names.iter().any(|name| name == self.own);
        let (with_ours, others): (Vec<_>, Vec<_>) = lines.iter().partition(is_ours);
        let is_known = |name: &&String| {
            *name == self.own || self.ours.contains(name) || lines.iter().any(|line| line.names.contains(name))
        };
        if let Some(hidden) = self.effective.iter().find(|name| !is_known(name)) {
            return Err(lost(hidden, "a file that Warded does not read", "uses only one line"));
        }
        let Some(first) = others.first() else {
            let both = with_ours.iter().any(|line| line.names.len() > 1 && !line.is_conditional);
            return Ok(if both { Vec::new() } else { vec![self.own.to_owned()] });
        };
        let name = first.names.first().map(String::as_str).unwrap_or_default();
        if self.version.and_then(major_minor).is_none_or(|version| version < SEVERAL) {
            return Err(lost(name, &first.place(), "uses only one"));
        }
        if let Some(line) = others.iter().find(|line| line.is_conditional) {
            return Err(lost(name, &line.place(), "uses only that line where its `Match` applies"));
        }
        if let Some(line) = others.iter().chain(&with_ours).find(|line| line.is_before) {
            return Err(lost(name, &line.place(), "uses only that line, which comes before Warded's"));
        }
        Ok(first.names.iter().cloned().chain([self.own.to_owned()]).collect())
    }
}

/// The `RevokedKeys` lines of a file.
fn lines<'a>(file: &'a File, own_file: &str) -> Vec<Line<'a>> {
    let (mut is_conditional, mut is_before) = (false, file.place != Place::After);
    let mut lines = Vec::new();
    for (number, Directive { keyword, arguments }) in directives(&file.text) {
        match keyword.as_str() {
            "match" => is_conditional = true,
            "include" if file.place == Place::Around => {
                is_before &= !arguments.iter().any(|argument| sshd_config::leads_to(&argument.text, own_file));
            }
            _ if keyword.eq_ignore_ascii_case(KEYWORD) => {
                let names = arguments.into_iter().map(|argument| argument.text).collect();
                lines.push(Line { file: &file.path, number, names, is_conditional, is_before });
            }
            _ => {}
        }
    }
    lines
}

/// Warded's line for these lists.
///
/// # Errors
/// `invalid-path` if sshd's configuration cannot express one of the names.
pub(crate) fn line(names: &[String]) -> Result<String, Error> {
    let lines = names.iter().map(|name| sshd_config::path_line(KEYWORD, name)).collect::<Result<Vec<_>, _>>()?;
    let words = lines.iter().filter_map(|line| line.strip_prefix(KEYWORD));
    Ok(std::iter::once(KEYWORD).chain(words).collect())
}

pub(crate) fn is_none(name: &str) -> bool {
    name.eq_ignore_ascii_case("none")
}

fn major_minor(version: &str) -> Option<(u32, u32)> {
    let (major, rest) = version.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn none_is_said(line: &Line<'_>) -> Error {
    Error::new(
        "other-revoked-keys",
        format!("{} says `RevokedKeys none`, and sshd uses the first such line: it would ignore a list.", line.place()),
    )
    .about("path", line.file)
    .next("take that line out")
}

fn lost(name: &str, place: &str, why: &str) -> Error {
    let next = format!(
        "add the serial numbers to that list (ssh-keygen -k -u -f {name} -s CA.pub SPEC), or take its RevokedKeys line out"
    );
    let what = format!("sshd's configuration names another list of revoked keys, {name} ({place}), and sshd {why}.");
    Error::new("other-revoked-keys", what).about("path", name).next(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "/etc/ssh/warded-revoked.krl";

    /// The lists that Warded's line has to name, or the refusal's message.
    fn named(version: &str, files: &[(Place, &str)], ours: &[&str], effective: &[&str]) -> Result<Vec<String>, String> {
        let files: Vec<File> = files
            .iter()
            .map(|(place, text)| File { path: "/f".to_owned(), text: text.as_bytes().to_vec(), place: *place })
            .collect();
        let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (ours, effective) = (strings(ours), strings(effective));
        let known = Known {
            version: Some(version),
            own: OWN,
            own_file: "/etc/ssh/d/50-warded.conf",
            ours: &ours,
            effective: &effective,
            files: &files,
        };
        known.names().map_err(|error| error.message)
    }

    #[test]
    fn ours_stands_beside_theirs_where_sshd_takes_both() {
        use Place::{After, Around, Before};
        let theirs = "Include d/*\nRevokedKeys /t\n";
        for (version, files, ours, effective, expected) in [
            ("9.2p1", &[(Around, "Port 22\n")][..], &[][..], &[][..], Ok(&[OWN][..])),
            ("9.2p1", &[(Around, "RevokedKeys /etc/ssh/warded-revoked.krl\n")], &[], &[OWN], Ok(&[OWN])),
            ("9.2p1", &[(Around, theirs)], &[], &["/t"], Err("uses only one")),
            ("10.2p1", &[(Around, theirs)], &[], &["/t"], Err("uses only one")),
            ("unknown", &[(Around, theirs)], &[], &["/t"], Err("uses only one")),
            ("10.3p1", &[(Around, theirs)], &[], &["/t"], Ok(&["/t", OWN])),
            ("11.0p1", &[(After, "RevokedKeys /t \"/u v\"\n")], &[], &["/t", "/u v"], Ok(&["/t", "/u v", OWN])),
            // As Warded left it, and after the administrator changed the other line.
            ("10.6p1", &[(Around, theirs)], &["/t", OWN], &["/t", OWN], Ok(&["/t", OWN])),
            ("10.6p1", &[(Around, "Include d/*\n")], &["/t", OWN], &["/t", OWN], Ok(&[OWN])),
            ("10.6p1", &[(After, "RevokedKeys /u\n")], &["/t", OWN], &["/t", OWN], Ok(&["/u", OWN])),
            // The other line names Warded's list.
            ("10.6p1", &[(Before, "RevokedKeys /t /etc/ssh/warded-revoked.krl\n")], &[], &["/t", OWN], Ok(&[])),
            ("10.6p1", &[(Before, "RevokedKeys /t\n")], &[], &["/t"], Err("/f line 1), and sshd uses only that line")),
            ("10.6p1", &[(Around, "RevokedKeys /t\nInclude d/*\n")], &[], &["/t"], Err("comes before Warded's")),
            (
                "10.6p1",
                &[(Around, "Include e/*\nRevokedKeys /t\nInclude d/*\n")],
                &[],
                &["/t"],
                Err("comes before Warded's"),
            ),
            ("10.6p1", &[(After, "Match User a\nRevokedKeys /t\n")], &[], &[], Err("where its `Match` applies")),
            ("10.6p1", &[], &[], &["/hidden"], Err("a file that Warded does not read")),
            ("10.6p1", &[(After, "RevokedKeys NONE\n")], &[], &[], Err("/f line 1 says `RevokedKeys none`")),
        ] {
            let named = named(version, files, ours, effective);
            match (&named, expected) {
                (Ok(named), Ok(expected)) => assert_eq!(named, expected, "{version} {files:?}"),
                (Err(said), Err(words)) => assert!(said.contains(words), "{version} {files:?}: {said}"),
                _ => panic!("{version} {files:?}: {named:?}"),
            }
        }
    }

    #[test]
    fn a_line_names_each_list() {
        let names = ["/t".to_owned(), "/u v".to_owned(), OWN.to_owned()];
        assert_eq!(line(&names).unwrap(), format!("RevokedKeys /t \"/u v\" {OWN}"));
        assert_eq!(line(&["rel".to_owned()]).unwrap_err().code, "invalid-path");
    }
}
