//! The bindings that wasmtime generates from `wit/`.
#![expect(missing_docs, reason = "generated, with the documentation of wit/")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "capabilities",
    imports: { default: trappable },
    require_store_data_send: false,
    with: {
        "warded:host/keys.key-pair": crate::broker::operation::key::KeyPair,
        "warded:host/authority.certificate": warded_lib::ca::Certificate,
        "warded:host/authority.issued": warded_lib::change_set::RequestId,
    },
});
