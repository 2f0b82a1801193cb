//! `warded login --plan`: what a login would do.

use super::super::output::Output;
use serde::Serialize;
use warded_lib::{
    agent::Agent,
    error::{Exit, Result},
    text::{count, neutral},
};

/// The JSON of `warded login --plan` if a certificate would be requested.
#[derive(Serialize)]
pub(super) struct PlannedLogin {
    schema: &'static str,
    /// The CA's address or directory.
    ca: Option<String>,
    status: &'static str,
    key_id: String,
    /// The names that would be requested. Empty if the CA derives them from the e-mail address of a single sign-on.
    principals: Vec<String>,
    agent: Option<String>,
    /// How many certificates of earlier logins the agent would be told to remove.
    replaced: usize,
    files: Vec<String>,
}

impl PlannedLogin {
    pub(super) fn of(
        ca: Option<String>,
        user: &str,
        principals: Vec<String>,
        agent: Option<&Agent>,
        replaced: usize,
    ) -> Self {
        let agent = agent.map(|agent| agent.socket().display().to_string());
        let key_id = user.to_owned();
        Self { schema: "warded.login/1", ca, status: "planned", key_id, principals, agent, replaced, files: Vec::new() }
    }

    /// `files` are those that would be written.
    pub(super) fn show(self, ca: &str, files: Vec<String>, output: Output) -> Result<Exit> {
        let object = Self { files, ..self };
        output.line(format!("{} would get a new certificate of {ca}.", neutral(&object.key_id)))?;
        let names: Vec<String> = object.principals.iter().map(|name| format!("{:?}", neutral(name))).collect();
        let names =
            if names.is_empty() { "what the CA makes of your e-mail address".to_owned() } else { names.join(", ") };
        output.line(format!("holds for   {names}"))?;
        if let Some(agent) = &object.agent {
            let earlier = match object.replaced {
                0 => String::new(),
                replaced => format!(" (in place of {})", count(replaced, "earlier certificate")),
            };
            output.line(format!("into        the agent at {}{earlier}", neutral(agent)))?;
        }
        output.line(format!("writes      {}", neutral(&object.files.join(", "))))?;
        output.line("Nothing has been changed, and no certificate was asked for.")?;
        output.object(&object)?;
        Ok(Exit::Pending)
    }
}
