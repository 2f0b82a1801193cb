//! `warded root-fingerprint`.

use super::output::Output;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use warded_lib::{
    ca::step::x509::X509,
    error::{Error, Exit, Result},
};

#[derive(Debug, Args)]
pub(super) struct RootFingerprint {
    /// The root certificate, in PEM or DER: on the CA, `certs/root_ca.crt` in its step directory
    file: PathBuf,
}

#[derive(Serialize)]
struct FingerprintObject {
    schema: &'static str,
    name: String,
    fingerprint: String,
    /// The other certificates in the file.
    others: Vec<OtherFingerprint>,
}

#[derive(Serialize)]
struct OtherFingerprint {
    name: String,
    fingerprint: String,
}

impl RootFingerprint {
    pub(super) fn run(&self, output: Output) -> Result<Exit> {
        let wrong = |cause: String| {
            Error::usage(format!("cannot read a root certificate from {}", self.file.display())).cause(cause)
        };
        let bytes = std::fs::read(&self.file).map_err(|error| wrong(error.to_string()))?;
        let mut found = X509::parse_all(&bytes).map_err(wrong)?.into_iter();
        let Some(root) = found.next() else { return Err(wrong("there is no certificate in it".to_owned())) };
        let others: Vec<OtherFingerprint> = found
            .map(|root| OtherFingerprint { fingerprint: root.fingerprint().to_string(), name: root.subject })
            .collect();
        let fingerprint = root.fingerprint().to_string();
        if others.is_empty() {
            output.line(&fingerprint)?;
        } else {
            // While a root is being replaced, a person has to see which is which.
            output.line(format!("{fingerprint} {}", root.subject))?;
            others.iter().try_for_each(|other| output.line(format!("{} {}", other.fingerprint, other.name)))?;
        }
        output.object(&FingerprintObject {
            schema: "warded.root-fingerprint/1",
            name: root.subject,
            fingerprint,
            others,
        })?;
        Ok(Exit::Done)
    }
}
