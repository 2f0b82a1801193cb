//! One hostile guest: what it is granted, what it does, and how its run has to end.

use super::record::{Record, ended, failed};
use crate::support::Machine;
use crate::support::script::Script;

type Prepare = Box<dyn Fn(&Machine) + Send + Sync>;
type Component = Box<dyn Fn(&Machine) -> Vec<u8> + Send + Sync>;

/// The guest and the expected end of its run. A case without an end cannot be run, and an end always has a record.
pub(super) struct Case<E = End> {
    pub(super) name: String,
    pub(super) grants: Vec<String>,
    /// `[action.NAME]` tables, with `{dir}` replaced. If none, the tables that every policy of a test has.
    pub(super) actions: Option<String>,
    pub(super) arguments: Vec<String>,
    pub(super) component: Component,
    pub(super) prepare: Vec<Prepare>,
    /// Something that another thread does again and again while the guest runs.
    pub(super) meanwhile: Option<Prepare>,
    /// Words that must be neither in the output nor in the audit log.
    pub(super) hides: Vec<String>,
    /// Paths that may differ afterwards.
    pub(super) changes: Vec<String>,
    /// Whether the policy has the digest of another component.
    pub(super) other_digest: bool,
    pub(super) end: E,
}

/// How the run has to end.
pub(super) struct End {
    /// The exit codes that are allowed.
    pub(super) exits: Vec<i32>,
    /// Words that must be in Warded's output.
    pub(super) says: Vec<String>,
    /// The most bytes that Warded may print.
    pub(super) most: usize,
    /// What must be in the audit log.
    pub(super) records: Vec<Record>,
}

/// A guest that does nothing yet.
pub(super) fn case(name: impl Into<String>) -> Case<()> {
    Case {
        name: name.into(),
        grants: Vec::new(),
        actions: None,
        arguments: Vec::new(),
        component: Box::new(|_| Vec::new()),
        prepare: Vec::new(),
        meanwhile: None,
        hides: Vec::new(),
        changes: Vec::new(),
        other_digest: false,
        end: (),
    }
}

impl<E> Case<E> {
    /// Adds grants: lines of a policy, with `{dir}` replaced.
    pub(super) fn granted(mut self, lines: &[&str]) -> Self {
        self.grants.extend(lines.iter().map(|line| (*line).to_owned()));
        self
    }

    /// Sets the actions of the policy.
    pub(super) fn with_actions(mut self, tables: &str) -> Self {
        self.actions = Some(tables.to_owned());
        self
    }

    /// Adds arguments for `warded apply go`.
    pub(super) fn told(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Sets what the guest does.
    pub(super) fn does(self, script: impl Fn(&mut Script) + Send + Sync + 'static) -> Self {
        self.made_as(move |machine| {
            let mut written = Script::new(machine.path("").to_str().unwrap().trim_end_matches('/'));
            script(&mut written);
            written.component()
        })
    }

    /// Sets the guest's component.
    pub(super) fn made_as(mut self, component: impl Fn(&Machine) -> Vec<u8> + Send + Sync + 'static) -> Self {
        self.component = Box::new(component);
        self
    }

    /// Prepares the machine beforehand.
    pub(super) fn given(mut self, prepare: impl Fn(&Machine) + Send + Sync + 'static) -> Self {
        self.prepare.push(Box::new(prepare));
        self
    }

    /// Sets what somebody else does again and again while the guest runs.
    pub(super) fn meanwhile(mut self, work: impl Fn(&Machine) + Send + Sync + 'static) -> Self {
        self.meanwhile = Some(Box::new(work));
        self
    }

    /// Adds words that must not be seen anywhere.
    pub(super) fn hides(mut self, words: &str) -> Self {
        self.hides.push(words.to_owned());
        self
    }

    /// Adds what may differ afterwards: beginnings of paths below the machine's directory.
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

impl Case<()> {
    /// The run ends with one of these exit codes, these words and this record.
    pub(super) fn ends(self, exits: &[i32], words: &[&str], record: Record) -> Case {
        let says = words.iter().map(|words| (*words).to_owned()).collect();
        let end = End { exits: exits.to_vec(), says, most: 1 << 20, records: vec![record] };
        let Self {
            name,
            grants,
            actions,
            arguments,
            component,
            prepare,
            meanwhile,
            hides,
            changes,
            other_digest,
            end: (),
        } = self;
        Case { name, grants, actions, arguments, component, prepare, meanwhile, hides, changes, other_digest, end }
    }

    /// Warded denies the guest this capability for what it asked for.
    pub(super) fn ends_denied(self, capability: &str, asked: &str, why: &str) -> Case {
        let says = [&format!("go of policy case asked for {capability}: "), why, "nothing was changed"];
        let mut case = self.ends(&[5], &says, Record::of("denied").about(capability, asked));
        case.end.most = 8 << 10;
        case
    }

    /// The guest asks for this, gets an error with this code, and ends with that error.
    pub(super) fn gives_up(self, capability: &str, asked: &str, code: &str, why: &str) -> Case {
        let says = [&format!("go gave up ({code}): "), why, "nothing was changed"];
        // If sshd does not accept a configuration, Warded's exit code is that of a refusal.
        let exit = if code == "invalid-configuration" { 5 } else { 1 };
        self.ends(&[exit], &says, failed(capability, asked, code))
    }

    pub(super) fn ends_stopped(self, why: &str) -> Case {
        self.ends(&[5], &[" was stopped: ", why, "nothing was changed"], ended(why))
    }

    /// Warded refuses the guest before any of it runs. The first of these words are in the audit log.
    pub(super) fn ends_refused(self, words: &[&str]) -> Case {
        self.ends(&[5], words, ended(words[0]))
    }
}

impl Case {
    /// Adds words that must be in Warded's output.
    pub(super) fn says(mut self, words: &str) -> Self {
        self.end.says.push(words.to_owned());
        self
    }

    /// Adds a record that must be in the audit log.
    pub(super) fn also(mut self, record: Record) -> Self {
        self.end.records.push(record);
        self
    }
}
