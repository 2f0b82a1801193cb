//! The guest's interface to the host: the generated bindings of its world, which use the SDK's types, and the function
//! for each procedure.

use crate::{certify_host, remove, trust_user_ca};
use warded_guest::{certificate::certificate_path, host_certificates};

warded_guest::world! {
    path: "../../wit",
    inline: r"
        package warded:bsd;

        world bsd {
            include warded:host/capabilities@0.1.0;
            use warded:host/types@0.1.0.{setting, error};

            export certify-host: func(settings: list<setting>) -> result<_, error>;
            export renew-host: func(settings: list<setting>) -> result<_, error>;
            export trust-user-ca: func(settings: list<setting>) -> result<_, error>;
            export remove: func(settings: list<setting>) -> result<_, error>;
        }
    ",
}

struct Bsd;

impl Guest for Bsd {
    fn certify_host(settings: Vec<Setting>) -> Result<(), Error> {
        certify_host::run(&settings.into())
    }

    fn renew_host(settings: Vec<Setting>) -> Result<(), Error> {
        host_certificates::renew_host(&settings.into(), certificate_path)
    }

    fn trust_user_ca(settings: Vec<Setting>) -> Result<(), Error> {
        trust_user_ca::run(&settings.into())
    }

    fn remove(settings: Vec<Setting>) -> Result<(), Error> {
        remove::run(&settings.into())
    }
}

export!(Bsd);
