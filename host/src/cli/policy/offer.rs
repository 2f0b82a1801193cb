//! A component that an operator may accept: who signed it, what it asks for, and how it relates to the policy that is
//! there.

use super::{
    attempt::Attempt,
    source::LocatedComponent,
    words::{self, Weight},
};
use crate::{
    assessment::{self, Assessment, Severity, Usages},
    cli::output::{Output, Style},
    components::{
        self,
        accepted::{self, Publisher},
    },
    context::Context,
    publishing::{
        offered, pinned,
        signature::{self, VerifiedSignature},
    },
    sandbox::{Component, granting::BoundPolicy},
};
use jiff::Timestamp;
use std::path::Path;
use warded_artifact::{manifest::Manifest, read};
use warded_lib::{
    audit::{Ending, Event, Kind},
    digest::Digest,
    error::{Error, Result},
    machine::{files, schedule::Schedulers},
    name::Name,
    policy::{
        file::Policy,
        lines::{self, Key, Line},
        widening,
    },
    registry::{Artifact, SignedManifest},
    text::{neutral, neutral_path, shell_word},
};

/// What is offered.
pub(super) struct Offer {
    /// The policy as it would be accepted, bound to its component.
    pub(super) granting: BoundPolicy,
    /// Its text.
    pub(super) text: String,
    /// Who signed it.
    pub(super) publisher: Option<Publisher>,
    signed: Option<SignedManifest>,
    source: Option<String>,
    /// The digest of the artifact in a registry.
    pinned: Option<Digest>,
    assessed: Assessment,
}

/// How an offer relates to the existing policy of the same name.
#[derive(PartialEq, Eq)]
pub(super) struct Standing {
    /// The existing component.
    component: Digest,
    /// The existing version.
    pub(super) version: String,
    /// There is nothing to store: the same component exists with the same grants. Either the same publisher signed it
    /// and its signature is here, or the offer is not signed.
    pub(super) is_same: bool,
    /// The grants that go beyond what was accepted.
    pub(super) wider: Vec<String>,
    /// Only the grants differ, or who signed it.
    pub(super) same_component: bool,
    /// The offered version is higher.
    pub(super) is_newer: bool,
    /// Who signed the existing component.
    pub(super) publisher: Option<Publisher>,
    /// The same publisher signed both, or nobody did.
    pub(super) same_publisher: bool,
    /// A message, if the tag that it came from now names another artifact than at that time.
    pub(super) moved: Option<String>,
}

impl Offer {
    /// Verifies the signature of a component, if it has one, and compiles it within the limits of a run. `grants` are
    /// the text and the path of a policy file, if the operator chose one.
    ///
    /// # Errors
    /// It is not a component, carries no request, or is signed by somebody who may not sign.
    pub(super) fn of(
        context: &Context,
        attempt: Attempt<'_>,
        found: LocatedComponent,
        grants: Option<(&str, &Path)>,
        signers: Option<&Path>,
    ) -> Result<Self> {
        let LocatedComponent { artifact: Artifact { component, signed }, place, source, pinned } = found;
        let request = read::request(&component, &neutral_path(&place))?;
        let policy = Policy::parse(&request, "the component's request").map_err(|error| {
            let next = "have its publisher correct it: `warded policy check` shows the same";
            Error::refused("the component's request is not valid").cause(error.message()).next(next)
        })?;
        if components::is_bundled(&policy.name) {
            return Err(Error::refused(format!("the name {} is taken", policy.name))
                .cause("it is that of a policy which came with this program")
                .next("have its publisher give it another name"));
        }
        if components::is_reserved(&policy.name) {
            return Err(Error::refused(format!("no policy can be called {}", policy.name))
                .cause(format!("`warded audit {}` is a command", policy.name))
                .next("have its publisher give it another name"));
        }
        let default_signers = signature::default_allowed_signers(&context.policies);
        let signers = signers.unwrap_or(&default_signers);
        let publisher = signed.as_ref().map(|signed| verified(signed, signers, &component, &request, &policy));
        let publisher = publisher.transpose()?;
        if grants.is_none() {
            refuse_other_beside(&place, &policy, Digest::of(&component))?;
        }
        let (chosen, origin) = grants.unwrap_or((&request, &place));
        written_for(&Policy::parse(chosen, &neutral_path(origin))?, &policy, Digest::of(&component))?;
        let text = accepted::for_component(chosen, &component);
        let granting = components::bind_file(&text, origin, component)?;
        let overdue = {
            let on_hang = context.on_hang;
            move |what| (on_hang.0)(&Error::refused(format!("{what} did not finish in time")))
        };
        if attempt.is_plan {
            Component::load_to_look(&granting, &context.compiled(), overdue)?;
        } else {
            Component::load_in_time(&granting, Some(&context.compiled()), overdue)?;
        }
        let assessed =
            assessment::assess(&granting.component, Some(&policy), Some(&granting.policy), &Usages::default())?;
        Ok(Self { granting, text, publisher, signed, source, pinned, assessed })
    }

