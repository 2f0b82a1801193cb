//! `revoke-users`: sshd refuses user certificates by their serial numbers.
//!
//! A `RevokedKeys` file that sshd cannot read makes it refuse every public key: so the list is
//! written whole, and the host puts it in place before the line that names it.

use warded_guest::authority::{self, Kind};
use warded_guest::krl::{Krl, wire_form};
use warded_guest::sshd_config::{self, OwnLines};
use warded_guest::{Error, Settings, files, log, machine, services, sshd};

/// The comment above our lines, where there are none yet.
const COMMENT: &str = "# Managed by Warded (policy unix, revoke-users). `warded undo` takes it out.";
const KEYWORD: &str = "RevokedKeys";

pub(crate) fn run(settings: &Settings) -> Result<(), Error> {
    let serials: Vec<u64> = settings.all("serial").into_iter().map(serial).collect::<Result<_, _>>()?;
    let own = OwnLines::find()?;
    let path = format!("{}/warded-revoked.krl", own.directory());
    refuse_other_lists(own.directory(), &path)?;
    let mut list = match files::read(&path)? {
        None => Krl::default(),
        Some(bytes) => Krl::parse(&bytes).map_err(|fault| {
            Error::new("not-a-revocation-list", format!("{path} cannot be added to: it {fault}.")).about("path", &*path)
        })?,
    };
    if sshd::effective("trustedusercakeys", &[])?.iter().all(|path| path.eq_ignore_ascii_case("none")) {
        log::warn("sshd trusts no user CA (TrustedUserCAKeys), so that it accepts none of these certificates anyway.");
    }
    let mut new = false;
    for root in authority::roots(Kind::User)? {
        let authority = wire_form(&root).ok_or_else(|| Error::new("not-a-key", "The CA's user key cannot be read."))?;
        new |= list.revoke(&authority, &serials);
    }
    if new {
        files::write(&path, &list.to_bytes(), None)?;
    } else {
        log::info("These serial numbers are refused already.");
    }
    let lines = [own.others(KEYWORD), vec![sshd_config::path_line(KEYWORD, &path)?]].concat();
    // The list itself is read at each login.
    if own.set(own.comment().as_deref().unwrap_or(COMMENT), &lines)? { services::reload("ssh") } else { Ok(()) }
}

fn serial(text: &str) -> Result<u64, Error> {
    text.parse().ok().filter(|serial| *serial != 0).ok_or_else(|| {
        Error::new("invalid-serial", format!("{text} is no serial number of a certificate.")).about("serial", text)
    })
}

/// sshd takes the first list that is named, and no other: neither theirs nor ours may be lost, inside
/// of a `Match` too, where our line would come first.
fn refuse_other_lists(directory: &str, own: &str) -> Result<(), Error> {
    // Where nothing is named, sshd says `none`. A line that says so is another matter: sshd takes the first
    // of a keyword, so that ours would not count.
    let mut named: Vec<String> =
        sshd::effective(KEYWORD, &[])?.into_iter().filter(|path| !path.eq_ignore_ascii_case("none")).collect();
    let drop_ins = format!("{directory}/sshd_config.d");
    let mut texts: Vec<String> = machine::fact("sshd.config").into_iter().collect();
    let names = files::list(&drop_ins)?.unwrap_or_default();
    texts.extend(names.iter().map(|name| format!("{drop_ins}/{name}")));
    for text in texts {
        named.extend(sshd_config::values(&files::read(&text)?.unwrap_or_default(), KEYWORD));
    }
    match named.into_iter().find(|path| path != own) {
        None => Ok(()),
        Some(none) if none.eq_ignore_ascii_case("none") => Err(Error::new(
            "other-revoked-keys",
            "sshd's configuration says `RevokedKeys none`, and takes the first such line: a list would not count.",
        )
        .about("next", "take that line out")),
        Some(other) => Err(Error::new(
            "other-revoked-keys",
            format!("sshd's configuration names another list of revoked keys, {other}, and takes only one."),
        )
        .about("path", &*other)
        .about("next", format!("add the serial numbers to that list (ssh-keygen -k -u -f {other} -s CA.pub SPEC), or take its RevokedKeys line out"))),
    }
}
