//! The command line of an sshd: which arguments make its configuration, and which only say how it
//! is run. From sshd's own option string (9.2 and 10.0: `46DdeGiqrRtTVC:E:b:c:f:g:h:k:o:p:u:`).

use std::path::PathBuf;

/// Options with a value that shape the configuration.
const SHAPING: &str = "bcghkopu";
/// Options with a value that do not.
const OTHER: &str = "CE";

/// A command line, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The program as it was named, if that is an absolute path.
    pub binary: Option<PathBuf>,
    /// The file of `-f`.
    pub config: Option<PathBuf>,
    /// What else shapes the configuration: `-o X=y`, `-p 22`, `-4`.
    pub arguments: Vec<String>,
}

impl CommandLine {
    /// Takes the command line of an sshd (`/proc/PID/cmdline`) apart, by whatever name it was started. None
    /// if it is not a listener's: a connection's own process, a test (`-t`), one that serves its input (`-i`).
    #[must_use]
    pub fn of_listener(raw: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(raw);
        if let Some(title) = title(&text) {
            // Where one argument ends is lost: what follows `-o Name` without a `-` belongs to it.
            let (line, _) = title.split_once(" [listener]")?;
            return Self::parse(join_option_values(line.split(' ')));
        }
        let mut words: Vec<_> = text.split('\0').map(str::to_owned).collect();
        while words.last().is_some_and(String::is_empty) {
            words.pop();
        }
        Self::parse(words)
    }

    fn parse(words: Vec<String>) -> Option<Self> {
        let mut words = words.into_iter();
        let program = words.next()?;
        let mut line = Self { binary: program.starts_with('/').then(|| program.into()), ..Self::default() };
        while let Some(word) = words.next() {
            let flags = word.strip_prefix('-').filter(|flags| !flags.is_empty())?;
            for (index, flag) in flags.char_indices() {
                let takes_value = SHAPING.contains(flag) || OTHER.contains(flag) || flag == 'f';
                if !takes_value {
                    match flag {
                        'i' | 'R' | 't' | 'T' | 'G' | 'V' => return None,
                        '4' | '6' => line.arguments.push(format!("-{flag}")),
                        _ => {}
                    }
                    continue;
                }
                let attached = flags.get(index + flag.len_utf8()..).unwrap_or_default().to_owned();
                let value = if attached.is_empty() { words.next()? } else { attached };
                if flag == 'f' {
                    line.config = Some(value.into());
                } else if SHAPING.contains(flag) {
                    line.arguments.extend([format!("-{flag}"), value]);
                }
                break;
            }
        }
        Some(line)
    }
}

/// What OpenSSH ≥ 8.2 writes over its command line, without the name that it was started by:
/// `sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups`, `sftpd: /usr/sbin/sftpd …` through a link.
fn title(text: &str) -> Option<&str> {
    let (name, title) = text.split_once(": ")?;
    (!name.contains(['/', '\0'])).then_some(title)
}

fn join_option_values<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    let mut in_option = false;
    for word in words.filter(|word| !word.is_empty()) {
        let continues = in_option && !word.starts_with('-');
        match joined.last_mut() {
            Some(last) if continues && last != "-o" => {
                last.push(' ');
                last.push_str(word);
            }
            _ => joined.push(word.to_owned()),
        }
        in_option = continues || word.starts_with("-o");
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_told_from_the_rest() {
        let line = |binary: &str, config: Option<&str>, arguments: &[&str]| {
            Some(CommandLine {
                binary: binary.starts_with('/').then(|| binary.into()),
                config: config.map(Into::into),
                arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            })
        };
        for (raw, expected) in [
            ("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups\0\0\0", line("/usr/sbin/sshd", None, &[])),
            ("/usr/sbin/sshd\0-D\0", line("/usr/sbin/sshd", None, &[])),
            ("/usr/sbin/sshd\0", line("/usr/sbin/sshd", None, &[])),
            ("sshd: sshd -f /a/b -p 2222 [listener] 1 of 10-100 startups", line("sshd", Some("/a/b"), &["-p", "2222"])),
            (
                "sshd: /usr/sbin/sshd -D -oCiphers=a,b -o Port 22 -4 [listener] 0 of",
                line("/usr/sbin/sshd", None, &["-o", "Ciphers=a,b", "-o", "Port 22", "-4"]),
            ),
            (
                "/usr/sbin/sshd\0-De4f/x/y\0-E\0/var/log/s\0-oA B=c\0-h\0/key\0",
                line("/usr/sbin/sshd", Some("/x/y"), &["-4", "-o", "A B=c", "-h", "/key"]),
            ),
            (
                "sftpd: /usr/sbin/sftpd -f /etc/ssh/sftpd_config [listener] 0 of 10-100 startups\0\0",
                line("/usr/sbin/sftpd", Some("/etc/ssh/sftpd_config"), &[]),
            ),
            ("sshd.pam: /usr/sbin/sshd.pam [listener] 0 of 10-100 startups", line("/usr/sbin/sshd.pam", None, &[])),
            ("/usr/sbin/sshd.pam\0-D\0", line("/usr/sbin/sshd.pam", None, &[])),
            ("/odd: place/sshd\0-D\0", line("/odd: place/sshd", None, &[])),
            ("sshd: root@pts/0", None),
            ("sftpd: nobody@notty", None),
            ("sshd: root [priv]", None),
            ("sshd: [accepted]", None),
            ("/usr/sbin/sshd\0-D\0-R\0", None),
            ("/usr/sbin/sshd\0-i\0", None),
            ("/usr/sbin/sshd\0-T\0", None),
            ("sshd-session: root [priv]", None),
            ("", None),
        ] {
            assert_eq!(CommandLine::of_listener(raw.as_bytes()), expected, "{raw}");
        }
    }
}
