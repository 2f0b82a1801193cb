//! The memory limits of this process (RLIMIT_DATA and RLIMIT_AS). If an allocation fails in the middle of a change, the
//! process is ended and the change has to be recovered from. So a limit that is too low is reported before anything is
//! done.

use crate::error::{Error, Result};
use rustix::process::{Resource, getrlimit};

const MIB: u64 = 1 << 20;
/// The lowest data limit that is accepted. A run takes some 11 MiB. A guest may need more for itself; if it gets no
/// more, it ends with an error message.
const DATA_BYTES: u64 = 64 * MIB;
/// The lowest address space limit that is accepted: memory for a guest is reserved, and the program and its libraries
/// are mapped.
const ADDRESS_BYTES: u64 = 256 * MIB;

/// Checks the limits under which this process runs.
///
/// # Errors
/// Refused: a limit is too low for a run to finish.
pub fn refuse_too_little() -> Result<()> {
    let data = Limit {
        given: getrlimit(Resource::Data).current,
        needed: DATA_BYTES,
        what: "data",
        name: "-d",
        unit: "LimitDATA",
    };
    let address = Limit {
        given: getrlimit(Resource::As).current,
        needed: ADDRESS_BYTES,
        what: "address space",
        name: "-v",
        unit: "LimitAS",
    };
    data.check().and_then(|()| address.check())
}

struct Limit {
    /// In bytes; none: there is no limit.
    given: Option<u64>,
    needed: u64,
    what: &'static str,
    /// The option of `ulimit` that raises it; `unit` is the setting of a systemd unit.
    name: &'static str,
    unit: &'static str,
}

impl Limit {
    fn check(&self) -> Result<()> {
        let Self { given, needed, what, name, unit } = self;
        let Some(given) = given.filter(|given| given < needed) else { return Ok(()) };
        Err(Error::refused("too little memory is allowed to this process")
            .cause(format!("its {what} is limited to {} KiB, and a run may need {} MiB", given >> 10, needed / MIB))
            .next(format!("raise the limit: ulimit {name} {}, or {unit}= in the systemd unit", needed >> 10)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_too_low_is_named() {
        let limit = |given| Limit { given, needed: 64 * MIB, what: "data", name: "-d", unit: "LimitDATA" }.check();
        for given in [None, Some(64 * MIB), Some(u64::MAX)] {
            assert!(limit(given).is_ok(), "{given:?}");
        }
        let error = limit(Some(64 * MIB - 1)).unwrap_err().to_string();
        assert!(error.contains("its data is limited to 65535 KiB, and a run may need 64 MiB"), "{error}");
        assert!(error.contains("ulimit -d 65536, or LimitDATA="), "{error}");
        assert!(refuse_too_little().is_ok());
    }
}
