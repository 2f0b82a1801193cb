//! `warded policy compile`: makes the machine code of a component, for a program without a compiler.

use crate::{
    cli::output::Output,
    sandbox::{compiled, compiler},
};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use warded_artifact::{imports, read};
use warded_lib::{
    digest::Digest,
    error::{Error, Exit, Result},
    machine::durable,
    policy::file::Policy,
    text::neutral_path,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Compile {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    component: PathBuf,
    /// The directory for its machine code; Warded chooses the file's name
    directory: PathBuf,
}

impl Compile {
    pub(super) fn run(&self, output: Output) -> Result<Exit> {
        let (component, request) = read::component(&self.component)?;
        let policy = Policy::parse(&request, &format!("the request in {}", neutral_path(&self.component)))?;
        imports::only_ours(&component)?;
        let digest = Digest::of(&component);
        let code = compiled::sealed(&compiler::compile(&component, None)?, &digest);
        let file = self.directory.join(compiled::name(&digest));
        durable::directory(&self.directory)
            .and_then(|()| durable::replace(&file, &code, 0o600))
            .map_err(|error| Error::failed(format!("cannot write {}", neutral_path(&file))).cause(error))?;
        let (target, wasmtime) = (env!("WARDED_TARGET"), env!("WARDED_WASMTIME"));
        output.line(format!("Wrote {}", neutral_path(&file)))?;
        output.line(format!(
            "the machine code of {} {} for {target}, wasmtime {wasmtime}: {} bytes",
            policy.name,
            policy.version,
            code.len()
        ))?;
        output.line("Nothing checks machine code: a person who can write this file on a machine is root there.")?;
        output.object(&json!({
            "schema": "warded.policy-compile/1", "name": policy.name.as_str(), "version": policy.version,
            "component": digest.to_string(), "target": target, "wasmtime": wasmtime, "file": neutral_path(&file),
        }))?;
        Ok(Exit::Done)
    }
}
