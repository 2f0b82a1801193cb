//! Tests the whole mechanism on real directories, on a disk and in memory.

mod crash;
mod directories;
mod earlier_version;
mod ending;
mod fold;
mod full_disk;
mod history;
mod interference;
mod property;
mod recovery_unit;
mod undo;

use super::*;
use crate::machine::interruption::for_tests;
use crate::{
    digest::Digest,
    machine::{
        files::{FileErrorKind, MAX_BYTES, Place, is_temporary, pretend},
        path::AbsolutePath,
    },
};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// Everything about a file that a person would compare.
type FileState = (Vec<u8>, u32, u32, u32, Option<Vec<u8>>);
type Tree = BTreeMap<String, FileState>;

/// Where to run the tests: on a disk and in memory, or where `WARDED_TEST_BASES` says (`/a:/b`).
fn bases() -> Vec<String> {
    let named = std::env::var("WARDED_TEST_BASES").unwrap_or_else(|_| "/tmp:/dev/shm".to_owned());
    named.split(':').map(str::to_owned).collect()
}

/// Directories with files to change, and a state directory.
struct Machine {
    root: Root,
    state: StateDir,
    live: PathBuf,
    next: std::cell::Cell<u64>,
    _scratch: tempfile::TempDir,
}

impl Machine {
    fn new(base: &str) -> Self {
        let scratch = tempfile::tempdir_in(base).unwrap();
        let live = scratch.path().join("live");
        for directory in ["d", "e"] {
            fs::create_dir_all(live.join(directory)).unwrap();
        }
        let state = StateDir::open(&scratch.path().join("state")).unwrap();
        Self { root: Root::ambient().unwrap(), state, live, next: std::cell::Cell::new(1), _scratch: scratch }
    }

