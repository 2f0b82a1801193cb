//! Guests that mean harm, or are broken: each is bounded, leaves no trace but on record, and says
//! nothing that a terminal would obey.

mod arena;
mod case;
mod directories;
mod foreign;
mod handles;
mod harm;
mod kernel;
mod limits;
mod own;
mod paths;
mod record;

/// All of them at once: some wait for most of a minute, and the others run meanwhile.
#[test]
fn every_hostile_guest_ends_as_it_should() {
    // Those that wait begin first.
    let cases = [
        limits::cases(),
        directories::cases(),
        foreign::cases(),
        handles::cases(),
        harm::cases(),
        kernel::cases(),
        own::cases(),
        paths::cases(),
    ];
    let mut cases: Vec<_> = cases.into_iter().flatten().collect();
    cases.sort_by_key(|case| !(case.name.starts_with("loop") || case.name.starts_with("sshd that never")));
    assert!(cases.len() >= 40);
    arena::run(&cases);
}
