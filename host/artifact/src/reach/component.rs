//! The parts of a component that decide which host function a core function leads to: imports, aliases, `canon lift`
//! and `canon lower`, and the instances of core modules. Nested components are not followed.

use super::module::{Module, at};
use std::collections::{BTreeMap, BTreeSet};
use wasmparser::{
    BinaryReaderError, CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ComponentTypeRef, ExternalKind, Instance as CoreInstance, Parser, Payload,
};

type ReadResult<T> = Result<T, BinaryReaderError>;

/// A component's index spaces.
#[derive(Debug, Default)]
pub(super) struct Component {
    pub(super) modules: Vec<Option<Module>>,
    pub(super) instances: Vec<Instance>,
    /// Core functions, indexed by the component's numbers for them.
    pub(super) core_functions: Vec<CoreFunction>,
    core_tables: Vec<Option<(u32, String)>>,
    functions: Vec<Function>,
    component_instances: Vec<Option<String>>,
    /// The functions that the component exports: its procedures.
    pub(super) exports: BTreeMap<String, Function>,
    /// The instances, modules and components that it exports, which are not procedures.
    pub(super) other_exports: BTreeSet<String>,
    /// Core functions that the host may call on its own during any procedure: destructors of resources.
    pub(super) destructors: Vec<u32>,
    /// Why its reach is not known, if that is so.
    pub(super) opaque: Option<&'static str>,
}

/// An instance of a core module, or a set of exports from other instances.
#[derive(Debug)]
pub(super) enum Instance {
    Module {
        module: u32,
        /// The instance for each name that the module imports from.
        arguments: BTreeMap<String, u32>,
    },
    Exports(BTreeMap<String, (ExternalKind, u32)>),
}

/// A core function from the component's point of view.
#[derive(Clone, Debug)]
pub(super) enum CoreFunction {
    /// An export of a core instance.
    Export { instance: u32, name: String },
    /// A lowered function of the host, with the guest's `realloc`, which allocates memory for the result.
    Lowered { function: Function, realloc: Option<u32> },
    /// A built-in function of the component model, such as the one that drops a handle.
    Intrinsic,
}

/// A component function.
#[derive(Clone, Debug)]
pub(super) enum Function {
    /// A function of an imported instance.
    Host(String),
    /// A core function, with the guest functions that the host calls before and after it.
    Lifted(Vec<u32>),
    Unknown,
}

