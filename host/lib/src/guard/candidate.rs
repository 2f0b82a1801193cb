//! A configuration that is not in place yet, in a form about which sshd can be asked: a private copy, in which every
//! path of a staged file leads to a private copy of that file.

use super::{
    baseline,
    config::{
        authorship::Authorship,
        config_digest::{self, Digests},
        structure::MatchBlocks,
    },
    risks::Risks,
};
use crate::{
    error::{Error, Label, Result},
    machine::{
        keys::is_certificate,
        scratch::Scratch,
        sshd::{
            ConfigReading, Effective, Sshd, View,
            host_key::DEFAULT_KEYS,
            sshd_words,
            tree::{ConfigFile, Overlay, StagedFiles, Tree},
        },
    },
};
use ssh_key::Certificate;
use sshd_config::{line::with_arguments, principals::directory_of};
use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// The keyword of lines that name files of principals, mostly by the user's name.
pub(super) const PRINCIPALS: &str = "authorizedprincipalsfile";

/// A staged configuration with which sshd can be run.
#[derive(Debug)]
pub struct Candidate {
    /// The sshd as it is now.
    pub(super) original: Sshd,
    /// The same sshd, with arguments that lead to the copies.
    pub(super) sshd: Sshd,
    /// Its configuration files as they would be, under their real names.
    pub(super) tree: Tree,
    /// The files that would differ.
    pub(super) staged: StagedFiles,
    /// What the operator accepts about logins.
    pub(super) risks: Risks,
    /// Which principals the operator lets log in as which users; none: the operator did not say.
    pub(super) mapping: Option<sshd_config::principals::Mapping>,
    /// Which lines are Warded's.
    pub(super) authorship: Authorship,
    /// Whether the `ssh` program is asked as well.
    pub(super) with_second_opinion: bool,
    /// Whether the run is for another sshd, and this one only reads files that it changes.
    pub(super) is_bystanders: bool,
    /// Whether host certificates may come back that have expired since they were in use.
    pub(super) restores_expired: bool,
    /// What sshd says of the candidate, once it has been asked.
    view: OnceLock<View>,
    /// The copy of the main file.
    config: PathBuf,
    /// Private paths, each with the real path for which it stands.
    names: Vec<(String, String)>,
    /// Copies of directories that sshd reads as the user who logs in.
    passable: Vec<Scratch>,
    /// Removed with the candidate.
    _scratch: Scratch,
}

impl Candidate {
    /// Makes the copies. `staged` are the files that would differ, by resolved path, of any kind: configuration,
    /// keys, certificates (a placeholder for one that is not issued yet).
    ///
    /// # Errors
    /// When the configuration cannot be read, or the copies cannot be written.
    pub fn build(sshd: &Sshd, staged: &StagedFiles) -> Result<Self> {
        let overlay = Overlay(staged);
        let tree = Tree::read(sshd.config.as_path(), overlay)?;
        let (scratch, copies) = Copies::make(&tree, staged, MatchBlocks::Shut)?;
        let original = sshd.clone();
        let mut sshd = sshd.clone();
        let with_host_keys = default_keys(&sshd, &tree, overlay)?;
        sshd.arguments.extend(with_host_keys);
        sshd.arguments.iter_mut().for_each(|argument| *argument = copies.argument(argument, overlay));
        let config = copies.config(sshd.config.as_path()).unwrap_or_default().into();
        Ok(Self {
            original,
            sshd,
            tree,
            staged: staged.clone(),
            risks: Risks::default(),
            mapping: None,
            authorship: Authorship::default(),
            with_second_opinion: false,
            is_bystanders: false,
            restores_expired: false,
            view: OnceLock::new(),
            config,
            names: copies.names,
            passable: copies.passable,
            _scratch: scratch,
        })
    }

    /// Lets the candidate pass although users may lose or gain a way in, as far as the operator accepts that.
    #[must_use]
    pub fn accepting(self, risks: Risks) -> Self {
        Self { risks, ..self }
    }

    /// Sets which lines are Warded's. Without this call, none are.
    #[must_use]
    pub fn by(self, authorship: &Authorship) -> Self {
        Self { authorship: authorship.clone(), ..self }
    }

