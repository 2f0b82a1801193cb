//! A recording as a file: lines of JSON. The last line has the digest of the lines before it.

use super::{Call, Outcome};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use warded_lib::{
    digest::Digest,
    error::{Error, Result},
    name::Name,
    policy::setting::Setting,
    text::neutral,
};

const SCHEMA: &str = "warded.recording/1";
/// The interfaces whose calls are recorded, as in `wit/`.
const INTERFACES: &str = "warded:host@0.1.0";
/// The maximum size of all calls of a recording, in bytes.
pub const CALL_BYTES: usize = 32 << 20;
/// The largest file that is read: the calls, and what surrounds them.
pub const MAX_BYTES: u64 = 40 << 20;

/// The head of a recording: which component and procedure it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    schema: String,
    interfaces: String,
    pub policy: Name,
    pub version: String,
    pub component: Digest,
    pub procedure: Name,
    /// Its settings, as they were given.
    pub settings: Vec<Setting>,
    pub recorded: Timestamp,
    /// The serial numbers of certificates that were not due, as the host told the run.
    pub not_due: Vec<u64>,
    /// Why the run did not complete; `None` if it did.
    pub ended: Option<String>,
}

impl Head {
    /// The head for a run that ends now.
    #[must_use]
    pub fn new(
        (policy, version, component): (Name, String, Digest),
        procedure: Name,
        settings: Vec<Setting>,
        ended: Option<String>,
    ) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            interfaces: INTERFACES.to_owned(),
            policy,
            version,
            component,
            procedure,
            settings,
            recorded: Timestamp::now(),
            not_due: Vec::new(),
            ended,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Recording {
    /// Which run it is a recording of.
    pub head: Head,
    /// Each call, with its outcome.
    pub calls: Vec<(Call, Outcome)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    digest: Digest,
}

impl Recording {
    /// The recording as a file.
    ///
    /// # Errors
    /// Never: all of it is text and numbers.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let line = |value: serde_json::Result<String>| {
            value
                .map(|text| text + "\n")
                .map_err(|error| Error::failed("cannot write the recording as JSON").cause(error))
        };
        let mut text = line(serde_json::to_string(&self.head))?;
        for call in &self.calls {
            text += &line(serde_json::to_string(call))?;
        }
        let end = json!({ "digest": Digest::of(text.as_bytes()) });
        Ok((text + &line(Ok(end.to_string()))?).into_bytes())
    }

    /// Parses a recording.
    ///
    /// # Errors
    /// Refused: it is not a recording, is not complete, was changed, or is for other interfaces.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let refused = |what: &str| Error::refused(format!("this is no recording that can be replayed: {what}"));
        let text = str::from_utf8(bytes).map_err(|error| refused("it is not text").cause(error))?;
        let (first, _) = text.split_once('\n').ok_or_else(|| refused("it has no whole line"))?;
        let described = |what: &str, error: serde_json::Error| refused(what).cause(neutral(&error.to_string()));
        // This is checked first, since another version may have other lines, too.
        #[derive(Deserialize)]
        struct Versions {
            schema: String,
            interfaces: String,
        }
        let versions: Versions =
            serde_json::from_str(first).map_err(|error| described("its first line is another one", error))?;
        if (versions.schema.as_str(), versions.interfaces.as_str()) != (SCHEMA, INTERFACES) {
            let found = format!("{} of {}", neutral(&versions.schema), neutral(&versions.interfaces));
            return Err(refused("it was made by another version of Warded")
                .cause(format!("it is {found}; this Warded reads {SCHEMA} of {INTERFACES}"))
                .next("replay it with the version that recorded it, or record the run again"));
        }
        let body = text.strip_suffix('\n').and_then(|text| text.rsplit_once('\n'));
        let (body, last) = body.ok_or_else(|| refused("its end is missing"))?;
        let end: End = serde_json::from_str(last)
            .map_err(|_| refused("its end is missing").next("copy the whole file, or record the run again"))?;
        let found = Digest::of(format!("{body}\n").as_bytes());
        if end.digest != found {
            return Err(refused("it was changed after it was written")
                .cause(format!("its last line says {}, and what is before it has {found}", end.digest)));
        }
        let head = serde_json::from_str(first).map_err(|error| described("its first line is another one", error))?;
        let calls = body.lines().skip(1).map(serde_json::from_str).collect::<serde_json::Result<_>>();
        Ok(Self { head, calls: calls.map_err(|error| described("a line of it is no call", error))? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_interfaces() {
        let wit = include_str!("../../../../wit/types.wit");
        assert!(wit.contains(&format!("package {INTERFACES};")), "{wit}");
    }
}
