//! The guest's interface to the host: the generated bindings of its world, and the function for each procedure.

use crate::set_motd;

warded_guest::world! {
    path: "wit",
    inline: r"
        package policy:guest;

        world guest {
            include warded:host/capabilities@0.1.0;
            use warded:host/types@0.1.0.{setting, error};

            export set-motd: func(settings: list<setting>) -> result<_, error>;
        }
    ",
}

struct Procedures;

impl Guest for Procedures {
    fn set_motd(settings: Vec<Setting>) -> Result<(), Error> {
        set_motd::run(&settings.into())
    }
}

export!(Procedures);
