//! Calls of the functions in `wit/`, generated from `wit/` itself: a function that is added there can be called here
//! without a change.

use super::guest::{Guest, data, interfaces};
use std::{collections::BTreeSet, fmt::Write as _};
use wit_parser::{
    Function, FunctionKind, Handle, Int, PackageId, Resolve, SizeAlign, Type, TypeDefKind, TypeId,
    abi::{AbiVariant, WasmType},
};

/// A function of an interface.
#[derive(Clone, Debug)]
pub(crate) struct Callable {
    /// The interface's name: `files`.
    pub(crate) interface: String,
    /// The interface with its package and version.
    module: String,
    pub(crate) function: Function,
}

impl Callable {
    /// Its name in policies and in the audit log: `files.write`.
    pub(crate) fn capability(&self) -> String {
        format!("{}.{}", self.interface, self.function.name)
    }

    /// Whether it is a function of an interface and not of a resource: then a policy has to grant it.
    pub(crate) fn is_freestanding(&self) -> bool {
        match self.function.kind {
            FunctionKind::Freestanding => true,
            // The functions of a resource are reached only through a handle, and the handle was granted.
            FunctionKind::Method(_) => false,
            _ => panic!("{}: a kind of function that these tests do not know", self.capability()),
        }
    }
}

/// Every function of every interface that the host offers.
pub(crate) fn all() -> Vec<Callable> {
    let (resolve, package) = interfaces();
    all_in(&resolve, package)
}

fn all_in(resolve: &Resolve, package: PackageId) -> Vec<Callable> {
    let mut all = Vec::new();
    for (name, id) in &resolve.packages[package].interfaces {
        for function in resolve.interfaces[*id].functions.values() {
            all.push(Callable {
                interface: name.clone(),
                module: resolve.id_of(*id).unwrap(),
                function: function.clone(),
            });
        }
    }
    all
}

/// The function of a capability.
pub(crate) fn named(capability: &str) -> Callable {
    all().into_iter().find(|one| one.capability() == capability).unwrap()
}

/// Every resource: the full name of its interface, and its own name.
pub(crate) fn resources() -> Vec<(String, String)> {
    let (resolve, package) = interfaces();
    let mut found = Vec::new();
    for id in resolve.packages[package].interfaces.values() {
        for (name, ty) in &resolve.interfaces[*id].types {
            if matches!(resolve.types[*ty].kind, TypeDefKind::Resource) {
                found.push((resolve.id_of(*id).unwrap(), name.clone()));
            }
        }
    }
    found
}

/// Where arguments and results are in the guest's memory.
const ARGUMENTS: usize = 4096;
const RESULTS: usize = 1024;

/// A guest's calls, one after the other.
pub(crate) struct Calls<'t> {
    resolve: Resolve,
    functions: Vec<Callable>,
    sizes: SizeAlign,
    text: &'t dyn Fn(&str, &str) -> String,
    forged: bool,
    imports: BTreeSet<String>,
    fields: String,
    locals: usize,
    body: String,
    next: usize,
}

impl<'t> Calls<'t> {
    /// Starts without a call. `text` gives the argument for a function's parameter.
    pub(crate) fn new(text: &'t dyn Fn(&str, &str) -> String) -> Self {
        let (resolve, package) = interfaces();
        let functions = all_in(&resolve, package);
        let mut sizes = SizeAlign::default();
        sizes.fill(&resolve);
        Self {
            resolve,
            functions,
            sizes,
            text,
            forged: false,
            imports: BTreeSet::new(),
            fields: String::new(),
            locals: 0,
            body: String::new(),
            next: ARGUMENTS,
        }
    }

    /// Makes handles up instead of getting them from a function.
    pub(crate) fn forged(mut self) -> Self {
        self.forged = true;
        self
    }

    /// Calls a function. The handles that it takes are first got from other functions.
    pub(crate) fn call(&mut self, callable: &Callable) {
        // Each parse of wit/ numbers the types differently.
        let capability = callable.capability();
        let own = self.functions.iter().find(|one| one.capability() == capability).unwrap().clone();
        let Callable { interface, module, function } = &own;
        let handles: Vec<Option<String>> = function.params.iter().map(|param| self.handle_for(&param.ty)).collect();
        for (param, handle) in function.params.iter().zip(handles) {
            match handle {
                Some(handle) => self.body.push_str(&handle),
                None => {
                    let text = (self.text)(&capability, &param.name);
                    self.argument(&param.ty, &text);
                }
            }
        }
        let signature = self.resolve.wasm_signature(AbiVariant::GuestImport, function);
        assert!(!signature.indirect_params, "{}: too many parameters for these tests", callable.capability());
        if signature.retptr {
            write!(self.body, "(i32.const {RESULTS}) ").unwrap();
        }
        let params: String = signature.params.iter().map(|ty| format!("(param {}) ", core(*ty))).collect();
        let results: String = signature.results.iter().map(|ty| format!("(result {}) ", core(*ty))).collect();
        let name = format!("${interface}.{}", function.name.replace(['[', ']'], "-"));
        self.imports.insert(format!("(import \"{module}\" \"{}\" (func {name} {params}{results}))\n", function.name));
        write!(self.body, "(call {name}) ").unwrap();
        self.body.push_str(&"(drop) ".repeat(signature.results.len()));
    }

