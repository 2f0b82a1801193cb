//! How components are compiled and run. The build script compiles the bundled components with this configuration, and
//! the binary compiles all others with it, so that both give the same machine code.

mod features;

pub use features::FEATURES;
pub use wasmparser::WasmFeatures;
#[cfg(feature = "wasmtime")]
use wasmtime::Config;

/// What the engine itself needs in addition: if one inner component calls another, wasmtime generates a core module
/// that copies between their two memories.
#[cfg(feature = "wasmtime")]
const ADAPTERS: WasmFeatures = WasmFeatures::MULTI_MEMORY;

/// The target of the bundled components, if it is not the machine that the binary is for.
pub const BUNDLED_FOR: Option<&str> = if cfg!(feature = "portable") { Some("pulley64") } else { None };

/// The configuration of the engine.
#[cfg(feature = "wasmtime")]
#[must_use]
pub fn config() -> Config {
    let mut config = Config::new();
    config.wasm_features(WasmFeatures::all(), false);
    config.wasm_features(FEATURES.union(ADAPTERS), true);
    // A guest is stopped by time (limits.rs), by epochs because they cost less than fuel.
    config.epoch_interruption(true);
    // A small address space: a guest has at most 64 MiB, and some machines are small, too.
    config.memory_reservation(64 << 20);
    config.memory_guard_size(64 << 10);
    config.memory_reservation_for_growth(0);
    config.max_wasm_stack(512 << 10);
    config.generate_address_map(false);
    config
}
