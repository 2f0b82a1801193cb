//! pfSense's `/etc/sshd_extra`. pfSense appends it, as it is, to the configuration that it generates at each start of
//! sshd. Warded's block stands at the end of both files, so that pfSense generates the bytes that are already there.

use warded_guest::block::{BrokenBlock, Marks};
use warded_guest::sshd_config::{self, broken_block, directives};
use warded_guest::{Error, files};

const EXTRA: &str = "/etc/sshd_extra";
const MATCH_ALL: &str = "Match all";

/// `/etc/sshd_extra` and sshd's configuration, as they are.
#[derive(Debug)]
pub(crate) struct Extra {
    path: &'static str,
    is_there: bool,
    texts: Texts,
}

/// The texts of both files, present or future.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Texts {
    extra: Vec<u8>,
    /// sshd's configuration.
    live: Vec<u8>,
}

/// Why there is no place for Warded's block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Warded's marks are not a pair.
    BrokenBlock,
    /// sshd's configuration does not end with the text that pfSense appends.
    Stale,
    /// A `Match` is open there, and lines that are not Warded's follow.
    NoPlace,
}

impl From<BrokenBlock> for Fault {
    fn from(_: BrokenBlock) -> Self {
        Self::BrokenBlock
    }
}

impl Extra {
    /// Reads both files.
    pub(crate) fn find(path: &'static str) -> Result<Self, Error> {
        let live = files::read(path)?
            .ok_or_else(|| Error::new("no-sshd", format!("{path} does not exist.")).about("path", path))?;
        let extra = files::read(EXTRA)?;
        let found = Self { path, is_there: extra.is_some(), texts: Texts { extra: extra.unwrap_or_default(), live } };
        found.texts.generated().map_err(|fault| found.error(fault))?;
        Ok(found)
    }

    pub(crate) fn values(&self, keyword: &str) -> Vec<String> {
        sshd_config::values(self.texts.block(), keyword)
    }

    pub(crate) fn others(&self, keyword: &str) -> Vec<String> {
        self.texts.others(keyword)
    }

    pub(crate) fn set(&self, comment: &str, lines: &[String]) -> Result<bool, Error> {
        let next = self.texts.with(comment, lines).map_err(|fault| self.error(fault))?;
        let mut changed = match self.is_there {
            false if next.extra.is_empty() => false,
            true if next.extra.is_empty() && !self.texts.extra.is_empty() => files::remove(EXTRA)?,
            true | false => files::write(EXTRA, &next.extra, None)?,
        };
        changed |= files::write(self.path, &next.live, None)?;
        Ok(changed)
    }

    fn error(&self, fault: Fault) -> Error {
        let path = self.path;
        match fault {
            Fault::BrokenBlock => broken_block(EXTRA, &self.texts.extra),
            Fault::Stale => Error::new(
                "stale-configuration",
                format!("{path} does not end with the text of {EXTRA}: pfSense would generate a different file."),
            )
            .about("path", path)
            .next("see what differs: tail /etc/ssh/sshd_config /etc/sshd_extra")
            .next("check what pfSense would generate: cp /etc/ssh/sshd_config /root/sshd.new; cat /etc/sshd_extra >>/root/sshd.new; sshd -t -f /root/sshd.new")
            .next(
                "if sshd accepts that, save the settings of Secure Shell in the web interface, which generates the file; then run this again",
            ),
            Fault::NoPlace => Error::new(
                "no-place",
                format!("In {EXTRA}, Warded's lines would stand inside a Match block that has further lines after \
                         them."),
            )
            .about("path", EXTRA)
            .next(format!("end the Match block in {EXTRA} with a line `{MATCH_ALL}`, then run this again")),
        }
    }
}

impl Texts {
    /// The part of sshd's configuration that pfSense generates before it appends the file.
    fn generated(&self) -> Result<&[u8], Fault> {
        let generated = self.live.strip_suffix(self.extra.as_slice()).ok_or(Fault::Stale)?;
        let is_ended = generated.is_empty() || generated.ends_with(b"\n");
        // A block in the generated part came from an earlier `/etc/sshd_extra`.
        let is_foreign = Marks::default().find(generated)?.is_none();
        if is_ended && is_foreign { Ok(generated) } else { Err(Fault::Stale) }
    }

    fn block(&self) -> &[u8] {
        let found = Marks::default().find(&self.extra).ok().flatten();
        found.and_then(|range| self.extra.get(range)).unwrap_or_default()
    }

    fn others(&self, keyword: &str) -> Vec<String> {
        let lines = sshd_config::others(self.block(), keyword);
        lines.into_iter().filter(|line| line != MATCH_ALL).collect()
    }

