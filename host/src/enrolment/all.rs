//! All enrolments of this machine: one file, `enrolment.json` in the state directory.

use super::{Enrolment, SCHEMA};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use warded_lib::{
    error::{Error, Result},
    machine::{
        path::AbsolutePath,
        private::{StateDir, StateLock},
        waiting,
    },
    transaction::OwnFile,
};

const ALL_SCHEMA: &str = "warded.enrolments/1";
/// The lock that a process holds while it writes the file.
const LOCK: &str = "enrolling";

/// The enrolments of this machine, one for each sshd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enrolments(Vec<Enrolment>);

/// The file. A version that does not know a field leaves it alone, and says so.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnrolmentFile {
    schema: String,
    enrolments: Vec<Enrolment>,
}

impl Enrolments {
    /// The name of the file in the state directory.
    pub const FILE: &'static str = "enrolment.json";

    /// The enrolments as they are on disk.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn load(state: &StateDir) -> Result<Self> {
        let Some(bytes) = state.read(Self::FILE)? else { return Ok(Self::default()) };
        let parsed = serde_json::from_slice(&bytes).map_err(|error| error.to_string()).and_then(parse);
        parsed.map(Self).map_err(|why| {
            Error::failed(format!("cannot read the enrolments in {}", state.path().join(Self::FILE).display()))
                .cause(warded_lib::text::neutral(&why))
                .next("move the file away, then apply certify-host again for each sshd: it writes a new one")
        })
    }

    /// Keeps every other process from writing the enrolments while the result lives, since what is written depends on
    /// what was there.
    ///
    /// # Errors
    /// Refused: another process has been writing them for some time.
    pub fn lock(state: &StateDir) -> Result<StateLock> {
        let directory = state.sub(LOCK).map_err(Error::or_unchanged)?;
        waiting::lock(&directory)?.ok_or_else(|| {
            Error::refused("another command is about to enrol an sshd of this machine")
                .unchanged()
                .next("wait until it has ended, then run this again")
        })
    }

    /// The enrolment of an sshd, by its main configuration file.
    #[must_use]
    pub fn of(&self, sshd: &AbsolutePath) -> Option<&Enrolment> {
        self.0.iter().find(|enrolment| is_same_file(&enrolment.sshd_config, sshd))
    }

    /// All of them, in the order in which the sshds were enrolled.
    pub fn iter(&self) -> impl Iterator<Item = &Enrolment> {
        self.0.iter()
    }

    /// All except the enrolment of this sshd.
    pub fn beside(&self, sshd: &AbsolutePath) -> impl Iterator<Item = &Enrolment> {
        self.0.iter().filter(|enrolment| !is_same_file(&enrolment.sshd_config, sshd))
    }

    /// The names that the operator confirmed for this machine.
    #[must_use]
    pub fn principals(&self) -> BTreeSet<String> {
        self.0.iter().flat_map(|enrolment| &enrolment.principals).cloned().collect()
    }

    /// These enrolments with `enrolment` added, or in place of the one for the same sshd.
    #[must_use]
    pub fn with(mut self, enrolment: Enrolment) -> Self {
        match self.0.iter_mut().find(|known| is_same_file(&known.sshd_config, &enrolment.sshd_config)) {
            Some(known) => *known = enrolment.replacing(Some(known.clone())),
            None => self.0.push(enrolment),
        }
        self
    }

    /// These enrolments without the one of this sshd.
    #[must_use]
    pub fn without(mut self, sshd: &AbsolutePath) -> Self {
        self.0.retain(|enrolment| !is_same_file(&enrolment.sshd_config, sshd));
        self
    }

    /// The enrolments as before a run that is rolled back for these sshds: each of them gets its newest enrolment that
    /// is older than the run, or none. The others stay.
    #[must_use]
    pub fn before(self, run: u64, sshds: &[AbsolutePath]) -> Self {
        let is_meant = |enrolment: &Enrolment| sshds.iter().any(|sshd| is_same_file(&enrolment.sshd_config, sshd));
        let before = |known: Enrolment| if is_meant(&known) { known.before(run).cloned() } else { Some(known) };
        Self(self.0.into_iter().filter_map(before).collect())
    }

    /// Writes the enrolments.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn save(&self, state: &StateDir) -> Result<()> {
        if self.0.is_empty() {
            return state.remove(Self::FILE);
        }
        state.write(Self::FILE, &self.text()?, 0o600)
    }

    /// Writes the enrolments even if none is left: the file then shows that somebody ended the last one.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn save_ended(&self, state: &StateDir) -> Result<()> {
        state.write(Self::FILE, &self.text()?, 0o600)
    }

    /// Whether the file exists: with enrolments, or to show that somebody ended the last one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn are_recorded(state: &StateDir) -> Result<bool> {
        Ok(state.read(Self::FILE)?.is_some())
    }

    /// What happens to the file once a run is kept.
    ///
    /// # Errors
    /// The enrolments cannot be serialised.
    pub fn with_run(&self) -> Result<OwnFile> {
        if self.0.is_empty() {
            return Ok(OwnFile::Remove { name: Self::FILE });
        }
        Ok(OwnFile::Write { name: Self::FILE, contents: self.text()? })
    }

    fn text(&self) -> Result<Vec<u8>> {
        let whole = EnrolmentFile { schema: ALL_SCHEMA.to_owned(), enrolments: self.0.clone() };
        serde_json::to_vec_pretty(&whole).map_err(|error| Error::failed("cannot write the enrolments").cause(error))
    }
}

