//! What a renewal takes: programs and waits for the disk are counted, since they do not depend on the machine's speed.
//! Fewer is better; more is a step back.

use crate::support::{
    Machine,
    counts::{self, Counts},
};

#[test]
fn a_renewal_starts_few_programs_and_waits_seldom_for_the_disk() {
    let machine = Machine::start();
    machine.certify();
    for (arguments, programs, syncs) in [(&["renew", "--force"][..], 10, 66), (&["renew"], 4, 5), (&["status"], 4, 0)] {
        let (run, counts) = counts::warded(&machine, arguments);
        run.ends(0);
        let Counts { programs: started, compilers, syncs: waited } = &counts;
        println!("{arguments:?}: {} programs, {} syncs", started.len(), waited.len());
        assert_eq!(*compilers, 0, "{arguments:?}: {counts:#?}");
        assert!(started.len() <= programs && waited.len() <= syncs, "{arguments:?}: {counts:#?}");
    }
}
