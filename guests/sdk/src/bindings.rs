//! The generated bindings of every interface in `wit/`. Nothing is written by hand here.
#![expect(missing_docs, reason = "generated, with the documentation of wit/")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "capabilities",
    generate_all,
    generate_unused_types: true,
});
