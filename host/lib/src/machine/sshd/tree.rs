//! sshd's configuration as a tree: the main file and all files that its `Include` lines name, nested. It is read as it
//! is on the machine, or as it would be with some files exchanged.

use super::DIRECTORY;
use crate::{
    error::{Error, Exit, Result},
    machine::bounded,
};
pub use sshd_config::line::directives;
use sshd_config::{
    glob::{is_pattern, matches},
    include,
    line::Directive,
};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

/// More files than any real configuration has.
const MAX_FILES: usize = 1000;
/// The depth to which sshd itself follows `Include` (SERVCONF_MAX_DEPTH in OpenSSH's servconf.c).
const MAX_DEPTH: usize = 16;
/// More lines than sshd reads: its configuration may have 256 KiB since 10.0.
const MAX_LINES: usize = 200_000;

/// The contents that files would have, by their resolved paths; none: the file would be removed.
pub type StagedFiles = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// The machine's files with the staged ones in their place. Only reads.
#[derive(Clone, Copy, Debug)]
pub struct Overlay<'a>(pub &'a StagedFiles);

/// The number of links that Linux follows.
const MAX_LINKS: usize = 40;

impl<'a> Overlay<'a> {
    /// The staged file that a path leads to, if any, through whatever links.
    #[must_use]
    pub fn staged(&self, path: &Path) -> Option<(&'a Path, Option<&'a [u8]>)> {
        let found =
            |path: &Path| self.0.get_key_value(path).map(|(key, contents)| (key.as_path(), contents.as_deref()));
        let real = |path: &Path| Some(fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?));
        found(path)
            .or_else(|| found(&fs::canonicalize(path).ok()?))
            .or_else(|| {
                // A link may lead to a file that does not exist yet.
                let mut path = real(path)?;
                for _ in 0..MAX_LINKS {
                    let Ok(target) = fs::read_link(&path) else { break };
                    path = real(&path.parent()?.join(target))?;
                }
                found(&path)
            })
            .or_else(|| found(self.in_directory_of(path)?))
    }

    /// The staged file with the same name in the same directory, if a mount gives that directory two paths.
    fn in_directory_of(&self, path: &Path) -> Option<&'a Path> {
        let name = path.file_name()?;
        let mut alike = self.0.keys().filter(|key| key.file_name() == Some(name)).peekable();
        alike.peek()?;
        let directory = identity(path.parent()?)?;
        alike.find(|key| key.parent().and_then(identity) == Some(directory)).map(PathBuf::as_path)
    }

    /// The staged files in a directory, whatever links lead to it.
    #[must_use]
    pub fn staged_in(&self, directory: &Path) -> Vec<&'a Path> {
        let real = fs::canonicalize(directory).ok().or_else(|| {
            // The directory may not exist yet.
            Some(fs::canonicalize(directory.parent()?).ok()?.join(directory.file_name()?))
        });
        let is_in = |path: &&'a Path| {
            path.parent().is_some_and(|parent| parent == directory || Some(parent) == real.as_deref())
        };
        self.0.keys().map(PathBuf::as_path).filter(is_in).collect()
    }

    /// The regular files that a directory would hold.
    #[must_use]
    pub fn files_in(&self, directory: &Path) -> Vec<PathBuf> {
        let there = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut files: Vec<PathBuf> = there.filter(|path| path.is_file() && self.staged(path).is_none()).collect();
        let is_there = |path: &&Path| self.0.get(*path).is_some_and(Option::is_some);
        files.extend(self.staged_in(directory).into_iter().filter(is_there).map(Path::to_owned));
        files
    }

    /// The contents of a file.
    ///
    /// # Errors
    /// As for reading a file; `NotFound` if it is staged to be removed.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.staged(path) {
            Some((_, Some(contents))) => Ok(contents.to_vec()),
            Some((_, None)) => Err(io::ErrorKind::NotFound.into()),
            None => bounded::read(path),
        }
    }

    pub(crate) fn exists(&self, path: &Path) -> bool {
        self.staged(path).map_or_else(|| path.exists(), |(_, contents)| contents.is_some())
    }

    fn names(&self, directory: &Path) -> Vec<String> {
        let real = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
        let entries = fs::read_dir(directory).into_iter().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        let own = identity(&real);
        let is_here = |parent: &Path| parent == real || own.is_some() && identity(parent) == own;
        let staged = self.0.keys().filter(|path| path.parent().is_some_and(is_here));
        names.extend(staged.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())));
        names.sort();
        names.dedup();
        names
    }

    /// The files that an argument of `Include` names, in sshd's order. None for an argument that sshd refuses, or takes
    /// relative to its working directory: only sshd can tell what that means.
    #[must_use]
    pub fn expand(&self, argument: &str) -> Option<Vec<PathBuf>> {
        let pattern = include::pattern(argument)?;
        let mut found = vec![PathBuf::new()];
        for component in Path::new(&*pattern).components() {
            let segment = component.as_os_str().to_string_lossy();
            if !matches!(component, Component::Normal(_)) || !is_pattern(&segment) {
                found.iter_mut().for_each(|path| path.push(component));
                continue;
            }
            // The limit keeps a pattern such as `/*/*/*/*/*` from taking forever.
            found.truncate(MAX_FILES + 1);
            let below = |path: PathBuf| {
                let names = self.names(&path).into_iter().filter(|name| matches(&segment, name));
                names.map(|name| path.join(name)).collect::<Vec<_>>()
            };
            found = found.into_iter().flat_map(below).collect();
        }
        found.retain(|path| self.exists(path));
        found.truncate(MAX_FILES + 1);
        found.sort();
        Some(found)
    }
}

