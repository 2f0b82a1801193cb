//! The process of a CA. However the test ends, it ends too.

use super::super::network::Network;
use std::{
    env, fs,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

/// Starts the server, and then sends it the signals whose names it is given. With the test process
/// its standard input ends, and so does the server: in five seconds by itself, or else by force.
const KEEPER: &str = r#"
"$@" </dev/null & server=$!
while read -r signal; do kill -s "$signal" $server; done
kill -s TERM $server
for _ in $(seq 100); do
    kill -s 0 $server 2>/dev/null || exit 0
    sleep 0.05
done
kill -s KILL $server
"#;

/// A server that runs.
#[derive(Debug)]
pub(super) struct Server {
    keeper: Child,
}

impl Server {
    /// Starts it with the configuration in a directory, where its log goes too.
    pub(super) fn start(binary: &Path, directory: &Path, network: &Network) -> Self {
        let log = File::options().create(true).append(true).open(directory.join("log")).unwrap();
        let keeper = network
            .command("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(binary)
            .arg(directory.join("ca.json"))
            .env("STEPPATH", directory)
            .env("HOME", directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { keeper }
    }

    /// Sends it a signal.
    pub(super) fn signal(&mut self, name: &str) {
        writeln!(self.keeper.stdin.as_mut().unwrap(), "{name}").unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        self.keeper.wait().unwrap();
    }
}

/// The program; built where there is none yet. None, said aloud: it cannot be built here.
pub(super) fn binary() -> Option<&'static Path> {
    static BINARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/step-ca");
        let output = Command::new(script).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.code() == Some(69) && env::var_os("CI").is_none() {
            eprintln!("SKIPPED: {said}");
            return None;
        }
        assert!(output.status.success(), "step-ca was not built: {said}");
        let path = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
        assert!(fs::metadata(&path).unwrap().is_file());
        Some(path)
    };
    BINARY.get_or_init(build).as_deref()
}
