//! `audit verify --sign` and `--signed`: the head of the log, signed with a host key, to be kept elsewhere. Somebody on
//! the machine can cut back both log and head; a signed head that is kept elsewhere shows that later.

use crate::{cli::output::Output, context::Context, publishing::signature};
use clap::Args;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ssh_key::{HashAlg, PublicKey};
use std::path::{Path, PathBuf};
use warded_artifact::{manifest::MAX_BYTES, read};
use warded_lib::{
    audit::{self, Head, Record},
    ca::{Kind, certificate, verify},
    digest::Digest,
    error::{Error, Result},
    machine::{durable, files, keys},
    text::{neutral, neutral_path},
};

const SCHEMA: &str = "warded.audit-head/1";
/// The namespace of these signatures.
const NAMESPACE: &str = "warded-audit";
/// The principal under which ssh-keygen is given the key.
const IDENTITY: &str = "host";

#[derive(Debug, Args)]
pub(super) struct Signing {
    /// Check every record from the first one on, not only those since the last verification
    #[arg(long)]
    pub(super) all: bool,
    /// Sign the head of the log with a host key, and write the signature to a new file
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,
    /// The host key that signs, instead of ssh_host_ed25519_key beside sshd's configuration
    #[arg(long, value_name = "FILE", requires = "sign")]
    key: Option<PathBuf>,
    /// Check that the log still contains what this file signs, and who signed it
    #[arg(long, value_name = "FILE", conflicts_with = "sign")]
    signed: Option<PathBuf>,
    /// The public keys that may sign host certificates, instead of the configured CA's
    #[arg(long, value_name = "FILE", requires = "signed")]
    host_ca: Option<PathBuf>,
}

/// What is signed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    schema: String,
    records: u64,
    /// The hash of the last record.
    hash: Digest,
    signed: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedStatement {
    /// The statement as it was signed.
    statement: String,
    signature: String,
    key: String,
    certificate: Option<String>,
}

impl Signing {
    /// Whether every record has to be checked, since a signature vouches for all of them.
    pub(super) fn needs_all(&self) -> bool {
        self.all || self.sign.is_some() || self.signed.is_some()
    }

    /// For a log whose chain is intact: signs its head, or checks a signed one, and reports the result.
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Value> {
        if let Some(file) = &self.sign {
            return self.write(context, file, output);
        }
        match &self.signed {
            Some(file) => self.check(context, file, output),
            None => Ok(Value::Null),
        }
    }

    fn write(&self, context: &Context, file: &Path, output: Output) -> Result<Value> {
        if file.symlink_metadata().is_ok() {
            return Err(Error::refused(format!("{} is there already", neutral_path(file)))
                .state("nothing was signed")
                .next("name a new file with --sign"));
        }
        let sshd = context.places.sshd_config.as_path().parent().unwrap_or(Path::new("/"));
        let private = self.key.clone().unwrap_or_else(|| sshd.join("ssh_host_ed25519_key"));
        let failed = |why: &dyn std::fmt::Display| {
            Error::failed(format!("cannot sign with {}", neutral_path(&private)))
                .cause(why)
                .next("name the host key that is to sign with --key FILE")
        };
        let key = keys::read_public(&private).map_err(|error| failed(&error))?;
        let beside = PathBuf::from(format!("{}-cert.pub", private.display()));
        let certificate = read::there(&beside, MAX_BYTES)?.map(String::from_utf8).transpose();
        let Head { count, hash } = context.log.seal()?;
        let statement = Statement { schema: SCHEMA.to_owned(), records: count, hash, signed: Timestamp::now() };
        let statement = serde_json::to_string(&statement).map_err(|error| failed(&error))?;
        let signature = String::from_utf8(signature::sign(NAMESPACE, statement.as_bytes(), &private)?);
        let signed = SignedStatement {
            statement,
            signature: signature.map_err(|error| failed(&error))?,
            key: key.to_openssh().map_err(|error| failed(&error))?,
            certificate: certificate.map_err(|error| failed(&error))?.map(|line| line.trim().to_owned()),
        };
        let mut bytes = serde_json::to_vec_pretty(&signed).map_err(|error| failed(&error))?;
        bytes.push(b'\n');
        durable::create(file, &bytes, 0o644)
            .map_err(|error| Error::failed(format!("cannot write {}", neutral_path(file))).cause(error))?;
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        output.line(format!(
            "Signed by the host key {fingerprint}, in {}. Keep it on another machine.",
            neutral_path(file)
        ))?;
        Ok(json!({ "file": neutral_path(file), "key": fingerprint, "records": count }))
    }

