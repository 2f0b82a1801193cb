//! The guest's interface to the host: the generated bindings of its world, which use the SDK's types, and the function
//! for each procedure.

use crate::{certify_host, rekey_host, revoke_users, trust_host_ca, trust_user_ca};
use warded_guest::{certificate::certificate_path, host_certificates};

warded_guest::world! {
    path: "../../wit",
    inline: r"
        package warded:unix;

        world unix {
            include warded:host/capabilities@0.1.0;
            use warded:host/types@0.1.0.{setting, error};

            export certify-host: func(settings: list<setting>) -> result<_, error>;
            export renew-host: func(settings: list<setting>) -> result<_, error>;
            export rekey-host: func(settings: list<setting>) -> result<_, error>;
            export revoke-users: func(settings: list<setting>) -> result<_, error>;
            export trust-host-ca: func(settings: list<setting>) -> result<_, error>;
            export trust-user-ca: func(settings: list<setting>) -> result<_, error>;
        }
    ",
}

struct Unix;

impl Guest for Unix {
    fn certify_host(settings: Vec<Setting>) -> Result<(), Error> {
        certify_host::run(&settings.into())
    }

    fn renew_host(settings: Vec<Setting>) -> Result<(), Error> {
        host_certificates::renew_host(&settings.into(), certificate_path)
    }

    fn rekey_host(settings: Vec<Setting>) -> Result<(), Error> {
        rekey_host::run(&settings.into())
    }

    fn revoke_users(settings: Vec<Setting>) -> Result<(), Error> {
        revoke_users::run(&settings.into())
    }

    fn trust_host_ca(settings: Vec<Setting>) -> Result<(), Error> {
        trust_host_ca::run(&settings.into())
    }

    fn trust_user_ca(settings: Vec<Setting>) -> Result<(), Error> {
        trust_user_ca::run(&settings.into())
    }
}

export!(Unix);
