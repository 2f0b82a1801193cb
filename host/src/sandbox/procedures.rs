//! Procedures are a component's exports: a function for each, all of one type.

use crate::sandbox::granting::Granting;
use std::collections::BTreeSet;
use warded_lib::{
    error::{Error, Result},
    text::neutral,
};
use wasmtime::{
    Engine,
    component::{
        Component,
        types::{ComponentFunc, ComponentItem, Record, Type},
    },
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
            ComponentItem::ComponentFunc(function) => {
                if !is_procedure(&function) {
                    return Err(Error::refused(format!(
                        "the component of policy {name} exports {}, which has not the type of a procedure",
                        neutral(export)
                    ))
                    .cause("a procedure is: func(settings: list<setting>) -> result<_, error>")
                    .next("export functions of that type alone: docs/POLICIES.md"));
                }
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

/// Whether a function takes settings, and gives nothing or an error: the types of types.wit.
fn is_procedure(function: &ComponentFunc) -> bool {
    let is_setting =
        |record: &Record| has_fields(record, |name, of| matches!((name, of), ("name" | "value", Type::String)), 2);
    let is_details =
        |of: &Type| matches!(of, Type::List(list) if matches!(list.ty(), Type::Record(record) if is_setting(&record)));
    let is_error = |record: &Record| {
        let field = |name: &str, of: &Type| match name {
            "code" | "message" => matches!(of, Type::String),
            "details" => is_details(of),
            _ => false,
        };
        has_fields(record, field, 3)
    };
    let mut parameters = function.params();
    let takes_settings = parameters.next().is_some_and(|(_, of)| is_details(&of)) && parameters.next().is_none();
    let mut results = function.results();
    let gives_error = matches!(results.next(), Some(Type::Result(result))
        if result.ok().is_none() && matches!(result.err(), Some(Type::Record(error)) if is_error(&error)));
    takes_settings && gives_error && results.next().is_none()
}

fn has_fields(record: &Record, is_right: impl Fn(&str, &Type) -> bool, count: usize) -> bool {
    record.fields().count() == count && record.fields().all(|field| is_right(field.name, &field.ty))
}
