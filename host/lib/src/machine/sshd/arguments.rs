//! The command line of an sshd: which arguments shape its configuration, and which only say how it is run. Taken from
//! sshd's own option string (9.2 and 10.0: `46DdeGiqrRtTVC:E:b:c:f:g:h:k:o:p:u:`).

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Options with a value that shapes the configuration.
const SHAPING: &str = "bcghkopu";
/// Options with a value that does not.
const OTHER: &str = "CE";

/// A parsed command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The program as it was named, if the name is an absolute path.
    pub binary: Option<PathBuf>,
    /// The file named by `-f`.
    pub config: Option<PathBuf>,
    /// The other arguments that shape the configuration: `-o X=y`, `-p 22`, `-4`.
    pub arguments: Vec<String>,
    /// Whether the end of the command line was lost, and was inferred from the files that exist.
    pub is_completed: bool,
}

/// What kind of process a command line in `/proc/PID/cmdline` belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandLineKind {
    Listener(CommandLine),
    /// A listener whose command line lost its end: sshd writes its title over the command line, and here no environment
    /// follows that would leave room for the title (`env -i`).
    CutOff,
    /// A process of one connection, a test (`-t`), or an sshd that serves its standard input (`-i`).
    Other,
}

impl CommandLineKind {
    /// Parses a command line, whatever name sshd was started by. `paths` are paths that may occur in it: sshd's own
    /// program, its configuration file and the files beside that. They serve to complete a path of which only the
    /// beginning is shown.
    #[must_use]
    pub fn of(raw: &[u8], paths: &[&Path]) -> Self {
        let text = String::from_utf8_lossy(raw);
        let Some(title) = title(&text) else {
            let mut words: Vec<_> = text.split('\0').map(str::to_owned).collect();
            while words.last().is_some_and(String::is_empty) {
                words.pop();
            }
            return CommandLine::parse(words).map_or(Self::Other, Self::Listener);
        };
        let whole = title.rsplit_once(LISTENER).map(|(line, _)| line);
        let (shown, is_completed) = match whole {
            Some(line) => (line.to_owned(), false),
            // Only the title of a listener begins with a command line.
            None if !title.starts_with('/') => return Self::Other,
            None => match (begun(title), completed(&text, title, paths)) {
                (Some(line), _) => (line.to_owned(), false),
                (None, Some(line)) => (line, true),
                (None, None) => return Self::CutOff,
            },
        };
        let line = CommandLine::parse(joined(&shown));
        line.map_or(Self::Other, |line| Self::Listener(CommandLine { is_completed, ..line }))
    }
}

