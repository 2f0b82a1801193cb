//! The guest's interface to the host: the generated bindings of its world, and the function for each procedure.

use crate::certify_host;
use warded_guest::{certificate::certificate_path, host_certificates};

warded_guest::world! {
    path: "wit",
    inline: r"
        package guest:cabinet;

        world guest {
            include warded:host/capabilities@0.1.0;
            use warded:host/types@0.1.0.{setting, error};

            export certify-host: func(settings: list<setting>) -> result<_, error>;
            export renew-host: func(settings: list<setting>) -> result<_, error>;
        }
    ",
}

struct Procedures;

impl Guest for Procedures {
    fn certify_host(settings: Vec<Setting>) -> Result<(), Error> {
        certify_host::run(&settings.into())
    }

    fn renew_host(settings: Vec<Setting>) -> Result<(), Error> {
        host_certificates::renew_host(&settings.into(), certificate_path)
    }
}

export!(Procedures);
