//! Warded as of an earlier commit.

use super::{Machine, missing};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// The earlier program, which is built if necessary. `None` if it cannot be built here and the test is skipped.
pub(crate) fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let build = || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/warded-earlier");
        let output = Command::new(script).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.code() == Some(69) {
            return Err(said.trim_end().to_owned());
        }
        assert!(output.status.success(), "the earlier Warded was not built: {said}");
        let path = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
        assert!(fs::metadata(&path).unwrap().is_file());
        Ok(path)
    };
    match PROGRAM.get_or_init(build) {
        Ok(path) => Some(path),
        Err(why) => {
            missing::history(why);
            None
        }
    }
}

/// A command that runs the earlier program on a machine.
pub(crate) fn command(machine: &Machine, program: &Path, arguments: &[&str]) -> Command {
    let mut command = machine.command(program.to_str().unwrap());
    machine.environment(&mut command).args(arguments);
    command
}
