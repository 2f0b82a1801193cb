//! Components: what a run calls of the host is among what the audit says that the procedure can call, and the request
//! that a component carries is one text. The first byte says whether the component is damaged before it is read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use warded_fuzz::{
    embed, imports, is_harmless,
    reach::{self, ComponentReach, Reach},
    recipe::{PROCEDURES, Recipe},
};

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let (recipe, rest) = Recipe::of(data);
    let mut component = recipe.component();
    match kind % 4 {
        0 | 1 => whole(&recipe, &component),
        2 => {
            for change in rest.chunks_exact(3) {
                let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % component.len();
                component[at] = change[2];
            }
            damaged(&component);
        }
        // From nowhere but for its first eight bytes, which make it a component.
        _ => damaged(&[&component[..8], data].concat()),
    }
});

/// What is shipped of a component calls the same, and carries one request.
fn shipped(component: &[u8], reached: &ComponentReach) {
    let shipped = embed::embedded(component, "a = 1").expect("it is a component");
    assert_eq!(reach::reached(&shipped).as_ref().ok(), Some(reached));
    assert_eq!(imports::request(&shipped).ok().flatten().as_deref(), Some("a = 1"));
}

fn whole(recipe: &Recipe, component: &[u8]) {
    let reached = reach::reached(component).expect("the recipe gives a component");
    shipped(component, &reached);
    for (number, name) in (0..).zip(PROCEDURES) {
        let (called, has_ended) = recipe.run(number);
        let called: BTreeSet<String> = called.iter().map(|number| format!("files.f{number}")).collect();
        let possible = reached.of(name);
        assert!(called.is_subset(possible), "{name} calls {called:?}, and the audit says {possible:?}: {recipe:?}");
        if recipe.is_direct() && has_ended {
            assert_eq!(reached.procedures[name], Reach::Functions(called), "{name}: {recipe:?}");
        }
    }
    let texts: Option<Vec<&str>> = recipe.requests.iter().map(|request| str::from_utf8(request).ok()).collect();
    let expected = match texts.as_deref() {
        Some([]) => Some(None),
        Some([text]) => Some(Some((*text).to_owned())),
        Some(_) | None => None,
    };
    assert_eq!(imports::request(component).ok(), expected, "{recipe:?}");
}

fn damaged(component: &[u8]) {
    if let Err(error) = imports::request(component) {
        is_harmless(&error.to_string());
    }
    match reach::reached(component) {
        Err(error) => is_harmless(&error.to_string()),
        Ok(reached) => {
            for procedure in reached.procedures.keys() {
                assert!(reached.of(procedure).is_subset(&reached.imported), "{reached:?}");
            }
            reached.imported.iter().for_each(|name| is_harmless(name));
            shipped(component, &reached);
        }
    }
}
