//! The version lines, which come before the first packet (RFC 4253, section 4.2).

use super::{fault::Fault, stream::Stream, transport::Transport};

/// This side's version line, without its line end.
pub(super) const OURS: &[u8] = b"SSH-2.0-Warded";
/// The longest version line, with its line end.
const LONGEST: usize = 255;
/// The longest line that a server may send before its version line, as OpenSSH's client allows; and how many.
const LONGEST_OTHER: usize = 8192;
const MOST_OTHERS: usize = 1024;

impl<S: Stream> Transport<S> {
    pub(super) fn send_version(&mut self) -> Result<(), Fault> {
        self.write(&[OURS, b"\r\n"].concat())
    }

    /// The other side's version line, without its line end. A server may send other lines before it.
    pub(super) fn receive_version(&mut self, others: bool) -> Result<Vec<u8>, Fault> {
        let mut said = Vec::new();
        for _ in 0..=MOST_OTHERS {
            let line = match self.line() {
                // What a server writes instead of its version is its reason for refusing.
                Err(Fault::Closed { .. }) => {
                    let said = if said.is_empty() { std::mem::take(&mut self.inbox) } else { said };
                    return Err(Fault::Closed { said });
                }
                line => line?,
            };
            if line.starts_with(b"SSH-") {
                return checked(line);
            }
            if !others {
                return Err(Fault::Version { version: line });
            }
            said = line;
        }
        Err(Fault::Malformed { what: "what comes before the version line" })
    }

    fn line(&mut self) -> Result<Vec<u8>, Fault> {
        let mut seen = 0;
        let end = loop {
            let fresh = self.inbox.get(seen..).unwrap_or_default();
            if let Some(end) = fresh.iter().position(|byte| *byte == b'\n') {
                break seen + end;
            }
            seen = self.inbox.len();
            if seen >= LONGEST_OTHER {
                return Err(Fault::Malformed { what: "a line before the version line" });
            }
            self.fill()?;
        };
        let mut line: Vec<u8> = self.inbox.drain(..=end).collect();
        line.pop();
        line.pop_if(|last| *last == b'\r');
        Ok(line)
    }
}

fn checked(version: Vec<u8>) -> Result<Vec<u8>, Fault> {
    let is_text = version.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    if !is_text || version.len() + 2 > LONGEST {
        return Err(Fault::Malformed { what: "the version line" });
    }
    if version.starts_with(b"SSH-2.0-") || version.starts_with(b"SSH-1.99-") {
        Ok(version)
    } else {
        Err(Fault::Version { version })
    }
}
