//! `trust-user-ca`: sshd accepts user certificates of the CA.
//!
//! sshd reads the keys of user CAs from one file. If it already reads another file, that one is left alone.

use crate::appliance::{Appliance, place};
use warded_guest::sshd_config::{path_line, values};
use warded_guest::trusted_keys::FILE_NAME;
use warded_guest::user_ca::{self, KEYWORD};
use warded_guest::{Error, Settings, services, sshd};

pub(crate) fn run(_settings: &Settings) -> Result<(), Error> {
    let keys = user_ca::keys()?;
    let path = format!("{}/{FILE_NAME}", place()?);
    let appliance = Appliance::read()?;
    // A line in a `Match` would replace Warded's for some connections.
    let named = [sshd::effective(KEYWORD, &[])?, values(appliance.foreign()?.as_bytes(), KEYWORD)].concat();
    user_ca::refuse_another(&path, &named, "the auxiliary parameters")?;
    user_ca::write(&path, &keys)?;
    // sshd reads the file itself at each login.
    if appliance.set(KEYWORD, &[path_line(KEYWORD, &path)?])? { services::reload("ssh") } else { Ok(()) }
}
