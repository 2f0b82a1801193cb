//! Reads the appliance's stored text and the file that it generates from that text, and stages both together.

use crate::block::{Fault, Texts};
use crate::stored;
use warded_guest::{Error, Setting, actions, files, log, machine};

/// The directory in which files survive. The middleware deletes files that it does not know in `/etc/ssh`, and an
/// upgrade replaces `/etc`.
pub(crate) fn place() -> Result<String, Error> {
    machine::fact("home").ok_or_else(|| {
        Error::new("no-home", "This user has no home directory, and certificates are kept there.")
            .next("run this as root, whose home directory TrueNAS keeps through upgrades")
    })
}

/// Both texts as they are.
pub(crate) struct Appliance {
    path: String,
    texts: Texts,
}

impl Appliance {
    pub(crate) fn read() -> Result<Self, Error> {
        let answer = actions::query("ssh-config", &[])?;
        let options = stored::options(&answer).ok_or_else(|| {
            Error::new("unexpected-output", "The middleware's SSH settings have no text `options`.")
                .next("look at what this prints: midclt call ssh.config")
        })?;
        let no_sshd = || {
            Error::new("no-sshd", "TrueNAS has never generated sshd's configuration.")
                .next("start the SSH service: Services, SSH, in the web interface")
        };
        let path = machine::fact("sshd.config").ok_or_else(no_sshd)?;
        let live = files::read(&path)?.ok_or_else(no_sshd)?;
        Ok(Self { path, texts: Texts { options, live } })
    }

    /// The administrator's own part of the stored text.
    pub(crate) fn foreign(&self) -> Result<String, Error> {
        self.texts.foreign().map_err(|fault| self.error(fault))
    }

    /// Replaces Warded's lines with this keyword by these lines. Returns whether the machine will differ.
    pub(crate) fn set(&self, keyword: &str, lines: &[String]) -> Result<bool, Error> {
        let has_keyword =
            |line: &String| line.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case(keyword));
        let mut own = self.texts.lines().map_err(|fault| self.error(fault))?;
        // Another procedure's lines keep their places: the host would see a moved line as a removed one.
        let rest = own.split_off(own.iter().position(has_keyword).unwrap_or(own.len()));
        own.extend(lines.iter().cloned().chain(rest.into_iter().filter(|line| !has_keyword(line))));
        self.stage(&own)
    }

    /// Removes Warded's block. Returns whether the machine will differ.
    pub(crate) fn clear(&self) -> Result<bool, Error> {
        self.stage(&[])
    }

    fn stage(&self, lines: &[String]) -> Result<bool, Error> {
        let fault = |fault| self.error(fault);
        let next = self.texts.with(lines).map_err(fault)?;
        if next.is_for_an_earlier_layout().map_err(fault)? {
            log::warn(
                "This release writes its Match blocks after Warded's lines. Releases from 25.04.1 on write them \
                 before these lines, and then sshd does not start if a user may log in by password: run `warded apply \
                 remove` before an update to such a release, and `warded apply certify-host` after it.",
            );
        }
        let is_new = files::write(&self.path, &next.live, None)?;
        let options = Setting { name: "options".to_owned(), value: next.options };
        Ok(actions::change("ssh-update", &[options])? || is_new)
    }

    fn error(&self, fault: Fault) -> Error {
        let path = self.path.as_str();
        match fault {
            Fault::BrokenBlock => Error::new(
                "broken-block",
                "The auxiliary parameters do not have exactly one line `# BEGIN warded`, followed by one line `# END \
                 warded`.",
            )
            .next("correct these lines, or take them out: Services, SSH, Auxiliary Parameters, in the web interface"),
            Fault::Stale => Error::new(
                "stale-configuration",
                format!(
                    "{path} is not what TrueNAS generates from its stored settings: it does not have the auxiliary \
                     parameters exactly once."
                ),
            )
            .about("path", path)
            .next(
                "have TrueNAS generate it: save the settings of the SSH service in the web interface, then run this \
                   again",
            ),
            Fault::NoPlace => Error::new(
                "no-place",
                format!(
                    "{path} has no place for Warded's lines: each place is inside a Match block that has further \
                         lines after it."
                ),
            )
            .about("path", path)
            .next("end the Match block in the auxiliary parameters with a line `Match all`, then run this again"),
        }
    }
}