    /// Runs a test on a disk, in memory, and as if on a file system that cannot exchange files.
    fn everywhere(test: impl Fn(&Self)) {
        for without_flags in [false, true] {
            for base in bases() {
                pretend::set_without_flags(without_flags);
                test(&Self::new(&base));
                pretend::set_without_flags(false);
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.live.join(name)
    }

    fn put(&self, name: &str, contents: &[u8], mode: u32) {
        fs::write(self.path(name), contents).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn place(&self, name: &str) -> Place {
        let path: AbsolutePath = self.path(name).to_str().unwrap().parse().unwrap();
        self.root.place_to_be(&path, usize::MAX).unwrap().unwrap()
    }

    fn change(&self, name: &str, after: Option<(&[u8], u32)>, order: Order) -> FileChange {
        let place = self.place(name);
        FileChange {
            path: self.path(name).to_str().unwrap().parse().unwrap(),
            before: place.snapshot().unwrap(),
            place,
            after: after.map(|(contents, mode)| NewFile::new(contents.to_vec(), mode)),
            order,
            scratch: None,
        }
    }

    fn identity(&self) -> RunIdentity {
        let run = self.next.get();
        self.next.set(run + 1);
        RunIdentity {
            run,
            policy: "unix".into(),
            component: Digest::of(b"component"),
            procedure: "certify-host".into(),
            started: jiff::Timestamp::UNIX_EPOCH,
            by: None,
            undoes: None,
            down_to: None,
            enrols: false,
        }
    }

    fn begin(&self, changes: Vec<FileChange>) -> Result<Transaction> {
        Transaction::begin(&self.root, &self.state, &self.identity(), changes, Vec::new(), &followup())
    }

    fn apply(&self, changes: Vec<FileChange>) {
        let mut transaction = self.begin(changes).unwrap();
        transaction.commit().unwrap();
        assert_eq!(transaction.keep().unwrap(), []);
    }

    fn undo(&self) -> bool {
        self.undo_of(UndoScope::Newest)
    }

    fn undo_of(&self, which: UndoScope) -> bool {
        let Some(undo) = undo_changes(&self.state, &self.root, which).unwrap() else { return false };
        let identity = self.identity().undoing(&undo.runs());
        let mut transaction =
            Transaction::begin(&self.root, &self.state, &identity, undo.changes, Vec::new(), &followup()).unwrap();
        transaction.commit().unwrap();
        assert_eq!(transaction.keep().unwrap(), []);
        true
    }

    fn recover(&self) -> Result<Option<RecoveredRun>> {
        await_executed();
        tidy_ended(&self.state, &self.root)?;
        recover(&self.state, &self.root, |_, _| StillNamed::nothing())
    }

    /// The files that a killed process was writing.
    fn unfinished(&self) -> Vec<PathBuf> {
        fn below(directory: &Path) -> Vec<PathBuf> {
            let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
            entries.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
        }
        let is_new = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(".new-");
        below(self.state.path()).into_iter().filter(is_new).collect()
    }

    /// Everything below the live directory, including temporary files.
    fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        for directory in ["d", "e"] {
            for entry in fs::read_dir(self.path(directory)).unwrap() {
                let path = entry.unwrap().path();
                let found = path.symlink_metadata().unwrap();
                let mut value = [0; 100];
                let attribute = rustix::fs::lgetxattr(&path, "user.test", &mut value[..]).ok();
                let attribute = attribute.map(|length| value[..length].to_vec());
                let contents = fs::read(&path).unwrap_or_default();
                let name = path.strip_prefix(&self.live).unwrap().to_str().unwrap().to_owned();
                tree.insert(name, (contents, found.mode(), found.uid(), found.gid(), attribute));
            }
        }
        tree
    }
}

/// A service to reload.
fn followup() -> Followup {
    let service = crate::machine::service::Service { systemd: Vec::new(), direct: None };
    Followup { reloads: vec![Reload::service("ssh".parse().unwrap(), service)], ..Followup::default() }
}

/// Three files of a host's setup: a new certificate, a changed configuration, and a file to remove. Files from an
/// earlier round are gone.
fn example(machine: &Machine) -> Vec<FileChange> {
    for name in ["d/cert", "d/conf", "d/gone", "e/key"] {
        let _absent = fs::remove_file(machine.path(name));
    }
    machine.put("d/conf", b"old configuration", 0o640);
    machine.put("d/gone", b"to be removed", 0o600);
    machine.put("e/key", b"old key", 0o600);
    vec![
        machine.change("d/gone", None, Order::RemoveCertificate),
        machine.change("d/conf", Some((b"new configuration", 0o644)), Order::WriteOther),
        machine.change("d/cert", Some((b"certificate", 0o644)), Order::WriteCertificate),
        machine.change("e/key", Some((b"old key", 0o400)), Order::WriteKey),
    ]
}

/// A run that has changed all of them and was stopped before it was kept. Returns the old tree, and the number of the
/// run.
fn committed(machine: &Machine) -> (Tree, u64) {
    let changes = example(machine);
    let old = machine.tree();
    let mut transaction = machine.begin(changes).unwrap();
    transaction.commit().unwrap();
    (old, transaction.journal().run.run)
}

/// Runs `act`, and stops it for good at the numbered point, as SIGKILL would. Returns whether it was stopped.
fn kill_at(number: usize, act: impl FnOnce()) -> bool {
    for_tests::set(move |_, count| {
        if count == number {
            resume_unwind(Box::new("killed"));
        }
    });
    let killed = catch_unwind(AssertUnwindSafe(act)).is_err();
    for_tests::clear();
    await_executed();
    killed
}

/// As [`super::recover`], for a process that has been killed.
fn recover<S: Into<Settlement>>(
    state: &StateDir,
    root: &Root,
    settle: impl FnOnce(&Journal, &RollbackReport) -> S,
) -> Result<Option<RecoveredRun>> {
    await_executed();
    super::recover(state, root, settle)
}

/// Waits until every child of this process runs its own program. Until then, a child that another test starts holds copies
/// of this process's locks (fork(2)): a killed process leaves no such child.
fn await_executed() {
    let own = fs::read_link("/proc/self/exe").unwrap();
    let is_child = |stat: &str| {
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
        parent == Some(std::process::id().to_string().as_str())
    };
    let is_copy = |process: &Path| {
        fs::read_link(process.join("exe")).is_ok_and(|program| program == own)
            && fs::read_to_string(process.join("stat")).is_ok_and(|stat| is_child(&stat))
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    let processes = || fs::read_dir("/proc").unwrap().flatten().map(|process| process.path());
    while processes().any(|process| is_copy(&process)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn all_of_it_or_nothing() {
    Machine::everywhere(|machine| {
        let changes = example(machine);
        let before = machine.tree();
        let mut transaction = machine.begin(changes.clone()).unwrap();
        assert_eq!(transaction.journal().state, State::Prepared);
        transaction.commit().unwrap();
        assert_eq!(fs::read(machine.path("d/conf")).unwrap(), b"new configuration");
        let done = transaction.roll_back(|_, _| StillNamed::nothing()).unwrap();
        // A retired file is removed when the run is kept: until then somebody may use it.
        assert_eq!((done.restored.len(), done.left_alone.len(), done.reloads.len()), (3, 0, 1));
        assert_eq!(transaction.roll_back(|_, _| StillNamed::nothing()).unwrap(), RollbackReport::default());
        drop(transaction);
        assert_eq!(machine.tree(), before);

        machine.apply(example(machine));
        let after = machine.tree();
        assert_eq!(after.keys().collect::<Vec<_>>(), ["d/cert", "d/conf", "e/key"]);
        assert_eq!((after["d/conf"].1 & 0o7777, after["e/key"].1 & 0o7777), (0o644, 0o400));
        assert!(interrupted(&machine.state).unwrap().is_none() && machine.recover().unwrap().is_none());
    });
}

#[test]
fn owner_mode_and_attributes_are_kept() {
    Machine::everywhere(|machine| {
        machine.put("d/x", b"old", 0o640);
        rustix::fs::setxattr(machine.path("d/x"), "user.test", b"label", rustix::fs::XattrFlags::empty()).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(machine.path("d/x"), Some(1234), Some(4321)).unwrap();
            fs::set_permissions(machine.path("d/x"), fs::Permissions::from_mode(0o6640)).unwrap();
        }
        let before = machine.tree();
        let mode = machine.place("d/x").snapshot().unwrap().unwrap().mode;
        machine.apply(vec![machine.change("d/x", Some((b"new", mode)), Order::WriteOther)]);
        let mut expected = before.clone();
        expected.get_mut("d/x").unwrap().0 = b"new".to_vec();
        assert_eq!(machine.tree(), expected);
        // Also when the file has to be made again from nothing.
        machine.apply(vec![machine.change("d/x", None, Order::RemoveOther)]);
        assert!(machine.tree().is_empty());
        assert!(machine.undo() && machine.undo() && !machine.undo());
        assert_eq!(machine.tree(), before);
    });
}

#[test]
fn an_edit_goes_through_a_link() {
    Machine::everywhere(|machine| {
        machine.put("e/target", b"old", 0o600);
        std::os::unix::fs::symlink("../e/target", machine.path("d/link")).unwrap();
        machine.apply(vec![machine.change("d/link", Some((b"new", 0o600)), Order::WriteOther)]);
        assert_eq!(fs::read_link(machine.path("d/link")).unwrap(), Path::new("../e/target"));
        assert_eq!(fs::read(machine.path("e/target")).unwrap(), b"new");
        assert!(machine.undo());
        assert_eq!(fs::read(machine.path("d/link")).unwrap(), b"old");
    });
}

#[test]
fn temporary_files_are_hidden_and_may_be_elsewhere() {
    Machine::everywhere(|machine| {
        let long = format!("d/{}", "n".repeat(255));
        machine.put(&long, b"old", 0o600);
        let mut change = machine.change(&long, Some((b"new", 0o600)), Order::WriteOther);
        change.scratch = Some(machine.path("e"));
        let mut created = machine.change("d/x.conf", Some((b"x", 0o644)), Order::WriteOther);
        created.scratch = Some(machine.path("e"));
        let mut transaction = machine.begin(vec![change.clone(), created]).unwrap();
        let names: Vec<_> = machine.tree().into_keys().filter(|name| name.starts_with("e/")).collect();
        assert!(names.len() == 2 && names.iter().all(|name| name.starts_with("e/.") && name.contains(".warded-")));
        assert!(names.iter().all(|name| is_temporary(name.trim_start_matches("e/"))), "{names:?}");
        transaction.commit().unwrap();
        assert_eq!(transaction.keep().unwrap(), []);
        assert_eq!(machine.tree().keys().collect::<Vec<_>>(), [long.as_str(), "d/x.conf"]);
        drop(transaction);
        assert!(machine.undo());
        change.scratch = Some(machine.path("no such directory"));
        assert!(machine.begin(vec![change]).unwrap_err().message().contains("does not exist"));
    });
    let machine = Machine::new("/tmp");
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut change = machine.change("d/x", Some((b"x", 0o644)), Order::WriteOther);
    change.scratch = Some(elsewhere.path().to_owned());
    let error = machine.begin(vec![change]).unwrap_err().to_string();
    assert!(error.contains("another file system"), "{error}");
}

#[test]
fn one_run_at_a_time_in_a_directory() {
    Machine::everywhere(|machine| {
        let other_state = StateDir::open(&machine.live.join("../other-state")).unwrap();
        let change = machine.change("d/x", Some((b"x", 0o644)), Order::WriteOther);
        let elsewhere = machine.change("e/x", Some((b"x", 0o644)), Order::WriteOther);
        let first = machine.begin(vec![change.clone()]).unwrap();
        let begin = |change| {
            Transaction::begin(
                &machine.root,
                &other_state,
                &machine.identity(),
                vec![change],
                Vec::new(),
                &Followup::default(),
            )
        };
        let error = begin(change.clone()).unwrap_err();
        let [root, user] =
            [format!("{} is still at work", first.journal().run), "is being changed by another run".into()];
        let expected = if rustix::process::geteuid().is_root() { root } else { user };
        assert!(error.to_string().contains(&expected), "{error}");
        // A run that is still at work is not an interrupted one.
        assert!(interrupted(&machine.state).unwrap().is_none());
        assert!(
            roll_back_run(&machine.state, &machine.root, first.journal().run.run, |_, _| StillNamed::nothing())
                .is_err()
        );
        let mut second = begin(elsewhere).unwrap();
        second.roll_back(|_, _| StillNamed::nothing()).unwrap();
        drop(first);
        assert!(interrupted(&machine.state).unwrap().is_some());
        assert!(machine.begin(vec![change.clone()]).unwrap_err().to_string().contains("warded recover"));
        machine.recover().unwrap().unwrap();
        machine.apply(vec![change]);
    });
}

#[test]
fn nothing_is_written_twice_or_too_large() {
    let machine = Machine::new("/tmp");
    let change = machine.change("d/x", Some((b"x", 0o644)), Order::WriteOther);
    assert!(machine.begin(vec![change.clone(), change]).is_err());
    fs::write(machine.path("d/large"), vec![0; usize::try_from(MAX_BYTES).unwrap() + 1]).unwrap();
    assert_eq!(machine.place("d/large").snapshot().unwrap_err().kind, FileErrorKind::TooLarge);
    machine.begin(Vec::new()).unwrap().commit().unwrap();
}
