//! A command that changes policies is killed before any of its calls that change a file. It leaves the old policy or
//! the new one, and the same command completes the change. `WARDED_TEST_EVERY=1` tries every call, `=3` every third;
//! otherwise it is a sample.

use super::Desk;
use crate::support::missing;
use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

/// The calls that change something on disk, except for writes to a file that has no final name yet.
const CALLS: &str = "fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,linkat,ftruncate";

/// The contents of the directory of policies and of the lock file.
fn saved(desk: &Desk) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(desk.machine.path("policies")).into_iter().flatten().map(|entry| entry.unwrap().path());
    let all = files.chain([desk.machine.path("policies.lock")]).filter(|path| path.exists());
    all.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn restore(desk: &Desk, files: &BTreeMap<PathBuf, Vec<u8>>) {
    saved(desk).keys().filter(|path| !files.contains_key(*path)).for_each(|path| fs::remove_file(path).unwrap());
    files.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
}

/// Runs a command that is killed in place of its call of this number. Returns whether it got that far.
fn is_killed(desk: &Desk, words: &[&str], number: usize) -> bool {
    let mut command = desk.machine.command("strace");
    command.args(["-f", "-o", "/dev/null", "-e", &format!("trace={CALLS}")]);
    command.args(["-e", &format!("inject={CALLS}:error=EIO:signal=KILL:when={number}")]);
    command.arg(env!("CARGO_BIN_EXE_warded"));
    desk.machine.environment(&mut command);
    !command.args(words).output().unwrap().status.success()
}

/// Kills the command at each of its calls in turn. The command changes one version into another.
fn is_one_step(desk: &Desk, words: &[&str], (old, new): (&str, &str)) {
    let before = saved(desk);
    let every = env::var("WARDED_TEST_EVERY").map_or(4, |every| every.parse().unwrap());
    let (mut number, mut olds, mut news) = (1, 0, 0);
    while is_killed(desk, words, number) {
        let version = desk.version();
        assert!(version == old || version == new, "{words:?}, killed in place of call {number}: {version:?}");
        if version == old {
            olds += 1;
        } else {
            news += 1;
        }
        desk.run(words).ends(0);
        assert_eq!(desk.version(), new, "{words:?}, killed in place of call {number}");
        let lock = fs::read_to_string(desk.machine.path("policies.lock")).unwrap();
        assert!(lock.contains(&format!("version = {new:?}")), "{lock}");
        restore(desk, &before);
        number += every;
    }
    assert!(olds > 1 && number > 5, "{words:?}: killed before {olds} times, and after {news} times");
    // The last run was not killed, and completed its work.
    assert_eq!(desk.version(), new);
}

#[test]
fn whatever_it_was_killed_at_the_old_policy_or_the_new_one_is_there() {
    if missing::root() || missing::strace() {
        return;
    }
    let desk = Desk::new();
    let sign = |version: &str| {
        let signed = desk.signed(version, &[]);
        let kept = desk.path(&format!("mine-{version}.wasm"));
        for ending in ["", ".manifest", ".manifest.sig"] {
            let with = |file: &Path| PathBuf::from(format!("{}{ending}", file.display()));
            fs::copy(with(&signed), with(&kept)).unwrap();
        }
        kept
    };
    let (first, second) = (sign("1.0.0"), sign("1.1.0"));
    let digest = warded_lib::digest::Digest::of(&fs::read(&first).unwrap()).to_string();
    is_one_step(&desk, &["policy", "add", first.to_str().unwrap(), "--yes", "--digest", &digest], ("", "1.0.0"));
    is_one_step(&desk, &["policy", "update", second.to_str().unwrap()], ("1.0.0", "1.1.0"));
}
