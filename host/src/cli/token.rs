//! `warded token`.

use super::{identification::Identification, output::Output};
use crate::context::Context;
use clap::Args;
use jiff::SignedDuration;
use serde::Serialize;
use warded_lib::{
    ca::{
        Kind, Principals,
        step::token::{LIFE, Wanted},
    },
    error::{Error, Exit, Result},
};

#[derive(Debug, Args)]
pub(super) struct Token {
    /// What the certificate is called in logs; without -n also the name that it holds for
    name: String,
    /// For a machine's certificate
    #[arg(long, required_unless_present = "user", conflicts_with = "user")]
    host: bool,
    /// For a person's certificate
    #[arg(long)]
    user: bool,
    /// A name that the certificate holds for; may be given more than once
    #[arg(long = "principal", short = 'n', value_name = "NAME")]
    principals: Vec<String>,
    /// How many: a machine needs one for each of its host keys
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    count: u8,
    /// How long they can be used (10s to 1h)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    valid: Option<SignedDuration>,
    #[command(flatten)]
    pub(super) identification: Identification,
}

#[derive(Serialize)]
struct Tokens<'a> {
    schema: &'static str,
    tokens: Vec<&'a str>,
}

/// The bounds that `step` has.
fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    let duration: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    if (SignedDuration::from_secs(10)..=SignedDuration::from_hours(1)).contains(&duration) {
        Ok(duration)
    } else {
        Err("from 10s to 1h".to_owned())
    }
}

impl Token {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let Some(step) = context.authority.open_step()? else {
            return Err(Error::usage("a local CA has no tokens").next("apply certify-host where its directory is"));
        };
        if self.identification.token_file.is_some() {
            return Err(Error::usage("a token cannot be made from a token")
                .next("name the provisioner's password or key, or an X.509 certificate"));
        }
        let kind = if self.host { Kind::Host } else { Kind::User };
        let subject = std::slice::from_ref(&self.name);
        let names = if self.principals.is_empty() { subject } else { self.principals.as_slice() };
        let principals = Principals::parse(kind, names)
            .map_err(|error| Error::usage("these are no names for a certificate").cause(error))?;
        let life = self.valid.map_or(LIFE, |valid| valid.as_secs().unsigned_abs());
        let wanted = Wanted { kind, key_id: &self.name, principals: &principals };
        let tokens = (0..self.count).map(|_| Ok(step.token_for(wanted, life)?)).collect::<Result<Vec<_>>>()?;
        for token in &tokens {
            output.line(token.as_str())?;
        }
        if !output.json && self.user {
            output.note(format!("Each serves once, within {life} s."));
        } else if !output.json {
            output.note(format!(
                "Each serves once, within {} s. On the machine: warded apply certify-host --token-file FILE --set principal={}",
                life,
                names.join(" --set principal=")
            ));
        }
        let tokens = tokens.iter().map(warded_lib::ca::step::token::Token::as_str).collect();
        output.object(&Tokens { schema: "warded.token/1", tokens })?;
        Ok(Exit::Done)
    }
}
