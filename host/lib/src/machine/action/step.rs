//! A queued change, with the state before it, the state after it, and the change that undoes it. By the states the host
//! can tell after a crash whether the change ran.

use super::{Action, Element, Fault, Invocation, Kind, Runner, State, StateValue};
use crate::name::Name;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// A queued change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// How many reloads of the run come before it.
    pub after_reloads: usize,
    /// The change that runs.
    pub change: Invocation,
    /// How its state is seen; none: it cannot be undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<StateChange>,
}

/// The states before and after a change, the query that shows them, and the change that undoes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateChange {
    pub query: Invocation,
    /// What part of the query's answer is the state.
    pub state: State,
    /// The state before it.
    pub before: StateValue,
    /// The state after it.
    pub after: StateValue,
    pub undo: Invocation,
}

/// The result of rolling a step back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepRollback {
    /// The change had not run.
    AsBefore,
    /// The change was rolled back.
    RolledBack,
    /// The change was left as it is, for this reason.
    LeftAlone(String),
}

impl Step {
    /// Makes the step for an action, starting from the present state. `ask` runs a query.
    ///
    /// # Errors
    /// The state cannot be queried, or the change could not be undone.
    pub fn of(
        change: Invocation,
        actions: &BTreeMap<Name, Action>,
        ask: impl FnOnce(&Invocation) -> Result<super::QueryAnswer, Fault>,
    ) -> Result<Self, Fault> {
        let of_kind = |name: &Name, kind| actions.get(name).filter(|action| action.kind == kind);
        let known = change.action.state.clone().zip(change.action.undo.as_ref());
        let known = known.and_then(|(state, undo)| {
            Some((of_kind(&state.query, Kind::Query)?, of_kind(&undo.action, Kind::Change)?, state))
        });
        let Some((query, back, state)) = known else {
            change.call(None)?;
            return Ok(Self { after_reloads: 0, change, seen: None });
        };
        let query = Invocation::new(&state.query, query, [], &change.warded)?;
        let (before, element) = ask(&query)?.observed(&query, &state)?;
        let after = change.becomes(&state.becomes)?;
        if before == after {
            // The state is as wanted already, so nothing will be run.
            let undo = change.clone();
            return Ok(Self {
                after_reloads: 0,
                change,
                seen: Some(StateChange { query, state, before, after, undo }),
            });
        }
        change.call(element.as_ref())?;
        let Some(undo) = change.undo(back, (&before, element.as_ref()))? else {
            return Err(Fault::invalid(format!("{} names no undo", change.name)));
        };
        // An undo that uses the state at the time when it runs cannot be checked yet.
        if !undo.needs_state() {
            undo.call(None)?;
        }
        Ok(Self { after_reloads: 0, change, seen: Some(StateChange { query, state, before, after, undo }) })
    }

