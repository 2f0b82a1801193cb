//! Finds what recovers interrupted runs at boot if that is not a systemd unit: a line of cron's, or a script of the
//! init system.

use super::{command_line::Installation, command_line::runs, cron::is_at_start, search::Search, table};
use std::path::{Path, PathBuf};

/// The scripts that an init starts if one of its directories links to them.
const SCRIPTS: &str = "etc/init.d";
/// sysvinit's runlevels; their links are named `S`, a number, and the script's name.
const LEVELS: [&str; 5] = ["etc/rcS.d", "etc/rc2.d", "etc/rc3.d", "etc/rc4.d", "etc/rc5.d"];
/// OpenRC's runlevels.
const RUNLEVELS: &str = "etc/runlevels";
/// runit's first stage runs all files in this directory.
const STAGE_1: &str = "etc/runit/core-services";

/// The file that runs `warded recover` at boot; none if there is none in a place that is known here.
#[must_use]
pub fn recovers_at_start(root: &Path, installation: &Installation) -> Option<PathBuf> {
    Search::new(root, installation).recovery().map(|name| Path::new("/").join(name))
}

impl Search<'_> {
    fn recovery(&mut self) -> Option<String> {
        let tables = table::all(|directory| self.names(directory));
        let scripts = self.scripts();
        tables
            .into_iter()
            .find(|(name, kind)| {
                let Some(text) = self.text(name) else { return false };
                let is_roots = |line: &&str| kind.user(name, line).is_none_or(|user| user == "root");
                let mut lines = text.lines().filter(is_roots).filter(|line| is_at_start(line));
                lines.any(|line| runs(line, "recover")) && self.reader(name).is_some()
            })
            .map(|(name, _)| name)
            .or_else(|| {
                let recovers = |text: String| text.lines().any(|line| runs(line, "recover"));
                scripts.into_iter().find(|name| self.text(name).is_some_and(recovers))
            })
    }

    /// The scripts that are started at boot.
    fn scripts(&mut self) -> Vec<String> {
        let mut started: Vec<String> = Vec::new();
        for level in LEVELS {
            let links = self.names(level).into_iter();
            started.extend(links.filter_map(|link| Some(link.strip_prefix('S')?.get(2..)?.to_owned())));
        }
        for level in self.names(RUNLEVELS) {
            started.extend(self.names(&format!("{RUNLEVELS}/{level}")));
        }
        let mut scripts: Vec<String> = started.into_iter().map(|name| format!("{SCRIPTS}/{name}")).collect();
        let of_stage_1 = self.names(STAGE_1).into_iter().filter(|name| name.ends_with(".sh"));
        scripts.extend(of_stage_1.map(|name| format!("{STAGE_1}/{name}")));
        scripts
    }
}
