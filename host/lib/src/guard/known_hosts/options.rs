//! The options with which the real `ssh` is run for the proof, so that it trusts whom it will trust without them.

use super::{Change, host, server::reached};
use crate::{
    error::Result,
    machine::ssh::{Settings, Ssh},
};
use std::path::Path;

/// What decides whom ssh trusts, besides the files. `Match host` compares the address that ssh connects to, which is
/// another one in the proof.
const DECIDING: [&str; 5] =
    ["hostkeyalgorithms", "casignaturealgorithms", "revokedhostkeys", "knownhostscommand", "requiredrsasize"];

impl Change {
    /// The files that ssh is told of, with another one in this one's place; and what else decides for this name, where
    /// the server's address would change it.
    pub(super) fn options(&self, ssh: &Ssh, name: &str, settings: &Settings, file: &Path) -> Result<Vec<String>> {
        let files = ["userknownhostsfile", "globalknownhostsfile"].map(|name| self.files(name, settings, file));
        let there = ssh.settings_with(&host(name)?, &reached(name))?;
        let differing = DECIDING.iter().filter_map(|keyword| {
            let values = settings.values(keyword);
            let is_other = values != there.values(keyword);
            is_other
                .then(|| format!("{keyword}={}", if values.is_empty() { "none".to_owned() } else { values.join(" ") }))
        });
        Ok(files.into_iter().chain(differing).collect())
    }

    fn files(&self, name: &str, settings: &Settings, file: &Path) -> String {
        let shown = |path: String| {
            let path = if Path::new(&path) == self.path { file.display().to_string() } else { path };
            format!("\"{path}\"")
        };
        let files: Vec<String> = settings.values(name).into_iter().map(shown).collect();
        format!("{name}={}", if files.is_empty() { "none".to_owned() } else { files.join(" ") })
    }
}
