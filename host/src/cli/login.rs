//! `warded login`: a new key and its certificate, for a person.

mod files;
mod into_agent;
mod on_demand;
mod place;
mod plan;
mod report;
#[cfg(feature = "sso")]
mod sso;

pub(super) use files::{Files, known_signers};
pub(super) use into_agent::{NAMED, UNLOCK, agent_for, told};
pub(super) use place::Place;

#[cfg(feature = "sso")]
pub(super) use sso::{admins_token, end_session};

use super::{identification::Identification, output::Output};
use crate::context::Context;
use clap::Args;
use plan::PlannedLogin;
use report::{LoginObject, Outcome};
use ssh_key::{Algorithm, PrivateKey, PublicKey, rand_core::OsRng};
use std::{path::PathBuf, time::Instant};
#[cfg(feature = "sso")]
use warded_lib::ca::step::StepAuthority;
use warded_lib::{
    agent::{Agent, Identity},
    ca::{
        self, Certificate, CertificateAuthority, IssueRequest, Kind, Principal, Principals, step::signed_in::SignIn,
        verify,
    },
    error::{Error, Exit, Result},
    machine::users,
    name::Name,
};

const NOT_ASKED: &str = "no certificate was asked for";
/// The state if the CA has signed a certificate, and neither an agent nor a file has received it.
const LOST: &str = "the CA has signed a certificate, and it is lost; a one-time token, if there was one, is used up";

#[derive(Debug, Args)]
pub(super) struct Login {
    /// Your login name on the machines; default: your login name here. The certificate has this name in logs and,
    /// without -n, is valid for it
    user: Option<String>,
    /// A name for which the certificate is valid; may be given more than once
    #[arg(long = "principal", short = 'n', value_name = "NAME")]
    principals: Vec<String>,
    /// A host that you will log in to, if your ssh_config names another agent for it
    #[arg(long, value_name = "HOST", value_parser = parse_host)]
    host: Option<String>,
    /// Write the key and its certificate into files, FILE and FILE-cert.pub, instead of the agent
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// With --out: also put them into the agent
    #[arg(long, requires = "out")]
    agent: bool,
    /// Have the agent ask you before each use of the key
    #[arg(long)]
    confirm: bool,
    /// Get a new certificate although the present one is still valid
    #[arg(long)]
    force: bool,
    /// Show which certificate would be requested and where it would go, and request none
    #[arg(long)]
    plan: bool,
    /// For `Match exec` in ssh_config (`warded ssh-config`): log in only if needed, and always exit with code 0
    #[arg(long, conflicts_with_all = ["out", "confirm", "force", "plan", "principals", "host"])]
    pub(super) on_demand: bool,
    #[cfg(feature = "sso")]
    #[command(flatten)]
    sign_in: sso::Options,
    #[command(flatten)]
    pub(super) identification: Identification,
}

/// A name that is passed to `ssh` as an argument, and must not be an option.
pub(super) fn parse_host(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte);
    if text.is_empty() || text.starts_with('-') || !text.bytes().all(is_plain) {
        return Err("not a name of a host".to_owned());
    }
    Ok(text.to_owned())
}

impl Login {
    /// Runs as ssh's `Match exec` does, before each connection.
    pub(super) fn run_on_demand(ca: Option<&Name>, log_in: impl FnOnce(Instant) -> Result<Exit>) -> Exit {
        on_demand::run(ca, log_in)
    }

