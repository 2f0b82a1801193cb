//! `warded policy replay`: runs another build of a component against a recording. Needs neither root, sshd nor a CA.

use crate::{
    broker::recording::Divergence,
    cli::output::Output,
    components,
    context::HangHandler,
    trial::{self, ReplayResult},
};
use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use std::path::PathBuf;
use warded_artifact::{
    read,
    recording::{self, Call, Recording},
};
use warded_lib::{
    change_set::review,
    error::{Exit, Result},
    moment,
    text::{count, neutral, neutral_path},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Replay {
    /// What `warded plan --record` or `warded apply --record` wrote
    #[arg(value_name = "FILE")]
    recording: PathBuf,
    /// The component to run
    #[arg(value_name = "NEW.wasm")]
    component: PathBuf,
}

impl Replay {
    pub(super) fn run(&self, on_hang: HangHandler, output: Output) -> Result<Exit> {
        let bytes = read::any(&self.recording, recording::MAX_BYTES)?;
        let recording = Recording::parse(&bytes).map_err(|error| error.seen(neutral_path(&self.recording)))?;
        let (component, request) = read::component(&self.component)?;
        let text = components::accepted::for_component(&request, &component);
        let granting = components::bind_file(&text, &self.component, component)?;
        let replayed = trial::replay(&granting, &recording, on_hang)?;
        let head = &recording.head;
        let is_same = replayed.divergence.is_none() && replayed.differences.is_empty() && replayed.ended == head.ended;
        output.line(format!(
            "recorded: {} {} · {} · {} · {}",
            head.policy,
            neutral(&head.version),
            head.component,
            head.procedure,
            moment::when(head.recorded, Timestamp::now())
        ))?;
        output.line(format!("replayed: {} {} · {}", granting.policy.name, granting.policy.version, granting.digest))?;
        say(&recording, &replayed, output)?;
        if is_same {
            output.line(format!("{}, all as recorded.", count(replayed.calls, "call")))?;
        }
        let divergence = replayed.divergence.as_ref().map(
            |Divergence { number, asked, recorded }| json!({ "number": number, "asked": asked, "recorded": recorded }),
        );
        output.object(&json!({
            "schema": "warded.policy-replay/1", "same": is_same, "procedure": head.procedure.as_str(),
            "recorded": head.component.to_string(), "replayed": granting.digest.to_string(),
            "calls": replayed.calls, "divergence": divergence, "changes": replayed.differences,
            "ended": { "recorded": head.ended, "replayed": replayed.ended },
        }))?;
        Ok(if is_same { Exit::Done } else { Exit::Pending })
    }
}

fn say(recording: &Recording, replayed: &ReplayResult, output: Output) -> Result<()> {
    if let Some(Divergence { number, asked, recorded }) = &replayed.divergence {
        let shown = |call: &Option<Call>| call.as_ref().map_or_else(|| "nothing more".to_owned(), ToString::to_string);
        output.line(format!("Call {number} is the first one that differs:"))?;
        output.line(format!("  recorded: {}", shown(recorded)))?;
        output.line(format!("  now:      {}", shown(asked)))?;
    }
    for difference in &replayed.differences {
        output.line(format!("It would leave otherwise: {}", neutral(&difference.what)))?;
        let text = |side: &Option<String>| side.clone().unwrap_or_default();
        let (before, after) = (text(&difference.recorded), text(&difference.replayed));
        for line in review::lines(before.as_bytes(), after.as_bytes()) {
            output.line(format!("    {}", neutral(&line)))?;
        }
        for (side, what) in [(&difference.recorded, "recorded"), (&difference.replayed, "now")] {
            if side.is_none() {
                output.line(format!("    ({what}: not touched)"))?;
            }
        }
    }
    if replayed.ended != recording.head.ended {
        let how = |ended: &Option<String>| ended.as_deref().map_or("it came to its end".to_owned(), neutral);
        output.line(format!("The recorded run: {}", how(&recording.head.ended)))?;
        output.line(format!("This run: {}", how(&replayed.ended)))?;
    }
    Ok(())
}
