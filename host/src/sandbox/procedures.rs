//! Procedures are the exports of a component that its policy describes: functions, all of the same type. The host calls
//! nothing else that a component exports, such as the `init` of a JavaScript engine.

use crate::sandbox::granting::BoundPolicy;
use std::collections::BTreeSet;
use warded_lib::{
    error::{Error, Result},
    name::Name,
    text::neutral,
};
use wasmtime::{
    Engine,
    component::{
        Component,
        types::{ComponentFunc, ComponentItem, Record, Type},
    },
};

/// Checks that each `[procedure.*]` table of the policy has an export, and that the export is a procedure.
///
/// # Errors
/// A table has no export, or an export of another kind.
pub(super) fn check(engine: &Engine, component: &Component, granting: &BoundPolicy) -> Result<()> {
    let name = &granting.policy.name;
    let mut missing: BTreeSet<&str> = granting.policy.procedures.keys().map(Name::as_str).collect();
    let mut others = Vec::new();
    for (export, item) in component.component_type().exports(engine) {
        // The types that a world uses are exported next to its functions.
        if matches!(item.ty, ComponentItem::Type(_) | ComponentItem::Resource(_)) {
            continue;
        }
        if !missing.remove(export) {
            others.push(neutral(export));
            continue;
        }
        let ComponentItem::ComponentFunc(function) = item.ty else {
            return Err(Error::refused(format!(
                "the component of policy {name} exports {export}, which is not a function"
            ))
            .next("export one function per procedure: docs/WRITING-A-POLICY.md"));
        };
        if !is_procedure(&function) {
            return Err(Error::refused(format!(
                "the component of policy {name} exports {export}, which does not have the type of a procedure"
            ))
            .cause("a procedure is: func(settings: list<setting>) -> result<_, error>")
            .next("give the procedure that type: docs/WRITING-A-POLICY.md"));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.into_iter().collect::<Vec<_>>().join(", ");
    let mut causes = vec![format!("the policy describes {missing}, which the component does not export")];
    if !others.is_empty() {
        causes.push(format!("the component exports {}, which the policy does not describe", others.join(", ")));
    }
    Err(Error::refused(format!("policy {name} describes procedures that its component does not have"))
        .cause(causes.join("\n"))
        .next("correct the names: each [procedure.NAME] of the policy needs an export of that name"))
}

/// Whether a function takes settings and returns nothing or an error, with the types of types.wit.
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
