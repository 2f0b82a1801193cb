//! Components for the target `component`: a core module of some functions and a table, and what a run of it calls.

use std::collections::BTreeSet;
use wasm_encoder::{
    CodeSection, ComponentBuilder, ComponentExportKind, ComponentTypeRef, ConstExpr, CustomSection, ElementSection,
    Elements, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection, InstanceType, Module,
    ModuleArg, RefType, StartSection, TableSection, TableType, TypeSection,
};

/// Functions of the host.
pub const HOST: u32 = 6;
/// Functions of the guest; the first two are the procedures.
const OWN: u32 = 6;
/// Places in the table.
const TABLE: u32 = 12;
const SEGMENTS: u32 = 3;
/// Operations of one run, and calls within calls.
const FUEL: u32 = 400;
const DEPTH: u32 = 30;
pub const PROCEDURES: [&str; 2] = ["go", "other"];

/// What a function does. Functions are numbered as in the core module: the host's first.
#[derive(Clone, Copy, Debug)]
enum Step {
    Call(u32),
    ReturnCall(u32),
    CallAt(u32),
    ReturnCallAt(u32),
    /// The place is the sum of two, which no constant shows.
    CallAtSum(u32, u32),
    Set(u32, u32),
    Fill(u32, u32),
    /// From a segment to this place.
    Init(u32, u32),
}

/// A segment: which functions, and where they go as the module is instantiated.
#[derive(Debug)]
struct Segment {
    functions: Vec<u32>,
    at: Option<u32>,
}

/// A component in the making.
#[derive(Debug)]
pub struct Recipe {
    bodies: Vec<Vec<Step>>,
    segments: Vec<Segment>,
    start: Option<u32>,
    /// Custom sections `warded:policy`.
    pub requests: Vec<Vec<u8>>,
    /// Whether one more lies in a core module.
    inner_request: bool,
}

/// A run goes no further: it trapped, or this has seen enough.
struct Stop;

struct Running<'a> {
    recipe: &'a Recipe,
    table: Vec<Option<u32>>,
    called: BTreeSet<u32>,
    fuel: u32,
}

impl Recipe {
    /// Reads a recipe; what is left of the bytes comes back with it.
    #[must_use]
    pub fn of(bytes: &[u8]) -> (Self, &[u8]) {
        let mut rest = bytes;
        let mut next = |below: u32| {
            let (byte, more) = rest.split_first().unwrap_or((&0, &[]));
            rest = more;
            u32::from(*byte) % below
        };
        let all = HOST + OWN;
        let mut body = || {
            let count = next(5);
            let mut step = || match next(8) {
                0 => Step::Call(next(all)),
                1 => Step::ReturnCall(next(all)),
                2 => Step::CallAt(next(TABLE)),
                3 => Step::ReturnCallAt(next(TABLE)),
                4 => Step::CallAtSum(next(TABLE), next(TABLE)),
                5 => Step::Set(next(TABLE), next(all)),
                6 => Step::Fill(next(TABLE), next(all)),
                _ => Step::Init(next(SEGMENTS), next(TABLE)),
            };
            (0..count).map(|_| step()).collect()
        };
        let bodies = (0..OWN).map(|_| body()).collect();
        let segments = (0..SEGMENTS)
            .map(|_| {
                let count = next(4);
                let functions = (0..count).map(|_| next(all)).collect();
                Segment { functions, at: Some(next(TABLE + 1)).filter(|at| *at < TABLE) }
            })
            .collect();
        let start = Some(HOST + next(OWN * 3)).filter(|start| *start < all);
        let count = next(3);
        let requests =
            (0..count).map(|_| (0..next(4)).map(|_| u8::try_from(next(256)).unwrap_or(0)).collect()).collect();
        let inner_request = next(4) == 3;
        (Self { bodies, segments, start, requests, inner_request }, rest)
    }