impl CommandLine {
    fn parse(words: Vec<String>) -> Option<Self> {
        let mut words = words.into_iter();
        let program = words.next()?;
        let mut line = Self { binary: program.starts_with('/').then(|| program.into()), ..Self::default() };
        while let Some(word) = words.next() {
            let flags = word.strip_prefix('-').filter(|flags| !flags.is_empty())?;
            for (index, flag) in flags.char_indices() {
                if !takes_value(flag) {
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

fn takes_value(flag: char) -> bool {
    SHAPING.contains(flag) || OTHER.contains(flag) || flag == 'f'
}

/// What a title has after the command line.
const LISTENER: &str = " [listener]";

/// The title that OpenSSH ≥ 8.2 writes over its command line, without the name that sshd was started by:
/// `sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups`, or `sftpd: /usr/sbin/sftpd …` through a link.
fn title(text: &str) -> Option<&str> {
    let (name, title) = text.split_once(": ")?;
    (!name.contains(['/', '\0'])).then_some(title)
}

/// The command line in a title that is cut off within [`LISTENER`].
fn begun(title: &str) -> Option<&str> {
    let (shown, _) = title.split_once('\0').unwrap_or((title, ""));
    let is_begun = |length: &usize| shown.ends_with(LISTENER.get(..*length).unwrap_or(LISTENER));
    let begun = (2..LISTENER.len()).rev().find(is_begun)?;
    shown.get(..shown.len() - begun)
}

/// The command line in a title that is cut off within a path, if only one of `paths` fits. The missing part is as long
/// as the title exceeds the memory that it was written into.
fn completed(text: &str, title: &str, paths: &[&Path]) -> Option<String> {
    let (shown, behind) = title.split_once('\0').unwrap_or((title, ""));
    // If the title leaves no room in that memory, the last bytes of the original command line remain behind it.
    let missing = (text.len() - 1).checked_sub(shown.len()).filter(|_| !behind.is_empty())?;
    let (before, last) = match shown.rsplit_once(" -f ") {
        Some((before, last)) => (before.len() + " -f ".len(), last),
        None => (0, shown),
    };
    let left = behind.trim_end_matches('\0');
    let is_it = |path: &&str| path.len() == last.len() + missing && path.starts_with(last) && path.ends_with(left);
    let fitting: BTreeSet<&str> = paths.iter().filter_map(|path| path.to_str()).filter(is_it).collect();
    let path = fitting.first().filter(|_| fitting.len() == 1)?;
    Some(format!("{}{path}", shown.get(..before)?))
}

/// The words of a command line in which the boundaries of arguments are lost. sshd takes only options and their values,
/// so a word without a `-` after a value belongs to that value.
fn joined(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    // Whether the last word is a value or ends with one, and whether it is an option that awaits one.
    let (mut is_value, mut awaits) = (false, false);
    for word in line.split(' ') {
        match words.last_mut() {
            Some(last) if is_value && !word.starts_with('-') => {
                last.push(' ');
                last.push_str(word);
            }
            _ if word.is_empty() => {}
            _ if awaits => {
                words.push(word.to_owned());
                (is_value, awaits) = (true, false);
            }
            _ => {
                words.push(word.to_owned());
                let valued = word.strip_prefix('-').and_then(|flags| flags.find(takes_value)).map(|at| at + 2);
                awaits = valued.is_some_and(|end| end == word.len());
                is_value = valued.is_some_and(|end| end < word.len());
            }
        }
    }
    // Blanks at the end are not part of a value.
    words.iter_mut().for_each(|word| word.truncate(word.trim_end().len()));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_told_from_the_rest() {
        let line = |binary: &str, config: Option<&str>, arguments: &[&str]| {
            CommandLineKind::Listener(CommandLine {
                binary: binary.starts_with('/').then(|| binary.into()),
                config: config.map(Into::into),
                arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
                is_completed: false,
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
            (
                "sshd: /usr/sbin/sshd -D -E /var/log/my log -f /etc/ssh/my  conf/sshd_config -o Port 22 [listener] 0 of",
                line("/usr/sbin/sshd", Some("/etc/ssh/my  conf/sshd_config"), &["-o", "Port 22"]),
            ),
            (
                "sshd: /usr/sbin/sshd -Df/etc/my conf -4 [listener] 0",
                line("/usr/sbin/sshd", Some("/etc/my conf"), &["-4"]),
            ),
            ("sshd: root@pts/0", CommandLineKind::Other),
            ("sftpd: nobody@notty", CommandLineKind::Other),
            ("sshd: root [priv]", CommandLineKind::Other),
            ("sshd: [accepted]", CommandLineKind::Other),
            ("/usr/sbin/sshd\0-D\0-R\0", CommandLineKind::Other),
            ("/usr/sbin/sshd\0-i\0", CommandLineKind::Other),
            ("/usr/sbin/sshd\0-T\0", CommandLineKind::Other),
            ("sshd-session: root [priv]", CommandLineKind::Other),
            ("", CommandLineKind::Other),
        ] {
            assert_eq!(CommandLineKind::of(raw.as_bytes(), &[]), expected, "{raw}");
        }
    }

    #[test]
    fn a_title_that_is_cut_off_is_completed_where_only_one_command_line_can_be_meant() {
        let paths =
            ["/usr/sbin/sshd", "/etc/ssh/sshd_config", "/etc/ssh/lan.conf", "/etc/ssh/wan.conf", "/etc/ssh/moduli"]
                .map(Path::new);
        // What remains of a command line if no environment follows it.
        let cut = |name: &str, line: &str| {
            let title = format!("{name}: {line} [listener] 0 of 10-100 startups");
            format!("{}\0{}\0", title.get(..line.len() - 2).unwrap(), line.get(line.len() - 1..).unwrap())
        };
        for (line, config) in [
            ("/usr/sbin/sshd", Some(None)),
            ("/usr/sbin/sshd -D -f /etc/ssh/sshd_config", Some(Some("/etc/ssh/sshd_config"))),
            ("/usr/sbin/sshd -f /etc/ssh/sshd_conf2", None),
            ("/usr/sbin/sshd -f /etc/ssh/sshd_config -D", None),
            ("/usr/sbin/sshd -D", None),
            // Either of two files would fit.
            ("/usr/sbin/sshd -f /etc/ssh/lan.conf", None),
            ("/usr/sbin/sshd -f /etc/ssh/wan.conf", None),
            ("/usr/sbin/sshd -f /etc/ssh/sshd_config -o Port=2222", None),
        ] {
            for name in ["sshd", "sftpd"] {
                let found = match CommandLineKind::of(cut(name, line).as_bytes(), &paths) {
                    CommandLineKind::Listener(line) if line.is_completed => Some(line.config),
                    CommandLineKind::Listener(line) => panic!("{line:?}"),
                    CommandLineKind::CutOff => None,
                    CommandLineKind::Other => panic!("{line}"),
                };
                assert_eq!(found, config.map(|config| config.map(PathBuf::from)), "{name} {line}");
            }
        }
        // With a small environment, the title reaches into the mark.
        for (raw, is_whole) in
            [("sshd: /usr/sbin/sshd -p 22 [lis\0", true), ("sshd: /usr/sbin/sshd -p 22 \0\0\0", false)]
        {
            let found = CommandLineKind::of(raw.as_bytes(), &paths);
            assert_eq!(
                matches!(found, CommandLineKind::Listener(line) if line.arguments == ["-p", "22"] && !line.is_completed),
                is_whole,
                "{raw:?}"
            );
        }
    }
}
