//! The programs that run right now, so that none of them outlives this process when it has to end at once.

use super::TICK;
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    collections::BTreeSet,
    io,
    process::{Child, Command, ExitStatus},
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

/// The process groups of running programs. A thread that starts a program, or learns that one has ended, holds this
/// lock while it does so. So a number in the set never belongs to another process.
static GROUPS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn groups() -> MutexGuard<'static, BTreeSet<i32>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A program that runs in a process group of its own.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) child: Child,
}

impl Running {
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        let mut groups = groups();
        let child = command.spawn()?;
        groups.extend(group(&child));
        Ok(Self { child })
    }

    /// Waits until it ends, or kills it and its group at the deadline. Returns how it ended, and whether it was killed.
    pub(super) fn wait(&mut self, ended: &mpsc::Receiver<()>, deadline: Instant) -> (Option<ExitStatus>, bool) {
        let (mut closed, mut killed) = (false, false);
        loop {
            if let Some(status) = self.has_ended() {
                return (status, killed);
            }
            if Instant::now() >= deadline && !killed {
                // Dying may take a while; other threads need not wait for that, so the lock is held only here.
                let _groups = groups();
                group(&self.child).into_iter().for_each(kill);
                self.child.kill().ok();
                killed = true;
            }
            // A closed output usually means that the program is about to end: no need to wait a whole tick.
            if closed || !matches!(ended.recv_timeout(TICK), Err(mpsc::RecvTimeoutError::Timeout)) {
                closed = true;
                thread::sleep(TICK / 4);
            }
        }
    }

    /// Waits for it to end; after `patience` kills it and its group.
    pub(super) fn finish(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.has_ended().is_none() && Instant::now() < deadline {
            thread::sleep(TICK / 4);
        }
        if self.has_ended().is_none() {
            let mut groups = groups();
            group(&self.child).into_iter().for_each(kill);
            self.child.kill().ok();
            self.child.wait().ok();
            groups.retain(|group| Some(*group) != self::group(&self.child));
        }
    }

    /// How it ended, if it has. If the process that started us ignores SIGCHLD, the kernel reports no exit status.
    fn has_ended(&mut self) -> Option<Option<ExitStatus>> {
        let mut groups = groups();
        let status = self.child.try_wait().map_or(Some(None), |status| status.map(Some))?;
        groups.retain(|group| Some(*group) != self::group(&self.child));
        Some(status)
    }
}

/// Kills every running program and everything in its process group. No program can be started afterwards: for a process
/// that is about to end.
pub fn end_all() {
    let groups = groups();
    groups.iter().copied().for_each(kill);
    // The lock is never released, so that no waiting thread starts another program.
    std::mem::forget(groups);
}

/// Whether a process group is in the set.
#[cfg(test)]
pub(super) fn is_listed(pid: i32) -> bool {
    groups().contains(&pid)
}

fn group(child: &Child) -> Option<i32> {
    i32::try_from(child.id()).ok()
}

fn kill(group: i32) {
    if let Some(group) = Pid::from_raw(group) {
        kill_process_group(group, Signal::KILL).ok();
    }
}
