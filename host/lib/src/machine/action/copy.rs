//! Private copies of directories for a query, which works on the files as they would be and changes nothing on the
//! machine.

use super::{
    Action, Argument, Code, Fault, Invocation, QueryAnswer, Runner,
    fill::{Piece, SCRATCH},
};
use crate::{
    error::Error,
    machine::{
        files::{FileError, FileErrorKind, Place, Root, is_temporary},
        path::AbsolutePath,
        scratch::Scratch,
    },
    text::neutral,
};
use std::{collections::BTreeMap, path::PathBuf};
use zeroize::Zeroizing;

/// The most files that are copied, and the most bytes of them together.
const FILES: usize = 1_000;
const BYTES: usize = 8 << 20;

/// The files that a run has staged in the directories of a query, by directory and name; none: the file is to be
/// removed.
pub type Overlay = BTreeMap<(AbsolutePath, String), Option<Vec<u8>>>;

impl Action {
    /// The directories whose copies it works on.
    pub fn copied(&self) -> impl Iterator<Item = &AbsolutePath> {
        self.scratch.values().flatten()
    }
}

/// Some place in a directory that need not exist; the name does not matter.
///
/// # Errors
/// The path to the directory cannot be trusted.
pub fn inside(root: &Root, directory: &AbsolutePath) -> Result<Option<Place>, FileError> {
    let path =
        directory.join("-").map_err(|why| FileError::new(FileErrorKind::InvalidPath, directory.as_path(), why))?;
    root.place_to_be(&path, usize::MAX)
}

impl Invocation {
    /// Runs a query that works on copies.
    ///
    /// # Errors
    /// As [`Invocation::ask`]; or another user could have written the files to be copied, or they are too large.
    pub fn ask_on_copies(&self, runner: &dyn Runner, root: &Root, overlay: &Overlay) -> Result<QueryAnswer, Fault> {
        let failed = |error: Error| Fault::new(Code::Failed, error.message().to_owned());
        let scratch = Scratch::private().map_err(failed)?;
        let mut room = Room { files: FILES, bytes: BYTES };
        for (below, directories) in &self.action.scratch {
            let mut merged: BTreeMap<String, Zeroizing<Vec<u8>>> = BTreeMap::new();
            for directory in directories {
                merged.extend(self.files_of(root, directory, overlay, &mut room)?);
            }
            scratch.directory(below).map_err(failed)?;
            for (name, contents) in merged {
                scratch.write(&format!("{below}/{name}"), &contents, 0o600).map_err(failed)?;
            }
        }
        let path =
            scratch.path().to_str().ok_or_else(|| Fault::new(Code::Failed, "the scratch directory is no text"))?;
        let mut call = self.call(None)?;
        for (argument, said) in call.argv.iter_mut().zip(&self.action.argv) {
            if let Argument::Text(said) = said
                && matches!(Piece::of(said), Ok(Piece::Literal(_)))
            {
                *argument = argument.replace(SCRATCH, path);
            }
        }
        call.file = self.action.output_file().map(|name| PathBuf::from(path).join(name));
        QueryAnswer::of(self, &self.run(runner, &call)?)
    }

    /// The files of one directory, as they will be.
    fn files_of(
        &self,
        root: &Root,
        directory: &AbsolutePath,
        overlay: &Overlay,
        room: &mut Room,
    ) -> Result<BTreeMap<String, Zeroizing<Vec<u8>>>, Fault> {
        let foreign = |error: FileError| {
            let code = match error.kind {
                FileErrorKind::Io => Code::Failed,
                FileErrorKind::InvalidPath
                | FileErrorKind::UntrustedPath
                | FileErrorKind::NotAFile
                | FileErrorKind::TooLarge
                | FileErrorKind::Pending => Code::UntrustedProgram,
            };
            Fault::new(code, format!("{} is not given a copy of {directory}: {}", self.name, error.message))
        };
        let mut files = BTreeMap::new();
        let Some(place) = inside(root, directory).map_err(foreign)? else { return Ok(files) };
        for name in place.list().map_err(foreign)? {
            let file = place.sibling(&name);
            // While a run is carried out, its own temporary files lie there as well.
            if is_temporary(&name) || overlay.contains_key(&(directory.clone(), name.clone())) {
                continue;
            }
            file.refuse_foreign().map_err(foreign)?;
            let Some(found) = file.snapshot().map_err(foreign)? else { continue };
            room.take(found.contents.len()).map_err(|what| self.too_much(directory, what))?;
            files.insert(name, found.contents);
        }
        for ((_, name), contents) in overlay.iter().filter(|((of, _), _)| of == directory) {
            if let Some(contents) = contents {
                room.take(contents.len()).map_err(|what| self.too_much(directory, what))?;
                files.insert(name.clone(), Zeroizing::new(contents.clone()));
            }
        }
        Ok(files)
    }

    fn too_much(&self, directory: &AbsolutePath, what: &str) -> Fault {
        let directory = neutral(directory.as_str());
        Fault::new(Code::UnexpectedOutput, format!("{} is not given a copy of {directory}: {what}", self.name))
    }
}

