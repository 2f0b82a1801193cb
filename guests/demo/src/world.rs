//! The guest's interface to the host: the generated bindings of its world, which use the SDK's types, and the function
//! for each procedure.

use crate::write_file;

warded_guest::world! {
    path: "../../wit",
    inline: r"
        package warded:demo;

        world demo {
            include warded:host/capabilities@0.1.0;
            use warded:host/types@0.1.0.{setting, error};

            export write-file: func(settings: list<setting>) -> result<_, error>;
        }
    ",
}

struct Demo;

impl Guest for Demo {
    fn write_file(settings: Vec<Setting>) -> Result<(), Error> {
        write_file::run(&settings.into())
    }
}

export!(Demo);
