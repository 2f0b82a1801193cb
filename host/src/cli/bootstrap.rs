//! `warded bootstrap`.

use super::{ca::show::CaObject, output::Output};
use crate::context::Options;
use clap::Args;
use serde::Serialize;
use std::{
    fs,
    path::{Path, PathBuf, absolute},
};
use warded_lib::{
    ca::{
        Kind,
        step::{
            CaUrl, Fingerprint, Identification, Settings, StepAuthority, api,
            bootstrap::{self, NotFetched},
            provisioner::{Provisioner, Purpose, choose},
            read_token, steppath,
            x509::{X509, day},
        },
    },
    config::{self, Config, edit},
    error::{Error, Exit, Result},
    machine::{durable, path::AbsolutePath, trust_store},
};
use zeroize::Zeroizing;

#[derive(Debug, Args)]
pub(super) struct Bootstrap {
    /// The address of the CA
    #[arg(long, value_name = "URL", requires = "fingerprint")]
    ca_url: Option<CaUrl>,
    /// The fingerprint of its root certificate, from whoever runs it (`warded root-fingerprint` there)
    #[arg(long, value_name = "HEX", requires = "ca_url")]
    fingerprint: Option<Fingerprint>,
    /// File of a one-time token, which says both
    #[arg(long, value_name = "FILE", conflicts_with = "ca_url")]
    token_file: Option<PathBuf>,
    /// A one-time token, which says both. Others on this machine can see it here
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["ca_url", "token_file"])]
    token: Option<String>,
    /// Also put the root into the system's trust store. SSH does not need that
    #[arg(long)]
    install: bool,
    /// Take the place of a CA that is trusted already
    #[arg(long)]
    force: bool,
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
        let file = absolute(options.config.clone().unwrap_or_else(config::default_file))
            .map_err(|error| Error::usage("the configuration file has no usable path").cause(error))?;
        let configured = if file.exists() { Config::load(Some(&file))? } else { Config::default() };
        if let Some(ca) = &configured.ca {
            return Err(
                Error::usage(format!("{} names a local CA, {ca}", file.display())).next("take `ca` out of it first")
            );
        }
        let (url, fingerprint, provisioner) = self.wanted(configured.step_ca.as_ref())?;
        let before = configured.step_ca;
        if let Some(before) = before.as_ref().filter(|before| before.fingerprint != fingerprint && !self.force) {
            return Err(Error::refused(format!("this machine trusts another CA, {}", before.url))
                .cause(format!("trusted: {}\nnow:     {fingerprint}", before.fingerprint))
                .state("nothing was changed")
                .next("if that CA has a new root, or this one takes its place: say it with --force"));
        }
        let proxy = before.as_ref().and_then(|before| before.proxy.as_deref());
        let root = bootstrap::fetch(&url, &fingerprint, proxy).map_err(|error| not_fetched(&url, &error))?;
        let directory = file.parent().unwrap_or(Path::new("/"));
        // Another root gets another file: the configuration alone says which one counts.
        let root_file = match &before {
            None => directory.join("root_ca.crt"),
            Some(known) if known.fingerprint == fingerprint => known.root.as_path().into(),
            Some(_) => directory.join(format!("root_ca-{fingerprint}.crt")),
        };
        let place: AbsolutePath = root_file.as_path().try_into().map_err(|error: String| Error::usage(error))?;
        let mut settings = before.clone().unwrap_or_else(|| Settings::new(url.clone(), fingerprint, place.clone()));
        (settings.url, settings.fingerprint, settings.root) = (url, fingerprint, place);
        settings.provisioner = settings.provisioner.or(provisioner);

        // From here on with the root, and nothing else, trusted.
        let step = StepAuthority::with_root(&settings, &Identification::default(), root.der.clone())?;
        let shown = step.shown_provisioners()?;
        if let Some(provisioners) = shown
            && !is_there(&settings, provisioners)
        {
            settings.renewal_provisioner =
                choose(provisioners, Purpose::Renew, None).ok().map(|found| found.name().to_owned());
        }
        let ca = CaObject::of(&step)?;
        let changed = write(&file, &root_file, &root, before.as_ref(), &settings)?;
        report(output, &root, &ca, shown)?;
        for concern in step.concerns()? {
            output.note(format!("note: {}", concern.seen()));
        }
        if changed {
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
        Ok(Exit::Done)
    }

    /// Which CA: as the flags say, as a token says, as it is trusted already, or as `step` knows it.
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
        if let Some(found) = steppath::directory().map(|directory| steppath::read(&directory)).transpose()?.flatten() {
            return Ok((found.url, found.fingerprint, found.provisioner));
        }
        Err(Error::usage("which CA?").next(
            "warded bootstrap --ca-url URL --fingerprint HEX; \
             the fingerprint comes from whoever runs it: warded root-fingerprint root_ca.crt",
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
                Zeroizing::new(fs::read_to_string(file).map_err(|error| wrong(format!("{}: {error}", file.display())))?)
            }
            (None, None) => return Ok(None),
        };
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let told = read_token(first).map_err(wrong)?.bootstrap();
        told.map(Some).ok_or_else(|| wrong("it does not say which CA it is for, or not with which root".to_owned()))
    }
}

fn is_there(settings: &Settings, provisioners: &[Provisioner]) -> bool {
    let named = settings.renewal_provisioner.as_deref();
    named.is_some() && choose(provisioners, Purpose::Renew, named).is_ok()
}

/// True: something was not there before.
fn write(file: &Path, root_file: &Path, root: &X509, before: Option<&Settings>, settings: &Settings) -> Result<bool> {
    let failed = |error| Error::failed(format!("cannot write {}", root_file.display())).cause(error);
    let same_root = fs::read(root_file).is_ok_and(|there| there == root.pem.as_bytes());
    if !same_root {
        if let Some(directory) = root_file.parent() {
            durable::directory(directory).map_err(failed)?;
        }
        durable::replace(root_file, root.pem.as_bytes(), 0o644).map_err(failed)?;
    }
    let same = before == Some(settings);
    if !same {
        edit::set_step_ca(file, settings)?;
    }
    Ok(!same || !same_root)
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

fn not_fetched(url: &CaUrl, error: &NotFetched) -> Error {
    let message = format!("the CA {url} cannot be trusted");
    match error {
        NotFetched::Other(_) | NotFetched::Unreadable(_) => Error::refused(message)
            .cause(error)
            .next("make sure that the address and the fingerprint are right; do not go on before you know"),
        NotFetched::OutOfTime { .. } => Error::refused(message)
            .cause(error)
            .next("on the CA, make a new root and a new intermediate; or set this machine's clock, if that is wrong"),
        NotFetched::Failure(api::Failure::Status { status: 404, text, .. }) => Error::failed(message)
            .cause(format!("it has no root with that fingerprint: {text}"))
            .next("get the fingerprint on the CA: warded root-fingerprint root_ca.crt"),
        NotFetched::Failure(failure @ (api::Failure::NotStepCa { .. } | api::Failure::Status { .. })) => {
            Error::failed(message).cause(failure).next("make sure that the address and the port are the CA's")
        }
        NotFetched::Failure(api::Failure::Problem(problem)) => {
            Error::unreachable(format!("the CA {url} cannot be reached"))
                .cause(problem)
                .next("make sure that it runs, and that this machine reaches it")
        }
    }
    .state("nothing was changed")
}