    fn check(&self, context: &Context, file: &Path, output: Output) -> Result<Value> {
        let refused =
            |why: String| Error::refused(format!("{} is no signed head of a log", neutral_path(file))).cause(why);
        let bytes = read::any(file, MAX_BYTES)?;
        let signed: SignedStatement =
            serde_json::from_slice(&bytes).map_err(|error| refused(neutral(&error.to_string())))?;
        let key = PublicKey::from_openssh(&signed.key).map_err(|error| refused(error.to_string()))?;
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let line =
            PublicKey::new(key.key_data().clone(), "").to_openssh().map_err(|error| refused(error.to_string()))?;
        let signers = format!("{IDENTITY} namespaces=\"{NAMESPACE}\" {line}\n");
        let (text, sealed) = (signed.statement.as_bytes(), signed.signature.as_bytes());
        signature::check((NAMESPACE, IDENTITY), (text, sealed), signers.as_bytes(), None)?
            .map_err(|why| refused(format!("the key {fingerprint} did not sign it: {why}")))?;
        let statement: Statement =
            serde_json::from_str(&signed.statement).map_err(|error| refused(neutral(&error.to_string())))?;
        if statement.schema != SCHEMA {
            return Err(refused(format!("its schema is {:?}", neutral(&statement.schema))));
        }
        let host = self.certified(context, &signed, (&key, &fingerprint), &statement.signed)?;
        holds(context, &statement)?;
        let by = match &host {
            Some(name) => format!("the host key {fingerprint}, certified as {name}"),
            None => format!("the key {fingerprint}, for which no CA vouches: compare it with the machine's host keys"),
        };
        output.line(format!(
            "The first {} records are those that were signed on {} by {by}",
            statement.records,
            statement.signed.strftime("%F %H:%M UTC")
        ))?;
        Ok(json!({ "key": fingerprint, "records": statement.records, "signed": statement.signed, "host": host }))
    }

    /// The name in the key's certificate, if there is a host CA.
    fn certified(
        &self,
        context: &Context,
        signed: &SignedStatement,
        (key, fingerprint): (&PublicKey, &str),
        at: &Timestamp,
    ) -> Result<Option<String>> {
        let roots = match &self.host_ca {
            Some(file) => public_keys(file)?,
            None if context.authority.name().is_none() => return Ok(None),
            None => context.authority.open()?.roots(Kind::Host)?,
        };
        let refused = |why: String| {
            Error::refused(format!("the host CA does not vouch for the key {fingerprint}, which signed the head"))
                .cause(why)
                .next("compare the key with the machine's, or name the CA that certified it with --host-ca")
        };
        let line = signed.certificate.as_ref().ok_or_else(|| refused("it has no certificate".to_owned()))?;
        let certificate = certificate::parse(line.as_bytes()).map_err(|error| refused(error.to_string()))?;
        verify::signed_by(&certificate, &roots).map_err(|wrong| refused(wrong.to_string()))?;
        // The certificate may have expired since; what it said at that time still counts.
        let then = u64::try_from(at.as_second()).unwrap_or_default();
        if let Some(wrong) = verify::problem(&certificate, Kind::Host, std::slice::from_ref(key), then) {
            return Err(refused(wrong.to_string()));
        }
        Ok(Some(certificate.principals().iter().map(|name| neutral(name)).collect::<Vec<_>>().join(", ")))
    }
}

/// Checks that the log still has the record that was the last one when the head was signed.
fn holds(context: &Context, statement: &Statement) -> Result<()> {
    let is_it = |record: Option<&Record>| record.is_some_and(|record| record.n == statement.records);
    let mut records = audit::newest(context.log.directory(), is_it)?.flatten();
    let is_there = match statement.records {
        0 => statement.hash == Head::empty().hash,
        number => records.any(|record| record.n == number && record.hash == statement.hash),
    };
    if is_there {
        return Ok(());
    }
    Err(Error::failed("the audit log is not the one whose head was signed")
        .cause(format!("record {} with the hash {} is not in it", statement.records, statement.hash))
        .next("keep the directory as evidence: log and head were replaced together, or this is another machine"))
}

fn public_keys(file: &Path) -> Result<Vec<PublicKey>> {
    let wrong = |why: &dyn std::fmt::Display| {
        Error::usage(format!("{} is no file of public keys", neutral_path(file))).cause(neutral(&why.to_string()))
    };
    let text = String::from_utf8(read::any(file, files::MAX_BYTES)?).map_err(|error| wrong(&error))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| PublicKey::from_openssh(line.trim()).map_err(|error| wrong(&error))).collect()
}
