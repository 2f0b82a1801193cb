//! The options that identify this machine to the CA, and the prompt for a password.

use clap::Args;
use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
};
use warded_lib::{ca::step, machine::terminal::TerminalGuard, text::neutral};
use zeroize::Zeroizing;

#[derive(Clone, Debug, Default, Args)]
pub(super) struct Identification {
    /// The CA's provisioner, if several are possible
    #[arg(long, value_name = "NAME", env = "WARDED_PROVISIONER", help_heading = "Credentials for the CA")]
    provisioner: Option<String>,
    /// File of the provisioner's password
    #[arg(
        long,
        value_name = "FILE",
        env = "WARDED_PROVISIONER_PASSWORD_FILE",
        help_heading = "Credentials for the CA"
    )]
    provisioner_password_file: Option<PathBuf>,
    /// File of the provisioner's private key (JWK or PEM), instead of a password
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "provisioner_password_file",
        help_heading = "Credentials for the CA"
    )]
    provisioner_key_file: Option<PathBuf>,
    /// File of one-time tokens (`warded token`), one per line; `-` reads standard input
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["provisioner_password_file", "provisioner_key_file", "x5c_cert"],
        help_heading = "Credentials for the CA"
    )]
    pub(super) token_file: Option<PathBuf>,
    /// Your X.509 certificate or this machine's, with its chain (PEM)
    #[arg(long, value_name = "FILE", requires = "x5c_key", help_heading = "Credentials for the CA")]
    x5c_cert: Option<PathBuf>,
    /// The private key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "x5c_cert", help_heading = "Credentials for the CA")]
    x5c_key: Option<PathBuf>,
}

impl Identification {
    /// Whether an option names a password, a key or tokens.
    pub(super) fn is_given(&self) -> bool {
        let Self { provisioner_password_file, provisioner_key_file, token_file, x5c_cert, .. } = self;
        [provisioner_password_file, provisioner_key_file, token_file, x5c_cert].into_iter().any(Option::is_some)
    }

    /// Whether a password, a key or tokens are read from standard input.
    pub(super) fn reads_stdin(&self) -> bool {
        let Self { provisioner_password_file, provisioner_key_file, token_file, .. } = self;
        let files = [provisioner_password_file, provisioner_key_file, token_file];
        files.into_iter().flatten().any(|file| file.as_os_str() == "-")
    }

    /// These options, with a prompt for the password if a person can answer.
    pub(super) fn for_ca(&self) -> step::Identification {
        let is_interactive = io::stdin().is_terminal() && io::stderr().is_terminal();
        let Self { provisioner, provisioner_password_file, provisioner_key_file, token_file, x5c_cert, x5c_key } =
            self.clone();
        step::Identification {
            provisioner,
            provisioner_password_file,
            provisioner_key_file,
            token_file,
            x5c_cert,
            x5c_key,
            ask_password: is_interactive.then_some(ask),
        }
    }
}

fn ask(provisioner: &str) -> io::Result<Zeroizing<String>> {
    let _restored = TerminalGuard::later(io::stdin()).map_err(io::Error::other)?;
    rpassword::prompt_password(format!("Password of provisioner {}: ", neutral(provisioner))).map(Zeroizing::new)
}
