//! Machines that boot: with other inits than systemd, and several machines with one CA. `./test` runs all tests that
//! boot machines, those of other modules too, in its stage `boxes`.

mod inits;
mod releases;
mod trio;

use std::{fs, path::Path};

/// `./test` runs the tests that boot a machine in a stage of their own, and in no other.
#[test]
fn the_stage_has_every_test_that_boots_a_machine() {
    let script = include_str!("../../test");
    let listed = script.lines().find_map(|line| line.strip_prefix("booted=(")).unwrap().trim_end_matches(')');
    let listed: Vec<&str> = listed.split(' ').map(|name| name.strip_prefix("scenarios::").unwrap()).collect();
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenarios");
    let mut found = Vec::new();
    boot(&scenarios, &mut found);
    let modules = found.iter().map(|file| {
        let below = file.strip_prefix(scenarios.to_str().unwrap()).unwrap().trim_start_matches('/');
        format!("{}::", below.split('/').next().unwrap().trim_end_matches(".rs"))
    });
    let left_out: Vec<String> = modules.filter(|module| !listed.contains(&module.as_str())).collect();
    assert!(left_out.is_empty() && found.len() > 4, "{left_out:?}, of {found:?}");
}

/// Finds the files below a directory whose tests boot a machine.
fn boot(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            boot(&path, found);
        } else if fs::read_to_string(&path).unwrap().contains("Booted::") {
            found.push(path.to_str().unwrap().to_owned());
        }
    }
}
