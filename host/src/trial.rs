//! Tries a policy on a machine that a scenario describes. The guest, the broker, the change set and the transaction are
//! the real ones, on a directory that stands for `/`. No service is reloaded and no program is run; the scenario gives
//! sshd's answers. A real sshd judges the result, where there is one.

mod authority;
mod judge;
mod programs;
mod queue;
mod replay;
mod scenario;
mod tree;

pub use judge::Verdict;
pub use replay::{ReplayResult, replay};
pub use scenario::{Outcome, Scenario};

use crate::{
    broker::{Identity, recording::Tape},
    context::{Context, HangHandler},
    pipeline::{self, PlannedRun, Request, Terms, Work, certify, work::QueueItem},
    sandbox::granting::BoundPolicy,
};
use scenario::Mode;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use tree::{Contents, Tree};
use warded_artifact::reach::{self, HostFunction};
use warded_lib::{
    audit::{self, Kind, Record},
    ca::Certificate,
    error::{Error, Label, Result},
    guard::krl,
    name::Name,
    transaction::{self, Followup, Transaction, UndoScope, undo_changes},
};

/// The result of a trial.
#[derive(Debug)]
pub struct Trial {
    /// What the run produced.
    pub outcome: Outcome,
    /// The properties that every run must have and this one did not, one sentence each.
    pub broken: Vec<String>,
    /// What this machine's sshd says of the result; `None` if there was nothing to ask.
    pub verdict: Option<Verdict>,
    /// What the runs, one after another, asked the host for.
    pub records: Vec<Record>,
}

/// Runs a scenario. `sshd` is the program that judges the result, if it is not the installed one.
///
/// # Errors
/// The scenario's machine cannot be made, or something fails that is not part of the policy.
pub fn run(granting: &BoundPolicy, scenario: &Scenario, sshd: Option<&Path>, on_hang: HangHandler) -> Result<Trial> {
    let tree = Tree::make(&scenario.machine, on_hang)?;
    let before = tree.contents()?;
    let mut steps = Steps { tree: &tree, granting, scenario, sshd, before: &before, broken: Vec::new(), verdict: None };
    let outcome = match steps.plan() {
        Err(error) => {
            steps.is_as_before("after a run that ended early")?;
            steps.refused(&error)
        }
        Ok(planned) => steps.carried_out(planned)?,
    };
    let Steps { mut broken, verdict, .. } = steps;
    let records: Vec<Record> = audit::read(tree.context.log.directory())?.flatten().collect();
    broken.extend(unforeseen(&calls(&records), reach::reached(&granting.component)?.of(scenario.procedure.as_str())));
    Ok(Trial { outcome, broken, verdict, records })
}

fn calls(records: &[Record]) -> BTreeSet<&str> {
    let asked = records.iter().filter(|record| matches!(record.event.kind, Kind::Asked | Kind::Denied));
    asked.filter_map(|record| record.event.capability.as_deref()).collect()
}

/// The calls of a run that the analysis of the component's code did not predict. `policy check` and `audit` rely on
/// there being none.
fn unforeseen(calls: &BTreeSet<&str>, reach: &BTreeSet<HostFunction>) -> Vec<String> {
    let unforeseen = calls.iter().filter(|function| !reach.contains(**function));
    unforeseen.map(|function| format!("it called {function}, which `warded audit` does not list for it")).collect()
}

struct Steps<'a> {
    tree: &'a Tree,
    granting: &'a BoundPolicy,
    scenario: &'a Scenario,
    sshd: Option<&'a Path>,
    before: &'a Contents,
    broken: Vec<String>,
    verdict: Option<Verdict>,
}

