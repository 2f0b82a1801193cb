//! Components that are small, but expensive to compile.

use super::case::{Case, case};
use crate::support::odd::every_local_in_every_loop;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("a component that the compiler would need gigabytes for")
            .does(|guest| {
                guest.field(&every_local_in_every_loop(1500, 1500));
            })
            .ends_refused(&[
                "the component cannot be compiled",
                "the compiler has 512 MiB of memory and 60 s of a processor",
            ]),
    ]
}
