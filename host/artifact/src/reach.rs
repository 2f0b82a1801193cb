//! Which host functions each procedure of a component can call, found in its code without running it.
//!
//! The answer is an upper bound: no run calls more. A call through a table is followed exactly if its index is a
//! constant, as in the shims that `wit-component` makes; otherwise every function of that table with the right type
//! counts. If the code cannot be followed, the answer is [`Reach::Everything`].

mod component;
mod graph;
mod module;
mod names;
#[cfg(test)]
mod tests;

pub use names::names;

use crate::imports;
use component::{Component, Function};
use graph::Graph;
use std::collections::{BTreeMap, BTreeSet};
use warded_lib::{
    error::{Error, Result},
    text::neutral,
};

/// A function of the host, such as `files.write` or `keys.[method]key-pair.path`.
pub type HostFunction = String;

/// What a procedure can call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// These functions, and no other.
    Functions(BTreeSet<HostFunction>),
    /// The reach cannot be determined, so it counts as everything that the component imports.
    Everything {
        /// Why the reach cannot be determined.
        because: &'static str,
    },
}

/// What a component imports, and which of it each of its procedures can call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentReach {
    /// Every function that the component imports.
    pub imported: BTreeSet<HostFunction>,
    /// The reach of each function that the component exports.
    pub procedures: BTreeMap<String, Reach>,
    /// What the component exports besides functions and types.
    pub other_exports: BTreeSet<String>,
}

impl ComponentReach {
    /// Every function that a procedure can call.
    #[must_use]
    pub fn of(&self, procedure: &str) -> &BTreeSet<HostFunction> {
        match self.procedures.get(procedure) {
            Some(Reach::Functions(functions)) => functions,
            Some(Reach::Everything { .. }) | None => &self.imported,
        }
    }
}

/// Reads a component, and follows its calls.
///
/// # Errors
/// It is not a component, or imports what no procedure gets.
pub fn reached(component: &[u8]) -> Result<ComponentReach> {
    imports::only_ours(component)?;
    let bytes = component;
    let component = Component::read(bytes)
        .map_err(|error| Error::refused("this component cannot be read").cause(neutral(&error.to_string())))?;
    // Whole interfaces count: if an interface is passed on to a nested component or exported under another name, any of
    // its functions can be taken from it.
    let imported = imports::functions(bytes)?.iter().map(|name| host_function(name)).collect();
    let everything = |because| Reach::Everything { because };
    let graph = component.opaque.map_or_else(|| Graph::of(&component), Err);
    let procedures = component.exports.iter().map(|(name, function)| {
        let reach = match (&graph, function) {
            (Err(because), _) => everything(*because),
            (Ok(graph), Function::Lifted(roots)) => match graph.from(roots) {
                Ok(functions) => Reach::Functions(functions.iter().map(|name| host_function(name)).collect()),
                Err(because) => everything(because),
            },
            (Ok(_), Function::Host(_) | Function::Unknown) => everything("it exports a function that is not its own"),
        };
        (name.clone(), reach)
    });
    let procedures = procedures.collect();
    Ok(ComponentReach { imported, procedures, other_exports: component.other_exports })
}

/// Turns `warded:host/files@0.1.0#write` into `files.write`.
fn host_function(name: &str) -> HostFunction {
    let (interface, function) = name.split_once('#').unwrap_or((name, ""));
    let interface = interface.rsplit('/').next().unwrap_or(interface);
    let interface = interface.split('@').next().unwrap_or(interface);
    neutral(&format!("{interface}.{function}"))
}
