//! `revoke-users`: sshd refuses user certificates by their serial numbers.
//!
//! If sshd cannot read a `RevokedKeys` file, it refuses every public key. So the whole list is written at once, and the
//! host puts it in place before the line that names it.

use crate::certify_host;
use crate::revoked_keys::{self, File, KEYWORD, Known, Place, is_none};
use warded_guest::authority::{self, Kind};
use warded_guest::krl::{Krl, wire_form};
use warded_guest::sshd_config::OwnLines;
use warded_guest::{Error, Settings, files, log, machine, services, sshd};

/// The comment above Warded's line.
const COMMENT: &str = "# Managed by Warded (policy unix, revoke-users). `warded undo` takes it out.";
const PROCEDURE: &str = "revoke-users";
const FILE_NAME: &str = "warded-revoked.krl";

pub(crate) fn run(settings: &Settings) -> Result<(), Error> {
    let serials: Vec<u64> = settings.all("serial").into_iter().map(serial).collect::<Result<_, _>>()?;
    let (own, earlier) = (OwnLines::of(PROCEDURE)?, OwnLines::find()?);
    let ours = [own.arguments(KEYWORD), earlier.arguments(KEYWORD)].concat();
    // An existing list stays where it is: it has what was revoked until now.
    let there = ours.iter().find(|name| name.ends_with(&format!("/{FILE_NAME}"))).cloned();
    let path = there.unwrap_or_else(|| format!("{}/{FILE_NAME}", own.directory()));
    let named = names(&own, &earlier, &ours, &path)?;
    let mut list = match files::read(&path)? {
        None => Krl::default(),
        Some(bytes) => Krl::parse(&bytes).map_err(|fault| {
            Error::new(
                "not-a-revocation-list",
                format!(
                    "Warded cannot add serial numbers to {path}: the file \
                        {fault}."
                ),
            )
            .about("path", &*path)
            .next(format!(
                "restore it from a backup; else move it away and revoke all serial numbers anew. sshd refuses every \
                     key while its configuration names a list that it cannot read: see ssh-keygen -Q -l -f {path}"
            ))
        })?,
    };
    if sshd::effective("trustedusercakeys", &[])?.iter().all(|path| path.eq_ignore_ascii_case("none")) {
        log::warn("sshd trusts no user CA (TrustedUserCAKeys), so it accepts none of these certificates anyway.");
    }
    let mut new = false;
    for root in authority::roots(Kind::User)? {
        let authority = wire_form(&root).ok_or_else(|| {
            Error::new("not-a-key", format!("The revocation list cannot name this user key of the CA: {root}"))
                .next("ask the CA's administrator which of its user keys is right: warded ca roots --user shows them")
        })?;
        new |= list.revoke(&authority, &serials);
    }
    if new {
        files::write(&path, &list.to_bytes(), None)?;
    } else {
        log::info("These serial numbers are refused already.");
    }
    let mut lines = Vec::new();
    if named.is_empty() {
        log::info(&format!("A RevokedKeys line that Warded did not write names {path}, so Warded adds none."));
    } else {
        lines.push(revoked_keys::line(&named)?);
    }
    // The host puts files in place in the order in which they were staged, so at each moment one of the two lines is
    // there.
    let mut changed = own.set(COMMENT, &lines)?;
    changed |= take_out_earlier()?;
    // sshd reads the list itself at each login.
    if changed { services::reload("ssh") } else { Ok(()) }
}

/// Removes Warded's line from those of `certify-host`, where earlier versions wrote it. Returns whether there was one.
fn take_out_earlier() -> Result<bool, Error> {
    let earlier = OwnLines::find()?;
    if earlier.values(KEYWORD).is_empty() {
        return Ok(false);
    }
    earlier.set(certify_host::COMMENT, &earlier.others(KEYWORD))
}

fn serial(text: &str) -> Result<u64, Error> {
    text.parse().ok().filter(|serial| *serial != 0).ok_or_else(|| {
        Error::new("invalid-serial", format!("{text} is not the serial number of a certificate."))
            .about("serial", text)
            .next("a serial number is a whole number from 1 on: ssh-keygen -L -f CERTIFICATE prints it")
    })
}

/// The lists that Warded's line has to name: Warded's own, and others' if one line can name several.
fn names(own: &OwnLines, earlier: &OwnLines, ours: &[String], list: &str) -> Result<Vec<String>, Error> {
    // If no list is named, sshd reports `none`, or nothing.
    let mut effective = sshd::effective(KEYWORD, &[])?;
    effective.retain(|name| !is_none(name));
    let main = machine::fact("sshd.config").unwrap_or_default();
    let mut files = vec![(main.clone(), if own.is_drop_in() { Place::Around } else { Place::Before })];
    let drop_ins = format!("{}/sshd_config.d", own.directory());
    for name in files::list(&drop_ins)?.unwrap_or_default() {
        let path = format!("{drop_ins}/{name}");
        let is_after = own.is_drop_in() && path.as_str() >= own.path();
        files.push((path, if is_after { Place::After } else { Place::Before }));
    }
    let read = |(path, place): (String, Place)| {
        let text = files::read(&path)?.unwrap_or_default();
        Ok(File { text: earlier.foreign(&path, own.foreign(&path, text)?)?, path, place })
    };
    let files = files.into_iter().map(read).collect::<Result<Vec<_>, Error>>()?;
    let version = machine::fact("sshd.version");
    Known { version: version.as_deref(), own: list, own_file: own.path(), ours, effective: &effective, files: &files }
        .names()
}
