//! Hostile and broken guests. Each must stay within its bounds, leave no trace except in the audit log, and print
//! nothing that a terminal would interpret.

mod actions;
mod arena;
mod case;
mod certificates;
mod compiler;
mod directories;
mod foreign;
mod fragments;
mod handles;
mod harm;
mod hidden;
mod kernel;
mod known_hosts;
mod limits;
mod own;
mod paths;
mod principals;
mod record;
mod trusted_keys;

use crate::support::missing;
use arena::Cost;
use case::Case;
use libtest_mimic::{Arguments, Completion, Trial};
use std::{
    collections::BTreeSet,
    process::ExitCode,
    sync::{Arc, Mutex},
    thread,
};

/// Runs the cases that the command line names, several at a time.
pub(crate) fn run() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // More threads than processors, since some guests wait for most of a minute.
    arguments.test_threads.get_or_insert(thread::available_parallelism().map_or(2, usize::from) + 2);
    let costs = Arc::default();
    let trials = all().into_iter().map(|(file, case)| trial(file, case, Arc::clone(&costs))).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    arena::report(&costs.lock().unwrap());
    conclusion.exit_code()
}

fn trial(file: &str, case: Case, costs: Arc<Mutex<Vec<Cost>>>) -> Trial {
    let name = format!("[{file}] {}", case.name);
    let title = case.name.clone();
    let run = move || {
        if missing::root_for(&name) {
            return Ok(Completion::ignored_with("this is not root"));
        }
        let cost = arena::try_one(&case);
        costs.lock().unwrap().push(cost);
        Ok(Completion::Completed)
    };
    Trial::ignorable_test(title, run).with_kind(file)
}

/// All cases, each with the file that defines it.
fn all() -> Vec<(&'static str, Case)> {
    let files = [
        ("limits", limits::cases()),
        ("principals", principals::cases()),
        ("trusted_keys", trusted_keys::cases()),
        ("actions", actions::cases()),
        ("certificates", certificates::cases()),
        ("compiler", compiler::cases()),
        ("directories", directories::cases()),
        ("foreign", foreign::cases()),
        ("fragments", fragments::cases()),
        ("handles", handles::cases()),
        ("harm", harm::cases()),
        ("hidden", hidden::cases()),
        ("kernel", kernel::cases()),
        ("known_hosts", known_hosts::cases()),
        ("own", own::cases()),
        ("paths", paths::cases()),
    ];
    let of_file = |(file, cases): (_, Vec<Case>)| cases.into_iter().map(move |case| (file, case));
    let mut all: Vec<_> = files.into_iter().flat_map(of_file).collect();
    let mut names = BTreeSet::new();
    let twice = all.iter().find(|(_, case)| !names.insert(&case.name));
    assert!(twice.is_none(), "two guests have the name {:?}", twice.map(|(_, case)| &case.name));
    // Cases that wait begin first.
    all.sort_by_key(|(_, case)| !(case.name.starts_with("loop") || case.name.starts_with("sshd that never")));
    all
}
