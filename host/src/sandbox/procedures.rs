//! Procedures are a component's exports: a function for each, all of one type.

use crate::sandbox::granting::Granting;
use std::collections::BTreeSet;
use warded_lib::{
    error::{Error, Result},
    text::neutral,
};
use wasmtime::{
    Engine,
    component::{Component, types::ComponentItem},
};

/// Checks that the exports and the policy's `[procedure.*]` tables are the same ones.
///
/// # Errors
/// An export without a table, a table without an export, or an export of another kind.
pub(super) fn check(engine: &Engine, component: &Component, granting: &Granting) -> Result<()> {
    let name = &granting.policy.name;
    let mut exported = BTreeSet::new();
    for (export, item) in component.component_type().exports(engine) {
        match item.ty {
            ComponentItem::ComponentFunc(_) => {
                exported.insert(export.to_owned());
            }
            // The types that a world uses are exported beside its functions.
            ComponentItem::Type(_) | ComponentItem::Resource(_) => {}
            ComponentItem::ComponentInstance(_)
            | ComponentItem::Component(_)
            | ComponentItem::CoreFunc(_)
            | ComponentItem::Module(_) => {
                return Err(Error::refused(format!(
                    "the component of policy {name} exports {}, which is no procedure",
                    neutral(export)
                ))
                .next("export one function per procedure: docs/POLICIES.md"));
            }
        }
    }
    let described: BTreeSet<String> = granting.policy.procedures.keys().map(ToString::to_string).collect();
    let list = |names: Vec<&String>| names.into_iter().map(|name| neutral(name)).collect::<Vec<_>>().join(", ");
    let undescribed = list(exported.difference(&described).collect());
    let missing = list(described.difference(&exported).collect());
    let mut causes = Vec::new();
    if !undescribed.is_empty() {
        causes.push(format!("exported, without a [procedure.*] table: {undescribed}"));
    }
    if !missing.is_empty() {
        causes.push(format!("a [procedure.*] table, but not exported: {missing}"));
    }
    if causes.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!("policy {name} and its component do not have the same procedures"))
        .cause(causes.join("\n"))
        .next("the policy has to describe exactly what the component exports"))
}