    /// Sets whether the `ssh` program of this machine proves the candidate as well.
    #[must_use]
    pub fn with_second_opinion(self, wanted: bool) -> Self {
        Self { with_second_opinion: wanted, ..self }
    }

    /// Takes over what sshd said of another candidate for the same sshd, if the two differ only in the contents of
    /// certificates: sshd would say the same again. The proof will show whether sshd serves these certificates.
    #[must_use]
    pub fn after(self, other: &Self) -> Self {
        let is_certificate = |contents: &Option<Vec<u8>>| contents.as_deref().is_some_and(is_certificate);
        let is_alike = |path: &PathBuf| match (self.staged.get(path), other.staged.get(path)) {
            (Some(own), Some(others)) => own == others || is_certificate(own) && is_certificate(others),
            _ => false,
        };
        let same_files = self.staged.keys().chain(other.staged.keys()).all(is_alike);
        if let Some(view) = other.view.get().filter(|_| same_files && self.files() == other.files()) {
            self.view.get_or_init(|| view.clone());
        }
        self
    }

    /// Marks the candidate as that of an sshd which only reads files that a run for another sshd changes.
    /// Certificates for the other sshd's keys do it no harm.
    #[must_use]
    pub fn of_bystander(self) -> Self {
        Self { is_bystanders: true, ..self }
    }

    /// Sets whether host certificates may come back that have expired since they were in use.
    #[must_use]
    pub fn restoring_expired(self, restores_expired: bool) -> Self {
        Self { restores_expired, ..self }
    }

    /// Those of the certificates that the candidate would serve: it names the certificate's file and has the key.
    pub fn serves(&self, certificates: &[Certificate]) -> Result<Vec<Certificate>> {
        let (effective, overlay) = (&self.view()?.effective, Overlay(&self.staged));
        let keys = baseline::public_keys(effective, overlay);
        let named: Vec<Certificate> = effective
            .values("hostcertificate")
            .iter()
            .filter_map(|path| std::str::from_utf8(overlay.staged(Path::new(path))?.1?).ok()?.trim().parse().ok())
            .collect();
        let is_served = |certificate: &&Certificate| {
            named.contains(certificate) && keys.iter().any(|key| key.key_data() == certificate.public_key())
        };
        Ok(certificates.iter().filter(is_served).cloned().collect())
    }

    /// The private copy of the main file, for `sshd -f`.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Whether a directory of principals is copied. sshd would not trust the copy in its place.
    pub(super) fn has_copied_principals(&self) -> bool {
        !self.passable.is_empty()
    }

    /// Its configuration files as they would be, under their real names.
    #[must_use]
    pub fn files(&self) -> Digests {
        config_digest::digests(&self.tree)
    }

