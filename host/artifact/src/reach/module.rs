//! The parts of a core module that decide which functions it can call.

use std::collections::{BTreeMap, BTreeSet};
use wasmparser::{
    BinaryReaderError, CompositeInnerType, ConstExpr, ElementItems, ElementKind, ExternalKind, FuncType, FunctionBody,
    Operator, Parser, Payload, TypeRef,
};

type ReadResult<T> = Result<T, BinaryReaderError>;

/// A core module. Every index is one of the module's own index spaces, imports first.
#[derive(Debug, Default)]
pub(super) struct Module {
    types: Vec<Option<FuncType>>,
    /// Imported functions: module name and name.
    pub(super) imported_functions: Vec<(String, String)>,
    pub(super) imported_tables: Vec<(String, String)>,
    /// The type of each function.
    functions: Vec<u32>,
    pub(super) tables: usize,
    pub(super) exports: BTreeMap<String, (ExternalKind, u32)>,
    pub(super) elements: Vec<Element>,
    /// What each function does that the module defines, in order.
    pub(super) bodies: Vec<Body>,
    pub(super) start: Option<u32>,
    /// Functions whose reference is stored in a global, or as the initial value of a table.
    pub(super) kept: BTreeSet<u32>,
}

/// The functions that an element segment lists.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) place: Place,
    pub(super) functions: Vec<Option<u32>>,
    /// Whether one of its references comes from a global.
    pub(super) from_global: bool,
}

/// Where an element segment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Into a table, when the module is instantiated. Without an offset, the index is only known at run time.
    Table { table: u32, offset: Option<u32> },
    /// Wherever an instruction copies it.
    Anywhere,
}

/// What a function's instructions can call or change.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) calls: BTreeSet<u32>,
    /// Calls through a table: the table, the type, and the index if the preceding instruction is a constant.
    pub(super) through: BTreeSet<(u32, u32, Option<u32>)>,
    /// Functions that it takes a reference of.
    pub(super) references: BTreeSet<u32>,
    /// Tables that it writes to.
    pub(super) writes: BTreeSet<u32>,
}

impl Module {
    pub(super) fn read(bytes: &[u8]) -> ReadResult<Self> {
        let mut module = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            module.take(payload?)?;
        }
        Ok(module)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "of many kinds of sections, some name functions")]
    fn take(&mut self, payload: Payload<'_>) -> ReadResult<()> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    self.types.extend(group?.into_types().map(|one| match one.composite_type.inner {
                        CompositeInnerType::Func(function) => Some(function),
                        _ => None,
                    }));
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let name = (import.module.to_owned(), import.name.to_owned());
                    match import.ty {
                        TypeRef::Func(of_type) | TypeRef::FuncExact(of_type) => {
                            self.imported_functions.push(name);
                            self.functions.push(of_type);
                        }
                        TypeRef::Table(_) => {
                            self.imported_tables.push(name);
                            self.tables += 1;
                        }
                        _ => {}
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for of_type in section {
                    self.functions.push(of_type?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    if let wasmparser::TableInit::Expr(first) = table?.init {
                        self.kept.extend(references(&first)?);
                    }
                    self.tables += 1;
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    self.kept.extend(references(&global?.init_expr)?);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    self.exports.insert(export.name.to_owned(), (export.kind, export.index));
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(section) => {
                for element in section {
                    self.elements.push(Element::read(element?)?);
                }
            }
            Payload::CodeSectionEntry(body) => self.bodies.push(Body::read(&body)?),
            _ => {}
        }
        Ok(())
    }

    /// The type of a function.
    pub(super) fn type_of(&self, function: u32) -> Option<&FuncType> {
        self.function_type(*self.functions.get(at(function))?)
    }

    pub(super) fn function_type(&self, index: u32) -> Option<&FuncType> {
        self.types.get(at(index))?.as_ref()
    }
}

impl Element {
    fn read(element: wasmparser::Element<'_>) -> ReadResult<Self> {
        let element_items = element.items;
        let place = match element.kind {
            ElementKind::Active { table_index, offset_expr } => {
                Place::Table { table: table_index.unwrap_or(0), offset: constant(&offset_expr)? }
            }
            ElementKind::Passive | ElementKind::Declared => Place::Anywhere,
        };
        let mut element = Self { place, functions: Vec::new(), from_global: false };
        match element_items {
            ElementItems::Functions(functions) => {
                for function in functions {
                    element.functions.push(Some(function?));
                }
            }
            ElementItems::Expressions(_, expressions) => {
                for expression in expressions {
                    let expression = expression?;
                    element.functions.push(references(&expression)?.first().copied());
                    element.from_global |= has_global(&expression)?;
                }
            }
        }
        Ok(element)
    }
}

impl Body {
    #[expect(clippy::wildcard_enum_match_arm, reason = "of several hundred instructions, some call")]
    fn read(body: &FunctionBody<'_>) -> ReadResult<Self> {
        let mut found = Self::default();
        // The constant that the preceding instruction leaves on the stack, if any.
        let mut top = None;
        for operator in body.get_operators_reader()? {
            let known = top.take();
            match operator? {
                Operator::I32Const { value } => top = Some(value.cast_unsigned()),
                Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                    found.calls.insert(function_index);
                }
                Operator::CallIndirect { type_index, table_index }
                | Operator::ReturnCallIndirect { type_index, table_index } => {
                    found.through.insert((table_index, type_index, known));
                }
                Operator::RefFunc { function_index } => {
                    found.references.insert(function_index);
                }
                Operator::TableSet { table }
                | Operator::TableFill { table }
                | Operator::TableGrow { table }
                | Operator::TableInit { table, .. }
                | Operator::TableCopy { dst_table: table, .. } => {
                    found.writes.insert(table);
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// The functions that a constant expression refers to.
fn references(expression: &ConstExpr<'_>) -> ReadResult<Vec<u32>> {
    let mut found = Vec::new();
    for operator in expression.get_operators_reader() {
        if let Operator::RefFunc { function_index } = operator? {
            found.push(function_index);
        }
    }
    Ok(found)
}

fn has_global(expression: &ConstExpr<'_>) -> ReadResult<bool> {
    expression
        .get_operators_reader()
        .into_iter()
        .try_fold(false, |found, operator| Ok(found || matches!(operator?, Operator::GlobalGet { .. })))
}

/// The value of a constant expression that consists of one constant.
fn constant(expression: &ConstExpr<'_>) -> ReadResult<Option<u32>> {
    let operators = expression.get_operators_reader().into_iter().collect::<ReadResult<Vec<_>>>()?;
    Ok(match operators.as_slice() {
        [Operator::I32Const { value }, Operator::End] => Some(value.cast_unsigned()),
        _ => None,
    })
}

/// A wasmparser index (`u32`) as a `usize`.
pub(super) fn at(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}
