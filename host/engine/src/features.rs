//! The WebAssembly features that a guest's core modules and component may use. Procedures need only these, and every
//! further feature would be one more target for an attack.

use wasmparser::WasmFeatures;

pub const FEATURES: WasmFeatures = WasmFeatures::WASM2
    // There are no references to objects of the host, and no garbage collector is compiled in.
    .difference(WasmFeatures::GC_TYPES)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::COMPONENT_MODEL);
