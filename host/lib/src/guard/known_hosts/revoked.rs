//! `RevokedHostKeys` of ssh's configuration, which may have the CA's own key: the CA that stands in for it in the proof
//! has another one.

use super::{Change, New, keygen};
use crate::{
    error::Result,
    guard::config::krl::is_list,
    machine::{
        scratch::Scratch,
        ssh::Settings,
        sshd::tree::{Overlay, Staged},
    },
    text::neutral,
};
use std::path::Path;

impl Change {
    /// Refuses a line for a key that ssh takes for revoked.
    pub(super) fn refuse_revoked(
        &self,
        new: &New<'_>,
        name: &str,
        settings: &Settings,
        scratch: &Scratch,
    ) -> Result<()> {
        let (key_type, blob) = new.entry.key();
        let key = [key_type, b" ", blob].concat();
        for (index, list) in settings.values("revokedhostkeys").iter().enumerate() {
            // One that ssh cannot read makes it refuse every host: the proof shows that.
            let Ok(contents) = Overlay(&Staged::new()).read(Path::new(list)) else { continue };
            let has_key = if is_list(&contents) {
                let name = format!("authority-{}-{index}.pub", new.number);
                let file = scratch.write(&name, &[&key, b"\n".as_slice()].concat(), 0o600)?;
                let asked = keygen(&["-Q".as_ref(), "-f".as_ref(), list.as_ref(), &file])?;
                asked.stdout.contains("REVOKED")
            } else {
                contents.split(|byte| *byte == b'\n').any(|line| {
                    let words: Vec<&[u8]> =
                        line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
                    words.starts_with(&[key_type, blob])
                })
            };
            if has_key {
                return Err(self
                    .refused(format!("ssh refuses every host of this CA for {name}"))
                    .cause(format!(
                        "RevokedHostKeys of its configuration is {}, which has the CA's own key",
                        neutral(list)
                    ))
                    .next("see why it was revoked; if that is over, take the key out of that file"));
            }
        }
        Ok(())
    }
}
