//! A full disk stops a run before it starts, or not at all.

use super::*;
use std::io::Write as _;

/// Fills a disk until `room` bytes are left, more or less.
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

#[test]
#[ignore = "needs a small file system of its own: WARDED_TEST_SMALL_DISK names a directory on it"]
fn a_full_disk_never_leaves_a_mixture() {
    let base = std::env::var("WARDED_TEST_SMALL_DISK").unwrap();
    let (mut stopped, mut done) = (0, 0);
    // With the state directory on the same disk, and elsewhere.
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
                        assert_eq!(transaction.roll_back(|_, _| {}).unwrap().restored.len(), 4);
                    } else {
                        drop(transaction);
                        assert_eq!(machine.recover().unwrap().unwrap().rolled_back.restored.len(), 4);
                    }
                    done += 1;
                }
            }
            assert_eq!(machine.tree(), old, "{room} {together}");
            assert!(interrupted(&machine.state).unwrap().is_none());
            fs::remove_file(filler).unwrap();
        }
    }
    println!("stopped before the first change: {stopped}; done and taken back: {done}");
    assert!(stopped > 0 && done > 0);
}