/// The identity of a file or a directory, whatever path leads to it.
#[must_use]
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Checks that the files that sshd reads for a test or a connection have an end: at a FIFO it would wait, and a device
/// would fill its memory. Lists of keys are not checked, since sshd reads them only at a login.
///
/// # Errors
/// Refused: names the keyword and the file that has no end.
pub fn refuse_endless(main: &Path) -> Result<()> {
    let tree = match Tree::read(main, Overlay(&StagedFiles::new())) {
        Ok(tree) => tree,
        Err(error) if error.exit() == Exit::Refused => return Err(error),
        // sshd itself will report the problem.
        Err(_) => return Ok(()),
    };
    for (_, _, directive) in tree.directives() {
        let keyword = directive.keyword.as_str();
        for argument in directive.arguments.iter().filter(|_| ["hostcertificate", "hostkey"].contains(&keyword)) {
            for path in [argument.text.clone(), format!("{}.pub", argument.text)] {
                bounded::refuse_endless(&Path::new(DIRECTORY).join(path), keyword)?;
            }
        }
    }
    Ok(())
}

/// One file of the configuration.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// Where it is, as the configuration names it.
    pub path: PathBuf,
    /// Its bytes.
    pub contents: Vec<u8>,
    /// The files that each argument of an `Include` line names, by line number (from 1) and position of the argument.
    pub includes: BTreeMap<(usize, usize), Vec<PathBuf>>,
}

impl ConfigFile {
    /// Its lines that are neither empty nor comments, with their numbers from 1.
    pub fn directives(&self) -> impl Iterator<Item = (usize, Directive)> {
        directives(&self.contents)
    }
}

/// A line in the order in which sshd reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The file that has the line, as the configuration names it.
    pub file: &'a Path,
    /// Its number, from 1.
    pub number: usize,
    /// What it says.
    pub directive: Directive,
    /// Its bytes, without surrounding blanks.
    pub text: &'a [u8],
    /// The `Match` conditions under which it applies, the outermost first.
    pub within: Vec<String>,
}

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Its files, the main file first, each once.
    pub files: Vec<ConfigFile>,
}