    /// How it relates to the existing policy of the same name, if there is one.
    ///
    /// # Errors
    /// The policies cannot be read.
    pub(super) fn standing(&self, context: &Context) -> Result<Option<Standing>> {
        let policy = &self.granting.policy;
        let there = components::load(&context.policies)?.into_iter().find(|there| there.policy.name == policy.name);
        let Some(there) = there else { return Ok(None) };
        accepted::refuse_elsewhere(&context.policies, &there)?;
        let file = context.policies.join(format!("{}.toml", policy.name));
        let provenance = accepted::provenance(&file, &there.digest);
        let (was_added, is_whole) = (provenance.is_some(), pinned::is_whole(&there)?);
        let moved = provenance.as_ref().and_then(|before| self.moved(before));
        let publisher = provenance.and_then(|provenance| provenance.publisher);
        let name = |publisher: &Option<Publisher>| publisher.as_ref().map(|publisher| publisher.name.clone());
        let same_component = there.digest == self.granting.digest;
        let is_by_same = |one: &Publisher| publisher.as_ref().is_some_and(|before| before.is_same(one));
        let is_signed_so = self.publisher.as_ref().is_none_or(is_by_same) && (self.publisher.is_none() || is_whole);
        Ok(Some(Standing {
            component: there.digest,
            is_same: same_component && there.grants == self.granting.grants && was_added && is_signed_so,
            wider: widening::wider(&there.policy, policy),
            same_component,
            is_newer: offered::is_higher(&policy.version, &there.policy.version),
            same_publisher: name(&publisher) == name(&self.publisher),
            publisher,
            moved,
            version: there.policy.version,
        }))
    }

    fn moved(&self, before: &accepted::Provenance) -> Option<String> {
        let (source, was, is) = (self.source.as_ref()?, before.artifact?, self.pinned?);
        let has_moved = before.source.as_ref() == Some(source) && was != is;
        has_moved.then(|| format!("the tag has moved since: {source} named {was} then, and names {is} now"))
    }

    /// Shows who signed it, and every grant, the most serious first.
    ///
    /// # Errors
    /// stdout cannot be written.
    pub(super) fn show(&self, output: Output) -> Result<()> {
        let BoundPolicy { policy, digest, .. } = &self.granting;
        let by = match &self.publisher {
            Some(publisher) => publisher.to_string(),
            None => output.paint(Style::Yellow, "NOT SIGNED"),
        };
        output.line(format!("{} {} · {digest} · {by}", policy.name, policy.version))?;
        output.line(&policy.summary)?;
        if !policy.instead_of.is_empty() {
            let names: Vec<&str> = policy.instead_of.iter().map(Name::as_str).collect();
            output.line(format!("!! stands in for {} on the machines that it is for", names.join(", ")))?;
        }
        output.line("Its procedures:")?;
        for (name, procedure) in &policy.procedures {
            output.line(format!("  {name}: {}", procedure.summary))?;
            for setting in super::settings(procedure) {
                output.line(format!("    {setting}"))?;
            }
        }
        self.show_grants(output)?;
        for finding in self.assessed.findings().iter().filter(|finding| finding.severity != Severity::Unused) {
            output.line(format!("note: {}: {}", finding.procedure, neutral(&finding.what)))?;
        }
        for note in self.assessed.notes() {
            output.line(format!("note: {}", neutral(&note)))?;
        }
        Ok(())
    }