    /// `until` is when to give up a single sign-on that nobody finishes, if that is sooner than usual.
    pub(super) fn run(&self, context: &Context, until: Option<Instant>, output: Output) -> Result<Exit> {
        let user = self.user()?;
        let wrong = |error: String| Error::usage("these names cannot be used in a certificate").cause(error);
        Principal::parse(Kind::User, &user).map_err(wrong)?;
        let principals = if self.principals.is_empty() { vec![user.clone()] } else { self.principals.clone() };
        let principals = Principals::parse(Kind::User, &principals).map_err(wrong)?;
        let files = match &self.out {
            Some(file) => Files::at(file)?,
            None => Files::of(&Place::of(context.ca_name.as_ref())?, &user),
        };
        if self.out.is_some() {
            files.refuse_others().map_err(|error| error.or_state(NOT_ASKED))?;
        }
        let authority = context.authority.open()?;
        let (agent, held) = self.agent().map_err(|error| error.or_state(NOT_ASKED))?;
        let sign_in = self.sign_in(context)?;
        let roots = authority.roots(Kind::User)?;
        if !self.force && !self.confirm {
            let wanted = SufficientCertificate { key_id: &user, principals: &principals, roots: &roots };
            let is_enough = |one: &Certificate| match &sign_in {
                None => wanted.is(one),
                // With a single sign-on, the CA chooses the names.
                Some(_) => {
                    wanted.is_usable(one) && files.certificate().is_some_and(|last| last == *one) && self.has_asked(one)
                }
            };
            let in_agent = || held.iter().filter_map(Identity::certificate).find(&is_enough);
            let in_files = || files.usable().filter(&is_enough);
            let there = match (&agent, &self.out) {
                (Some(_), Some(_)) => in_files().filter(|one| held.iter().any(|held| held.blob == one.bytes())),
                (Some(_), None) => in_agent(),
                (None, _) => in_files(),
            };
            if let Some(there) = there {
                return self.report(context, output, &Outcome::unchanged(&there, agent.as_ref(), &files, &held), &user);
            }
        }
        if self.plan {
            // With a single sign-on, the CA chooses the names, except those that an admin asks for.
            let names = match &sign_in {
                None => principals.iter().map(ToString::to_string).collect(),
                Some(_) => self.asked().cloned().collect(),
            };
            let last = files.certificate();
            let is_replaced = |one: &Certificate| {
                one.valid_before() <= ca::now() || one.key_id() == user || last.as_ref().is_some_and(|last| last == one)
            };
            let replaced = into_agent::of_earlier_logins(&held, &roots, is_replaced).len();
            let planned = PlannedLogin::of(context.authority.name(), &user, names, agent.as_ref(), replaced);
            return planned.show(&authority.describe(), files.paths(self.out.is_some()), output);
        }
        if self.out.is_some() {
            files.ready().map_err(|error| error.or_state(NOT_ASKED))?;
        }
        let (key, request) = requested(&user, principals)?;
        let certificate = match &sign_in {
            None => issued(authority, &request)?,
            Some(sign_in) => self.signed_in(context, sign_in, &request, (until, output))?,
        };
        self.deliver(context, output, (&key, &certificate), (agent.as_ref(), &files, &roots), &user)
    }

    /// The single sign-on, if the person is to use it.
    #[cfg(feature = "sso")]
    fn sign_in(&self, context: &Context) -> Result<Option<SignIn>> {
        let sign_in = context.authority.open_step()?.map(StepAuthority::sign_in).transpose()?.flatten();
        if sign_in.is_none() && self.sign_in.is_given() {
            return Err(Error::usage("there is no single sign-on to use")
                .cause("a password, a key or a one-time token is given or configured, or the CA has no provisioner of the type OIDC")
                .next("warded ca show lists the provisioners; --provisioner NAME takes one"));
        }
        Ok(sign_in)
    }

    #[cfg(not(feature = "sso"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "this build has no single sign-on")]
    fn sign_in(&self, _context: &Context) -> Result<Option<SignIn>> {
        Ok(None)
    }

    #[cfg(feature = "sso")]
    fn signed_in(
        &self,
        context: &Context,
        sign_in: &SignIn,
        request: &IssueRequest,
        (until, output): (Option<Instant>, Output),
    ) -> Result<Certificate> {
        let authority = context.authority.open_step()?.ok_or_else(|| Error::usage("the CA is no step-ca"))?;
        let place = Place::of(context.ca_name.as_ref())?;
        self.sign_in.certified(authority, sign_in, request, (&place, until, output))
    }

    #[cfg(not(feature = "sso"))]
    #[expect(clippy::unused_self, reason = "this build has no single sign-on")]
    fn signed_in(
        &self,
        _context: &Context,
        _sign_in: &SignIn,
        _request: &IssueRequest,
        _until_and_output: (Option<Instant>, Output),
    ) -> Result<Certificate> {
        Err(Error::usage("this build has no single sign-on"))
    }

    /// Whether a certificate has every name that the person asked for.
    fn has_asked(&self, certificate: &Certificate) -> bool {
        self.asked().all(|name| certificate.principals().contains(name))
    }

    /// The names that the person gave on the command line.
    fn asked(&self) -> impl Iterator<Item = &String> {
        let user = self.user.iter().filter(|_| self.principals.is_empty());
        self.principals.iter().chain(user)
    }

    /// The agent and its identities, if the certificate is to go into an agent.
    fn agent(&self) -> Result<(Option<Agent>, Vec<Identity>)> {
        if self.out.is_some() && !self.agent {
            return Ok((None, Vec::new()));
        }
        let agent = agent_for(self.host.as_deref())?;
        let held = into_agent::checked(&agent)?;
        Ok((Some(agent), held))
    }

