//! `trust-user-ca`: sshd accepts user certificates of the CA.
//!
//! sshd reads the keys of user CAs from one file. If it already reads another file, that one is left alone.

use crate::place::{Place, directory};
use warded_guest::sshd_config::path_line;
use warded_guest::trusted_keys::FILE_NAME;
use warded_guest::user_ca::{self, KEYWORD};
use warded_guest::{Error, Settings, services, sshd};

pub(crate) fn run(_settings: &Settings) -> Result<(), Error> {
    let keys = user_ca::keys()?;
    let place = Place::find()?;
    let path = format!("{}/{FILE_NAME}", directory()?);
    user_ca::refuse_another(&path, &sshd::effective(KEYWORD, &[])?, "sshd's configuration")?;
    user_ca::write(&path, &keys)?;
    let lines = [place.others(KEYWORD), vec![path_line(KEYWORD, &path)?]].concat();
    // sshd reads the file itself at each login.
    if place.set(&lines)? { services::reload("ssh") } else { Ok(()) }
}
