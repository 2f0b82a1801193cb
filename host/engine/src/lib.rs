//! How components are compiled and run. The build script compiles the bundled ones with this configuration, and the
//! binary all others, so that both give the same machine code.

mod features;

pub use features::FEATURES;
pub use wasmparser::WasmFeatures;
#[cfg(feature = "wasmtime")]
use wasmtime::Config;

/// What the engine compiles besides: where one inner component calls another, wasmtime copies between their memories
/// by a core module of its own making, which has both.
#[cfg(feature = "wasmtime")]
const ADAPTERS: WasmFeatures = WasmFeatures::MULTI_MEMORY;

/// What bundled components are compiled for, where that is not the machine that the binary is for.
pub const BUNDLED_FOR: Option<&str> = if cfg!(feature = "portable") { Some("pulley64") } else { None };

/// The configuration of the engine.
#[cfg(feature = "wasmtime")]
#[must_use]
pub fn config() -> Config {
    let mut config = Config::new();
    config.wasm_features(WasmFeatures::all(), false);
    config.wasm_features(FEATURES.union(ADAPTERS), true);
    // A guest is stopped by time (limits.rs): epochs, since they cost less than fuel.
    config.epoch_interruption(true);
    // Small address space: a guest has 64 MiB at most, and machines are small too.
    config.memory_reservation(64 << 20);
    config.memory_guard_size(64 << 10);
    config.memory_reservation_for_growth(0);
    config.max_wasm_stack(512 << 10);
    config.generate_address_map(false);
    config
}
