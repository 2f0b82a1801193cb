//! Maps principals to logins: one file per user in a directory of Warded's, which `AuthorizedPrincipalsFile` names. For
//! a user without such a file, sshd accepts no certificate.

use warded_guest::principals::{self, DIRECTORY, Mapping, NONE};
use warded_guest::sshd_config::{self, OwnLines};
use warded_guest::{Error, Settings, files, log, machine, sshd};

pub(crate) const KEYWORD: &str = "AuthorizedPrincipalsFile";
/// sshd reads such a file as the user who logs in.
const MODE: u32 = 0o644;

/// Stages the files, and returns the line that names them, if there is to be one. Without the setting everything stays
/// as it is: leaving the setting out must not open logins that are closed.
pub(crate) fn line(settings: &Settings, own: &OwnLines) -> Result<Option<String>, Error> {
    let directory = format!("{}/{DIRECTORY}", own.directory());
    let pattern = format!("{directory}/%u");
    let given = settings.all("principals");
    let is_ours = own.values(KEYWORD).contains(&pattern);
    if given.is_empty() && !is_ours {
        return Ok(None);
    }
    refuse_another(&pattern)?;
    let there = files::list(&directory)?.unwrap_or_default();
    if given.is_empty() {
        say_what_stays(&directory, &there)?;
        return sshd_config::path_line(KEYWORD, &pattern).map(Some);
    }
    let mapping = Mapping::parse(given).map_err(|why| {
        Error::new("invalid-principals", format!("The setting principals is wrong: {why}."))
            .about("setting", "principals")
            .next("give one --set principals=LOGIN=PRINCIPAL[,PRINCIPAL...] for each login")
    })?;
    for name in there.iter().filter(|name| mapping.file(name).is_none()) {
        log::info(&format!("The login {name} has no principals any more."));
        files::remove(&format!("{directory}/{name}"))?;
    }
    if mapping.is_empty() {
        if is_ours {
            log::warn(
                "Principals are not mapped to logins any more: a certificate logs in as the user whose name it has.",
            );
        }
        return Ok(None);
    }
    for (login, _) in mapping.logins() {
        let contents = mapping.file(login).unwrap_or_default();
        files::write(&format!("{directory}/{login}"), &contents, Some(MODE))?;
    }
    for (login, principals) in mapping.logins() {
        log::info(&format!("Certificates for {} log in as {login}.", principals.join(", ")));
    }
    let root = if mapping.file("root").is_none() { ", root too" } else { "" };
    log::info(&format!("Every other login is closed to certificates{root}: it has no file in {directory}."));
    sshd_config::path_line(KEYWORD, &pattern).map(Some)
}

fn say_what_stays(directory: &str, there: &[String]) -> Result<(), Error> {
    let mut logins = Vec::new();
    for login in there {
        let names = principals::named(&files::read(&format!("{directory}/{login}"))?.unwrap_or_default());
        logins.push(format!("{login} ({})", names.join(", ")));
    }
    log::info(&format!(
        "The principals of logins stay as they are: {}. --set principals={NONE} removes them.",
        if logins.is_empty() { "no login has any".to_owned() } else { logins.join(", ") }
    ));
    Ok(())
}

/// Refuses if another line names principals: sshd uses the first such line, in whatever file it is.
fn refuse_another(pattern: &str) -> Result<(), Error> {
    let is_another = |value: &String| !value.eq_ignore_ascii_case("none") && value != pattern;
    if let Some(other) = sshd::effective(KEYWORD, &[])?.into_iter().find(is_another) {
        return Err(another(&other, "sshd's configuration"));
    }
    for text in texts()? {
        for value in sshd_config::values(&files::read(&text)?.unwrap_or_default(), KEYWORD) {
            if value.eq_ignore_ascii_case("none") {
                return Err(another(&value, &text));
            }
            if value != pattern {
                log::warn(&format!(
                    "{text} names other files, {value}: where that line applies, those files decide whose \
                     certificates log in."
                ));
            }
        }
    }
    Ok(())
}

fn another(value: &str, place: &str) -> Error {
    Error::new(
        "other-principals",
        format!("{place} says `{KEYWORD} {value}`, and sshd uses the first such line: it might ignore Warded's."),
    )
    .about("value", value)
    .next(format!(
        "to keep that line, leave out the setting principals, and write the principals of each login into \
                   the file that the line names: {value}"
    ))
    .next("to have Warded write them, take that line out")
}

/// The files of sshd's configuration that may contain a line of somebody else's.
fn texts() -> Result<Vec<String>, Error> {
    let mut texts: Vec<String> = machine::fact("sshd.config").into_iter().collect();
    let mut directories: Vec<String> = machine::fact("sshd.directory").into_iter().collect();
    directories.push("/etc/ssh".to_owned());
    directories.dedup();
    for directory in directories.iter().map(|directory| format!("{directory}/sshd_config.d")) {
        texts.extend(files::list(&directory)?.unwrap_or_default().iter().map(|name| format!("{directory}/{name}")));
    }
    Ok(texts)
}