impl<'a> Steps<'a> {
    fn context(&self) -> &'a Context {
        &self.tree.context
    }

    fn refused(&self, error: &Error) -> Outcome {
        let next = error.notes_of(Label::Next).map(|text| self.tree.with_words(text)).collect();
        Outcome { exit: error.exit().code(), error: Some(error.message().to_owned()), next, ..Outcome::default() }
    }

    fn plan(&self) -> Result<PlannedRun<'a>> {
        let Scenario { procedure, force, .. } = self.scenario;
        let request = Request {
            granting: self.granting,
            procedure: procedure.clone(),
            settings: self.scenario.settings(),
            // As on a machine that was enrolled with these names.
            confirmed: self.scenario.machine.certificates.values().flatten().cloned().collect(),
            force: *force,
            renewed: BTreeSet::new(),
            run: Some(transaction::next_run(&self.context().state)?),
            accepted: None,
            tape: Tape::Off,
        };
        pipeline::plan(self.context(), request)
    }

    /// Carries the work out and rolls it back after each possible fault, then keeps it, then undoes it. The outcome is
    /// read after keeping and before undoing.
    fn carried_out(&mut self, planned: PlannedRun<'_>) -> Result<Outcome> {
        let messages = planned.session.messages.iter().map(|message| message.text.clone()).collect();
        let mut identity = planned.identity.clone();
        let mut work = Work::of(planned, Terms::default());
        let queue = work.queue().into_iter().map(named).collect();
        if work.is_empty() {
            return Ok(Outcome { messages, queue, ..Outcome::default() });
        }
        let certificates = match self.fill(&mut work) {
            Ok(certificates) => certificates,
            Err(error) => {
                self.is_as_before("after the CA gave no certificate")?;
                return Ok(Outcome { messages, ..self.refused(&error) });
            }
        };
        let failing = &self.scenario.machine.failing;
        let fails = |item: &QueueItem<'_>| matches!(item, QueueItem::Program(_, step) if failing.contains_key(&step.change.name));
        if let Some(item) = work.queue().into_iter().find(fails) {
            let (ended, left) = queue::fails_as_described(self, &identity, &work)?;
            self.broken.extend(left);
            self.is_as_before(&format!("after the run was rolled back, because `{}` failed", named(item)))?;
            let succeeds = || Error::usage(format!("`{}` succeeds in spite of machine.failing", named(item)));
            let error = ended.err().ok_or_else(succeeds)?;
            return Ok(Outcome { messages, ..self.refused(&error) });
        }
        for fault in queue::faults(&work) {
            let left = queue::fails(self, &identity, &work, fault)?;
            self.broken.extend(left);
            self.is_as_before(&format!("after the run was rolled back, because {}", queue::told(&work, fault)))?;
            let planned = self.plan()?;
            identity = planned.identity.clone();
            work = Work::of(planned, Terms::default());
            self.fill(&mut work)?;
        }
        self.keep(&identity, &work)?;
        let (after, documents) = (self.tree.contents()?, self.tree.programs.documents());
        self.verdict = judge::judge(&self.scenario.machine, self.sshd, self.before, &after)?;
        let again = self.plan()?.session.changes;
        // A program that cannot be undone runs each time that it is requested, so it does not count here.
        let programs = again.steps().iter().filter(|step| step.seen.is_some()).map(|step| step.change.name.as_str());
        let differ: Vec<&str> = again.staged().iter().map(|staged| staged.path.as_str()).chain(programs).collect();
        if !self.scenario.force && !differ.is_empty() {
            self.broken.push(format!("a second run changes something again: {}", differ.join(", ")));
        }
        if self.undo(&identity)? {
            self.is_as_before("after it was undone")?;
            let again = queue::again(work.steps.iter().rev(), |step| queue::rolls_back(self, step));
            self.broken.extend(again);
            if self.undo(&identity)? {
                self.broken.push("after it was undone, another undo undid something".to_owned());
            }
            self.is_as_before("after it was undone twice")?;
        }
        let outcome = self.outcome(&after, (messages, queue), certificates);
        let was = |(name, printed): &(Name, String)| self.scenario.machine.queries.get(name) != Some(printed);
        let documents = documents.into_iter().filter(was).map(|(name, printed)| (name.to_string(), printed));
        Ok(Outcome { documents: documents.collect(), ..outcome })
    }

    /// Carries out the whole work, and keeps it.
    fn keep(&self, identity: &Identity, work: &Work) -> Result<()> {
        let mut transaction = self.begin(identity, work)?;
        queue::run(self, &transaction, work, None)?;
        drop(transaction.keep()?);
        Ok(())
    }

    /// Asks the scenario's CA for every certificate.
    fn fill(&self, work: &mut Work) -> Result<BTreeMap<String, Certificate>> {
        let mut given = BTreeMap::new();
        let files: Vec<_> = work.certificate_files().map(|(path, request)| (path, request.clone())).collect();
        for (id, request) in work.requests() {
            let authority = self.context().authority.open()?;
            let certificate = authority.issue(&certify::wanted(&request));
            let certificate = certificate.map_err(|error| certify::told(error, &request))?;
            let lies = files.iter().filter(|(_, other)| other.public == request.public);
            given.extend(lies.map(|(path, _)| (path.display().to_string(), certificate.clone())));
            work.fill(id, certificate);
        }
        Ok(given)
    }

    fn begin(&self, identity: &Identity, work: &Work) -> Result<Transaction> {
        let (context, run) = (self.context(), work.run_identity(identity)?);
        let followup = Followup { reloads: work.reloads.clone(), steps: work.steps.clone(), ..Followup::default() };
        let (changes, reads) = (work.changes()?, work.reads());
        let mut transaction = Transaction::begin(&context.root, &context.state, &run, changes, reads, &followup)?;
        transaction.commit()?;
        Ok(transaction)
    }

    /// Returns false for a renewal, which `warded undo` does not undo by itself.
    fn undo(&self, identity: &Identity) -> Result<bool> {
        let context = self.context();
        let undo = undo_changes(&context.state, &context.root, UndoScope::Newest).map_err(Error::from)?;
        let Some(undo) = undo else { return Ok(false) };
        let work = Work::undoing(undo, Terms::default());
        let identity = Identity { run: Some(transaction::next_run(&context.state)?), ..identity.clone() };
        self.keep(&identity, &work)?;
        Ok(true)
    }

    fn is_as_before(&mut self, when: &str) -> Result<()> {
        let now = self.tree.contents()?;
        let paths: BTreeSet<&String> = self.before.keys().chain(now.keys()).collect();
        let mut differ: Vec<&str> =
            paths.into_iter().filter(|path| self.before.get(*path) != now.get(*path)).map(String::as_str).collect();
        let documents = self.tree.programs.documents();
        let queries = &self.scenario.machine.queries;
        differ
            .extend(queries.keys().filter(|name| !is_same(queries.get(*name), documents.get(*name))).map(Name::as_str));
        if !differ.is_empty() {
            self.broken.push(format!("{when}, these are not as they were: {}", differ.join(", ")));
        }
        Ok(())
    }

    fn outcome(
        &self,
        after: &Contents,
        (messages, queue): (Vec<String>, Vec<String>),
        certificates: BTreeMap<String, Certificate>,
    ) -> Outcome {
        let changed = after.iter().filter(|(path, found)| self.before.get(*path) != Some(found));
        let text = |(_, bytes): &(u32, Vec<u8>)| self.tree.with_words(&String::from_utf8_lossy(bytes));
        let files = changed.filter(|(path, _)| !certificates.contains_key(*path)).map(|(path, found)| {
            // Contents that differ each time are replaced by a fixed text.
            let contents = match &found.1 {
                bytes if warded_lib::machine::keys::holds_private_key(bytes) => "a private key\n".to_owned(),
                bytes if krl::is_list(bytes) => "a key revocation list\n".to_owned(),
                _ => text(found),
            };
            (path.clone(), contents)
        });
        let modes = after.iter().filter(|(path, (mode, _))| {
            let was = self.before.get(*path).map_or(Mode::OF_NEW, |(mode, _)| Mode::of(*mode));
            rustix::fs::FileType::from_raw_mode(*mode).is_file() && Mode::of(*mode) != was
        });
        Outcome {
            messages,
            queue,
            modes: modes.map(|(path, (mode, _))| (path.clone(), Mode::of(*mode))).collect(),
            removed: self.before.keys().filter(|path| !after.contains_key(*path)).cloned().collect(),
            files: files.collect(),
            certificates: certificates.into_iter().map(|(path, one)| (path, one.principals().to_vec())).collect(),
            ..Outcome::default()
        }
    }
}

fn named(queued: QueueItem<'_>) -> String {
    match queued {
        QueueItem::Program(_, step) => format!("run {}", step.change.name),
        QueueItem::Reload(reload) => format!("{} {}", reload.operation, reload.name),
    }
}

/// Whether two answers are the same, compared as JSON where both are JSON.
fn is_same(one: Option<&String>, other: Option<&String>) -> bool {
    let parsed = |text: Option<&String>| serde_json::from_str::<serde_json::Value>(text?).ok();
    one == other || parsed(one).is_some_and(|one| parsed(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_nobody_foresaw_is_told() {
        let reach = BTreeSet::from(["files.read".to_owned(), "log.info".to_owned()]);
        assert_eq!(unforeseen(&BTreeSet::from(["files.read"]), &reach), [""; 0]);
        let told = unforeseen(&BTreeSet::from(["files.read", "files.write"]), &reach);
        assert_eq!(told, ["it called files.write, which `warded audit` does not list for it"]);
    }
}
