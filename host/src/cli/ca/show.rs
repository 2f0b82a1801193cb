//! `warded ca show`.

use crate::{
    cli::output::{Output, Style},
    context::Context,
};
use clap::Args;
use serde::Serialize;
use ssh_key::{HashAlg, PublicKey};
use warded_lib::{
    ca::{
        Kind,
        step::{Fingerprint, StepAuthority, api, provisioner::Provisioner, x509::X509},
    },
    error::{Error, Exit, Result},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Show {}

/// What can be shown of a step-ca.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct CaObject {
    schema: &'static str,
    ca: String,
    /// The fingerprint of its root certificate.
    fingerprint: Option<String>,
    /// The whole subject of its root certificate.
    name: Option<String>,
    /// Other roots that it lists and that this machine does not trust.
    other_roots: Vec<OtherRoot>,
    health: Option<String>,
    version: Option<String>,
    /// By how many seconds the CA's clock is ahead of this machine's.
    clock_ahead: Option<f64>,
    host_keys: Vec<String>,
    user_keys: Vec<String>,
    provisioners: Vec<ProvisionerObject>,
    /// Why there is no list of provisioners.
    provisioners_hidden: Option<String>,
}

#[derive(Debug, Serialize)]
struct OtherRoot {
    name: String,
    fingerprint: String,
}

#[derive(Debug, Serialize)]
struct ProvisionerObject {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    usable_for: &'static str,
    state: Option<String>,
}

impl ProvisionerObject {
    fn of(provisioner: &Provisioner, signed: &[Kind]) -> Self {
        Self {
            name: warded_lib::text::neutral(provisioner.name()),
            kind: provisioner.type_name(),
            usable_for: provisioner.usable_for(signed),
            state: provisioner.state(),
        }
    }
}

impl Show {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let object = match context.authority.open_step()? {
            Some(step) => CaObject::of(step)?,
            None => {
                let authority = context.authority.open()?;
                let keys = |kind| authority.roots(kind).map(|keys| fingerprints(&keys));
                CaObject {
                    schema: SCHEMA,
                    ca: authority.describe(),
                    fingerprint: None,
                    name: None,
                    other_roots: Vec::new(),
                    health: None,
                    version: None,
                    clock_ahead: None,
                    host_keys: keys(Kind::Host)?,
                    user_keys: keys(Kind::User)?,
                    provisioners: Vec::new(),
                    provisioners_hidden: None,
                }
            }
        };
        object.show(output)?;
        output.object(&object)?;
        Ok(Exit::Done)
    }
}

const SCHEMA: &str = "warded.ca/1";

impl CaObject {
    /// Asks a step-ca for everything that it shows without a login.
    pub(in crate::cli) fn of(step: &StepAuthority) -> Result<Self> {
        // This request comes first, because it is retried, and explained if it fails.
        let shown = step.shown_provisioners()?;
        // A CA without SSH is shown as well.
        let roots = api::ssh_roots(step.http()).ok();
        let of = |kind| roots.as_ref().map(|roots| roots.of(kind)).unwrap_or_default();
        let signed: Vec<Kind> = [Kind::Host, Kind::User].into_iter().filter(|kind| !of(*kind).is_empty()).collect();
        let root =
            X509::of_der(step.root()).map_err(|error| Error::failed("cannot read the pinned root").cause(error))?;
        let others = step.other_roots().into_iter();
        Ok(Self {
            schema: SCHEMA,
            ca: step.http().base().to_string(),
            fingerprint: Some(Fingerprint::of(step.root()).to_string()),
            name: Some(root.subject),
            other_roots: others
                .map(|root| OtherRoot { fingerprint: root.fingerprint().to_string(), name: root.subject })
                .collect(),
            health: api::health(step.http()).ok(),
            version: api::version(step.http()).ok(),
            clock_ahead: step.http().ahead().map(seconds),
            host_keys: fingerprints(of(Kind::Host)),
            user_keys: fingerprints(of(Kind::User)),
            provisioners: shown.unwrap_or_default().iter().map(|one| ProvisionerObject::of(one, &signed)).collect(),
            provisioners_hidden: step.provisioners().err().map(|error| error.to_string()),
        })
    }

    /// The kinds of certificates that it has a key for.
    pub(in crate::cli) fn signs(&self) -> Vec<Kind> {
        let keys = [(Kind::Host, &self.host_keys), (Kind::User, &self.user_keys)];
        keys.into_iter().filter(|(_, keys)| !keys.is_empty()).map(|(kind, _)| kind).collect()
    }

    fn show(&self, output: Output) -> Result<()> {
        output.line(&self.ca)?;
        if let (Some(name), Some(fingerprint)) = (&self.name, &self.fingerprint) {
            output.line(format!("root         {name} · {fingerprint}"))?;
            for OtherRoot { name, fingerprint } in &self.other_roots {
                let note = output.paint(Style::Yellow, "another root of the CA's, not trusted here");
                output.line(format!("             {name} · {fingerprint} · {note}"))?;
            }
            let version = self.version.as_ref().map(|version| format!(" · step-ca {version}")).unwrap_or_default();
            output.line(format!("health       {}{version}", self.health.as_deref().unwrap_or("unknown")))?;
            if let Some(ahead) = self.clock_ahead {
                output.line(format!("clock        {ahead:+.1} s against this machine's"))?;
            }
        }
        for (label, keys) in [("host CA", &self.host_keys), ("user CA", &self.user_keys)] {
            if keys.is_empty() {
                output.line(format!("{label:12} {}", output.paint(Style::Yellow, "no key: not for SSH")))?;
            }
            for key in keys {
                output.line(format!("{label:12} {key}"))?;
            }
        }
        let width = self.provisioners.iter().map(|found| found.name.chars().count()).max().unwrap_or_default().min(40);
        if let Some(why) = &self.provisioners_hidden {
            output.line(format!("provisioners {}", output.paint(Style::Yellow, &format!("not shown: {why}"))))?;
        }
        for ProvisionerObject { name, kind, usable_for, state } in &self.provisioners {
            let state =
                state.as_ref().map(|state| format!(" · {}", output.paint(Style::Red, state))).unwrap_or_default();
            output.line(format!("provisioner  {name:width$}  {kind:7} {usable_for}{state}"))?;
        }
        Ok(())
    }
}

/// Milliseconds as seconds, to a tenth: the CA's clock cannot be measured more exactly.
fn seconds(milliseconds: i64) -> f64 {
    let tenths = i32::try_from(milliseconds / 100).unwrap_or(if milliseconds < 0 { i32::MIN } else { i32::MAX });
    f64::from(tenths) / 10.0
}

fn fingerprints(keys: &[PublicKey]) -> Vec<String> {
    keys.iter().map(|key| format!("{} {}", key.fingerprint(HashAlg::Sha256), key.algorithm())).collect()
}
