//! `warded ssh-config`.

use super::{known_hosts::pattern, output::Output};
use crate::context::Context;
use clap::Args;
use serde::Serialize;
use std::{env, net::IpAddr, rc::Rc};
use warded_lib::{
    ca::configured::Authority,
    error::{Error, Exit, Result},
    name::Name,
    text::shell_word,
};

#[derive(Debug, Args)]
pub(super) struct SshConfig {
    /// The hosts for which ssh logs you in before it connects; default: for each CA, the hosts of the CA's domain
    #[arg(value_name = "PATTERN", value_parser = only_some)]
    patterns: Vec<String>,
}

#[derive(Serialize)]
struct SshConfigObject {
    schema: &'static str,
    lines: Vec<String>,
}

/// A pattern of hosts that does not match every host: nobody wants a login for every host of the world.
fn only_some(text: &str) -> Result<String, String> {
    if text.contains('[') {
        return Err("`Match host` compares a name without its port: write the name alone".to_owned());
    }
    let one = pattern(text)?;
    let is_all = one
        .split(',')
        .any(|part| !part.starts_with('!') && !part.contains(|letter: char| letter.is_ascii_alphanumeric()));
    if is_all {
        Err("it matches hosts of every domain: name only the CA's hosts, such as *.example.org".to_owned())
    } else {
        Ok(one)
    }
}

impl SshConfig {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let blocks = self.blocks(context)?;
        let program =
            env::current_exe().map_err(|error| Error::failed("this program's own path is not known").cause(error))?;
        let program = program.to_str().map(shell_word).filter(|word| !word.contains('"')).ok_or_else(|| {
            Error::usage(format!("the path {} cannot be written into ssh_config", program.display()))
                .next("install warded in another directory")
        })?;
        // ssh expands `%` tokens in the command.
        let command = format!("{} login --on-demand", program.replace('%', "%%"));
        let mut lines = vec![
            "# For the end of ~/.ssh/config. Before it connects to a host that a Match line names, ssh has Warded log you in"
                .to_owned(),
            "# where that is needed. Below each Match line only another Match or a Host may follow.".to_owned(),
        ];
        for (ca, hosts) in blocks {
            let which = ca.map(|ca| format!(" --ca {ca}")).unwrap_or_default();
            lines.push(format!("Match host {hosts} exec \"{command}{which}\""));
        }
        for line in &lines {
            output.verbatim(line)?;
        }
        output.object(&SshConfigObject { schema: "warded.ssh-config/1", lines })?;
        Ok(Exit::Done)
    }
}

impl SshConfig {
    /// The hosts of each CA.
    fn blocks(&self, context: &Context) -> Result<Vec<(Option<Name>, String)>> {
        if !self.patterns.is_empty() {
            // If there are several CAs, Warded does not guess which one is meant.
            if context.authority.name().is_none() && !context.authorities().is_empty() {
                context.authority.open()?;
            }
            return Ok(vec![(context.ca_name.clone(), self.patterns.join(","))]);
        }
        let all = context.authorities();
        if all.is_empty() {
            return Err(unknown(None, "no step-ca is configured".to_owned()));
        }
        let block = |(ca, authority): (Option<Name>, Rc<Authority>)| {
            let hosts = of_ca(ca.as_ref(), &authority)?;
            Ok((ca, hosts))
        };
        all.into_iter().map(block).collect()
    }
}

fn unknown(ca: Option<&Name>, why: String) -> Error {
    let which = ca.map(|ca| format!(" --ca {ca}")).unwrap_or_default();
    Error::usage("it is not known which hosts the line is for")
        .cause(why)
        .next(format!("warded ssh-config{which} '*.example.org'"))
}

/// The domain of the CA's host name.
fn of_ca(ca: Option<&Name>, authority: &Authority) -> Result<String> {
    let unknown = |why: String| unknown(ca, why);
    let address =
        authority.address().ok_or_else(|| unknown("the CA is a local one, which has no domain".to_owned()))?;
    let host = address.split("://").last().unwrap_or_default().split(['/', ':']).next().unwrap_or_default().to_owned();
    let domain = host.split_once('.').map(|(_, domain)| domain.to_owned()).filter(|domain| domain.contains('.'));
    let domain = domain.filter(|_| host.parse::<IpAddr>().is_err());
    let domain = domain.ok_or_else(|| unknown(format!("the CA's address {address} names no domain of its hosts")))?;
    only_some(&format!("*.{domain}")).map_err(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_never_for_every_host() {
        for good in ["*.example.org", "web1", "!old.example.org,*.example.org", "10.0.0.*"] {
            assert_eq!(only_some(good).as_deref(), Ok(good));
        }
        for bad in ["*", "*.*", "web1,*", "?*", "a b", "\"", "", "[web1]:2222", ".example.org", "web1:2222"] {
            assert!(only_some(bad).is_err(), "{bad}");
        }
    }
}
