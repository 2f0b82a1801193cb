//! What the core modules of a guest may use, and the component around them: a plain machine. What procedures need is
//! no more, and less is less to attack.

use wasmparser::WasmFeatures;

pub const FEATURES: WasmFeatures = WasmFeatures::WASM2
    // References to objects of a host: there are none, and no collector for them is compiled in.
    .difference(WasmFeatures::GC_TYPES)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::COMPONENT_MODEL);
