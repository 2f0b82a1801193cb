//! What is on record, and how it is read back.

use crate::support::Machine;
use std::{fs::OpenOptions, io::Write as _};

#[test]
fn the_log_is_read_past_what_a_crash_left() {
    let machine = Machine::stopped();
    machine.warded(["plan", "no-such-procedure"]).ends(2);
    let mut log = OpenOptions::new().append(true).open(machine.path("state/audit/log.jsonl")).unwrap();
    log.write_all(b"{\"n\":1,\"ti").unwrap();
    drop(log);
    let shown = machine.warded(["audit", "log"]).ends(0).stdout;
    assert!(shown.contains("10 unfinished bytes"), "{shown}");
    // The next record accounts for it, and both are shown.
    let path = machine.path("ssh/x");
    super::refusals::write(&machine, &[], path.to_str().unwrap(), &["x"]).ends(5);
    let shown = machine.warded(["audit", "log"]).ends(0).stdout;
    assert!(shown.contains("10 unfinished bytes") && shown.contains("denied"), "{shown}");
    let object = machine.warded(["audit", "log", "--json"]).ends(0).object("warded.audit-log/1");
    assert_eq!(object["unreadable_lines"].as_array().unwrap().len(), 1, "{object}");
    assert!(object["records"].as_array().unwrap().len() > 1, "{object}");
    machine.warded(["audit", "verify"]).ends(0);
}