    /// Both texts with a block of these lines, or without a block if there are no lines.
    fn with(&self, comment: &str, lines: &[String]) -> Result<Self, Fault> {
        let generated = self.generated()?;
        let end = self.extra.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let range = Marks::default().find(&self.extra)?.unwrap_or(end..end);
        let part = |range: std::ops::Range<usize>| self.extra.get(range).unwrap_or_default();
        let (before, after) = (part(0..range.start), part(range.end..self.extra.len()));
        let had_match_all = self.block().split(|byte| *byte == b'\n').any(|line| line == MATCH_ALL.as_bytes());
        let match_all = had_match_all || leaves_open(&[generated, before].concat());
        // The lines after the block are not Warded's, and must stay in their `Match`.
        if match_all && !had_match_all && !lines.is_empty() && directives(after).next().is_some() {
            return Err(Fault::NoPlace);
        }
        let marks = Marks::default();
        let mut block = Vec::new();
        if !lines.is_empty() {
            block.extend([marks.begin(), comment]);
            block.extend(match_all.then_some(MATCH_ALL));
            block.extend(lines.iter().map(String::as_str));
            block.push(marks.end());
        }
        let block: String = block.into_iter().flat_map(|line| [line, "\n"]).collect();
        let extra = [before, block.as_bytes(), after].concat();
        let live = [generated, &extra].concat();
        Ok(Self { extra, live })
    }
}

/// Whether what follows a text would stand in a `Match` block.
fn leaves_open(text: &[u8]) -> bool {
    let matches = directives(text).filter(|(_, found)| found.keyword == "match");
    matches.last().is_some_and(|(_, found)| found.is_conditional())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENERATED: &str = "Port 22\nSubsystem\tsftp\t/usr/libexec/sftp-server\n";
    const MATCH: &str = "Match User bob\n  X11Forwarding no\n";
    const LINE: &str = "HostCertificate /a";

    fn texts(extra: &str) -> Texts {
        Texts { extra: extra.into(), live: format!("{GENERATED}{extra}").into() }
    }

    fn lines() -> Vec<String> {
        vec![LINE.to_owned()]
    }

    fn block(more: &str) -> String {
        format!("# BEGIN warded\n# Ours.\n{more}{LINE}\n# END warded\n")
    }

    #[test]
    fn the_block_is_the_last_and_comes_out_byte_for_byte() {
        for (extra, expected) in [
            ("", block("")),
            ("Banner none\n", format!("Banner none\n{}", block(""))),
            // A last line without a line ending stays the last one.
            ("AllowTcpForwarding no\nBanner none", format!("AllowTcpForwarding no\n{}Banner none", block(""))),
            (MATCH, format!("{MATCH}{}", block("Match all\n"))),
            ("Match User bob\nMatch all\n", format!("Match User bob\nMatch all\n{}", block(""))),
        ] {
            let before = texts(extra);
            let made = before.with("# Ours.", &lines()).unwrap();
            assert_eq!(made, texts(&expected), "{extra:?}");
            assert_eq!(made.with("# Ours.", &lines()).unwrap(), made, "a second time: {extra:?}");
            assert_eq!(made.others("TrustedUserCAKeys"), lines());
            assert_eq!(made.with("# Ours.", &[]).unwrap(), before, "{extra:?}");
            let outside = |texts: &Texts| {
                let lines = warded_guest::block::outside(&texts.live).unwrap();
                lines.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>()
            };
            assert_eq!(outside(&made), outside(&before), "{extra:?}");
        }
    }

    #[test]
    fn text_around_the_block_stays() {
        let around = format!("Banner none\n{}MaxAuthTries 3\n", block(""));
        assert_eq!(texts(&around).with("# Ours.", &lines()).unwrap(), texts(&around));
        assert_eq!(texts(&around).with("# Ours.", &[]).unwrap(), texts("Banner none\nMaxAuthTries 3\n"));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let with = |texts: &Texts| texts.with("# Ours.", &lines()).map(|made| made.extra);
        let of = |extra: &str, live: &str| Texts { extra: extra.into(), live: live.into() };
        for (texts, fault) in [
            (of("Banner none\n", "Port 22\n"), Fault::Stale),
            (of("Banner none\n", "Port 22\nBanner none\nPort 23\n"), Fault::Stale),
            (of("Banner none\n", "Port 22Banner none\n"), Fault::Stale),
            (of("", &format!("Port 22\n{}", block(""))), Fault::Stale),
            (texts("# END warded\n"), Fault::BrokenBlock),
            (texts("Match User bob\nBanner none"), Fault::NoPlace),
            (texts(&format!("{MATCH}{}MaxAuthTries 3\n", block(""))), Fault::NoPlace),
        ] {
            assert_eq!(with(&texts), Err(fault), "{texts:?}");
        }
    }
}
