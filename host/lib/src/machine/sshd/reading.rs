//! What sshd reports that it reads. With `-T -ddd` it names on standard error each file that it loads, each line that
//! takes effect for the connection in question, and each host key that it has (OpenSSH's servconf.c and sshd.c; the
//! same words from 8.4 to 10.6).

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// What sshd read of a configuration in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigReading {
    /// The files that sshd loaded.
    pub files: BTreeSet<PathBuf>,
    /// The lines that took effect, in their order.
    pub settings: Vec<Setting>,
    /// The fingerprints of the host keys that sshd has, including those in an agent, in the order in which it offers
    /// them.
    pub host_keys: Vec<String>,
}

/// A line that took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The file that has the line.
    pub file: PathBuf,
    /// The line number, from 1.
    pub line: usize,
    /// The keyword in lower case.
    pub keyword: String,
}

impl ConfigReading {
    /// Reads sshd's standard error.
    #[must_use]
    pub fn parse(stderr: &str) -> Self {
        let mut reading = Self::default();
        let mut again = false;
        for line in stderr.lines().map(str::trim_end) {
            // When sshd is asked about a connection, it reads the whole configuration a second time.
            again |= line.contains(": config reprocess config len ");
            if let Some(path) = line.strip_prefix("debug2: load_server_config: filename ") {
                reading.files.insert(PathBuf::from(path));
            } else if let Some(setting) = line.strip_prefix("debug3: ").and_then(setting) {
                reading.settings.extend((!again).then_some(setting));
            } else if let Some(key) = line.strip_prefix("debug1: private host key #").and_then(fingerprint) {
                reading.host_keys.push(key);
            } else if let Some(key) = line.strip_prefix("debug1: pubkey host key #").and_then(fingerprint) {
                // A key whose private half is only in an agent.
                reading.host_keys.push(key);
            }
        }
        reading
    }

    /// The same with `name` applied to every path: it maps the private paths of a candidate to the real ones.
    #[must_use]
    pub fn renamed(self, name: impl Fn(&str) -> String) -> Self {
        let real = |path: PathBuf| PathBuf::from(name(&path.display().to_string()));
        let settings = self.settings.into_iter().map(|one| Setting { file: real(one.file), ..one });
        Self {
            settings: settings.collect(),
            files: self.files.into_iter().map(real).collect(),
            host_keys: self.host_keys,
        }
    }
}

/// `/etc/ssh/sshd_config:12 setting UsePAM yes`.
fn setting(text: &str) -> Option<Setting> {
    let (place, what) = text.split_once(" setting ")?;
    let (file, line) = place.rsplit_once(':')?;
    let keyword = what.split(' ').next()?.to_lowercase();
    Some(Setting { file: Path::new(file).to_owned(), line: line.parse().ok()?, keyword })
}

/// `0: ssh-ed25519 SHA256:…`.
fn fingerprint(text: &str) -> Option<String> {
    text.split(' ').find(|word| word.starts_with("SHA256:")).map(str::to_owned)
}

/// sshd's output without its debugging lines, which is what `sshd -t` would print.
#[must_use]
pub fn without_debugging(stderr: &str) -> String {
    let is_debugging = |line: &&str| ["debug1: ", "debug2: ", "debug3: "].iter().any(|start| line.starts_with(start));
    stderr.lines().filter(|line| !is_debugging(line)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "debug2: load_server_config: filename /etc/ssh/sshd_config\n\
        debug2: /etc/ssh/sshd_config line 1: new include /etc/ssh/sshd_config.d/*.conf\n\
        debug2: load_server_config: filename /etc/ssh/sshd_config.d/a b.conf\r\n\
        debug3: /etc/ssh/sshd_config.d/a b.conf:1 setting LoginGraceTime 11\n\
        debug3: /etc/ssh/sshd_config:2 setting hostkey /k\n\
        debug3: checking syntax for 'Match User bob'\n\
        debug2: parse_server_config_depth: config reprocess config len 130\n\
        debug3: reprocess config:2 setting hostkey /k\n\
        debug1: private host key #0: ssh-ed25519 SHA256:OH2\n\
        debug1: private host key #1: ssh-rsa SHA256:abc\n\
        Could not load host certificate \"/nope\": No such file or directory\n";

    #[test]
    fn files_lines_and_keys_are_read() {
        let reading = ConfigReading::parse(SAID);
        let files: Vec<_> = reading.files.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(files, ["/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/a b.conf"]);
        let lines: Vec<_> = reading.settings.iter().map(|one| (one.line, one.keyword.as_str())).collect();
        assert_eq!(lines, [(1, "logingracetime"), (2, "hostkey")]);
        assert_eq!(reading.host_keys, ["SHA256:OH2", "SHA256:abc"]);
        assert_eq!(without_debugging(SAID), "Could not load host certificate \"/nope\": No such file or directory");
        let renamed = reading.renamed(|path| path.replace("/etc", "/real"));
        assert_eq!(renamed.settings[1].file, Path::new("/real/ssh/sshd_config"));
    }
}
