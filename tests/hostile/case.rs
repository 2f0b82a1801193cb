//! One hostile guest: what it is granted, what it does, and how that has to end.

use crate::support::Machine;
use crate::support::script::Script;

type Prepare = Box<dyn Fn(&Machine) + Send + Sync>;
type Component = Box<dyn Fn(&Machine) -> Vec<u8> + Send + Sync>;

/// The guest, and what has to become of it.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) grants: Vec<String>,
    pub(super) arguments: Vec<String>,
    pub(super) component: Component,
    pub(super) prepare: Vec<Prepare>,
    /// Something that happens again and again while the guest runs.
    pub(super) meanwhile: Option<Prepare>,
    /// The exit codes that are right.
    pub(super) exits: Vec<i32>,
    /// Words that have to be in what Warded says.
    pub(super) says: Vec<String>,
    /// Words that must not be anywhere in it, nor on record.
    pub(super) hides: Vec<String>,
    /// A kind of record, and words in it.
    pub(super) record: Option<(String, String)>,
    /// What may differ afterwards.
    pub(super) changes: Vec<String>,
    /// Whether the policy is written for another component.
    pub(super) other_digest: bool,
}

/// A guest that does nothing yet; refusal is what is expected.
pub(super) fn case(name: impl Into<String>) -> Case {
    Case {
        name: name.into(),
        grants: Vec::new(),
        arguments: Vec::new(),
        component: Box::new(|_| Vec::new()),
        prepare: Vec::new(),
        meanwhile: None,
        exits: vec![5],
        says: Vec::new(),
        hides: Vec::new(),
        record: None,
        changes: Vec::new(),
        other_digest: false,
    }
}

impl Case {
    /// Adds grants: lines of a policy, `{dir}` in them replaced.
    pub(super) fn granted(mut self, lines: &[&str]) -> Self {
        self.grants.extend(lines.iter().map(|line| (*line).to_owned()));
        self
    }

    /// Adds arguments of `warded apply go`.
    pub(super) fn told(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// What the guest does.
    pub(super) fn does(self, script: impl Fn(&mut Script) + Send + Sync + 'static) -> Self {
        self.made_as(move |machine| {
            let mut written = Script::new(machine.path("").to_str().unwrap().trim_end_matches('/'));
            script(&mut written);
            written.component()
        })
    }

    /// What the guest is.
    pub(super) fn made_as(mut self, component: impl Fn(&Machine) -> Vec<u8> + Send + Sync + 'static) -> Self {
        self.component = Box::new(component);
        self
    }

    /// What is on the machine beforehand.
    pub(super) fn given(mut self, prepare: impl Fn(&Machine) + Send + Sync + 'static) -> Self {
        self.prepare.push(Box::new(prepare));
        self
    }

    /// What somebody else does in the meantime, again and again.
    pub(super) fn meanwhile(mut self, work: impl Fn(&Machine) + Send + Sync + 'static) -> Self {
        self.meanwhile = Some(Box::new(work));
        self
    }

    /// How it ends: one of these exit codes, and these words.
    pub(super) fn ends(mut self, exits: &[i32], words: &[&str]) -> Self {
        self.exits = exits.to_vec();
        self.says = words.iter().map(|words| (*words).to_owned()).collect();
        self
    }

    /// It is denied this capability.
    pub(super) fn ends_denied(self, capability: &str, why: &str) -> Self {
        self.ends(&[5], &[&format!("go of policy case asked for {capability}: "), why, "nothing was changed"])
            .on_record("denied", capability)
    }

    /// It gets an error with this code, and ends with it.
    pub(super) fn gives_up(self, code: &str, why: &str) -> Self {
        self.ends(&[1], &[&format!("go gave up ({code}): "), why, "nothing was changed"]).on_record("failed", code)
    }

    /// It is stopped.
    pub(super) fn ends_stopped(self, why: &str) -> Self {
        self.ends(&[5], &[" was stopped: ", why, "nothing was changed"]).on_record("ended", why)
    }

    /// What has to be on record: a kind, and words in that record.
    pub(super) fn on_record(mut self, kind: &str, words: &str) -> Self {
        self.record = Some((kind.to_owned(), words.to_owned()));
        self
    }

    /// What must not be seen anywhere.
    pub(super) fn hides(mut self, words: &str) -> Self {
        self.hides.push(words.to_owned());
        self
    }

    /// What may be another afterwards: beginnings of paths below the machine's directory.
    pub(super) fn may_change(mut self, paths: &[&str]) -> Self {
        self.changes.extend(paths.iter().map(|path| (*path).to_owned()));
        self
    }

    /// The policy was accepted for another component.
    pub(super) fn with_another_digest(mut self) -> Self {
        self.other_digest = true;
        self
    }
}
