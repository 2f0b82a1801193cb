//! The guest's face to the host: the generated bindings of its world, on top of the SDK's types,
//! and which function is which procedure.
#![expect(unsafe_code, reason = "generated: the canonical ABI passes pointers")]

use crate::{certify_host, remove, renew_host, trust_user_ca};

wit_bindgen::generate!({
    path: "../../wit",
    inline: r"
        package warded:truenas;

        world truenas {
            include warded:host/capabilities@0.1.0;
            use warded:host/types@0.1.0.{setting, error};

            export certify-host: func(settings: list<setting>) -> result<_, error>;
            export renew-host: func(settings: list<setting>) -> result<_, error>;
            export trust-user-ca: func(settings: list<setting>) -> result<_, error>;
            export remove: func(settings: list<setting>) -> result<_, error>;
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

struct TrueNas;

impl Guest for TrueNas {
    fn certify_host(settings: Vec<Setting>) -> Result<(), Error> {
        certify_host::run(&settings.into())
    }

    fn renew_host(settings: Vec<Setting>) -> Result<(), Error> {
        renew_host::run(&settings.into())
    }

    fn trust_user_ca(settings: Vec<Setting>) -> Result<(), Error> {
        trust_user_ca::run(&settings.into())
    }

    fn remove(settings: Vec<Setting>) -> Result<(), Error> {
        remove::run(&settings.into())
    }
}

export!(TrueNas);
