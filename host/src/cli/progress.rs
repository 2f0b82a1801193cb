//! Progress on a terminal, for what takes longer than half a second.

use super::output::Output;
use crate::pipeline::{Reporter, Stage};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    borrow::Cow,
    io::IsTerminal as _,
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

/// What takes less than this is not worth a line.
const PATIENCE: Duration = Duration::from_millis(500);

/// One line on stderr that says what is going on; nothing where stderr is no terminal.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    appear: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// A line that appears after half a second.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        if quiet || !std::io::stderr().is_terminal() {
            return Self { bar, appear: None };
        }
        let (done, is_done) = channel();
        let shown = bar.clone();
        let thread = thread::spawn(move || {
            if is_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                shown.set_draw_target(ProgressDrawTarget::stderr());
                shown.enable_steady_tick(Duration::from_millis(100));
            }
        });
        Self { bar, appear: Some((done, thread)) }
    }

    /// Says what is being done now.
    pub fn say(&self, message: impl Into<Cow<'static, str>>) {
        self.bar.set_message(message);
    }
}

impl Reporter for Progress {
    fn stage(&self, stage: Stage) {
        self.say(stage.to_string());
    }

    /// On stderr, also where progress is not shown.
    fn note(&self, text: &str) {
        self.bar.suspend(|| Output::new(false).note(format!("note: {text}")));
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
