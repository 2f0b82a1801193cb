use super::*;

#[test]
fn what_is_configured_stays_protected_behind_a_flag() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().canonicalize().unwrap().join(name);
    let lines: String =
        ["state", "policies", "ca"].map(|key| format!("{key} = {:?}\n", at(&format!("own-{key}")))).concat();
    std::fs::write(at("config.toml"), lines).unwrap();
    let named = |name: &str| Some(at(name));
    let context = Context::open(&Options {
        config: named("config.toml"),
        state: named("state"),
        policies: named("policies"),
        ca: named("ca"),
        ..Options::default()
    })
    .unwrap();
    for name in [
        "own-state",
        "own-policies",
        "own-ca",
        "state",
        "policies",
        "policies.lock",
        "allowed_signers",
        "revoked_signers",
        "ca",
        "config.toml",
    ] {
        assert!(context.protected.iter().any(|own| own.as_path() == at(name)), "{name}");
    }
}
