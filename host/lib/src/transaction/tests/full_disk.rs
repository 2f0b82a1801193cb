//! A full disk stops a run before it starts, or not at all.

use super::*;
use std::io::Write as _;

/// Fills a disk until about `room` bytes are left.
fn fill(directory: &Path, room: usize) -> PathBuf {
    let path = directory.join("filler");
    let mut file = fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    while file.write_all(&[0]).is_ok() {}
    let _as_it_is = file.sync_all();
    let length = file.metadata().unwrap().len();
    file.set_len(length.saturating_sub(room.try_into().unwrap())).unwrap();
    let _as_it_is = file.sync_all();
    path
}

/// Runs this test program again, with mounts of its own, for the test below.
#[test]
fn a_full_disk_of_its_own() {
    if crate::machine::root_only::is_skipped("a_full_disk_of_its_own") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let mounted = "mount -t tmpfs -o size=2m tmpfs \"$0\" && exec \"$@\"";
    let test = "transaction::tests::full_disk::a_full_disk_never_leaves_a_mixture";
    let output = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", mounted])
        .arg(place.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("WARDED_TEST_SMALL_DISK", place.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed") && said.contains("stopped before the first change: "), "{said}");
    println!("{said}");
}

#[test]
#[ignore = "needs a small file system of its own: a_full_disk_of_its_own runs it on one"]
fn a_full_disk_never_leaves_a_mixture() {
    let base = std::env::var("WARDED_TEST_SMALL_DISK").unwrap();
    let (mut stopped, mut done) = (0, 0);
    // With the state directory on the same disk, and on another one.
    for together in [true, false] {
        for room in (0..40).map(|blocks| blocks * 4096) {
            let mut machine = Machine::new(&base);
            let elsewhere = tempfile::tempdir_in("/tmp").unwrap();
            if !together {
                machine.state = StateDir::open(&elsewhere.path().join("state")).unwrap();
            }
            let old = {
                example(&machine);
                machine.tree()
            };
            let changes = example(&machine);
            let filler = fill(Path::new(&base), room);
            match machine.begin(changes) {
                Err(error) => {
                    assert!(error.to_string().contains("No space left"), "{error}");
                    stopped += 1;
                }
                Ok(mut transaction) => {
                    fill(Path::new(&base), 0);
                    transaction.commit().unwrap();
                    assert_eq!(fs::read(machine.path("d/conf")).unwrap(), b"new configuration");
                    if room % 8192 == 0 {
                        assert_eq!(transaction.roll_back(|_, _| StillNamed::nothing()).unwrap().restored.len(), 3);
                    } else {
                        drop(transaction);
                        assert_eq!(machine.recover().unwrap().unwrap().rolled_back.restored.len(), 3);
                    }
                    done += 1;
                }
            }
            assert_eq!(machine.tree(), old, "{room} {together}");
            assert!(interrupted(&machine.state).unwrap().is_none());
            fs::remove_file(filler).unwrap();
        }
    }
    println!("stopped before the first change: {stopped}; done and rolled back: {done}");
    assert!(stopped > 0 && done > 0);
}
