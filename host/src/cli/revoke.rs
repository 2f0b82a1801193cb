//! `warded revoke`.

use super::{
    identification::Identification,
    output::{Output, confirm},
    report,
};
use crate::{context::Context, enrolment::Enrolments, pipeline::vouch::certified};
use clap::Args;
use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};
use warded_lib::{
    agent::AgentKey,
    audit::{Ending, Event, Kind as EventKind},
    ca::{Certificate, HeldKey, Kind, certificate, now},
    error::{Error, Exit, Result},
    machine::{
        keys::{self, signing::Sign},
        path::AbsolutePath,
        sshd::host_key::Standing,
    },
    text::{count, neutral},
};

/// Much more than the size of any certificate.
const MAX_FILE: u64 = 64 * 1024;

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// A serial number, or a certificate's file
    #[arg(required = true, value_name = "SERIAL|CERT-FILE")]
    what: Vec<String>,
    /// The reason, as a number of RFC 5280: 1 key compromise, 4 superseded, 5 out of use
    #[arg(long, value_name = "CODE", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=10))]
    reason: u8,
    /// Show what would be revoked, and revoke nothing
    #[arg(long, conflicts_with = "yes")]
    plan: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    pub(super) identification: Identification,
}

/// A certificate to revoke.
struct RevokedCertificate {
    serial: u64,
    /// Additional text about it.
    about: String,
    /// If it is this machine's own: the certificate, and the path of its key, which can ask for the revocation.
    own: Option<(Certificate, PathBuf)>,
}

impl Revoke {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let Some(step) = context.authority.open_step()? else {
            return Err(Error::usage("a local CA keeps no list of what it revoked")
                .next("for user certificates, on each machine: warded apply revoke-users --set serial=NUMBER"));
        };
        let revoked = self.what.iter().map(|what| RevokedCertificate::read(what)).collect::<Result<Vec<_>>>()?;
        let what = count(revoked.len(), "certificate");
        for RevokedCertificate { serial, about, own } in &revoked {
            output.line(format!("- {serial}{about}"))?;
            if own.is_some() {
                output.line(
                    "  It is this machine's own: from then on it can be neither renewed nor rekeyed. If it is to go on \
                     being served, do `warded rekey` first, and revoke the old serial number afterwards. To have this key certified \
                     anew all the same: warded apply certify-host --force",
                )?;
            }
        }
        if self.plan {
            output.line("Nothing has been revoked.")?;
            let serials: Vec<String> = revoked.iter().map(|one| one.serial.to_string()).collect();
            output.object(&serde_json::json!({ "schema": "warded.revoke/1", "plan": true, "serials": serials }))?;
            return Ok(Exit::Pending);
        }
        if !self.yes && !confirm(&format!("Revoke {what}? The CA cannot undo it."))? {
            output.note("Nothing was revoked.");
            return Err(Error::quiet(Exit::Failed));
        }
        let mut done = Vec::new();
        for RevokedCertificate { serial, own, .. } in &revoked {
            let text = serial.to_string();
            let event = |kind| Event::new(0, kind).capability("authority.revoke").need(&text);
            context.log.append_synced(&event(EventKind::Intent))?;
            let signer = match own {
                Some((certificate, key)) => in_agent(context, certificate, key)?,
                None => None,
            };
            let signer = signer.as_ref().map(|signer| -> &dyn Sign { signer });
            let held = own.as_ref().map(|(certificate, path)| (certificate, HeldKey { path, signer }));
            if let Err(error) = step.revoke(*serial, held, self.reason) {
                let told = format!("serial {text} was not revoked: {error}");
                context.log.conclude(&event(EventKind::Failed).detail(&error.to_string()), Ending::Failed, &told)?;
                let state = if done.is_empty() {
                    "nothing was revoked".to_owned()
                } else {
                    format!("revoked: {}", done.join(" "))
                };
                return Err(Error::from(error).state(state));
            }
            let told = format!("the CA will not renew serial {text} any more");
            context.log.conclude(&event(EventKind::Result), Ending::Kept, &told)?;
            if let Some((certificate, key)) = own
                && let Ok(path) = AbsolutePath::try_from(key.as_path())
                && let Err(error) = certified::note(&context.state, [(&path, certificate.key())])
            {
                output.note(format!("warning: {}", certified::warning(&error)));
            }
            done.push(text);
        }
        output.line(format!("The CA will not renew {what} any more: {}.", done.join(" ")))?;
        output.line("The CA tells nobody else: machines and clients accept these certificates until they expire.")?;
        let settings: Vec<String> = done.iter().map(|serial| format!("--set serial={serial}")).collect();
        let apply = format!("apply revoke-users {}", settings.join(" "));
        output.line(format!("For user certificates, on each machine: warded {apply}"))?;
        for enrolled in Enrolments::load(&context.state)?.beside(&context.places.sshd_config) {
            output.line(format!("And here: warded --sshd-config {} {apply}", enrolled.sshd_config))?;
        }
        output.object(&serde_json::json!({ "schema": "warded.revoke/1", "serials": done }))?;
        Ok(Exit::Done)
    }
}

/// The key of a certificate, if sshd's agent has it. If sshd cannot be asked, the key's file is tried.
fn in_agent(context: &Context, certificate: &Certificate, path: &Path) -> Result<Option<AgentKey>> {
    let sshd = context.sshd().ok().flatten();
    let keys = sshd.and_then(|sshd| sshd.host_keys().ok()).unwrap_or_default();
    let socket = keys.iter().filter(|key| key.private_path() == path).find_map(|key| match &key.standing {
        Standing::InAgent { socket } => Some(socket),
        Standing::Loaded | Standing::Ignored(_) => None,
    });
    let signer = socket.map(|socket| AgentKey::new(socket, certificate.key())).transpose();
    signer.map_err(|error| Error::failed(format!("the host key {} cannot sign", path.display())).cause(error))
}

impl RevokedCertificate {
    fn read(what: &str) -> Result<Self> {
        if let Ok(serial) = what.parse() {
            return Ok(Self { serial, about: String::new(), own: None });
        }
        let path = Path::new(what);
        let unusable = |cause: String| {
            Error::usage(format!("{} is neither a serial number nor a certificate", neutral(what))).cause(cause)
        };
        let metadata = fs::metadata(path).map_err(|error| unusable(error.to_string()))?;
        if !metadata.is_file() || metadata.len() > MAX_FILE {
            return Err(unusable(format!("it is no file of at most {MAX_FILE} bytes")));
        }
        let mut contents = Vec::new();
        let opened = fs::File::open(path).map_err(|error| unusable(error.to_string()))?;
        opened.take(MAX_FILE).read_to_end(&mut contents).map_err(|error| unusable(error.to_string()))?;
        let certificate = certificate::parse(&contents).map_err(|error| unusable(error.to_string()))?;
        let serial = certificate.serial();
        // The key beside the certificate can ask for its revocation, as long as the certificate is valid.
        let key = what.strip_suffix("-cert.pub").map(PathBuf::from).filter(|key| {
            certificate.kind() == Kind::Host
                && now() < certificate.valid_before()
                && keys::read_public(key).is_ok_and(|own| own.key_data() == certificate.key().key_data())
        });
        let until = report::until(&certificate);
        let about = format!("  {} certificate {:?}, {until}", certificate.kind(), neutral(certificate.key_id()));
        Ok(Self { serial, about, own: key.map(|key| (certificate, key)) })
    }
}
