//! What a renewal takes: programs and waits for the disk are counted, since they do not depend on the machine's speed.
//! Fewer is better; more is a step back.

use crate::support::{
    Machine, Setup,
    counts::{self, Counts},
};

/// As many renewals can be told apart.
const RUNS_KEPT: usize = 20;

#[test]
fn a_renewal_starts_few_programs_and_waits_seldom_for_the_disk() {
    let machine = Machine::start();
    machine.certify();
    let steps = [
        (&["renew", "--force"][..], 8, 15),
        (&["renew"], 2, 0),
        // Nothing has changed since the last look.
        (&["renew"], 0, 0),
        (&["status"], 4, 0),
    ];
    for (arguments, programs, syncs) in steps {
        let (run, counts) = counts::warded(&machine, arguments);
        run.ends(0);
        let Counts { programs: started, compilers, syncs: waited } = &counts;
        println!("{arguments:?}: {} programs, {} syncs: {counts:#?}", started.len(), waited.len());
        assert_eq!(*compilers, 0, "{arguments:?}: {counts:#?}");
        assert!(started.len() <= programs && waited.len() <= syncs, "{arguments:?}: {counts:#?}");
    }
}

/// From then on each renewal folds the oldest one into the run before it.
#[test]
fn a_renewal_after_many_waits_little_more() {
    let machine = Machine::with(&Setup { without_rsa: true, ..Setup::default() });
    machine.certify();
    (0..RUNS_KEPT).for_each(|_| drop(machine.warded(["renew", "--force"]).ends(0)));
    let (run, counts) = counts::warded(&machine, &["renew", "--force"]);
    run.ends(0);
    println!("{counts:#?}");
    // With two keys, a new file less. Copies and their name are on disk before the journal that names them: 4 in a fold.
    assert!(counts.programs.len() <= 8 && counts.syncs.len() <= 18, "{counts:#?}");
}
