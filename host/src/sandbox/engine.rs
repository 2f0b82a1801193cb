//! How components are compiled and run. `build.rs` includes this file too, so that what it
//! precompiles is what the binary would compile.

use wasmtime::Config;

/// The configuration of the one engine.
#[must_use]
pub fn config() -> Config {
    let mut config = Config::new();
    config.wasm_component_model(true);
    // A guest is stopped by time (limits.rs): epochs, since they cost less than fuel.
    config.epoch_interruption(true);
    // Small address space: a guest has 64 MiB at most, and machines are small too.
    config.memory_reservation(64 << 20);
    config.memory_guard_size(64 << 10);
    config.memory_reservation_for_growth(0);
    config.max_wasm_stack(512 << 10);
    // What procedures need is a plain machine; less is less to attack.
    config.wasm_relaxed_simd(false);
    config.wasm_multi_memory(false);
    config.wasm_memory64(false);
    config.generate_address_map(false);
    config
}