impl Tree {
    /// Reads a main file and all that it includes. A file that cannot be read is left out: sshd itself reports that.
    ///
    /// # Errors
    /// When the main file cannot be read, or the includes do not end.
    pub fn read(main: &Path, overlay: Overlay<'_>) -> Result<Self> {
        let contents = overlay
            .read(main)
            .map_err(|error| Error::failed(format!("cannot read {}", main.display())).cause(error))?;
        let mut tree = Self { files: vec![ConfigFile { path: main.to_owned(), contents, includes: BTreeMap::new() }] };
        let mut next = 0;
        while let Some(file) = tree.files.get(next) {
            let mut includes = BTreeMap::new();
            for (line, directive) in file.directives().filter(|(_, directive)| directive.keyword == "include") {
                for (index, argument) in directive.arguments.iter().enumerate() {
                    if let Some(files) = overlay.expand(&argument.text) {
                        includes.insert((line, index), files);
                    }
                }
            }
            for path in includes.values().flatten() {
                if tree.find(path).is_some() {
                    continue;
                }
                match overlay.read(path) {
                    Ok(contents) => {
                        tree.files.push(ConfigFile { path: path.clone(), contents, includes: BTreeMap::new() });
                    }
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                        return Err(bounded::endless(path, "Include", &error));
                    }
                    Err(_) => {}
                }
            }
            if tree.files.len() > MAX_FILES {
                return Err(Error::refused(format!("{} includes more than {MAX_FILES} files", main.display())));
            }
            if let Some(file) = tree.files.get_mut(next) {
                file.includes = includes;
            }
            next += 1;
        }
        Ok(tree)
    }

    /// A port that no `Match LocalPort` names, neither by number nor by a name of services(5): it has no name there.
    #[must_use]
    pub fn spare_port(&self) -> u16 {
        let conditions = self.directives().filter(|(_, _, directive)| directive.keyword == "match");
        let words: Vec<String> =
            conditions.flat_map(|(_, _, directive)| directive.arguments).map(|argument| argument.text).collect();
        let is_named = |port: &u16| {
            let port = port.to_string();
            words.iter().any(|word| word.split(|c: char| !c.is_ascii_digit()).any(|digits| digits == port))
        };
        let services = fs::read_to_string("/etc/services").unwrap_or_default();
        let has_name = |port: &u16| {
            let mut ports = services.lines().filter_map(|line| line.split_whitespace().nth(1)?.split('/').next());
            ports.any(|known| known == port.to_string())
        };
        (1..=u16::MAX).rev().find(|port| !is_named(port) && !has_name(port)).unwrap_or(u16::MAX)
    }

    /// Every line that is neither empty nor a comment, in the order in which sshd reads it. The lines of an included
    /// file come where its `Include` stands, and again if another `Include` names the file.
    ///
    /// # Errors
    /// Refused: sshd would not read the configuration to its end.
    pub fn lines(&self) -> Result<Vec<Line<'_>>> {
        let mut lines = Vec::new();
        if let Some(main) = self.files.first() {
            self.read_into(main, &[], &mut lines, 0)?;
        }
        Ok(lines)
    }

    fn read_into<'a>(
        &'a self,
        file: &'a ConfigFile,
        around: &[String],
        lines: &mut Vec<Line<'a>>,
        depth: usize,
    ) -> Result<()> {
        if depth > MAX_DEPTH || lines.len() > MAX_LINES {
            return Err(Error::refused(format!("{} includes more than can be compared", file.path.display()))
                .cause(format!("at most {MAX_DEPTH} levels and {MAX_LINES} lines")));
        }
        let mut within = around.to_vec();
        let texts: Vec<&[u8]> = sshd_config::line::lines(&file.contents).collect();
        for (number, directive) in file.directives() {
            if directive.keyword == "match" {
                // A `Match` ends the block before it, but not the conditions around the `Include`.
                within.truncate(around.len());
                within.extend((!directive.is_match_all()).then(|| directive.normal()));
            }
            let arguments = directive.arguments.len();
            let text = texts.get(number - 1).copied().unwrap_or_default().trim_ascii();
            lines.push(Line { file: &file.path, number, directive, text, within: within.clone() });
            for index in 0..arguments {
                for path in file.includes.get(&(number, index)).into_iter().flatten() {
                    if let Some(included) = self.find(path).and_then(|index| self.files.get(index)) {
                        self.read_into(included, &within, lines, depth + 1)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The index of a file.
    #[must_use]
    pub fn find(&self, path: &Path) -> Option<usize> {
        self.files.iter().position(|file| file.path == path)
    }

    /// Every line that is neither empty nor a comment: its file, its number, and its content.
    pub fn directives(&self) -> impl Iterator<Item = (&Path, usize, Directive)> {
        self.files.iter().flat_map(|file| file.directives().map(|(line, what)| (file.path.as_path(), line, what)))
    }

    /// Where a keyword first occurs: `/etc/ssh/sshd_config line 12`.
    #[must_use]
    pub fn place_of(&self, keyword: &str) -> Option<String> {
        let (path, line, _) =
            self.directives().find(|(_, _, directive)| directive.keyword.eq_ignore_ascii_case(keyword))?;
        Some(format!("{} line {line}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[PathBuf], below: &Path) -> Vec<String> {
        paths.iter().map(|path| path.strip_prefix(below).unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn includes_are_read_with_the_staged_files_in_place() {
        let scratch = tempfile::tempdir().unwrap();
        let at = fs::canonicalize(scratch.path()).unwrap();
        let config = at.join("main.conf");
        fs::create_dir(at.join("d")).unwrap();
        for (name, text) in
            [("d/20-b.conf", "Include DIR/e.conf\n"), ("d/10-a.conf", "X\n"), ("e.conf", "Port 1\n"), ("d/.h.conf", "")]
        {
            fs::write(at.join(name), text.replace("DIR", at.to_str().unwrap())).unwrap();
        }
        std::os::unix::fs::symlink(at.join("d"), at.join("link")).unwrap();
        fs::write(&config, format!("Include {0}/link/*.conf {0}/none\n", at.display())).unwrap();
        let staged: StagedFiles =
            [(at.join("d/15-new.conf"), Some(b"HostKey /k\n".to_vec())), (at.join("d/10-a.conf"), None)].into();
        let tree = Tree::read(&config, Overlay(&staged)).unwrap();
        let paths: Vec<_> = tree.files.iter().map(|file| file.path.clone()).collect();
        assert_eq!(names(&paths, &at), ["main.conf", "link/15-new.conf", "link/20-b.conf", "e.conf"]);
        assert_eq!(names(&tree.files[0].includes[&(1, 0)], &at), ["link/15-new.conf", "link/20-b.conf"]);
        assert!(tree.files[0].includes[&(1, 1)].is_empty());
        assert_eq!(tree.place_of("Port"), Some(format!("{} line 1", at.join("e.conf").display())));
        let plain = Tree::read(&config, Overlay(&StagedFiles::new())).unwrap();
        assert_eq!(plain.files.len(), 4);
        assert!(Tree::read(&at.join("missing"), Overlay(&staged)).is_err());
    }

    #[test]
    fn a_file_that_includes_itself_is_read_once() {
        let scratch = tempfile::tempdir().unwrap();
        let config = scratch.path().join("c");
        fs::write(&config, format!("Include {}\n", config.display())).unwrap();
        assert_eq!(Tree::read(&config, Overlay(&StagedFiles::new())).unwrap().files.len(), 1);
    }

    #[test]
    fn a_relative_include_is_below_etc_ssh() {
        let staged = StagedFiles::from([(PathBuf::from("/etc/ssh/zz-warded-test"), Some(Vec::new()))]);
        let files = vec![PathBuf::from("/etc/ssh/zz-warded-test")];
        assert_eq!(Overlay(&staged).expand("zz-warded-test"), Some(files));
    }
}