    /// Whether nothing but direct calls decides what is called.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.start.is_none() && self.bodies.iter().flatten().all(|step| matches!(step, Step::Call(_)))
    }

    /// What a procedure calls of the host, and whether it came to its end.
    #[must_use]
    pub fn run(&self, procedure: u32) -> (BTreeSet<u32>, bool) {
        let table = vec![None; usize::try_from(TABLE).unwrap()];
        let mut running = Running { recipe: self, table, called: BTreeSet::new(), fuel: FUEL };
        let ended = running.all(procedure);
        (running.called, ended.is_ok())
    }

    #[must_use]
    pub fn component(&self) -> Vec<u8> {
        let mut component = ComponentBuilder::default();
        let mut interface = InstanceType::new();
        interface.ty().function().params([] as [(&str, wasm_encoder::ComponentValType); 0]).result(None);
        for name in names() {
            interface.export(name.as_str(), ComponentTypeRef::Func(0));
        }
        let interface = component.type_instance(None, &interface);
        let host = component.import("warded:host/files@0.1.0", ComponentTypeRef::Instance(interface));
        let lowered: Vec<u32> = names()
            .iter()
            .map(|name| {
                let function = component.alias_export(host, name, ComponentExportKind::Func);
                component.lower_func(None, function, [])
            })
            .collect();
        let names = names();
        let given: Vec<(&str, ExportKind, u32)> =
            names.iter().zip(lowered).map(|(name, function)| (name.as_str(), ExportKind::Func, function)).collect();
        let given = component.core_instantiate_exports(None, given);
        let module = component.core_module(None, &self.module());
        let instance = component.core_instantiate(None, module, [("h", ModuleArg::Instance(given))]);
        let (of_procedure, mut function) = component.type_function(None);
        function.params([] as [(&str, wasm_encoder::ComponentValType); 0]).result(None);
        for name in PROCEDURES {
            let core = component.core_alias_export(None, instance, name, ExportKind::Func);
            let lifted = component.lift_func(None, core, of_procedure, []);
            component.export(name, ComponentExportKind::Func, lifted, None);
        }
        for request in &self.requests {
            component.custom_section(&section(request));
        }
        component.finish()
    }

    fn module(&self) -> Module {
        let mut types = TypeSection::new();
        types.ty().function([], []);
        let mut imports = ImportSection::new();
        for name in names() {
            imports.import("h", &name, EntityType::Function(0));
        }
        let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
        for body in &self.bodies {
            functions.function(0);
            code.function(&function(body, &self.segments));
        }
        let mut tables = TableSection::new();
        tables.table(TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: u64::from(TABLE),
            maximum: Some(u64::from(TABLE)),
            shared: false,
        });
        let mut exports = ExportSection::new();
        for (name, number) in PROCEDURES.iter().zip(HOST..) {
            exports.export(name, ExportKind::Func, number);
        }
        let mut elements = ElementSection::new();
        for segment in &self.segments {
            let listed = Elements::Functions(segment.functions.clone().into());
            match segment.at {
                Some(at) => elements.active(None, &ConstExpr::i32_const(constant(at)), listed),
                None => elements.passive(listed),
            };
        }
        // What a reference is taken of has to be declared.
        elements.declared(Elements::Functions((0..HOST + OWN).collect::<Vec<_>>().into()));
        let mut module = Module::new();
        module.section(&types).section(&imports).section(&functions).section(&tables).section(&exports);
        if let Some(function_index) = self.start {
            module.section(&StartSection { function_index });
        }
        module.section(&elements).section(&code);
        if self.inner_request {
            module.section(&section(b"inner"));
        }
        module
    }
}

impl Running<'_> {
    fn all(&mut self, procedure: u32) -> Result<(), Stop> {
        for segment in &self.recipe.segments {
            if let Some(at) = segment.at {
                self.put(&segment.functions, at)?;
            }
        }
        if let Some(start) = self.recipe.start {
            self.call(start, 0)?;
        }
        self.call(HOST + procedure, 0)
    }

    fn put(&mut self, functions: &[u32], at: u32) -> Result<(), Stop> {
        let at = usize::try_from(at).unwrap();
        let places = self.table.get_mut(at..at + functions.len()).ok_or(Stop)?;
        for (place, function) in places.iter_mut().zip(functions) {
            *place = Some(*function);
        }
        Ok(())
    }

    fn call_at(&mut self, at: u32, depth: u32) -> Result<(), Stop> {
        let function = self.table.get(usize::try_from(at).unwrap()).copied().flatten().ok_or(Stop)?;
        self.call(function, depth)
    }

    fn call(&mut self, function: u32, depth: u32) -> Result<(), Stop> {
        if function < HOST {
            self.called.insert(function);
            return Ok(());
        }
        if depth == DEPTH {
            return Err(Stop);
        }
        let body = &self.recipe.bodies[usize::try_from(function - HOST).unwrap()];
        for step in body {
            self.fuel = self.fuel.checked_sub(1).ok_or(Stop)?;
            match *step {
                Step::Call(function) => self.call(function, depth + 1)?,
                Step::ReturnCall(function) => return self.call(function, depth + 1),
                Step::CallAt(at) => self.call_at(at, depth + 1)?,
                Step::ReturnCallAt(at) => return self.call_at(at, depth + 1),
                Step::CallAtSum(one, two) => self.call_at(one + two, depth + 1)?,
                Step::Set(at, function) => self.put(&[function], at)?,
                Step::Fill(at, function) => {
                    let count = usize::try_from(TABLE - at).unwrap();
                    self.put(&vec![function; count], at)?;
                }
                Step::Init(number, at) => {
                    let segment = &self.recipe.segments[usize::try_from(number).unwrap()];
                    // An active segment is gone once it was put in place.
                    let functions = if segment.at.is_none() { segment.functions.clone() } else { Vec::new() };
                    self.put(&functions, at)?;
                }
            }
        }
        Ok(())
    }
}

fn function(body: &[Step], segments: &[Segment]) -> Function {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    for step in body {
        match *step {
            Step::Call(number) => code.call(number),
            Step::ReturnCall(number) => code.return_call(number),
            Step::CallAt(at) => code.i32_const(constant(at)).call_indirect(0, 0),
            Step::ReturnCallAt(at) => code.i32_const(constant(at)).return_call_indirect(0, 0),
            Step::CallAtSum(one, two) => {
                code.i32_const(constant(one)).i32_const(constant(two)).i32_add().call_indirect(0, 0)
            }
            Step::Set(at, number) => code.i32_const(constant(at)).ref_func(number).table_set(0),
            Step::Fill(at, number) => {
                code.i32_const(constant(at)).ref_func(number).i32_const(constant(TABLE - at)).table_fill(0)
            }
            Step::Init(number, at) => {
                let segment = &segments[usize::try_from(number).unwrap()];
                let count = if segment.at.is_none() { segment.functions.len() } else { 0 };
                code.i32_const(constant(at)).i32_const(0).i32_const(i32::try_from(count).unwrap()).table_init(0, number)
            }
        };
    }
    code.end();
    function
}

fn names() -> Vec<String> {
    (0..HOST).map(|number| format!("f{number}")).collect()
}

fn section(data: &[u8]) -> CustomSection<'_> {
    CustomSection { name: "warded:policy".into(), data: data.into() }
}

fn constant(number: u32) -> i32 {
    i32::try_from(number).unwrap()
}
