//! `warded version`: what this program is made of.

use super::output::Output;
use crate::{components, context::Options, sandbox::compiler};
use clap::Args;
use serde::Serialize;
use warded_lib::{
    error::{Exit, Result},
    machine::{
        path::AbsolutePath,
        sshd::{Sshd, default_config},
    },
    text::neutral,
};

/// Show the version of this program, of the policies in it, of its sandbox, and of this machine's sshd
#[derive(Debug, Args)]
pub(super) struct Version {}

/// The commit that it was built from, if the build set it.
const COMMIT: Option<&str> = option_env!("WARDED_COMMIT");

#[derive(Serialize)]
struct VersionObject {
    schema: &'static str,
    version: &'static str,
    /// Null if it was not recorded at build time.
    commit: Option<&'static str>,
    policies: Vec<BundledObject>,
    wasmtime: &'static str,
    /// Whether it can compile components.
    compiler: bool,
    /// The version of sshd; null if there is none.
    sshd: Option<String>,
}

#[derive(Serialize)]
struct BundledObject {
    name: String,
    version: String,
    component: String,
}

impl Version {
    pub(super) fn run(options: &Options, output: Output) -> Result<Exit> {
        let bundled = components::bundled()?;
        let policies = bundled.iter().map(|granting| BundledObject {
            name: granting.policy.name.to_string(),
            version: granting.policy.version.clone(),
            component: granting.digest.to_string(),
        });
        let config: Option<AbsolutePath> = default_config().parse().ok();
        // This program's version is shown whatever is wrong with sshd.
        let sshd = config.and_then(|config| Sshd::find(&config, options.sshd.as_deref()).ok().flatten());
        let object = VersionObject {
            schema: "warded.version/1",
            version: env!("CARGO_PKG_VERSION"),
            commit: COMMIT,
            policies: policies.collect(),
            wasmtime: env!("WARDED_WASMTIME"),
            compiler: compiler::IS_HERE,
            sshd: sshd.map(|sshd| neutral(sshd.version())),
        };
        output.line(format!("warded {}", object.version))?;
        output.line(format!("commit    {}", COMMIT.unwrap_or("not recorded")))?;
        for BundledObject { name, version, component } in &object.policies {
            output.line(format!("policy    {name} {version} ({component})"))?;
        }
        let compiler = if object.compiler { "" } else { ", without a compiler" };
        output.line(format!("wasmtime  {}{compiler}", object.wasmtime))?;
        output.line(format!("sshd      {}", object.sshd.as_deref().unwrap_or("none found")))?;
        output.object(&object)?;
        Ok(Exit::Done)
    }
}
