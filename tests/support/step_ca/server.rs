//! The process of a CA. It ends with the test, however that ends.

use super::{
    super::{missing, network::Network},
    setup::WEB_ROOT,
};
use std::{
    fs,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

/// Starts the server, and then sends it the signals whose names it reads. When the test process ends, its standard
/// input ends, and then it stops the server: by SIGTERM, or by force after five seconds.
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

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    keeper: Child,
}

impl Server {
    /// Starts the server with the configuration in this directory, which also gets its log.
    pub(super) fn start(binary: &Path, directory: &Path, network: &Network) -> Self {
        let log = File::options().create(true).append(true).open(directory.join("log")).unwrap();
        let web_root = directory.join(WEB_ROOT);
        let mut command = network.command("sh");
        if web_root.exists() {
            command.env("SSL_CERT_FILE", web_root);
        }
        let keeper = command
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

    /// Sends the server a signal.
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

/// The program, which is built if necessary. `None` if it cannot be built here and the test is skipped.
pub(super) fn binary() -> Option<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let build = || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/step-ca");
        let output = Command::new(script).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.code() == Some(69) {
            return Err(format!("it needs step-ca, which is built on Debian only: {}", said.trim_end()));
        }
        assert!(output.status.success(), "step-ca was not built: {said}");
        let path = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
        assert!(fs::metadata(&path).unwrap().is_file());
        Ok(path)
    };
    match BINARY.get_or_init(build) {
        Ok(path) => Some(path),
        Err(why) => {
            missing::peer(why);
            None
        }
    }
}