    /// A text of sshd's, with the real paths in place of the private ones.
    #[must_use]
    pub fn real_names(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (private, real)| text.replace(private, real))
    }

    /// The effective configuration with the real paths, as [`Sshd::effective`] returns it.
    pub fn effective(&self, connection: &[(String, String)]) -> Result<Effective> {
        let effective = self.sshd.effective(&self.config, connection).map_err(|error| self.told(&error))?;
        Ok(effective.renamed(|value| self.real_names(value)))
    }

    /// Whether sshd has been asked about the candidate already.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.view.get().is_some()
    }

    /// Everything that sshd says of the candidate, with the real paths.
    ///
    /// # Errors
    /// sshd would not start with it: with sshd's own words.
    pub fn view(&self) -> Result<&View> {
        if let Some(known) = self.view.get() {
            return Ok(known);
        }
        let View { effective, mut tested, reading } =
            self.sshd.view(&self.config, &self.tree).map_err(|error| self.told(&error))?;
        tested.words = sshd_words(&self.real_names(&tested.words.join("\n")));
        let real = |value: &str| self.real_names(value);
        let view = View { effective: effective.renamed(real), tested, reading: reading.renamed(real) };
        Ok(self.view.get_or_init(|| view))
    }

    /// What sshd reports to read from a copy in which each `Match` is `Match all`, with the real paths. (sshd does
    /// not report lines in a block that does not hold.) None where the configuration has no block.
    ///
    /// # Errors
    /// The copy cannot be made, or sshd cannot be run.
    pub fn reading_with_blocks_open(&self) -> Result<Option<ConfigReading>> {
        if !self.tree.directives().any(|(_, _, directive)| directive.is_conditional()) {
            return Ok(None);
        }
        let (_scratch, copies) = Copies::make(&self.tree, &self.staged, MatchBlocks::Open)?;
        let config = copies.config(self.sshd.config.as_path()).unwrap_or_default();
        let reading = self.sshd.reading(Path::new(config), &self.tree)?;
        let real =
            |text: &str| copies.names.iter().fold(text.to_owned(), |text, (copy, real)| text.replace(copy, real));
        Ok(Some(reading.renamed(real)))
    }

    /// Rewrites the copy's paths in an error to the real ones.
    fn told(&self, error: &Error) -> Error {
        let message = format!("sshd would not accept {} after this change", self.sshd.config);
        let refused =
            Error::refused(message).next("correct that place; if the procedure writes it, tell the policy's author");
        error.notes_of(Label::Cause).fold(refused, |told, text| told.cause(self.real_names(text)))
    }
}

/// The private copies, in numbered directories, so that no private path is a prefix of another.
struct Copies {
    names: Vec<(String, String)>,
    private: String,
    passable: Vec<Scratch>,
}

impl Copies {
    /// Writes copies of a configuration and of the staged files. With `blocks` open, each `Match` becomes `Match
    /// all`.
    fn make(tree: &Tree, staged: &StagedFiles, blocks: MatchBlocks) -> Result<(Scratch, Self)> {
        let overlay = Overlay(staged);
        let scratch = Scratch::private()?;
        let mut copies =
            Self { names: Vec::new(), private: scratch.path().display().to_string(), passable: Vec::new() };
        for file in &tree.files {
            copies.add(&file.path);
        }
        for (path, contents) in staged {
            let private = copies.add(path);
            if let Some(contents) = contents {
                write(&scratch, &private, contents)?;
            }
        }
        copies.add_principals(tree, overlay)?;
        for file in &tree.files {
            let private = copies.config(&file.path).unwrap_or_default().to_owned();
            write(&scratch, &private, &copies.rewritten(file, overlay, blocks))?;
        }
        Ok((scratch, copies))
    }

    /// Chooses the private path for a real one.
    fn add(&mut self, real: &Path) -> String {
        let name = real.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // Keeps only names that cannot confuse a parser. The name itself is for people who read the output.
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        let name = if plain { name } else { "file".to_owned() };
        let path = format!("{}/{:04}-{name}", self.private, self.names.len());
        self.names.push((path.clone(), real.display().to_string()));
        path
    }

    /// Copies the directories of principals in which a file is staged. The directory is replaced as a whole, because
    /// the path in the configuration contains the user's name.
    fn add_principals(&mut self, tree: &Tree, overlay: Overlay<'_>) -> Result<()> {
        let lines = tree.directives().filter(|(_, _, directive)| directive.keyword == PRINCIPALS);
        for argument in lines.flat_map(|(_, _, directive)| directive.arguments) {
            let Some(directory) = directory_of(&argument.text).map(Path::new) else { continue };
            if overlay.staged_in(directory).is_empty() || self.config(directory).is_some() {
                continue;
            }
            let scratch = Scratch::passable()?;
            for path in overlay.files_in(directory) {
                let name = path.file_name().and_then(|name| name.to_str());
                if let (Some(name), Ok(contents)) = (name, overlay.read(&path)) {
                    scratch.write(name, &contents, 0o644)?;
                }
            }
            self.names.push((scratch.path().display().to_string(), directory.display().to_string()));
            self.passable.push(scratch);
        }
        Ok(())
    }

    /// The copy of a configuration file. Configuration files are added first.
    fn config(&self, real: &Path) -> Option<&str> {
        let real = real.display().to_string();
        self.names.iter().find(|(_, name)| *name == real).map(|(private, _)| private.as_str())
    }

