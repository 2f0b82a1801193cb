//! The system's trust store for TLS. Used only if the operator asks for it: SSH does not need it.

use super::{
    durable,
    exec::{self, Program},
};
use crate::{
    error::{Error, Result},
    text::neutral_lines,
};
use std::{path::Path, time::Duration};

/// The directory from which a distribution takes root certificates, and the program that installs them
/// (`update-ca-certificates(8)`, `update-ca-trust(8)`).
const STORES: [(&str, &str); 3] = [
    ("/usr/local/share/ca-certificates", "update-ca-certificates"),
    ("/etc/pki/ca-trust/source/anchors", "update-ca-trust"),
    ("/etc/ca-certificates/trust-source/anchors", "update-ca-trust"),
];

/// Installs a root certificate (PEM) in the trust store, and says what was done.
///
/// # Errors
/// No known trust store exists, or it cannot be written.
pub fn install(pem: &str, fingerprint: &str) -> Result<String> {
    let Some((directory, program)) = STORES.iter().find(|(directory, _)| Path::new(directory).is_dir()) else {
        return Err(Error::usage("the system's trust store was not found")
            .cause("this is neither like Debian nor like Red Hat: there is no update-ca-certificates and no update-ca-trust")
            .next("put the root certificate there by hand; for SSH nothing more is needed"));
    };
    let short = fingerprint.get(..16).unwrap_or(fingerprint);
    let file = Path::new(directory).join(format!("warded-{short}.crt"));
    let failed = |why: String| {
        Error::failed(format!("cannot put the root into the system's trust store as {}", file.display()))
            .cause(why)
            .next("run it as root; for SSH nothing more is needed")
    };
    durable::replace(&file, pem.as_bytes(), 0o644).map_err(|error| failed(error.to_string()))?;
    let path = exec::find(program).ok_or_else(|| failed(format!("there is no {program}")))?;
    let ended = Program::new(path).timeout(Duration::from_secs(120)).run()?;
    if !ended.succeeded() {
        return Err(failed(format!("{program}: {}: {}", ended.ending(), neutral_lines(ended.stderr.trim()))));
    }
    Ok(format!("Put the root into the system's trust store: {}", file.display()))
}
