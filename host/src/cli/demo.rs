//! `warded demo`: the main job on a private sshd, in a scratch directory. Nothing is simulated: these are the same
//! steps as the other commands', on another sshd.
#![expect(clippy::disallowed_methods, reason = "the private machine of the demonstration")]

mod private_machine;
mod steps;

use super::output::{Output, Style};
use crate::context::Options;
use clap::Args;
use private_machine::PrivateMachine;
use serde::Serialize;
use std::path::Path;
use steps::Demonstration;
use warded_lib::{
    config,
    error::{Error, Exit, Result},
    machine::exec,
    text::neutral_lines,
};

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Keep the scratch directory, for inspection
    #[arg(long)]
    keep: bool,
}

/// One step, and how it went.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Step {
    name: &'static str,
    ok: bool,
    skipped: bool,
    detail: String,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    ok: bool,
    steps: &'a [Step],
}

/// The result of a step: what it saw, or that it could not be done here.
pub(super) enum Outcome {
    Seen(String),
    Skipped(&'static str),
}

impl Demo {
    pub(super) fn run(&self, options: &Options, output: Output) -> Result<Exit> {
        if config::is_root() {
            return self.as_nobody(options, output);
        }
        let machine = PrivateMachine::start(options.sshd.as_deref(), self.keep)?;
        output.line(machine.introduction())?;
        output.line("")?;
        let mut steps = Vec::new();
        let mut demonstration = Demonstration::new(&machine)?;
        for (name, step) in Demonstration::STEPS {
            let step = match step(&mut demonstration) {
                Ok(Outcome::Seen(detail)) => Step { name, ok: true, skipped: false, detail },
                Ok(Outcome::Skipped(why)) => Step { name, ok: true, skipped: true, detail: why.to_owned() },
                Err(error) => Step { name, ok: false, skipped: false, detail: error.to_string() },
            };
            show(output, &step)?;
            steps.push(step);
        }
        let ok = steps.iter().all(|step| step.ok);
        output.object(&Report { schema: "warded.demo/1", ok, steps: &steps })?;
        output.line("")?;
        if machine.sshd().is_none() {
            output.line(
                "Some steps were skipped: there is no sshd here. With it, all of them run: apt install openssh-server",
            )?;
        }
        if self.keep {
            output.line(format!("Kept: {}", machine.directory().display()))?;
        }
        output.line("Next: warded ca init DIR, then: sudo warded plan certify-host --ca DIR --set principal=NAME")?;
        Ok(if ok { Exit::Done } else { Exit::Failed })
    }

    /// Root is not needed: the demonstration runs as the user nobody, who owns no files.
    fn as_nobody(&self, options: &Options, output: Output) -> Result<Exit> {
        let mut arguments: Vec<&str> = vec!["demo"];
        if self.keep {
            arguments.push("--keep");
        }
        if output.json {
            arguments.push("--json");
        }
        let sshd = options.sshd.as_deref().map(Path::to_string_lossy);
        if let Some(sshd) = &sshd {
            arguments.extend(["--sshd", sshd]);
        }
        let code = exec::run_self_as_nobody(&arguments)?;
        match code {
            0 => Ok(Exit::Done),
            1 => Err(Error::quiet(Exit::Failed)),
            _ => Err(Error::failed("the demonstration did not end by itself").cause(format!("exit status {code}"))),
        }
    }
}

fn show(output: Output, step: &Step) -> Result<()> {
    let mut lines = neutral_lines(&step.detail).lines().map(str::to_owned).collect::<Vec<_>>().into_iter();
    let style = match (step.ok, step.skipped) {
        (false, _) => Style::Red,
        (true, true) => Style::Yellow,
        (true, false) => Style::Green,
    };
    let first = lines.next().unwrap_or_default();
    let mark = if step.skipped { "skipped: " } else { "" };
    output.line(format!(" {} {mark}{first}", output.paint(style, &format!("{:12}", step.name))))?;
    lines.try_for_each(|line| output.line(format!("              {line}")))
}