/// Parses the file of this version, or of a version that knew only one sshd.
fn parse(file: serde_json::Value) -> Result<Vec<Enrolment>, String> {
    let enrolments = match file.get("schema").and_then(serde_json::Value::as_str) {
        Some(ALL_SCHEMA) => serde_json::from_value(file).map(|EnrolmentFile { enrolments, .. }| enrolments),
        Some(SCHEMA) => serde_json::from_value(file).map(|enrolment| apart(enrolment).0),
        other => return Err(format!("its schema is {}, and this version knows {ALL_SCHEMA}", other.unwrap_or("none"))),
    };
    let enrolments = enrolments.map_err(|error| error.to_string())?;
    match enrolments.iter().find(|enrolment| enrolment.schema != SCHEMA) {
        None => Ok(enrolments),
        Some(Enrolment { schema, .. }) => {
            Err(format!("the schema of an enrolment is {schema}, and this version knows {SCHEMA}"))
        }
    }
}

/// Separates an enrolment and its predecessors by sshd: versions that knew only one sshd kept one history for all.
fn apart(newest: Enrolment) -> Enrolments {
    let (mut all, mut next) = (Vec::new(), Some(newest));
    while let Some(mut enrolment) = next {
        next = enrolment.previous.take().map(|previous| *previous);
        all.push(enrolment);
    }
    all.into_iter().rev().fold(Enrolments::default(), Enrolments::with)
}

/// Whether both paths lead to the same file. If a file is gone, the paths are compared.
fn is_same_file(one: &AbsolutePath, other: &AbsolutePath) -> bool {
    let real = |path: &AbsolutePath| path.as_path().canonicalize().ok();
    one == other || real(one).is_some_and(|one| Some(one) == real(other))
}

#[cfg(test)]
mod tests {
    use super::{super::tests::earlier, *};
    use std::{thread, time::Duration};

    fn of_sshd(config: &str, run: u64) -> Enrolment {
        let (record, _) = earlier();
        Enrolment { sshd_config: config.parse().unwrap(), run, ..record }
    }

    fn runs(enrolments: &Enrolments) -> Vec<(&str, u64)> {
        enrolments.iter().map(|enrolment| (enrolment.sshd_config.as_str(), enrolment.run)).collect()
    }

    #[test]
    fn each_sshd_has_its_own_enrolment_and_its_own_past() {
        let all = [("/a", 1), ("/b", 2), ("/a", 3), ("/b", 4)]
            .into_iter()
            .fold(Enrolments::default(), |all, (config, run)| all.with(of_sshd(config, run)));
        assert_eq!(runs(&all), [("/a", 3), ("/b", 4)]);
        let of = |configs: &[&str]| -> Vec<AbsolutePath> { configs.iter().map(|one| one.parse().unwrap()).collect() };
        for (run, sshds, expected) in [
            (4, &["/b"][..], &[("/a", 3), ("/b", 2)][..]),
            // A later enrolment of `/a` is removed, too; that of another sshd stays.
            (3, &["/a"], &[("/a", 1), ("/b", 4)]),
            (1, &["/a"], &[("/b", 4)]),
            (2, &["/a", "/b"], &[("/a", 1)]),
            (1, &["/c"], &[("/a", 3), ("/b", 4)]),
            (1, &["/a", "/b"], &[]),
        ] {
            assert_eq!(runs(&all.clone().before(run, &of(sshds))), expected, "{run} {sshds:?}");
        }
        let [b] = of(&["/b"]).try_into().unwrap();
        assert_eq!(runs(&all.clone().without(&b)), [("/a", 3)]);
        assert_eq!(all.beside(&b).map(|one| one.run).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn the_file_of_a_version_that_knew_one_sshd_is_read() {
        let older = of_sshd("/a", 1);
        let newer = of_sshd("/b", 2).replacing(Some(of_sshd("/a", 2).replacing(Some(older.clone()))));
        let old_file = serde_json::to_value(newer).unwrap();
        let read = Enrolments(parse(old_file).unwrap());
        // The enrolment that the second sshd's one replaced belongs to the first sshd.
        assert_eq!(runs(&read), [("/a", 2), ("/b", 2)]);
        assert_eq!(runs(&read.clone().before(2, &["/a".parse().unwrap()])), [("/a", 1), ("/b", 2)]);
        let again: serde_json::Value = serde_json::from_slice(&read.text().unwrap()).unwrap();
        assert_eq!(Enrolments(parse(again.clone()).unwrap()), read);
        for (schema, at) in [("warded.enrolments/2", "/schema"), ("warded.enrolment/2", "/enrolments/0/schema")] {
            let mut other = again.clone();
            *other.pointer_mut(at).unwrap() = schema.into();
            assert!(parse(other).unwrap_err().contains(schema));
        }
    }

    #[test]
    fn one_process_at_a_time_writes_the_file() {
        let scratch = tempfile::tempdir().unwrap();
        let state = StateDir::open(&scratch.path().join("state")).unwrap();
        let held = Enrolments::lock(&state).unwrap();
        let waiting = thread::spawn({
            let state = state.clone();
            move || Enrolments::lock(&state).map(drop)
        });
        thread::sleep(Duration::from_millis(100));
        assert!(!waiting.is_finished());
        drop(held);
        waiting.join().unwrap().unwrap();
    }
}
