//! Runs another build of a component against a recording: it reads nothing of a machine, and asks no CA.

use super::{scenario::Machine, tree::Tree};
use crate::{
    broker::{
        Broker, Identity,
        recording::{self, Divergence, Tape},
        session::{Renewal, Session},
    },
    context::HangHandler,
    sandbox::{self, granting::BoundPolicy},
};
use std::{collections::BTreeMap, rc::Rc};
use warded_artifact::recording::{Difference, Recording, differences};
use warded_lib::{
    error::{Error, Result},
    policy::{authorize::Circumstances, setting},
};

/// How a replay ended.
#[derive(Debug)]
pub struct ReplayResult {
    /// How many calls the run made.
    pub calls: usize,
    /// Where the run first asked for something else; `None` if it never did.
    pub divergence: Option<Divergence>,
    /// Where the results of the two runs would differ.
    pub differences: Vec<Difference>,
    /// Why the run did not complete; `None` if it did.
    pub ended: Option<String>,
}

/// Runs the procedure of a recording with another component. Grants are not checked here: `policy check` and `policy
/// update` compare those.
///
/// # Errors
/// The component has no such procedure, or cannot be run.
pub fn replay(granting: &BoundPolicy, recording: &Recording, on_hang: HangHandler) -> Result<ReplayResult> {
    let head = &recording.head;
    let procedure = granting.policy.procedures.get(&head.procedure).ok_or_else(|| {
        Error::refused(format!("the recording is of {}, and this component has no such procedure", head.procedure))
    })?;
    let settings = setting::resolve(&head.procedure, &procedure.settings, &head.settings)?;
    // This is only needed to make a session; no answer comes from it.
    let tree = Tree::make(&Machine::default(), on_hang)?;
    let context = &tree.context;
    let overdue = |what: &'static str| {
        move |_: &'static str| (on_hang.0)(&Error::refused(format!("{what} did not finish in time")))
    };
    let component = sandbox::Component::load_in_time(granting, None, overdue("compiling the component"))?;
    let circumstances = Circumstances {
        places: context.places.clone(),
        protected: Vec::new(),
        trusted: Vec::new(),
        mapped: Vec::new(),
        confirmed: [].into(),
        keys: BTreeMap::new(),
        actions: BTreeMap::new(),
    };
    // Every certificate of the recording is due, except those that were not.
    let renewed = head.not_due.iter().copied().collect();
    let renewal = Renewal {
        after_percent: 100,
        machine_id: String::new(),
        force: true,
        replaces_useless: false,
        renewed,
        now: 0,
    };
    let session = Session::new(
        circumstances,
        context.root.clone(),
        context.facts.clone(),
        context.authority.clone(),
        renewal,
        [].into(),
        None,
    );
    let identity = Identity {
        run: None,
        policy: granting.policy.name.clone(),
        component: granting.digest,
        procedure: head.procedure.clone(),
    };
    let replay = Rc::new(recording::Replay::of(recording.calls.clone()));
    let tape = Tape::Replaying(Rc::clone(&replay));
    let broker = Broker::new(identity, procedure.clone(), context.log.clone()).with(tape);
    let ended = sandbox::run(&component, &head.procedure, &settings, broker, session, overdue("the procedure"));
    let (calls, divergence) = replay.ended();
    Ok(ReplayResult {
        calls: calls.len(),
        divergence,
        differences: differences(&recording.calls, &calls),
        ended: ended.err().map(|error| error.message().to_owned()),
    })
}
