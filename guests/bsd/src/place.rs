//! Where Warded's lines in sshd's configuration are, on each of these systems.

use crate::extra::Extra;
use warded_guest::sshd_config::OwnLines;
use warded_guest::{Error, files, log, machine};

/// The directory in which OPNsense keeps sshd's host keys.
pub(crate) const KEYS_OF_OPNSENSE: &str = "/conf/sshd";
/// The configuration of OPNsense's own sshd, which OPNsense generates.
const OPNSENSE: &str = "/usr/local/etc/ssh/sshd_config";
/// The same on pfSense.
const PFSENSE: &str = "/etc/ssh/sshd_config";
/// The comment above Warded's lines.
const COMMENT: &str = "# Managed by Warded (policy bsd). `warded undo` takes it out.";

/// The place of Warded's lines.
#[derive(Debug)]
pub(crate) enum Place {
    /// A drop-in, or a block in a main file that nothing generates.
    Own(OwnLines),
    /// The end of the file that pfSense appends to what it generates.
    Extra(Extra),
}

impl Place {
    /// Finds the place.
    ///
    /// # Errors
    /// `no-sshd`, `broken-block`, `no-drop-ins` on an OPNsense whose configuration includes none, `stale-configuration`
    /// where pfSense would generate a different file than the present one, and those of `files`.
    pub(crate) fn find() -> Result<Self, Error> {
        let path = machine::fact("sshd.config").unwrap_or_default();
        if path == PFSENSE && is_pfsense()? {
            return Extra::find(PFSENSE).map(Self::Extra);
        }
        let own = OwnLines::find()?;
        if path == OPNSENSE && files::read("/usr/local/opnsense/version/core")?.is_some() {
            if !own.is_drop_in() {
                return Err(no_drop_ins());
            }
            log::info(
                "OPNsense shows a notice that sshd's configuration is overridden: the notice refers to Warded's \
                       drop-in.",
            );
        }
        Ok(Self::Own(own))
    }

    /// The arguments of a keyword in Warded's present lines.
    pub(crate) fn values(&self, keyword: &str) -> Vec<String> {
        match self {
            Self::Own(own) => own.values(keyword),
            Self::Extra(extra) => extra.values(keyword),
        }
    }

    /// Warded's present lines with another keyword: those of another procedure.
    pub(crate) fn others(&self, keyword: &str) -> Vec<String> {
        match self {
            Self::Own(own) => own.others(keyword),
            Self::Extra(extra) => extra.others(keyword),
        }
    }

    /// Replaces Warded's lines with `lines`; if there are none, removes them. Returns whether the machine will differ.
    ///
    /// # Errors
    /// `broken-block`, `no-place`, and those of `files`.
    pub(crate) fn set(&self, lines: &[String]) -> Result<bool, Error> {
        match self {
            Self::Own(own) => own.set(COMMENT, lines),
            Self::Extra(extra) => extra.set(COMMENT, lines),
        }
    }
}

/// The directory of sshd's configuration.
pub(crate) fn directory() -> Result<String, Error> {
    machine::fact("sshd.directory").ok_or_else(|| Error::new("no-sshd", "No sshd was found."))
}

fn is_pfsense() -> Result<bool, Error> {
    Ok(files::read("/etc/platform")?.is_some_and(|text| text.trim_ascii().eq_ignore_ascii_case(b"pfSense")))
}

fn no_drop_ins() -> Error {
    Error::new(
        "no-drop-ins",
        format!("OPNsense generates {OPNSENSE}, which includes no drop-ins: lines that Warded adds would be lost."),
    )
    .about("path", OPNSENSE)
    .next("update OPNsense to 25.1 or later")
    .next("make sure that the directory exists: mkdir -p /usr/local/etc/ssh/sshd_config.d")
}
