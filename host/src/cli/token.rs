//! `warded token`.

#[cfg(feature = "sso")]
use super::login::admins_token;
use super::{identification::Identification, output::Output};
use crate::context::Context;
use clap::{ArgGroup, Args};
use jiff::SignedDuration;
use serde::Serialize;
use std::ops::Range;
#[cfg(feature = "sso")]
use std::time::Duration;
#[cfg(feature = "sso")]
use warded_lib::{
    ca::step::{identity::IdToken, signed_in::SignIn},
    moment::distance,
    text::neutral,
};
use warded_lib::{
    ca::{
        Kind, Principals,
        step::{
            StepAuthority,
            token::{CertificateSpec, LIFE, Token as OneTime},
        },
    },
    error::{Error, Exit, Result},
    moment,
};

/// The number of host keys of a stock sshd.
const HOST_KEYS: u8 = 3;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("kind").args(["host", "user"]).required(true))]
pub(super) struct Token {
    /// The certificate's name in logs; without -n also the name for which it is valid
    name: String,
    /// For a machine's certificate
    #[arg(long)]
    host: bool,
    /// For a person's certificate
    #[arg(long)]
    user: bool,
    /// A name for which the certificate is valid; may be given more than once
    #[arg(long = "principal", short = 'n', value_name = "NAME")]
    principals: Vec<String>,
    /// How many tokens. Default: one if the CA certifies a machine's other host keys on the word of the first
    /// (SSHPOP), else three, one per host key
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=20))]
    count: Option<u8>,
    /// How long they are valid (10s to 1h)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    valid: Option<SignedDuration>,
    /// If the provisioner is a single sign-on: sign in on another device, with a code
    #[cfg(feature = "sso")]
    #[arg(long, help_heading = "Single sign-on")]
    device: bool,
    #[command(flatten)]
    pub(super) identification: Identification,
}

#[derive(Serialize)]
struct Tokens<'a> {
    schema: &'static str,
    tokens: Vec<&'a str>,
}

/// A duration within the limits that `step` has.
pub(super) fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    moment::duration_within(text, &(SignedDuration::from_secs(10)..=SignedDuration::from_hours(1)), "from 10s to 1h")
}

/// The step-ca for which this machine makes tokens.
///
/// # Errors
/// The CA is a local one, or only tokens are named, with which no tokens can be made.
pub(super) fn maker<'a>(context: &'a Context, identification: &Identification) -> Result<&'a StepAuthority> {
    let Some(step) = context.authority.open_step()? else {
        return Err(Error::usage("a local CA has no tokens")
            .next("run warded apply certify-host on the machine that has the CA's directory"));
    };
    if identification.token_file.is_some() {
        return Err(Error::usage("a token cannot be made from a token")
            .next("name the provisioner's password or key, or an X.509 certificate"));
    }
    Ok(step)
}

/// The names of a certificate.
///
/// # Errors
/// One of them cannot be in a certificate.
pub(super) fn names<T: AsRef<str>>(kind: Kind, names: &[T]) -> Result<Principals> {
    Principals::parse(kind, names.iter().map(AsRef::as_ref))
        .map_err(|error| Error::usage("these names cannot be used in a certificate").cause(error))
}

/// The number of tokens to make: as many as are asked for, or else as many as are needed.
///
/// # Errors
/// The CA does not answer.
pub(super) fn enough(step: &StepAuthority, kind: Kind, asked: Option<u8>) -> Result<Range<u8>> {
    let number = match asked {
        Some(asked) => asked,
        None if kind == Kind::User || step.certifies_on_word()? => 1,
        None => HOST_KEYS,
    };
    Ok(0..number)
}

impl Token {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let step = maker(context, &self.identification)?;
        let kind = if self.host { Kind::Host } else { Kind::User };
        let subject = std::slice::from_ref(&self.name);
        let given = if self.principals.is_empty() { subject } else { self.principals.as_slice() };
        let principals = names(kind, given)?;
        #[cfg(feature = "sso")]
        if let Some(sign_in) = step.named_sign_in()? {
            return self.signed_in(step, &sign_in, output);
        }
        let life = self.valid.map_or(LIFE, |valid| valid.as_secs().unsigned_abs());
        let wanted = CertificateSpec { kind, key_id: &self.name, principals: &principals };
        let number = enough(step, kind, self.count)?;
        let tokens = number.map(|_| Ok(step.token_for(wanted, life)?)).collect::<Result<Vec<_>>>()?;
        for token in &tokens {
            output.line(token.as_str())?;
        }
        if !output.json {
            output.note(self.said(step, given, tokens.len(), life)?);
        }
        let tokens = tokens.iter().map(OneTime::as_str).collect();
        output.object(&Tokens { schema: "warded.token/1", tokens })?;
        Ok(Exit::Done)
    }

    /// Makes an admin's ID tokens for a machine. They do not name the machine.
    #[cfg(feature = "sso")]
    fn signed_in(&self, step: &StepAuthority, sign_in: &SignIn, output: Output) -> Result<Exit> {
        let wrong = |what: &str, next: &str| Err(Error::usage(what).next(next));
        if self.user {
            return wrong("an ID token is made for a person when they log in", "the person themselves: warded login");
        }
        if self.valid.is_some() {
            return wrong("the provider decides how long an ID token is valid", "leave --valid out");
        }
        let number = enough(step, Kind::Host, self.count)?;
        let made = number.map(|_| admins_token(step, sign_in, self.device, output)).collect::<Result<Vec<_>>>()?;
        for token in &made {
            output.line(token.token().as_str())?;
        }
        if !output.json {
            let who = neutral(made.first().and_then(IdToken::email).unwrap_or_default());
            let left = made.iter().filter_map(|token| step.left(token)).min();
            let within =
                left.map(|left| format!(", within {}", distance(Duration::from_secs(left)))).unwrap_or_default();
            output.note(format!(
                "warning: this is the ID token of {who}. It names no machine: whoever has it gets one certificate from the \
                 CA, for any name, also a person's. Hand it only to a machine whose root you trust, and have it used at \
                 once. It serves once{within}. On the machine: warded apply certify-host --token-file FILE --set \
                 principal={}",
                self.name
            ));
        }
        let tokens = made.iter().map(|token| token.token().as_str()).collect();
        output.object(&Tokens { schema: "warded.token/1", tokens })?;
        Ok(Exit::Done)
    }

    fn said(&self, step: &StepAuthority, names: &[String], number: usize, life: u64) -> Result<String> {
        let serves = format!("Each serves once, within {life} s.");
        if self.user {
            return Ok(serves);
        }
        let enough = match step.certifies_on_word()? {
            true if number > 1 => {
                " One is enough: the CA certifies the other host keys on the word of the first (SSHPOP), except for \
                 keys that had a certificate before."
            }
            true => {
                " One is enough for all host keys that never had a certificate: the CA certifies the others on the word of \
                 the first (SSHPOP)."
            }
            false => "",
        };
        let names = names.join(" --set principal=");
        Ok(format!(
            "{serves}{enough} On the machine: warded apply certify-host --token-file FILE --set principal={names}"
        ))
    }
}