    /// The guest whose procedure `go` makes these calls.
    pub(crate) fn guest(self) -> Guest {
        let locals: String = (0..self.locals).map(|index| format!("(local $h{index} i32) ")).collect();
        let imports: Vec<String> = self.imports.into_iter().collect();
        Guest::doing(&imports.concat(), &self.fields, &format!("{locals}{}", self.body))
    }

    /// For a parameter that is a handle: the code that puts one on the stack.
    fn handle_for(&mut self, ty: &Type) -> Option<String> {
        let resource = self.handle(ty)?;
        if self.forged {
            return Some("(i32.const 7) ".to_owned());
        }
        let mut providers = self.functions.clone();
        providers.retain(|one| {
            one.is_freestanding() && one.function.result.is_some_and(|ty| self.route(&ty, resource).is_some())
        });
        // The provider with the fewest parameters.
        let provider =
            providers.into_iter().min_by_key(|one| one.function.params.len()).expect("nothing makes this handle");
        self.call(&provider);
        let route = self.route(&provider.function.result.unwrap(), resource).unwrap();
        let local = format!("$h{}", self.locals);
        self.locals += 1;
        let load = route
            .iter()
            .fold(format!("(i32.const {RESULTS})"), |at, offset| format!("(i32.load offset={offset} {at})"));
        write!(self.body, "(local.set {local} {load}) ").unwrap();
        Some(format!("(local.get {local}) "))
    }

    /// The resource that a handle refers to.
    fn handle(&self, ty: &Type) -> Option<TypeId> {
        let Type::Id(id) = ty else { return None };
        match &self.resolve.types[*id].kind {
            TypeDefKind::Handle(Handle::Own(resource) | Handle::Borrow(resource)) => Some(self.original(*resource)),
            _ => None,
        }
    }

    fn original(&self, id: TypeId) -> TypeId {
        match &self.resolve.types[id].kind {
            TypeDefKind::Type(Type::Id(other)) => self.original(*other),
            _ => id,
        }
    }

    /// The way from a result in memory to the first handle of a resource: offsets to load from.
    fn route(&self, ty: &Type, resource: TypeId) -> Option<Vec<usize>> {
        if self.handle(ty) == Some(resource) {
            return Some(vec![0]);
        }
        let Type::Id(id) = ty else { return None };
        let behind = |tag: Int, cases: &[Option<&Type>], inner: &Type| {
            let mut route = self.route(inner, resource)?;
            *route.first_mut()? += self.sizes.payload_offset(tag, cases.iter().copied()).size_wasm32();
            Some(route)
        };
        match &self.resolve.types[*id].kind {
            TypeDefKind::Type(inner) => self.route(inner, resource),
            TypeDefKind::Option(inner) => behind(Int::U8, &[None, Some(inner)], inner),
            TypeDefKind::Result(result) => {
                behind(Int::U8, &[result.ok.as_ref(), result.err.as_ref()], result.ok.as_ref()?)
            }
            TypeDefKind::List(inner) => {
                let mut route = self.route(inner, resource)?;
                route.insert(0, 0);
                Some(route)
            }
            _ => None,
        }
    }

    /// Puts an argument on the stack, with `text` as its text.
    fn argument(&mut self, ty: &Type, text: &str) {
        let words = match ty {
            Type::String => {
                let at = self.bytes(text.as_bytes());
                format!("(i32.const {at}) (i32.const {}) ", text.len())
            }
            Type::U64 | Type::S64 => "(i64.const 0) ".to_owned(),
            Type::Bool | Type::U8 | Type::U16 | Type::U32 | Type::S8 | Type::S16 | Type::S32 => {
                "(i32.const 0) ".to_owned()
            }
            Type::Id(id) => match self.resolve.types[*id].kind.clone() {
                TypeDefKind::Type(inner) => return self.argument(&inner, text),
                TypeDefKind::Enum(_) => "(i32.const 0) ".to_owned(),
                TypeDefKind::Option(inner) => {
                    assert!(matches!(inner, Type::U32), "an option that these tests do not know");
                    "(i32.const 0) (i32.const 0) ".to_owned()
                }
                TypeDefKind::List(Type::String) => {
                    let at = self.bytes(text.as_bytes());
                    let length = u32::try_from(text.len()).unwrap();
                    let pair = [at.to_le_bytes(), length.to_le_bytes()].concat();
                    let list = self.bytes(&pair);
                    format!("(i32.const {list}) (i32.const 1) ")
                }
                TypeDefKind::List(_) => "(i32.const 0) (i32.const 0) ".to_owned(),
                other => panic!("an argument that these tests do not know: {}", other.as_str()),
            },
            other => panic!("an argument that these tests do not know: {other:?}"),
        };
        self.body.push_str(&words);
    }

    /// Puts bytes into the guest's memory.
    fn bytes(&mut self, bytes: &[u8]) -> u32 {
        let at = self.next;
        self.fields.push_str(&data(at, bytes));
        self.next = (at + bytes.len()).next_multiple_of(8);
        u32::try_from(at).unwrap()
    }
}

fn core(ty: WasmType) -> &'static str {
    match ty {
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
    }
}
