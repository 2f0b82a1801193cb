//! `warded bootstrap`.

use super::{
    ca::show::CaObject,
    output::Output,
    trust::{CurrentConfig, Trust, TrustRequest},
};
use crate::context::Options;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use warded_lib::{
    ca::{
        Kind,
        step::{
            CaUrl, Fingerprint, Settings,
            credential::read_trusted,
            provisioner::{Provisioner, Purpose},
            read_token, steppath,
            x509::{X509, day},
        },
    },
    error::{Error, Exit, Result},
    machine::trust_store,
    name::Name,
};
use zeroize::Zeroizing;

#[derive(Debug, Args)]
pub(super) struct Bootstrap {
    /// The address of the CA
    #[arg(long, value_name = "URL", requires = "fingerprint")]
    ca_url: Option<CaUrl>,
    /// The fingerprint of its root certificate, from its administrator (`warded root-fingerprint` on the CA)
    #[arg(long, value_name = "HEX", requires = "ca_url")]
    fingerprint: Option<Fingerprint>,
    /// File of a one-time token, which contains both; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "ca_url")]
    token_file: Option<PathBuf>,
    /// A one-time token, which contains both. Other users of this machine can see it on the command line
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["ca_url", "token_file"])]
    token: Option<String>,
    /// Your name for the CA, if you log in with several: then `warded login --ca NAME`. Without a name it is the CA of
    /// this machine, or yours
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// Also put the root into the system's trust store. SSH does not need that
    #[arg(long)]
    install: bool,
    /// Replace a CA that is already trusted
    #[arg(long)]
    force: bool,
    /// Show which CA it is and what would be written, and write nothing
    #[arg(long, conflicts_with = "install")]
    plan: bool,
}

#[derive(Serialize)]
struct BootstrapObject {
    schema: &'static str,
    url: String,
    fingerprint: String,
    config: String,
    root: String,
    changed: bool,
    ca: CaObject,
}

impl Bootstrap {
    pub(super) fn run(&self, options: &Options, output: Output) -> Result<Exit> {
        let configured = CurrentConfig::read(options, self.name.as_ref())?;
        let (url, fingerprint, provisioner) = self.wanted(configured.step_ca.as_ref())?;
        let mut trust = configured.trust(url, fingerprint, TrustRequest::Bootstrap { force: self.force })?;
        trust.settings.provisioner = trust.settings.provisioner.take().or(provisioner);
        let step = trust.authority()?;
        trust.name_renewer(&step)?;
        let shown = step.shown_provisioners()?;
        let ca = CaObject::of(&step)?;
        let staged = trust.staged()?;
        let changed = if self.plan { !staged.is_empty() } else { trust.write()? };
        let Trust { file, root_file, root, settings, .. } = &trust;
        report(output, root, &ca, shown)?;
        for concern in step.concerns()? {
            output.note(format!("note: {}", concern.seen()));
        }
        if self.plan && changed {
            let paths: Vec<String> = staged.iter().map(|one| one.entry().path).collect();
            output.line(format!("Would write {}. Nothing has been changed.", paths.join(" and ")))?;
        } else if changed {
            output.line(format!("Wrote {} and {}", file.display(), root_file.display()))?;
        } else {
            output.line(format!("{} says so already.", file.display()))?;
        }
        if self.install {
            output.line(trust_store::install(&root.pem, &root.fingerprint().to_string())?)?;
            output.line("SSH does not need that: it is for web browsers and the like.")?;
        }
        output.object(&BootstrapObject {
            schema: "warded.bootstrap/1",
            url: settings.url.to_string(),
            fingerprint: settings.fingerprint.to_string(),
            config: file.display().to_string(),
            root: root_file.display().to_string(),
            changed,
            ca,
        })?;
        Ok(if self.plan && changed { Exit::Pending } else { Exit::Done })
    }

    /// Which CA to trust: from the flags, from a token, the one that is trusted already, or the one that `step` knows.
    fn wanted(&self, configured: Option<&Settings>) -> Result<(CaUrl, Fingerprint, Option<String>)> {
        if let (Some(url), Some(fingerprint)) = (&self.ca_url, self.fingerprint) {
            return Ok((url.clone(), fingerprint, None));
        }
        if let Some((url, fingerprint)) = self.token()? {
            return Ok((url, fingerprint, None));
        }
        if let Some(known) = configured {
            return Ok((known.url.clone(), known.fingerprint, None));
        }
        if self.name.is_none()
            && let Some(found) =
                steppath::directory().map(|directory| steppath::read(&directory)).transpose()?.flatten()
        {
            return Ok((found.url, found.fingerprint, found.provisioner));
        }
        Err(Error::usage("no CA is named").next(
            "warded bootstrap --ca-url URL --fingerprint HEX; get the fingerprint on the CA: warded root-fingerprint \
             root_ca.crt",
        ))
    }
}

impl Bootstrap {
    /// The CA and the root that a token names.
    fn token(&self) -> Result<Option<(CaUrl, Fingerprint)>> {
        let wrong = |cause: String| {
            Error::usage("cannot bootstrap with that token")
                .cause(cause)
                .next("warded bootstrap --ca-url URL --fingerprint HEX")
        };
        let text = match (&self.token, &self.token_file) {
            (Some(token), _) => Zeroizing::new(token.clone()),
            (None, Some(file)) => {
                let bytes = read_trusted(file)?;
                let text = str::from_utf8(&bytes).map_err(|error| wrong(format!("{}: {error}", file.display())))?;
                Zeroizing::new(text.to_owned())
            }
            (None, None) => return Ok(None),
        };
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let told = read_token(first).map_err(wrong)?.bootstrap();
        told.map(Some).ok_or_else(|| wrong("it does not name both a CA and its root".to_owned()))
    }
}

fn report(output: Output, root: &X509, ca: &CaObject, shown: Option<&[Provisioner]>) -> Result<()> {
    output.line(format!("Trusted: {} ({}, until {})", root.subject, root.key, day(root.until)))?;
    let signs = ca.signs();
    if signs.is_empty() {
        return output.line("This CA does not sign SSH certificates: warded doctor says how to switch that on.");
    }
    let for_whom = |kind| match kind {
        Kind::Host => "machines",
        Kind::User => "people",
    };
    let signed: Vec<&str> = signs.iter().copied().map(for_whom).collect();
    let only = if signs.len() == 1 { " alone" } else { "" };
    let Some(provisioners) = shown else {
        return output.line(format!(
            "It signs SSH certificates for {}{only}. It does not show its provisioners; give the name and the key of one: \
             --provisioner NAME --provisioner-key-file FILE",
            signed.join(" and ")
        ));
    };
    let list = |serves: &dyn Fn(&Provisioner) -> bool| -> String {
        let fit = provisioners.iter().filter(|found| found.state().is_none() && serves(found));
        let fit: Vec<String> = fit.map(ToString::to_string).collect();
        if fit.is_empty() { "nothing".to_owned() } else { fit.join(", ") }
    };
    let certifies = |kind: Kind| list(&|found| signs.contains(&kind) && found.certifies(kind));
    output.line(format!(
        "It signs SSH certificates{}. For machines: {}. For people: {}. Renewals: {}.",
        if signs.len() == 1 { format!(" for {}{only}", signed.join("")) } else { String::new() },
        certifies(Kind::Host),
        certifies(Kind::User),
        list(&|found| signs.contains(&Kind::Host) && found.unfit(Purpose::Renew).is_none())
    ))
}