    /// Puts the key and its certificate where they are wanted.
    fn deliver(
        &self,
        context: &Context,
        output: Output,
        (key, certificate): (&PrivateKey, &Certificate),
        (agent, files, roots): (Option<&Agent>, &Files, &[PublicKey]),
        user: &str,
    ) -> Result<Exit> {
        if self.out.is_some() {
            files.write(key, certificate).map_err(|error| error.state(LOST))?;
        }
        let Some(agent) = agent else {
            return self.report(context, output, &Outcome::written(certificate, files), user);
        };
        let has_expired = |one: &Certificate| one.valid_before() <= ca::now();
        let added = into_agent::remove(agent, roots, has_expired)
            .and_then(|_| into_agent::add(agent, key, certificate, self.confirm));
        let added = match added {
            Ok(added) => added,
            Err(error) if self.out.is_some() => return Err(error.state(files.state(certificate))),
            Err(error) => {
                // The CA has certified this key, perhaps for a one-time token, so the key must not be thrown away.
                files.write(key, certificate).map_err(|written| written.cause(error.message()).state(LOST))?;
                return Err(error.state(files.state(certificate)));
            }
        };
        // The last login's certificate may have another key ID: with a single sign-on that is an e-mail address.
        let last = files.certificate();
        let is_earlier = |one: &Certificate| {
            let is_replaced = one.key_id() == certificate.key_id() || last.as_ref().is_some_and(|last| last == one);
            is_replaced && one.bytes() != certificate.bytes()
        };
        let held = into_agent::remove(agent, roots, is_earlier)?;
        if self.out.is_none() {
            files
                .write_public(certificate)
                .map_err(|error| error.state("the agent has the key and its certificate"))?;
        }
        let mut outcome = Outcome::added(certificate, agent, files, &held);
        outcome.stays = !added.is_limited;
        outcome.is_written = self.out.is_some();
        self.report(context, output, &outcome, user)
    }

    fn report(&self, context: &Context, output: Output, outcome: &Outcome<'_>, user: &str) -> Result<Exit> {
        let ca = context.authority.open()?.describe();
        let missing: Vec<&String> =
            self.asked().filter(|name| !outcome.certificate().principals().contains(name)).collect();
        let object = LoginObject::of(outcome, context.authority.name(), user, &missing);
        report::show(output, outcome, &ca, &object)?;
        output.object(&object)?;
        Ok(if missing.is_empty() { Exit::Done } else { Exit::Degraded })
    }

    /// The login name.
    fn user(&self) -> Result<String> {
        if let Some(user) = &self.user {
            return Ok(user.clone());
        }
        users::own().map(|user| user.name).ok_or_else(|| {
            Error::usage("your login name is not known: no account of this machine has your user ID")
                .next("warded login NAME")
        })
    }
}

/// The criteria by which an existing certificate makes a new one unnecessary.
struct SufficientCertificate<'a> {
    key_id: &'a str,
    principals: &'a Principals,
    roots: &'a [PublicKey],
}

impl SufficientCertificate<'_> {
    fn is(&self, certificate: &Certificate) -> bool {
        let names: Vec<&str> = self.principals.iter().map(Principal::as_str).collect();
        certificate.key_id() == self.key_id && certificate.principals() == names && self.is_usable(certificate)
    }

    /// Whether the CA signed it and it is valid now. With less than a minute left it would expire before it is used.
    fn is_usable(&self, certificate: &Certificate) -> bool {
        let now = ca::now();
        verify::signed_by(certificate, self.roots).is_ok()
            && verify::problem(certificate, Kind::User, std::slice::from_ref(certificate.key()), now).is_none()
            && certificate.valid_before().saturating_sub(now) >= 60
    }
}

/// A new key, and the request to the CA for its certificate.
fn requested(user: &str, principals: Principals) -> Result<(PrivateKey, IssueRequest)> {
    let failed = |error| Error::failed("cannot make a key").cause(error);
    let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(failed)?;
    key.set_comment(files::comment(user));
    let bare = PublicKey::new(key.public_key().key_data().clone(), "");
    Ok((key, IssueRequest { kind: Kind::User, key: bare, principals, key_id: user.to_owned() }))
}

/// Gets the certificate. How people prove who they are is up to the credential ([`ca::step::Credential`]): the password
/// or key of a provisioner, a token, an X.509 certificate.
fn issued(authority: &dyn CertificateAuthority, request: &IssueRequest) -> Result<Certificate> {
    authority.ready(std::slice::from_ref(request))?;
    Ok(authority.issue(request)?)
}
