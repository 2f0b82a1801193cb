//! `warded invite`.

use super::{identification::Identification, output::Output, token};
use crate::context::Context;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::time::Duration;
use warded_lib::{
    ca::{
        Kind, Principals,
        step::{
            code::Code,
            token::{CertificateSpec, LIFE},
        },
    },
    error::{Exit, Result},
    moment,
    text::count,
};

/// The longest line to print: a terminal accepts at most 4,095 characters as input.
const LINE: usize = 2000;

#[derive(Debug, Args)]
pub(super) struct Invite {
    /// The machine's name, for which its certificates are valid
    name: String,
    /// Another name for which they are valid, besides NAME; may be given more than once
    #[arg(long = "principal", short = 'n', value_name = "NAME")]
    principals: Vec<String>,
    /// How long the code is valid (10s to 1h; default: 5 min)
    #[arg(long, value_name = "DURATION", value_parser = token::parse_duration)]
    valid: Option<SignedDuration>,
    /// How many tokens to put into the code, one for each host key. Default: one if the CA certifies the machine's
    /// other keys on the word of the first (SSHPOP), else three
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=20))]
    keys: Option<u8>,
    #[command(flatten)]
    pub(super) identification: Identification,
}

#[derive(Serialize)]
struct Invitation<'a> {
    schema: &'static str,
    code: &'a str,
    tokens: usize,
    ca: String,
    names: Vec<String>,
    valid_until: Timestamp,
}

impl Invite {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let step = token::maker(context, &self.identification)?;
        let names: Vec<&String> = std::iter::once(&self.name).chain(&self.principals).collect();
        let principals = token::names(Kind::Host, &names)?;
        let life = self.valid.map_or(LIFE, |valid| valid.as_secs().unsigned_abs());
        let wanted = CertificateSpec { kind: Kind::Host, key_id: &self.name, principals: &principals };
        let number = token::enough(step, Kind::Host, self.keys)?;
        let made: std::result::Result<_, _> = number.map(|_| step.token_for(wanted, life)).collect();
        let code = Code { tokens: made? };
        let until = Timestamp::now() + Duration::from_secs(life);
        let text = code.text();
        let lines = if text.len() > 2 * LINE { LINE } else { text.len() };
        for line in text.as_bytes().chunks(lines) {
            output.line(String::from_utf8_lossy(line))?;
        }
        if !output.json {
            output.note(said(&principals, code.tokens.len(), life, until));
        }
        output.object(&Invitation {
            schema: "warded.invite/1",
            code: &text,
            tokens: code.tokens.len(),
            ca: context.authority.identity(),
            names: principals.iter().map(ToString::to_string).collect(),
            valid_until: until,
        })?;
        Ok(Exit::Done)
    }
}

fn said(principals: &Principals, tokens: usize, life: u64, until: Timestamp) -> String {
    let names: Vec<String> = principals.iter().map(ToString::to_string).collect();
    format!(
        "This code ({}) certifies {} once, within {} (until {}). On the machine: sudo warded enrol, and paste the code \
         when it asks. Until then, whoever has the code can have any key certified for these names: hand it over as \
         you would a password.",
        count(tokens, "token"),
        names.join(" "),
        moment::distance(Duration::from_secs(life)),
        moment::at(until, Timestamp::now()),
    )
}
