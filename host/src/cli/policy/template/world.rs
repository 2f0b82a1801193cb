//! The guest's face to the host: the generated bindings of its world, and which function is which procedure.
#![expect(unsafe_code, reason = "generated: the canonical ABI passes pointers")]

use crate::set_motd;

wit_bindgen::generate!({
    path: "wit",
    inline: r"
        package guest:NAME;

        world guest {
            include warded:host/capabilities@0.1.0;
            use warded:host/types@0.1.0.{setting, error};

            export set-motd: func(settings: list<setting>) -> result<_, error>;
        }
    ",
    with: {
        "warded:host/actions@0.1.0": warded_guest::actions,
        "warded:host/authority@0.1.0": warded_guest::authority,
        "warded:host/files@0.1.0": warded_guest::files,
        "warded:host/keys@0.1.0": warded_guest::keys,
        "warded:host/log@0.1.0": warded_guest::log,
        "warded:host/machine@0.1.0": warded_guest::machine,
        "warded:host/schedule@0.1.0": warded_guest::schedule,
        "warded:host/services@0.1.0": warded_guest::services,
        "warded:host/ssh@0.1.0": warded_guest::ssh,
        "warded:host/sshd@0.1.0": warded_guest::sshd,
        "warded:host/types@0.1.0": warded_guest::types,
    },
});

struct Procedures;

impl Guest for Procedures {
    fn set_motd(settings: Vec<Setting>) -> Result<(), Error> {
        set_motd::run(&settings.into())
    }
}

export!(Procedures);
