//! Guests that make the host hold more directories open than a process can. Each runs with a limit of 1,024
//! descriptors.

use super::{
    case::{Case, case},
    record::asked,
};
use crate::support::script::Argument::Number;
use std::fs;

pub(super) fn cases() -> Vec<Case> {
    vec![
        // Each of these calls adds a path that the run depends on, all in one directory.
        case("names without end, of files that are not there")
            .granted(&["files.read = [\"{dir}/many/*\"]"])
            .given(|machine| fs::create_dir(machine.path("many")).unwrap())
            .does(|guest| {
                guest.repeats_counting(1100, "{dir}/many/0000", |guest, path| {
                    guest.does("files.read", &path);
                });
            })
            .ends(&[0], &["Nothing to do."], asked("files.read", "{dir}/many/1100"))
            .also(asked("files.read", "{dir}/many/0001")),
        case("directories without end")
            .granted(&["files.read = [\"{dir}/many/*/x\"]"])
            .given(|machine| {
                (0..=1100).for_each(|number| {
                    fs::create_dir_all(machine.path(&format!("many/{number:04}"))).unwrap();
                });
            })
            .does(|guest| {
                guest.repeats_counting(1100, "{dir}/many/0000/x", |guest, path| {
                    guest.does("files.read", &path);
                });
            })
            .ends_stopped("it looked into more than 256 directories"),
        case("directories without end, to write in")
            .granted(&["files.write = [\"{dir}/many/*/x\"]"])
            .given(|machine| {
                (0..=1100).for_each(|number| {
                    fs::create_dir_all(machine.path(&format!("many/{number:04}"))).unwrap();
                });
            })
            .does(|guest| {
                guest.repeats_counting(1100, "{dir}/many/0000/x", |guest, [at, length]| {
                    guest.does("files.write", &[at, length, Number(0), Number(1), Number(0), Number(0)]);
                });
            })
            .ends_stopped("it looked into more than 256 directories"),
    ]
}
