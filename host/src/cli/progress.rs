//! Progress on a terminal, for steps that take longer than half a second.

use super::output::{Output, Verbosity, say};
use crate::pipeline::{Reporter, Stage};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    borrow::Cow,
    io::IsTerminal as _,
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

/// A shorter step gets no line.
const PATIENCE: Duration = Duration::from_millis(500);

/// One line on stderr that shows what is being done; nothing if stderr is not a terminal.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    verbosity: Verbosity,
    appear: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// A line that appears after half a second.
    #[must_use]
    pub fn new(output: Output) -> Self {
        let verbosity = output.verbosity;
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        // A verbose run prints more than this anyway.
        if output.json || verbosity != Verbosity::Usual || !std::io::stderr().is_terminal() {
            return Self { bar, verbosity, appear: None };
        }
        let (done, is_done) = channel();
        let shown = bar.clone();
        let thread = thread::Builder::new().spawn(move || {
            if is_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                shown.set_draw_target(ProgressDrawTarget::stderr());
                shown.enable_steady_tick(Duration::from_millis(100));
            }
        });
        Self { bar, verbosity, appear: thread.ok().map(|thread| (done, thread)) }
    }

    /// No progress at all.
    #[must_use]
    pub fn hidden() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Self { bar, verbosity: Verbosity::Usual, appear: None }
    }

    /// Shows what is being done now.
    pub fn say(&self, message: impl Into<Cow<'static, str>>) {
        self.bar.set_message(message);
    }
}

impl Reporter for Progress {
    fn stage(&self, stage: Stage) {
        if self.verbosity == Verbosity::Verbose {
            say(&format!("» {stage}"));
        }
        self.say(stage.to_string());
    }

    /// A note goes to stderr even if progress is not shown.
    fn note(&self, text: &str) {
        if self.verbosity != Verbosity::Quiet {
            self.bar.suspend(|| say(&format!("note: {text}")));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((done, thread)) = self.appear.take() {
            drop(done);
            thread.join().unwrap_or_default();
        }
        self.bar.finish_and_clear();
    }
}