/// The number of files and bytes that may still be copied.
struct Room {
    files: usize,
    bytes: usize,
}

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), &'static str> {
        self.files = self.files.checked_sub(1).ok_or("there are more than 1,000 files")?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or("there are more than 8 MiB")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::action::Programs;
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
        path::Path,
    };

    struct Bench {
        scratch: tempfile::TempDir,
        root: Root,
    }

    impl Bench {
        fn new() -> Self {
            let scratch = tempfile::tempdir().unwrap();
            for (name, text) in [("stock/10a", "a\n"), ("stock/20b", "b\n"), ("custom/20b", "B\n")] {
                fs::create_dir_all(scratch.path().join(name).parent().unwrap()).unwrap();
                fs::write(scratch.path().join(name), text).unwrap();
            }
            Self { scratch, root: Root::ambient().unwrap() }
        }

        fn path(&self, name: &str) -> AbsolutePath {
            self.scratch.path().canonicalize().unwrap().join(name).as_path().try_into().unwrap()
        }

        fn ask(&self, command: &str, overlay: &[(&str, &str, Option<&str>)]) -> Result<String, Fault> {
            let action: Action = toml::from_str(&format!(
                "kind = 'query'\nargv = ['/bin/sh', '-c', '{command}', '{{scratch}}']\noutput = {{ file = 'out' }}\n\
                 scratch.'etc/x' = ['{}', '{}']",
                self.path("stock"),
                self.path("custom")
            ))
            .unwrap();
            assert_eq!(action.fault(&BTreeMap::new()), None);
            let filled = Invocation::new(&"expand".parse().unwrap(), &action, [], "").unwrap();
            let overlay = overlay.iter().map(|(directory, name, contents)| {
                ((self.path(directory), (*name).to_owned()), contents.map(|text| text.as_bytes().to_vec()))
            });
            let shown = filled.ask_on_copies(&Programs, &self.root, &overlay.collect())?;
            Ok(String::from_utf8(shown.bytes()).unwrap())
        }

        fn code(&self) -> Option<Code> {
            self.ask("cat $0/etc/x/* >$0/out", &[]).err().map(|fault| fault.code)
        }
    }

    #[test]
    fn directories_are_merged_by_name_with_what_is_staged() {
        let bench = Bench::new();
        let merge = "cat $0/etc/x/* >$0/out; ls $0/etc/x >>$0/out";
        assert_eq!(bench.ask(merge, &[]).unwrap(), "a\nB\n10a\n20b\n");
        let staged = [("custom", "80c", Some("c\n")), ("custom", "20b", None), ("stock", "10a", Some("A\n"))];
        assert_eq!(bench.ask(merge, &staged).unwrap(), "A\nb\nc\n10a\n20b\n80c\n");
        fs::remove_dir_all(bench.path("custom").as_path()).unwrap();
        assert_eq!(bench.ask(merge, &[("custom", "80c", Some("c\n"))]).unwrap(), "a\nb\nc\n10a\n20b\n80c\n");
        let private = bench.ask("stat -c %a $0 $0/etc/x/10a >$0/out; touch $0/etc/x/10a", &[]).unwrap();
        assert_eq!(private, "700\n600\n");
    }

    #[test]
    fn what_the_program_leaves_is_no_answer_unless_it_is_a_plain_file() {
        let bench = Bench::new();
        for (command, code) in [
            ("true", Code::UnexpectedOutput),
            ("mkdir $0/out", Code::UnexpectedOutput),
            ("ln -s /etc/passwd $0/out", Code::UnexpectedOutput),
            ("head -c 1048577 /dev/zero >$0/out", Code::UnexpectedOutput),
            ("printf \"\\\\377\" >$0/out", Code::UnexpectedOutput),
            ("echo x >$0/out; exit 3", Code::Failed),
        ] {
            assert_eq!(bench.ask(command, &[]).unwrap_err().code, code, "{command}");
        }
        assert_eq!(bench.ask("head -c 1048576 /dev/zero >$0/out", &[]).unwrap().len(), 1 << 20);
    }

    #[test]
    fn only_plain_files_of_roots_are_copied() {
        type Harm = fn(&Path);
        let harms: [(&str, Harm); 7] = [
            ("a link", |stock| symlink("/etc/passwd", stock.join("30")).unwrap()),
            ("a second name", |stock| fs::hard_link(stock.join("10a"), stock.join("30")).unwrap()),
            ("a directory", |stock| fs::create_dir(stock.join("30")).unwrap()),
            ("a file that others can write", |stock| {
                fs::set_permissions(stock.join("10a"), fs::Permissions::from_mode(0o666)).unwrap();
            }),
            ("a directory that others can write", |stock| {
                fs::set_permissions(stock, fs::Permissions::from_mode(0o777)).unwrap();
            }),
            ("a pipe", |stock| {
                rustix::fs::mknodat(rustix::fs::CWD, stock.join("30"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
                    .unwrap();
            }),
            ("somebody's file", |stock| {
                if rustix::process::geteuid().is_root() {
                    std::os::unix::fs::chown(stock.join("10a"), Some(1234), None).unwrap();
                } else {
                    fs::create_dir(stock.join("30")).unwrap();
                }
            }),
        ];
        for (what, harm) in harms {
            let bench = Bench::new();
            assert_eq!(bench.code(), None);
            harm(bench.path("stock").as_path());
            assert_eq!(bench.code(), Some(Code::UntrustedProgram), "{what}");
        }
    }

    #[test]
    fn too_much_is_not_copied() {
        let bench = Bench::new();
        let stock = bench.path("stock");
        (0..998).for_each(|number| fs::write(stock.as_path().join(format!("{number:03}")), "x").unwrap());
        assert_eq!(bench.code(), Some(Code::UnexpectedOutput), "with the one that is overridden these are 1,001");
        fs::remove_file(stock.as_path().join("997")).unwrap();
        assert_eq!(bench.code(), None);
        for name in ["1", "2"] {
            fs::write(stock.as_path().join(name), vec![b'x'; 4 << 20]).unwrap();
        }
        (0..997).for_each(|number| fs::remove_file(stock.as_path().join(format!("{number:03}"))).unwrap());
        assert_eq!(bench.ask("true >$0/out", &[]).unwrap_err().code, Code::UnexpectedOutput);
        fs::write(stock.as_path().join("2"), "x").unwrap();
        assert_eq!(bench.ask("true >$0/out", &[]).unwrap(), "");
    }
}