    fn show_grants(&self, output: Output) -> Result<()> {
        let policy = &self.granting.policy;
        output.line("It would be granted:")?;
        let mut all: Vec<(Weight, &str, Line)> = policy
            .procedures
            .iter()
            .flat_map(|(name, procedure)| {
                lines::of(procedure).into_iter().map(|line| (Weight::in_policy(&line, policy), name.as_str(), line))
            })
            .collect();
        all.sort_by(|one, other| (one.0, one.1).cmp(&(other.0, other.1)));
        let width = all.iter().map(|(_, name, _)| name.len()).max().unwrap_or_default();
        for (weight, name, line) in &all {
            // A policy can reload or restart any unit under the name that it gives a service.
            let action = policy.actions.iter().find(|(name, _)| line.key == Key::Action && name.as_str() == line.value);
            let is_of_service = matches!(line.key, Key::Reload | Key::Restart);
            let service = policy.services.iter().find(|(name, _)| is_of_service && name.as_str() == line.value);
            let schedulers = policy.schedule.iter().filter(|_| line.key == Key::Schedule).flat_map(Schedulers::all);
            let files: Vec<String> = schedulers.flat_map(|scheduler| scheduler.paths()).collect();
            let what = match (service, action) {
                (Some((name, service)), _) => format!("{line}: {name} ({service})"),
                (None, Some((_, action))) => format!("{line}: {action}"),
                (None, None) if files.is_empty() => line.to_string(),
                (None, None) => format!("{line}: by one of {}", files.join(", ")),
            };
            let words = output.paint(Style::Dim, &format!("· {}", words::of(line, policy)));
            output.line(format!("  {:2} {name:width$}  {what} {words}", weight.mark()))?;
        }
        Ok(())
    }

    /// Stores it, on record. `before` is what it was compared with.
    ///
    /// # Errors
    /// Another command has changed that since; or it cannot be written or recorded. The existing policy is unchanged.
    pub(super) fn accept(&self, context: &Context, before: Option<&Standing>) -> Result<()> {
        let BoundPolicy { policy, digest, component, .. } = &self.granting;
        let by = match &self.publisher {
            Some(publisher) => format!("{} {}, {publisher}", policy.name, policy.version),
            None => format!("{} {}, not signed", policy.name, policy.version),
        };
        let event = |kind| Event {
            policy: policy.name.to_string(),
            component: Some(*digest),
            ..Event::new(0, kind).capability("policy.add").detail(&by)
        };
        let change = pinned::Change::begin(&context.state, &context.policies)?;
        if self.standing(context)?.as_ref() != before {
            return Err(Error::refused(format!(
                "another command has changed policy {} since this was judged",
                policy.name
            ))
            .unchanged()
            .next("run this again"));
        }
        context.log.append_synced(&event(Kind::Intent))?;
        let provenance = accepted::Provenance {
            publisher: self.publisher.clone(),
            added: Timestamp::now(),
            source: self.source.clone(),
            artifact: self.pinned,
        };
        let named = (&policy.name, self.text.as_str());
        let stored = accepted::store(&context.policies, named, component, self.signed.as_ref(), &provenance);
        let (kind, ending, how) = match &stored {
            Ok(()) => (Kind::Result, Ending::Kept, "added"),
            Err(_) => (Kind::Failed, Ending::Failed, "could not be added"),
        };
        context.log.conclude(&event(kind), ending, &format!("policy {by}: {how}"))?;
        stored?;
        change.record(&policy.name).map(drop)
    }
}

