//! What each procedure of a policy could do, asks for, may do, and did, side by side.
//!
//! *Reachable* comes from the component's code (`reach.rs`), *requested* from the request that the component carries,
//! *granted* from the policy file, *exercised* from the audit log. Reach knows functions, not their arguments: only
//! grants and the log name paths and services.

mod finding;
mod functions;
mod suggestion;
mod usage;

pub use finding::{Finding, Severity};
use functions::Grants;
pub use suggestion::Suggestion;
pub use usage::{Exercise, Usage, Usages};

use std::collections::{BTreeMap, BTreeSet};
use warded_artifact::reach::{self, ComponentReach, HostFunction, Reach};
use warded_lib::{
    error::Result,
    name::Name,
    policy::{file::Policy, lines::Line, widening},
};

/// A component, assessed by what is known of it.
#[derive(Debug)]
pub struct Assessment {
    /// What is in force: the policy, or the component's own request where no policy grants it anything.
    pub basis: Basis,
    /// Every function of the host that the component imports.
    pub imported: BTreeSet<HostFunction>,
    /// Its procedures, by name.
    pub procedures: BTreeMap<String, Procedure>,
    /// Exported functions that neither the request nor the policy describes: the host never calls them.
    pub never_called: BTreeSet<String>,
}

/// Where the grants of an assessment come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A component's request.
    Request,
    /// A policy file.
    Policy,
}

#[derive(Debug)]
pub struct Procedure {
    /// Where the procedure's grants come from.
    pub basis: Basis,
    /// What the procedure can call.
    pub reach: Reach,
    /// Every grant that is requested or granted.
    pub grants: Vec<Grant>,
    /// For each function that the procedure can call, the grants in force that allow it; `None` if it needs no grant.
    pub calls: BTreeMap<HostFunction, Option<Vec<String>>>,
    /// Functions that the procedure can call and that nothing in force allows. Where calls cannot be followed, this
    /// lists only functions of interfaces of which nothing is allowed, since an interpreter imports whole interfaces.
    pub ungranted: BTreeSet<HostFunction>,
    /// The other functions of these interfaces, where calls cannot be followed: the procedure may call them, and
    /// nothing allows them.
    pub not_ruled_out: BTreeSet<HostFunction>,
    /// What the log says of the procedure.
    pub usage: Usage,
}

/// One grant of a procedure.
#[derive(Debug)]
pub struct Grant {
    pub line: Line,
    /// Whether the procedure can call a function that needs it.
    pub reachable: bool,
    /// Whether the component's request contains it.
    pub requested: bool,
    /// Whether the policy file contains it.
    pub granted: bool,
    /// For a grant with a wildcard: the names in the component's data that the wildcard matches.
    pub named: BTreeSet<String>,
}

/// Assesses a component. Without a policy, the request counts as granted.
///
/// # Errors
/// It is not a component, or it imports what no procedure gets.
pub fn assess(
    component: &[u8],
    request: Option<&Policy>,
    policy: Option<&Policy>,
    usages: &Usages,
) -> Result<Assessment> {
    let reached = reach::reached(component)?;
    let (granting, basis) = if policy.is_some() { (policy, Basis::Policy) } else { (request, Basis::Request) };
    let described: BTreeSet<&str> =
        granting.into_iter().flat_map(|policy| policy.procedures.keys()).map(Name::as_str).collect();
    let procedures = described.iter().map(|name| {
        let (requested, granted) = (Grants::of(request, name), Grants::of(policy, name));
        let judged = Procedure::of((component, &reached), (name, basis), &requested, &granted);
        ((*name).to_owned(), Procedure { usage: usages.of(name), ..judged })
    });
    let procedures = procedures.collect();
    let exports = reached.procedures.keys().chain(&reached.other_exports);
    let never_called = exports.filter(|name| !described.contains(name.as_str())).cloned().collect();
    Ok(Assessment { basis, imported: reached.imported, procedures, never_called })
}

