//! The bindings of a guest's own world, which reuse those of this crate.

/// Generates the bindings of a world that includes `warded:host/capabilities`, with this crate's types and capabilities
/// instead of generated ones. `path` is the directory `wit/`, relative to the guest's manifest; `inline` is the world.
#[macro_export]
macro_rules! world {
    (path: $path:tt, inline: $inline:tt $(,)?) => {
        wit_bindgen::generate!({
            path: $path,
            inline: $inline,
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
    };
}