/// Refuses grants that were written for another component, or that claim another version: the publisher signed the
/// version, which decides whether a later one may replace it.
fn written_for(grants: &Policy, request: &Policy, component: Digest) -> Result<()> {
    if grants.name != request.name {
        return Err(Error::refused(format!(
            "the grants are for policy {}, but the component is policy {}",
            grants.name, request.name
        )));
    }
    if grants.component.is_some_and(|other| other != component) {
        return Err(Error::refused("the grants are for another component of this name")
            .next("check that this component should get them, and remove their line `component`"));
    }
    if grants.version != request.version {
        return Err(Error::refused(format!("the grants are for another version of {}", request.name))
            .cause(format!("they name {:?}, and the component has {:?}", grants.version, request.version))
            .next("check that this component should get them, and correct their line `version`"));
    }
    Ok(())
}

/// Refuses a component if the policy file beside it differs from its request: a person who reads that file would accept
/// another policy than the one that takes effect.
fn refuse_other_beside(component: &Path, request: &Policy, digest: Digest) -> Result<()> {
    if component.extension().is_none_or(|ending| ending != "wasm") {
        return Ok(());
    }
    let beside = component.with_extension("toml");
    let Some(bytes) = read::there(&beside, files::MAX_BYTES)? else { return Ok(()) };
    let shown = neutral_path(&beside);
    let differs = |error: Error| {
        error.unchanged().next(format!(
            "to grant what that file says: --grants {}; otherwise move the file away",
            shell_word(&beside.to_string_lossy())
        ))
    };
    let other = format!("{shown} is not the request that the component carries");
    let text = String::from_utf8(bytes).map_err(|error| differs(Error::refused(&other).cause(error)))?;
    let there = Policy::parse(&text, &shown).map_err(|error| differs(Error::refused(&other).cause(error.message())))?;
    let is_for_it = there.component.is_none_or(|named| named == digest);
    if is_for_it && (Policy { component: request.component, ..there.clone() }) == *request {
        return Ok(());
    }
    let beyond = widening::wider(request, &there).into_iter().map(|what| format!("only in the file: {what}"));
    let within = widening::wider(&there, request).into_iter().map(|what| format!("only in the component: {what}"));
    let found: Vec<String> = beyond.chain(within).collect();
    let refused = Error::refused(other);
    Err(differs(if found.is_empty() { refused } else { refused.cause(found.join("\n")) }))
}

/// Verifies the signed manifest of a component.
fn verified(
    signed: &SignedManifest,
    signers: &Path,
    component: &[u8],
    request: &str,
    policy: &Policy,
) -> Result<Publisher> {
    let (text, sealed) = (signed.manifest.as_bytes(), signed.signature.as_bytes());
    let manifest = Manifest::read(text, component, request, policy)?;
    let read = |file: &Path| {
        let unreadable =
            |why: &dyn std::fmt::Display| Error::failed(format!("cannot read {}", neutral_path(file))).cause(why);
        files::read_ours(file, files::MAX_BYTES, unreadable)
    };
    let list = read(signers)?.ok_or_else(|| {
        Error::refused("it is not known who may publish policies on this machine")
            .cause(format!("there is no {}", neutral_path(signers)))
            .next(format!(
                "if you trust {}, write a line for them: NAME namespaces=\"{}\" KEY (ssh-keygen(1), ALLOWED SIGNERS)",
                neutral(&manifest.publisher),
                signature::NAMESPACE
            ))
    })?;
    let revoked = read(&signature::revoked_signers(signers))?;
    let VerifiedSignature { key, until } = signature::verify(&manifest, (text, sealed), &list, revoked.as_deref())?;
    Ok(Publisher { name: manifest.publisher, key, until })
}