impl Procedure {
    fn of(
        (component, reached): (&[u8], &ComponentReach),
        (name, basis): (&str, Basis),
        requested: &Grants<'_>,
        granted: &Grants<'_>,
    ) -> Self {
        let functions = reached.of(name);
        let in_force = match basis {
            Basis::Request => requested,
            Basis::Policy => granted,
        };
        // A policy may grant only part of a line of the request. Then that line is requested, and so is the part that
        // is granted.
        let covers = |wide: &Line, line: &Line| wide == line || widening::is_within(line, wide);
        let others = requested.lines.iter().filter(|line| !granted.lines.contains(line));
        let others = others.map(|line| (line, requested));
        let grants = granted.lines.iter().map(|line| (line, granted)).chain(others).map(|(line, of)| Grant {
            reachable: functions.iter().any(|function| of.serves(line, function)),
            requested: requested.lines.iter().any(|wide| covers(wide, line)),
            granted: granted.lines.contains(line),
            named: named(component, line),
            line: line.clone(),
        });
        let reach = reached.procedures.get(name).cloned();
        let reach = reach.unwrap_or(Reach::Everything { because: "the component does not export it" });
        let used: BTreeSet<&str> = match &reach {
            Reach::Functions(_) => BTreeSet::new(),
            Reach::Everything { .. } => {
                let granted = |function: &&HostFunction| Grants::is_bound(function) && in_force.allow(function);
                functions.iter().filter(granted).map(|function| interface(function)).collect()
            }
        };
        let allowing = |function: &HostFunction| {
            let lines = in_force.lines.iter().filter(|line| in_force.serves(line, function));
            Grants::is_bound(function).then(|| lines.map(ToString::to_string).collect())
        };
        let calls = functions.iter().map(|function| (function.clone(), allowing(function))).collect();
        let not_allowed = functions.iter().filter(|function| !in_force.allow(function));
        let (not_ruled_out, ungranted) = not_allowed.cloned().partition(|function| used.contains(interface(function)));
        Self { basis, grants: grants.collect(), calls, ungranted, not_ruled_out, reach, usage: Usage::default() }
    }
}

/// The names in a component's data that the last part of a path grant could stand for.
fn named(component: &[u8], line: &Line) -> BTreeSet<String> {
    let pattern = line.paths().map(|grant| grant.path.to_string()).unwrap_or_default();
    let last = pattern.rsplit('/').next().and_then(|last| last.split_once('*'));
    last.filter(|(_, after)| !after.contains('*')).map(|parts| reach::names(component, parts)).unwrap_or_default()
}

