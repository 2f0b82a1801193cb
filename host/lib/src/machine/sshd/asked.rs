//! Remembers sshd's last answer about its main configuration. Before a change, the procedure asks first and then the
//! guard; the second question need not start sshd again as long as nothing that sshd read has changed.

use super::{
    DIRECTORY, Effective, Sshd,
    effective::canonical,
    host_key::DEFAULT_KEYS,
    nobody, not_accepted,
    reading::without_debugging,
    tree::{ConfigFile, Overlay, StagedFiles, Tree},
};
use crate::{
    error::Result,
    machine::{exec::Output, file_identity::FileIdentity},
};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

/// An answer older than this is not reused: it also depends on things that cannot be seen, such as the settings of
/// OpenSSL.
const MOMENT: Duration = Duration::from_secs(30);

thread_local! {
    /// The last answer, and when it was given.
    static LAST: RefCell<Option<(Question, Instant, Output)>> = const { RefCell::new(None) };
}

/// Everything visible on which an answer depends.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    binary: PathBuf,
    arguments: Vec<String>,
    configuration: Vec<(PathBuf, Vec<u8>)>,
    /// The program, host keys and certificates; none: the file does not exist.
    files: BTreeMap<PathBuf, Option<FileIdentity>>,
}

impl Sshd {
    /// What sshd makes of its main configuration for no particular connection. Its `LogLevel` is not valid, since sshd
    /// is asked with debugging on.
    ///
    /// # Errors
    /// When sshd does not accept the configuration; the error quotes sshd.
    pub fn for_nobody(&self) -> Result<Effective> {
        let config = self.config.as_path();
        // sshd may be able to read what cannot be read as a tree.
        let Ok(tree) = Tree::read(config, Overlay(&StagedFiles::new())) else { return self.effective(config, &[]) };
        let (output, without_keys) = self.asked(&tree)?;
        if !output.succeeded() {
            return Err(not_accepted(config, &without_debugging(&output.stderr), &output));
        }
        Ok(self.parsed(&output.stdout, without_keys))
    }

    /// All that sshd says about its main configuration, which `tree` holds. The answer may be a remembered one.
    pub(super) fn asked(&self, tree: &Tree) -> Result<(Output, bool)> {
        self.asked_within(MOMENT, tree)
    }

    fn asked_within(&self, moment: Duration, tree: &Tree) -> Result<(Output, bool)> {
        let (began, question) = (SystemTime::now(), Question::now(self, tree));
        if let Some(known) = question.as_ref().and_then(|question| question.answer(moment)) {
            return Ok((known, false));
        }
        let said = self.run("-T", self.config.as_path(), &everything(tree))?;
        // If sshd needed a directory or a key of ours, the answer is not its own.
        if let (Some(question), (output, false), None) = (question, &said, self.learnt.privsep.get())
            && output.succeeded()
            && Question::again(self).as_ref() == Some(&question)
        {
            question.answered(began, output);
        }
        Ok(said)
    }
}

/// Arguments with which sshd reports all that it reads, for no particular connection.
pub(super) fn everything(tree: &Tree) -> [String; 3] {
    ["-ddd".to_owned(), "-C".to_owned(), nobody(tree.spare_port())]
}

impl Question {
    /// The question as it is after sshd's answer. The configuration is read again, since sshd read it later than the
    /// first question did.
    fn again(sshd: &Sshd) -> Option<Self> {
        let tree = Tree::read(sshd.config.as_path(), Overlay(&StagedFiles::new())).ok()?;
        Self::now(sshd, &tree)
    }

    /// The present question about a configuration that was just read. None if the answer depends on more: an agent, a
    /// program, files that an `Include` names in a way that only sshd can resolve, or keys that no line of the
    /// configuration names.
    fn now(sshd: &Sshd, tree: &Tree) -> Option<Self> {
        let names_keys = |argument: &String| {
            let argument = argument.to_lowercase();
            ["-h", "-c"].iter().any(|option| argument.starts_with(option)) || argument.contains("host")
        };
        if sshd.arguments.iter().any(names_keys) || !tree.files.iter().all(has_known_includes) {
            return None;
        }
        let mut named = Vec::new();
        let mut names_host_key = false;
        for (_, _, directive) in tree.directives() {
            let mut arguments = directive.arguments.into_iter().map(|argument| argument.text);
            match canonical(&directive.keyword).as_str() {
                "hostkeyagent" => return None,
                "match" if arguments.any(|word| word.to_lowercase().contains("exec")) => return None,
                keyword @ ("hostkey" | "hostcertificate") => {
                    names_host_key |= keyword == "hostkey";
                    named.extend(arguments);
                }
                _ => {}
            }
        }
        if !names_host_key {
            named.extend(DEFAULT_KEYS.map(str::to_owned));
        }
        let with_public = named.iter().flat_map(|path| [path.clone(), format!("{path}.pub")]);
        let paths = with_public.map(|path| Path::new(DIRECTORY).join(path)).chain([sshd.binary.clone()]);
        Some(Self {
            binary: sshd.binary.clone(),
            arguments: sshd.arguments.clone(),
            configuration: tree.files.iter().map(|file| (file.path.clone(), file.contents.clone())).collect(),
            files: paths.map(|path| (path.clone(), FileIdentity::of(&path))).collect(),
        })
    }

    /// The answer to the same question, if it is recent.
    fn answer(&self, moment: Duration) -> Option<Output> {
        LAST.with_borrow(|last| {
            let (question, at, output) = last.as_ref()?;
            (question == self && at.elapsed() < moment).then(|| output.clone())
        })
    }

    /// Remembers the answer. Not if it depends on other host keys, such as the default ones of an sshd built for
    /// another directory, or if a file could have been written since without a change of its identity.
    fn answered(self, began: SystemTime, output: &Output) {
        // sshd also prints host keys that do not exist.
        let mut host_keys = output.stdout.lines().filter_map(|line| line.trim_end().strip_prefix("hostkey "));
        if host_keys.all(|key| self.files.contains_key(&Path::new(DIRECTORY).join(key)))
            && !self.files.values().flatten().any(|file| file.is_fresh_at(began))
        {
            LAST.set(Some((self, Instant::now(), output.clone())));
        }
    }
}

/// Whether it is known which files the `Include` lines of a file name.
fn has_known_includes(file: &ConfigFile) -> bool {
    file.directives().filter(|(_, directive)| directive.keyword == "include").all(|(line, directive)| {
        (0..directive.arguments.len()).all(|argument| file.includes.contains_key(&(line, argument)))
    })
}

#[cfg(test)]
mod tests;