    /// The copy of the staged file to which a path leads.
    fn staged(&self, text: &str, overlay: Overlay<'_>) -> Option<String> {
        let path = Path::new(text);
        let (key, _) = path.is_absolute().then(|| overlay.staged(path))??;
        let key = key.display().to_string();
        self.names.iter().rev().find(|(_, name)| *name == key).map(|(private, _)| private.clone())
    }

    /// A file with its paths leading to the copies, changed line by line so that the line numbers stay the same.
    fn rewritten(&self, file: &ConfigFile, overlay: Overlay<'_>, blocks: MatchBlocks) -> Vec<u8> {
        let mut lines: Vec<_> = file.contents.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        for (number, directive) in file.directives() {
            if directive.is_conditional() && blocks == MatchBlocks::Open {
                if let Some(line) = lines.get_mut(number - 1) {
                    *line = b"Match all".to_vec();
                }
                continue;
            }
            let mut replaced = Vec::new();
            for (index, argument) in directive.arguments.iter().enumerate() {
                if let Some(paths) = file.includes.get(&(number, index)) {
                    let copy =
                        |path: &PathBuf| self.config(path).map_or_else(|| path.display().to_string(), str::to_owned);
                    let mut copies: Vec<_> = paths.iter().map(copy).collect();
                    if copies.is_empty() {
                        copies.push(format!("{}/none-*", self.private));
                    }
                    replaced.push((argument.span.clone(), copies));
                } else if let Some(copy) = self.staged(&argument.text, overlay) {
                    replaced.push((argument.span.clone(), vec![copy]));
                } else if directive.keyword == PRINCIPALS
                    && let Some(copy) = directory_of(&argument.text).and_then(|path| self.config(Path::new(path)))
                {
                    replaced.push((argument.span.clone(), vec![format!("{copy}/%u")]));
                }
            }
            if let Some(line) = lines.get_mut(number - 1).filter(|_| !replaced.is_empty()) {
                *line = with_arguments(line, &replaced);
            }
        }
        lines.join(&b'\n')
    }

    /// An argument of sshd's: a path, or `Keyword=path`, or `Keyword path`.
    fn argument(&self, text: &str, overlay: Overlay<'_>) -> String {
        if let Some(copy) = self.staged(text, overlay) {
            return copy;
        }
        let copy = text
            .split_once(['=', ' '])
            .and_then(|(keyword, path)| Some(format!("{keyword}={}", self.staged(path.trim(), overlay)?)));
        copy.unwrap_or_else(|| text.to_owned())
    }
}

/// If sshd falls back on its default host keys and one of those is staged: all of them as arguments, because no line
/// of the configuration names them.
fn default_keys(sshd: &Sshd, tree: &Tree, overlay: Overlay<'_>) -> Result<Vec<String>> {
    let named = tree.directives().any(|(_, _, directive)| directive.keyword == "hostkey")
        || sshd.arguments.iter().any(|argument| argument == "-h" || argument.to_lowercase().starts_with("hostkey"));
    if named || overlay.0.is_empty() {
        return Ok(Vec::new());
    }
    let effective = sshd.for_nobody()?;
    // Without any host key, sshd does not report the paths where it looks for them.
    let compiled_in = DEFAULT_KEYS.map(str::to_owned);
    let defaults = match effective.values("hostkey") {
        [] => &compiled_in,
        values => values,
    };
    if !defaults.iter().any(|path| overlay.staged(Path::new(path)).is_some()) {
        return Ok(Vec::new());
    }
    let there = |path: &&String| {
        overlay.staged(Path::new(path)).map_or_else(|| Path::new(path).exists(), |(_, contents)| contents.is_some())
    };
    Ok(defaults.iter().filter(there).flat_map(|path| ["-h".to_owned(), path.clone()]).collect())
}

fn write(scratch: &Scratch, path: &str, contents: &[u8]) -> Result<()> {
    let name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // sshd ignores a private key that others can read. For any other file, 0600 works too.
    scratch.write(name, contents, 0o600).map(|_| ())
}
