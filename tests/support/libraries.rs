//! Runs programs of this machine on machines whose C library is older than the one they were linked against. A copy of
//! the program uses this machine's libraries, which lie beside the other machine's own; those do not change.

use super::run::Run;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The directory of the libraries on the other machine.
const DIRECTORY: &str = "/usr/lib/libraries-of-tests";

/// Whether a release of Debian has a C library before 2.34.
pub(crate) fn are_old(suite: &str) -> bool {
    suite == "bullseye"
}

/// The libraries of a program and its loader, which ldd lists by its path alone.
fn libraries_of(program: &Path) -> Vec<PathBuf> {
    let listed = Run::of(Command::new("ldd").arg(program)).ends(0).stdout;
    let libraries: Vec<PathBuf> =
        listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect();
    assert!(libraries.len() > 1, "{listed}");
    libraries
}

/// Makes a copy of a program that uses the libraries from [`bring`].
pub(crate) fn adapt(program: &Path, copy: &Path) {
    let libraries = libraries_of(program);
    let is_loader = |library: &&PathBuf| library.file_name().unwrap().to_str().unwrap().starts_with("ld-");
    let loader = libraries.iter().find(is_loader).unwrap().file_name().unwrap().to_str().unwrap();
    let loader = format!("{DIRECTORY}/{loader}");
    let mut patch = Command::new("patchelf");
    patch.args(["--set-interpreter", &loader, "--set-rpath", DIRECTORY, "--output"]).args([copy, program]);
    Run::of(&mut patch).ends(0);
}

/// Copies the libraries of a program into a machine's tree.
pub(crate) fn bring(program: &Path, root: &Path) {
    let directory = root.join(DIRECTORY.strip_prefix('/').unwrap());
    fs::create_dir_all(&directory).unwrap();
    for library in libraries_of(program) {
        fs::copy(&library, directory.join(library.file_name().unwrap())).unwrap();
    }
}
