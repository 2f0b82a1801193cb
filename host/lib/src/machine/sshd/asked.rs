//! What sshd last said of its main configuration as it is. A procedure asks for it, and then the guard, before the change:
//! the second of them need not start sshd again, as long as nothing has changed that sshd read.

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

/// For longer nothing counts as unchanged: an answer depends on what cannot be seen, too, such as the settings of OpenSSL.
const MOMENT: Duration = Duration::from_secs(30);

thread_local! {
    /// The last answer, and when it was given.
    static LAST: RefCell<Option<(Question, Instant, Output)>> = const { RefCell::new(None) };
}

/// All that an answer depends on and that can be seen.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    binary: PathBuf,
    arguments: Vec<String>,
    configuration: Vec<(PathBuf, Vec<u8>)>,
    /// The program, host keys and certificates; none: there is no such file.
    files: BTreeMap<PathBuf, Option<FileIdentity>>,
}

impl Sshd {
    /// What sshd makes of its main configuration for nobody in particular, but for the `LogLevel`.
    ///
    /// # Errors
    /// When sshd does not accept the configuration: with sshd's own words.
    pub fn for_nobody(&self) -> Result<Effective> {
        let config = self.config.as_path();
        // What cannot be read as a tree, sshd may read all the same.
        let Ok(tree) = Tree::read(config, Overlay(&StagedFiles::new())) else { return self.effective(config, &[]) };
        let (output, without_keys) = self.asked(&tree)?;
        if !output.succeeded() {
            return Err(not_accepted(config, &without_debugging(&output.stderr), &output));
        }
        Ok(self.parsed(&output.stdout, without_keys))
    }

    /// All that sshd says of its main configuration, which is in `tree`; it may have said so a moment ago.
    pub(super) fn asked(&self, tree: &Tree) -> Result<(Output, bool)> {
        self.asked_within(MOMENT, tree)
    }

    fn asked_within(&self, moment: Duration, tree: &Tree) -> Result<(Output, bool)> {
        let (began, question) = (SystemTime::now(), Question::now(self, tree));
        if let Some(known) = question.as_ref().and_then(|question| question.answer(moment)) {
            return Ok((known, false));
        }
        let said = self.run("-T", self.config.as_path(), &everything(tree))?;
        // Without a directory that it needs, or without a key, sshd did not answer by itself.
        if let (Some(question), (output, false), None) = (question, &said, self.learnt.privsep.get())
            && output.succeeded()
            && Question::again(self).as_ref() == Some(&question)
        {
            question.answered(began, output);
        }
        Ok(said)
    }
}

/// With these arguments sshd says all that it reads, for nobody in particular.
pub(super) fn everything(tree: &Tree) -> [String; 3] {
    ["-ddd".to_owned(), "-C".to_owned(), nobody(tree.spare_port())]
}

impl Question {
    /// The question of now, with the configuration read for it: sshd read that later than the tree of the first question.
    fn again(sshd: &Sshd) -> Option<Self> {
        let tree = Tree::read(sshd.config.as_path(), Overlay(&StagedFiles::new())).ok()?;
        Self::now(sshd, &tree)
    }

    /// The question of now, about a configuration that was just read. None where an answer depends on more: an agent, a
    /// program, files that an `Include` names in a way that only sshd knows, or keys that a line of the configuration does
    /// not name.
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

    /// The answer to the same question a moment ago.
    fn answer(&self, moment: Duration) -> Option<Output> {
        LAST.with_borrow(|last| {
            let (question, at, output) = last.as_ref()?;
            (question == self && at.elapsed() < moment).then(|| output.clone())
        })
    }

    /// Keeps the answer, unless it depends on a host key elsewhere, such as the default ones of an sshd that was built for
    /// another directory, or a file could have been written since without a sign of it.
    fn answered(self, began: SystemTime, output: &Output) {
        // Those that do not exist are printed, too.
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