fn interface(function: &str) -> &str {
    function.split_once('.').map_or(function, |(interface, _)| interface)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use warded_artifact::imports;

    /// An interpreter imports whole interfaces. An interface of which nothing is granted is one too many.
    #[test]
    fn an_interpreter_imports_what_it_has_grants_for() {
        let component = wat::parse_str(
            r#"(component
                (import "warded:host/files@0.1.0" (instance (export "read" (func)) (export "write" (func))))
                (import "warded:host/log@0.1.0" (instance (export "info" (func)) (export "warn" (func))))
                (component $interpreter) (core module $module (func (export "p")))
                (core instance $m (instantiate $module)) (func (export "p") (canon lift (core func $m "p"))))"#,
        )
        .unwrap();
        let found = |grants: &str| {
            let text = format!("name = \"a\"\nversion = \"1\"\n[procedure.p]\nsummary = \"s\"\n{grants}");
            let request = Policy::parse(&text, "a request").unwrap();
            let assessed = assess(&component, Some(&request), None, &Usages::default()).unwrap();
            assessed.findings().into_iter().map(|finding| finding.what).collect::<Vec<_>>()
        };
        assert_eq!(found("files.write = [\"/a\"]\nlog = [\"info\"]"), Vec::<String>::new());
        let not_asked = |function: &str| format!("it can call {function}, and the request does not ask for it");
        assert_eq!(found("files.write = [\"/a\"]"), [not_asked("log.info"), not_asked("log.warn")]);
    }

    /// A component whose procedure `p` calls `keys.replace` and `files.write`.
    const CALLS: &str = r#"(component
        (import "warded:host/keys@0.1.0" (instance $keys (export "replace" (func))))
        (import "warded:host/files@0.1.0" (instance $files (export "write" (func))))
        (core func $replace (canon lower (func $keys "replace")))
        (core func $write (canon lower (func $files "write")))
        (core instance $host (export "replace" (func $replace)) (export "write" (func $write)))
        (core module $module
            (import "host" "replace" (func $replace)) (import "host" "write" (func $write))
            (func (export "p") call $replace call $write))
        (core instance $m (instantiate $module (with "host" (instance $host))))
        (func (export "p") (canon lift (core func $m "p"))))"#;

    fn policy(grants: &str) -> Policy {
        let text = format!("name = \"a\"\nversion = \"1\"\n[procedure.p]\nsummary = \"s\"\n{grants}");
        Policy::parse(&text, "a policy").unwrap()
    }

    /// A grant of keywords does not allow a file, and a grant of a key does not allow a new key in its place.
    #[test]
    fn a_call_needs_all_of_its_grants() {
        let component = wat::parse_str(CALLS).unwrap();
        let ungranted = |grants: &str| {
            let assessed = assess(&component, Some(&policy(grants)), None, &Usages::default()).unwrap();
            Vec::from_iter(assessed.procedures["p"].ungranted.clone())
        };
        let (key, rekey) = ("keys = [\"/k\"]\n", "authority = [\"rekey host\"]\n");
        let (keywords, write) = ("sshd.keywords = [\"Port\"]\n", "files.write = [\"/f\"]\n");
        assert_eq!(ungranted(&[key, rekey, write].concat()), [""; 0]);
        assert_eq!(ungranted(&[key, write, keywords].concat()), ["keys.replace"]);
        assert_eq!(ungranted(&[rekey, write].concat()), ["keys.replace"]);
        assert_eq!(ungranted(&[key, rekey, keywords].concat()), ["files.write"]);
    }

    #[test]
    fn what_a_policy_narrows_was_requested_and_what_it_leaves_out_is_not_granted() {
        let component = wat::parse_str(CALLS).unwrap();
        let request = policy("keys = [\"/k/*\"]\nauthority = [\"rekey host\"]\nfiles.write = [\"/d/*\"]\n");
        let of = |grants: &str| {
            let assessed = assess(&component, Some(&request), Some(&policy(grants)), &Usages::default()).unwrap();
            let rows = assessed.procedures["p"].grants.iter();
            let rows = rows.map(|row| format!("{} {} {}", row.line, row.requested, row.granted)).collect::<Vec<_>>();
            (rows, assessed.findings().into_iter().map(|finding| finding.severity).collect::<Vec<_>>())
        };
        let narrowed =
            "keys = [\"/k/a\"]\nauthority = [\"rekey host\"]\nfiles.write = [{ path = \"/d/a\", forbid = \"{\" }]\n";
        let (rows, findings) = of(narrowed);
        insta::assert_snapshot!(rows.join("\n"), @r#"
        authority rekey host true true
        keys /k/a true true
        files.write { path = "/d/a", forbid = "{" } true true
        keys /k/* true false
        files.write /d/* true false
        "#);
        assert_eq!(findings, []);
        assert_eq!(of("").1, [Severity::Under, Severity::Under]);
    }

    /// The procedures in this repository ask for what they can call, and for nothing else.
    #[test]
    fn each_procedure_of_ours_can_call_what_it_asks_for() {
        for name in ["unix", "demo", "bsd", "nethserver", "truenas", "truenas-core"] {
            let bytes = fs::read(format!("{}/../policies/{name}.wasm", env!("CARGO_MANIFEST_DIR"))).unwrap();
            let request = imports::request(&bytes).unwrap().unwrap();
            let request = Policy::parse(&request, "a request of ours").unwrap();
            let assessed = assess(&bytes, Some(&request), Some(&request), &Usages::default()).unwrap();
            assert_eq!(assessed.findings(), [], "{name}");
            let followed = assessed.procedures.values().all(|one| matches!(one.reach, Reach::Functions(_)));
            assert!(followed && assessed.never_called.is_empty(), "{name}");
        }
    }

    /// A grant more, a call more, and a denial are found.
    #[test]
    fn what_does_not_fit_is_found() {
        let bytes = fs::read(format!("{}/../policies/demo.wasm", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let text = imports::request(&bytes).unwrap().unwrap();
        let parse = |text: &str| Policy::parse(text, "a policy").unwrap();
        let found = |policy: &str| {
            let assessed = assess(&bytes, Some(&parse(&text)), Some(&parse(policy)), &Usages::default()).unwrap();
            let findings = assessed.findings();
            findings.iter().map(|finding| format!("{} {}", finding.severity, finding.what)).collect::<Vec<_>>()
        };
        let write = "files.write = [\"{sshd}/sshd_config.d/60-demo.conf\"]";
        assert!(text.contains(write));
        for (from, to, expected) in [
            (
                write,
                &format!("{write}\nlog = [\"info\"]"),
                "over log info is granted, and the procedure can call nothing that needs it",
            ),
            (
                write,
                &write.replace("60-demo", "*"),
                "over files.write {sshd}/sshd_config.d/*.conf is granted, and the component does not ask for it",
            ),
            (
                write,
                &format!("{write}\nfiles.read = [\"{{sshd}}/sshd_config.d/60-demo.conf\"]"),
                "over files.read {sshd}/sshd_config.d/60-demo.conf is granted, and the procedure can call nothing that needs it",
            ),
            (
                "services.ssh = [\"reload\"]",
                &String::new(),
                "under it can call services.reload, and no grant allows that: such a run is denied",
            ),
        ] {
            assert_eq!(found(&text.replace(from, to)), [expected]);
        }
    }
}