    /// Whether it would change the state.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.seen.as_ref().is_none_or(|seen| seen.before != seen.after)
    }

    /// Whether both steps are about the same state.
    #[must_use]
    pub fn is_about_same(&self, other: &Self) -> bool {
        match (&self.seen, &other.seen) {
            (Some(one), Some(other)) => one.query.is_same(&other.query) && one.state.member == other.state.member,
            (None, None) => self.change == other.change,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// The step that undoes this one; none if it cannot be undone.
    #[must_use]
    pub fn inverse(&self) -> Option<Self> {
        let StateChange { query, state, before, after, undo } = self.seen.clone()?;
        let seen = StateChange { query, state, before: after, after: before, undo: self.change.clone() };
        Some(Self { after_reloads: 0, change: undo, seen: Some(seen) })
    }

    /// The longest time that all programs of the step may take together, forwards or backwards.
    #[must_use]
    pub fn limit(&self) -> Duration {
        let asked = self.seen.as_ref().map_or(Duration::ZERO, |seen| seen.query.action.timeout() * 2);
        let undo = self.seen.as_ref().map_or(Duration::ZERO, |seen| seen.undo.action.timeout());
        asked + self.change.action.timeout() + undo
    }

    /// Runs the change, and checks the states before and after it. `begins` is called before each program.
    ///
    /// # Errors
    /// `changed`: the state differs from the one at planning time. Otherwise the program fails, or the state afterwards
    /// is not the one that the policy says.
    pub fn carry_out(&self, runner: &dyn Runner, begins: &mut dyn FnMut()) -> Result<(), Fault> {
        let name = &self.change.name;
        let Some(seen) = &self.seen else {
            begins();
            return self.change.run(runner, &self.change.call(None)?).map(drop);
        };
        begins();
        let (now, element) = seen.now(runner)?;
        if now != seen.before {
            return Err(Fault::changed(format!("{} is not what {name} was planned for", seen.query.name)));
        }
        let now = seen.changed_by(&self.change, element.as_ref(), runner, begins)?;
        if now == seen.after {
            return Ok(());
        }
        let unseen = seen.unseen(&self.change);
        if now != seen.before || !matches!(now, StateValue::Value(_)) {
            return Err(unseen);
        }
        // The query may show the change late, or never. A rollback relies on the query and would do nothing, so the
        // undo runs now. Setting a value that is set already does no harm; making or deleting an object a second time
        // would, so this is done only for values.
        begins();
        let undone = seen.undo.call(None).and_then(|call| seen.undo.run(runner, &call));
        Err(match undone {
            Ok(_) => unseen,
            Err(why) => Fault::unexpected(format!("{}; it cannot be undone either: {}", unseen.message, why.message)),
        })
    }

    /// Undoes the change if it ran; the state shows whether it did.
    ///
    /// # Errors
    /// The state cannot be queried, or the program fails; then the rollback has to be tried again.
    pub fn roll_back(&self, runner: &dyn Runner, begins: &mut dyn FnMut()) -> Result<StepRollback, Fault> {
        let Some(seen) = &self.seen else {
            return Ok(StepRollback::LeftAlone("nothing undoes it, and it may have run".to_owned()));
        };
        begins();
        let (now, element) = seen.now(runner)?;
        if now == seen.before {
            return Ok(StepRollback::AsBefore);
        }
        if now != seen.after {
            return Ok(StepRollback::LeftAlone(format!(
                "{} shows neither the state before it nor the one after it: somebody else changed that",
                seen.query.name
            )));
        }
        let undone = seen.changed_by(&seen.undo, element.as_ref(), runner, begins);
        let undone = undone.and_then(|now| if now == seen.before { Ok(()) } else { Err(seen.unseen(&seen.undo)) });
        match undone {
            // Whatever the program reports, the state decides.
            Err(_) if seen.now(runner).is_ok_and(|(now, _)| now == seen.before) => Ok(StepRollback::RolledBack),
            Err(fault) => Err(fault),
            Ok(()) => Ok(StepRollback::RolledBack),
        }
    }
}

impl StateChange {
    /// The present state, and the one object that it belongs to.
    ///
    /// # Errors
    /// The state cannot be queried.
    pub fn now(&self, runner: &dyn Runner) -> Result<(StateValue, Option<Element>), Fault> {
        self.query.ask(runner)?.observed(&self.query, &self.state)
    }

    /// Runs a change, and returns the state after it.
    fn changed_by(
        &self,
        change: &Invocation,
        element: Option<&Element>,
        runner: &dyn Runner,
        begins: &mut dyn FnMut(),
    ) -> Result<StateValue, Fault> {
        begins();
        change.run(runner, &change.call(element)?)?;
        begins();
        Ok(self.now(runner)?.0)
    }

    /// The error for a change that succeeded although the query does not show its effect.
    fn unseen(&self, change: &Invocation) -> Fault {
        Fault::unexpected(format!("{} succeeded, and {} does not show that", change.name, self.query.name))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Call, Code, RawOutput},
        *,
    };
    use std::sync::Mutex;
    use zeroize::Zeroizing;

    const ACTIONS: &str = "
[show]
kind = 'query'
argv = ['/t', 'show']
output = { json = ['options'] }
[set]
kind = 'change'
argv = ['/t', 'set', '{options}']
input.options = { type = 'line' }
state = { query = 'show', member = 'options', becomes = '{options}' }
undo = { action = 'set', options = '{before}' }
[once]
kind = 'change'
argv = ['/t', 'set', 'x']
irreversible = true
[jobs]
kind = 'query'
argv = ['/t', 'jobs']
output = { json = ['id'] }
[job-create]
kind = 'change'
argv = ['/t', 'create']
state = { query = 'jobs', becomes = 'present' }
undo = { action = 'job-delete' }
[job-delete]
kind = 'change'
argv = ['/t', 'delete', '{state.id}']
state = { query = 'jobs', becomes = 'absent' }
undo = { action = 'job-create' }
";

    /// A program that stores its options and jobs.
    #[derive(Debug, Default)]
    struct Tool {
        options: Mutex<String>,
        jobs: Mutex<Vec<u32>>,
        lies: bool,
        /// If set, the query shows this, whatever was set.
        shows: Option<&'static str>,
    }

    impl Runner for Tool {
        fn run(&self, call: &Call) -> Result<RawOutput, Fault> {
            let words: Vec<&str> = call.argv.iter().skip(1).map(String::as_str).collect();
            let mut jobs = self.jobs.lock().unwrap();
            let printed = match words.as_slice() {
                ["show"] => {
                    let options = self.options.lock().unwrap();
                    format!("{{\"options\":{:?},\"key\":\"PRIVATE\"}}", self.shows.unwrap_or(&options))
                }
                ["jobs"] => {
                    format!("[{}]", jobs.iter().map(|id| format!("{{\"id\":{id}}}")).collect::<Vec<_>>().join(","))
                }
                ["set", value] if !self.lies => {
                    *self.options.lock().unwrap() = (*value).to_owned();
                    String::new()
                }
                ["create"] => {
                    jobs.push(7);
                    String::new()
                }
                ["delete", id] => {
                    jobs.retain(|job| job.to_string() != *id);
                    String::new()
                }
                _ => String::new(),
            };
            Ok(RawOutput { status: Some(0), stdout: Zeroizing::new(printed.into_bytes()), ..RawOutput::default() })
        }
    }

    fn step(tool: &Tool, name: &str, given: &[(&str, &str)]) -> Result<Step, Fault> {
        let all: BTreeMap<Name, Action> = toml::from_str(ACTIONS).unwrap();
        assert_eq!(all.values().find_map(|action| action.fault(&all)), None);
        let name = name.parse().unwrap();
        let filled = Invocation::new(&name, &all[&name], given.iter().copied(), "")?;
        Step::of(filled, &all, |query| query.ask(tool))
    }

    #[test]
    fn the_state_says_whether_it_ran() {
        let tool = Tool { options: Mutex::new("old".to_owned()), ..Tool::default() };
        let set = step(&tool, "set", &[("options", "new")]).unwrap();
        assert!(set.differs());
        assert_eq!(set.roll_back(&tool, &mut || {}), Ok(StepRollback::AsBefore));
        set.carry_out(&tool, &mut || {}).unwrap();
        assert_eq!(*tool.options.lock().unwrap(), "new");
        assert!(!step(&tool, "set", &[("options", "new")]).unwrap().differs());
        // Another program made the change after it was planned.
        assert_eq!(set.carry_out(&tool, &mut || {}).unwrap_err().code, Code::Changed);
        "theirs".clone_into(&mut tool.options.lock().unwrap());
        assert!(matches!(set.roll_back(&tool, &mut || {}), Ok(StepRollback::LeftAlone(_))));
        assert_eq!(*tool.options.lock().unwrap(), "theirs");
        "new".clone_into(&mut tool.options.lock().unwrap());
        let again = step(&tool, "set", &[("options", "newer")]).unwrap();
        again.carry_out(&tool, &mut || {}).unwrap();
        assert_eq!(again.roll_back(&tool, &mut || {}), Ok(StepRollback::RolledBack));
        assert_eq!(*tool.options.lock().unwrap(), "new");
        let once = step(&tool, "once", &[]).unwrap();
        assert!(once.differs() && once.inverse().is_none());
        assert!(matches!(once.roll_back(&tool, &mut || {}), Ok(StepRollback::LeftAlone(_))));
    }

    #[test]
    fn a_thing_comes_and_goes() {
        let tool = Tool::default();
        let create = step(&tool, "job-create", &[]).unwrap();
        let kept: Step = serde_json::from_str(&serde_json::to_string(&create).unwrap()).unwrap();
        assert_eq!(kept, create);
        create.carry_out(&tool, &mut || {}).unwrap();
        assert_eq!(*tool.jobs.lock().unwrap(), [7]);
        let back = create.inverse().unwrap();
        back.carry_out(&tool, &mut || {}).unwrap();
        assert!(tool.jobs.lock().unwrap().is_empty());
        // Rolling back twice is harmless: if the run is killed before it records the rollback, it rolls back again.
        for ended in [StepRollback::RolledBack, StepRollback::AsBefore] {
            assert_eq!(back.roll_back(&tool, &mut || {}), Ok(ended));
            assert_eq!(*tool.jobs.lock().unwrap(), [7]);
        }
        tool.jobs.lock().unwrap().push(8);
        assert_eq!(step(&tool, "job-delete", &[]).unwrap_err().code, Code::UnexpectedOutput);
    }

    #[test]
    fn a_tool_that_did_nothing_is_no_success() {
        let tool = Tool { lies: true, ..Tool::default() };
        let set = step(&tool, "set", &[("options", "new")]);
        // The empty text before the change cannot be an argument of the undo.
        assert_eq!(set.unwrap_err().code, Code::InvalidInput);
        "old".clone_into(&mut tool.options.lock().unwrap());
        let set = step(&tool, "set", &[("options", "new")]).unwrap();
        let mut programs = 0;
        assert_eq!(set.carry_out(&tool, &mut || programs += 1).unwrap_err().code, Code::UnexpectedOutput);
        // The change and its undo both ran, since the change might have had an effect.
        assert_eq!(programs, 4);
        assert_eq!(set.roll_back(&tool, &mut || {}), Ok(StepRollback::AsBefore));
    }

    #[test]
    fn what_a_query_does_not_show_is_undone() {
        let tool = Tool { options: Mutex::new("old".to_owned()), shows: Some("old"), ..Tool::default() };
        let set = step(&tool, "set", &[("options", "new")]).unwrap();
        assert_eq!(set.carry_out(&tool, &mut || {}).unwrap_err().code, Code::UnexpectedOutput);
        assert_eq!(*tool.options.lock().unwrap(), "old");
        // A value that somebody else set stays.
        let tool = Edited(Tool { options: Mutex::new("old".to_owned()), ..Tool::default() });
        assert_eq!(set.carry_out(&tool, &mut || {}).unwrap_err().code, Code::UnexpectedOutput);
        assert_eq!(*tool.0.options.lock().unwrap(), "theirs");
        assert!(matches!(set.roll_back(&tool, &mut || {}), Ok(StepRollback::LeftAlone(_))));
    }

    /// Somebody else changes the value right after it was set.
    #[derive(Debug)]
    struct Edited(Tool);

    impl Runner for Edited {
        fn run(&self, call: &Call) -> Result<RawOutput, Fault> {
            let ran = self.0.run(call);
            if call.argv.iter().any(|word| word == "set") {
                "theirs".clone_into(&mut self.0.options.lock().unwrap());
            }
            ran
        }
    }
}