impl Component {
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other sections are taken alike")]
    pub(super) fn read(bytes: &[u8]) -> ReadResult<Self> {
        let mut component = Self::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            match &payload {
                Payload::ModuleSection { unchecked_range, .. } => {
                    if depth == 0 {
                        let module = bytes.get(unchecked_range.clone()).unwrap_or_default();
                        component.modules.push(Some(Module::read(module)?));
                    }
                    depth += 1;
                }
                Payload::ComponentSection { .. } => {
                    component.opaque = Some("it contains another component");
                    depth += 1;
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ if depth == 0 => component.take(payload)?,
                _ => {}
            }
        }
        Ok(component)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "of many kinds of sections, some name functions")]
    fn take(&mut self, payload: Payload<'_>) -> ReadResult<()> {
        match payload {
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let import = import?;
                    self.import(import.name.name, import.ty);
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    self.alias(&alias?);
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section {
                    if matches!(instance?, ComponentInstance::Instantiate { .. }) {
                        self.opaque = Some("it contains another component");
                    }
                    self.component_instances.push(None);
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section {
                    self.canonical(function?);
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    self.export(export.name.name, export.kind, export.index);
                }
            }
            Payload::ComponentTypeSection(section) => {
                for of_type in section {
                    if let wasmparser::ComponentType::Resource { dtor: Some(destructor), .. } = of_type? {
                        self.destructors.push(destructor);
                    }
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section {
                    self.instances.push(instance_of(instance?));
                }
            }
            Payload::ComponentStartSection { .. } => {
                self.opaque = Some("it runs a function of the component when it starts");
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, name: &str, of_type: ComponentTypeRef) {
        match of_type {
            ComponentTypeRef::Instance(_) => self.component_instances.push(Some(name.to_owned())),
            ComponentTypeRef::Func(_) => self.functions.push(Function::Host(name.to_owned())),
            ComponentTypeRef::Module(_) => {
                self.modules.push(None);
                self.opaque = Some("it imports a core module");
            }
            ComponentTypeRef::Component(_) => self.opaque = Some("it imports a component"),
            ComponentTypeRef::Type(_) | ComponentTypeRef::Value(_) => {}
        }
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) {
        match alias {
            ComponentAlias::InstanceExport { kind, instance_index, name } => match kind {
                ComponentExternalKind::Func => {
                    let of = self.component_instances.get(at(*instance_index)).and_then(Option::as_ref);
                    self.functions.push(match of {
                        Some(interface) => Function::Host(format!("{interface}#{name}")),
                        None => Function::Unknown,
                    });
                }
                ComponentExternalKind::Instance => self.component_instances.push(None),
                ComponentExternalKind::Module => {
                    self.modules.push(None);
                    self.opaque = Some("it imports a core module");
                }
                ComponentExternalKind::Component => self.opaque = Some("it imports a component"),
                ComponentExternalKind::Type | ComponentExternalKind::Value => {}
            },
            ComponentAlias::CoreInstanceExport { kind, instance_index, name } => match kind {
                ExternalKind::Func | ExternalKind::FuncExact => {
                    self.core_functions
                        .push(CoreFunction::Export { instance: *instance_index, name: (*name).to_owned() });
                }
                ExternalKind::Table => self.core_tables.push(Some((*instance_index, (*name).to_owned()))),
                ExternalKind::Memory | ExternalKind::Global | ExternalKind::Tag => {}
            },
            // A component also counts as an outer component of itself, so this can give a module another index.
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, .. } => self.gives_module(),
            // A type calls nothing, and other components are not followed.
            ComponentAlias::Outer { .. } => {}
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all other built-in functions are for tasks, which are not enabled"
    )]
    fn canonical(&mut self, function: CanonicalFunction) {
        match function {
            CanonicalFunction::Lift { core_func_index, options, .. } => {
                let called = options.iter().filter_map(|option| match option {
                    CanonicalOption::Realloc(index)
                    | CanonicalOption::PostReturn(index)
                    | CanonicalOption::Callback(index) => Some(*index),
                    _ => None,
                });
                self.functions.push(Function::Lifted([core_func_index].into_iter().chain(called).collect()));
            }
            CanonicalFunction::Lower { func_index, options } => {
                let realloc = options.iter().find_map(|option| match option {
                    CanonicalOption::Realloc(index) => Some(*index),
                    _ => None,
                });
                let function = self.functions.get(at(func_index)).cloned().unwrap_or(Function::Unknown);
                self.core_functions.push(CoreFunction::Lowered { function, realloc });
            }
            _ => self.core_functions.push(CoreFunction::Intrinsic),
        }
    }

    /// An export also adds an item to the index space of its kind.
    fn export(&mut self, name: &str, kind: ComponentExternalKind, index: u32) {
        match kind {
            ComponentExternalKind::Func => {
                let function = self.functions.get(at(index)).cloned().unwrap_or(Function::Unknown);
                self.exports.insert(name.to_owned(), function.clone());
                self.functions.push(function);
            }
            ComponentExternalKind::Instance => self.component_instances.push(None),
            ComponentExternalKind::Module => self.gives_module(),
            ComponentExternalKind::Component => {}
            ComponentExternalKind::Type | ComponentExternalKind::Value => return,
        }
        if kind != ComponentExternalKind::Func {
            self.other_exports.insert(name.to_owned());
        }
    }

    /// One of the component's modules gets another index.
    fn gives_module(&mut self) {
        self.modules.push(None);
        self.opaque = Some("it gives a core module a second name");
    }

    /// The instance and the name behind the component's index of a table.
    pub(super) fn table(&self, index: u32) -> Option<&(u32, String)> {
        self.core_tables.get(at(index))?.as_ref()
    }
}

fn instance_of(instance: CoreInstance<'_>) -> Instance {
    match instance {
        CoreInstance::Instantiate { module_index, args } => Instance::Module {
            module: module_index,
            arguments: args.iter().map(|argument| (argument.name.to_owned(), argument.index)).collect(),
        },
        CoreInstance::FromExports(exports) => Instance::Exports(
            exports.iter().map(|export| (export.name.to_owned(), (export.kind, export.index))).collect(),
        ),
    }
}
