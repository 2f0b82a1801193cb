//! Who calls whom, across all instances of a component's core modules.

use super::{
    component::{Component, CoreFunction, Function, Instance},
    module::{Body, Module, Place, at},
};
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};
use wasmparser::FuncType;

/// Why something cannot be determined.
type UnclearReason = &'static str;
type ClearResult<T> = Result<T, UnclearReason>;

const DANGLING: UnclearReason = "an import of a core module leads nowhere";
const TOO_LARGE: UnclearReason = "there is too much of it to follow";

/// The maximum number of references that are kept, for all tables of all instances: each takes some hundred bytes.
const REFERENCES: usize = 1 << 19;
/// The maximum number of steps for one component. A file of some hundred KiB can require thousands of millions of them,
/// by many instances of one large module, or by calls of many types through one large table.
const STEPS: usize = 1 << 24;

/// The target of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Callee {
    /// A core function of the component that is a lowered host function, by its index in the component.
    Lowered(u32),
    /// A function that the module of an instance defines.
    Defined { instance: u32, function: u32 },
    /// A built-in function of the component model.
    Intrinsic,
}

/// A table: the instance that defines it, and its index there.
type Table = (u32, u32);

/// What a table contains, as far as the code shows.
#[derive(Debug, Default)]
struct Contents<'a> {
    at: BTreeMap<u32, Vec<(Callee, &'a FuncType)>>,
    /// References whose index is only known at run time.
    somewhere: Vec<(Callee, &'a FuncType)>,
    /// Whether an instruction may write to the table.
    written: bool,
}

/// The call graph of a component.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    component: &'a Component,
    tables: BTreeMap<Table, Contents<'a>>,
    /// Every function whose reference an instruction could write to a table.
    loose: Vec<(Callee, &'a FuncType)>,
    /// What runs in every procedure: start functions and destructors.
    always: Vec<Callee>,
    /// The number of references in `tables` and `loose`.
    references: usize,
    /// How many of the `STEPS` are left.
    steps: Cell<usize>,
}

impl<'a> Graph<'a> {
    pub(super) fn of(component: &'a Component) -> ClearResult<Self> {
        let mut graph = Self {
            component,
            tables: BTreeMap::new(),
            loose: Vec::new(),
            always: Vec::new(),
            references: 0,
            steps: Cell::new(STEPS),
        };
        for (instance, module) in graph.modules()? {
            graph.add(instance, module)?;
        }
        for destructor in &component.destructors {
            let destructor = graph.core_function(*destructor)?;
            graph.always.push(destructor);
        }
        Ok(graph)
    }

    /// Every instance of a core module, with its index.
    fn modules(&self) -> ClearResult<Vec<(u32, &'a Module)>> {
        let instances = (0..).zip(&self.component.instances);
        let of_modules = instances.filter(|(_, instance)| matches!(instance, Instance::Module { .. }));
        of_modules.map(|(number, _)| Ok((number, self.module(number).ok_or(DANGLING)?))).collect()
    }

    fn spend(&self, steps: usize) -> ClearResult<()> {
        self.steps.set(self.steps.get().checked_sub(steps).ok_or(TOO_LARGE)?);
        Ok(())
    }

    fn module(&self, instance: u32) -> Option<&'a Module> {
        match self.component.instances.get(at(instance))? {
            Instance::Module { module, .. } => self.component.modules.get(at(*module))?.as_ref(),
            Instance::Exports(_) => None,
        }
    }

    fn add(&mut self, instance: u32, module: &'a Module) -> ClearResult<()> {
        let with_type = |graph: &mut Self, function: u32| {
            graph.references += 1;
            if graph.references > REFERENCES {
                return Err(TOO_LARGE);
            }
            let of_type = module.type_of(function).ok_or(DANGLING)?;
            ClearResult::Ok((graph.function(instance, function)?, of_type))
        };
        self.spend(module.bodies.len())?;
        for element in &module.elements {
            self.spend(element.functions.len())?;
            for (position, function) in (0..).zip(&element.functions) {
                let Some(function) = function else { continue };
                let entry = with_type(self, *function)?;
                let Place::Table { table, offset } = element.place else {
                    self.loose.push(entry);
                    continue;
                };
                let contents = self.contents(instance, table)?;
                match offset.and_then(|offset: u32| offset.checked_add(position)) {
                    Some(index) => contents.at.entry(index).or_default().push(entry),
                    None => contents.somewhere.push(entry),
                }
            }
            if let (Place::Table { table, .. }, true) = (element.place, element.from_global) {
                self.contents(instance, table)?.written = true;
            }
        }
        for function in module.kept.iter().chain(module.bodies.iter().flat_map(|body| &body.references)) {
            let entry = with_type(self, *function)?;
            self.loose.push(entry);
        }
        for table in module.bodies.iter().flat_map(|body| &body.writes) {
            self.spend(1)?;
            self.contents(instance, *table)?.written = true;
        }
        if let Some(start) = module.start {
            let start = self.function(instance, start)?;
            self.always.push(start);
        }
        Ok(())
    }

    fn contents(&mut self, instance: u32, table: u32) -> ClearResult<&mut Contents<'a>> {
        let table = self.table(instance, table)?;
        Ok(self.tables.entry(table).or_default())
    }

    /// The host functions that these core functions of the component can call, directly or not.
    pub(super) fn from(&self, roots: &[u32]) -> ClearResult<BTreeSet<&'a str>> {
        let roots = roots.iter().map(|root| self.core_function(*root)).collect::<ClearResult<Vec<_>>>()?;
        let mut waiting: Vec<Callee> = roots.into_iter().chain(self.always.iter().copied()).collect();
        let mut seen: BTreeSet<Callee> = waiting.iter().copied().collect();
        let mut seen_through = BTreeSet::new();
        let mut found = BTreeSet::new();
        while let Some(callee) = waiting.pop() {
            let next = match callee {
                Callee::Intrinsic => Vec::new(),
                Callee::Lowered(number) => self.lowered(number, &mut found)?,
                Callee::Defined { instance, function } => self.called(instance, function, &mut seen_through)?,
            };
            waiting.extend(next.into_iter().filter(|callee| seen.insert(*callee)));
        }
        Ok(found)
    }

    fn lowered(&self, number: u32, found: &mut BTreeSet<&'a str>) -> ClearResult<Vec<Callee>> {
        match self.component.core_functions.get(at(number)) {
            Some(CoreFunction::Lowered { function: Function::Host(name), realloc }) => {
                found.insert(name);
                realloc.iter().map(|index| self.core_function(*index)).collect()
            }
            _ => Err("it calls one of its own component functions"),
        }
    }

    /// What one function calls. A table call that the same instance has made before adds nothing.
    fn called(
        &self,
        instance: u32,
        function: u32,
        seen_through: &mut BTreeSet<(u32, u32, u32, Option<u32>)>,
    ) -> ClearResult<Vec<Callee>> {
        let module = self.module(instance).ok_or(DANGLING)?;
        let body = body(module, function).ok_or(DANGLING)?;
        self.spend(1 + body.calls.len() + body.through.len())?;
        let mut callees =
            body.calls.iter().map(|one| self.function(instance, *one)).collect::<ClearResult<Vec<_>>>()?;
        for (table, of_type, index) in &body.through {
            if seen_through.insert((instance, *table, *of_type, *index)) {
                let of_type = module.function_type(*of_type).ok_or(DANGLING)?;
                callees.extend(self.through(self.table(instance, *table)?, of_type, *index)?);
            }
        }
        Ok(callees)
    }

    fn through(&self, table: Table, of_type: &FuncType, index: Option<u32>) -> ClearResult<Vec<Callee>> {
        let Some(contents) = self.tables.get(&table) else { return Ok(Vec::new()) };
        let exact = index.filter(|_| !contents.written && contents.somewhere.is_empty());
        let mut entries: Vec<&[(Callee, &FuncType)]> = match exact {
            Some(exact) => contents.at.get(&exact).map(Vec::as_slice).into_iter().collect(),
            None => contents.all().collect(),
        };
        if contents.written {
            entries.push(&self.loose);
            // A written reference may have been read from another table.
            self.spend(self.tables.len())?;
            entries.extend(self.tables.values().flat_map(Contents::all));
        }
        self.spend(entries.iter().map(|entries| 1 + entries.len()).sum())?;
        let entries = entries.into_iter().flatten();
        Ok(entries.filter(|(_, its_type)| *its_type == of_type).map(|(callee, _)| *callee).collect())
    }

    /// The function behind an index of an instance: defined there, or passed in for an import.
    fn function(&self, instance: u32, function: u32) -> ClearResult<Callee> {
        let module = self.module(instance).ok_or(DANGLING)?;
        match module.imported_functions.get(at(function)) {
            None => Ok(Callee::Defined { instance, function }),
            Some(import) => match self.given(instance, import)? {
                InstanceExport::Exported { instance, index } => self.function(instance, index),
                InstanceExport::Numbered(number) => self.core_function(number),
            },
        }
    }

    fn table(&self, instance: u32, table: u32) -> ClearResult<Table> {
        let module = self.module(instance).ok_or(DANGLING)?;
        match module.imported_tables.get(at(table)) {
            None => Ok((instance, table)),
            Some(import) => match self.given(instance, import)? {
                InstanceExport::Exported { instance, index } => self.table(instance, index),
                InstanceExport::Numbered(number) => {
                    let (instance, name) = self.component.table(number).ok_or(DANGLING)?;
                    match self.export(*instance, name)? {
                        InstanceExport::Exported { instance, index } => self.table(instance, index),
                        InstanceExport::Numbered(_) => Err(DANGLING),
                    }
                }
            },
        }
    }

    /// What was passed to an instance for one of its imports.
    fn given(&self, instance: u32, (from, name): &(String, String)) -> ClearResult<InstanceExport> {
        self.spend(1)?;
        match self.component.instances.get(at(instance)) {
            Some(Instance::Module { arguments, .. }) => self.export(*arguments.get(from).ok_or(DANGLING)?, name),
            Some(Instance::Exports(_)) | None => Err(DANGLING),
        }
    }

    fn export(&self, instance: u32, name: &str) -> ClearResult<InstanceExport> {
        match self.component.instances.get(at(instance)).ok_or(DANGLING)? {
            Instance::Exports(exports) => Ok(InstanceExport::Numbered(exports.get(name).ok_or(DANGLING)?.1)),
            Instance::Module { .. } => {
                let (_, index) = self.module(instance).and_then(|module| module.exports.get(name)).ok_or(DANGLING)?;
                Ok(InstanceExport::Exported { instance, index: *index })
            }
        }
    }

    fn core_function(&self, number: u32) -> ClearResult<Callee> {
        self.spend(1)?;
        match self.component.core_functions.get(at(number)).ok_or(DANGLING)? {
            CoreFunction::Lowered { .. } => Ok(Callee::Lowered(number)),
            CoreFunction::Intrinsic => Ok(Callee::Intrinsic),
            CoreFunction::Export { instance, name } => match self.export(*instance, name)? {
                InstanceExport::Exported { instance, index } => self.function(instance, index),
                InstanceExport::Numbered(number) => self.core_function(number),
            },
        }
    }
}

/// An export of an instance.
enum InstanceExport {
    /// By its index in the instance's module.
    Exported { instance: u32, index: u32 },
    /// By the component's own index.
    Numbered(u32),
}

impl<'a> Contents<'a> {
    fn all(&self) -> impl Iterator<Item = &[(Callee, &'a FuncType)]> {
        self.at.values().chain([&self.somewhere]).map(Vec::as_slice)
    }
}

fn body(module: &Module, function: u32) -> Option<&Body> {
    module.bodies.get(at(function).checked_sub(module.imported_functions.len())?)
}
