//! What the audit log records, and how it is read back.

use crate::support::{Machine, Run, machine::NAME, missing};
use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    process::Stdio,
};

#[test]
fn the_log_is_read_past_what_a_crash_left() {
    let machine = Machine::stopped();
    machine.warded(["plan", "no-such-procedure"]).ends(2);
    let mut log = OpenOptions::new().append(true).open(machine.path("state/audit/log.jsonl")).unwrap();
    log.write_all(b"{\"n\":1,\"ti").unwrap();
    drop(log);
    let shown = machine.warded(["audit", "log"]).ends(0).stdout;
    assert!(shown.contains("10 unfinished bytes"), "{shown}");
    // The next record continues after the unfinished line, and both are shown.
    let path = machine.path("ssh/x");
    super::refusals::write(&machine, &[], path.to_str().unwrap(), &["x"]).ends(5);
    let shown = machine.warded(["audit", "log"]).ends(0).stdout;
    assert!(shown.contains("10 unfinished bytes") && shown.contains("denied"), "{shown}");
    let object = machine.warded(["audit", "log", "--json"]).ends(0).object("warded.audit-log/1");
    assert_eq!(object["unreadable_lines"].as_array().unwrap().len(), 1, "{object}");
    assert!(object["records"].as_array().unwrap().len() > 1, "{object}");
    machine.warded(["audit", "verify"]).ends(0);
}

#[test]
fn runs_at_once_share_one_chain() {
    let machine = Machine::stopped();
    let name = format!("principal={NAME}");
    let plan = || {
        let mut plan = machine.warded_command(["plan", "certify-host", "--set", &name]);
        plan.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let plans: Vec<_> = (0..4).map(|_| plan()).collect();
    for plan in plans {
        Run::ended(plan).ends(3);
    }
    let records = machine.audit();
    assert_eq!(records.iter().filter(|record| record["kind"] == "started").count(), 4);
}

/// A user has a log of their own, and does not touch root's.
#[test]
fn a_user_has_a_chain_of_his_own() {
    if missing::root() {
        return;
    }
    const USER: u32 = 54_321;
    let machine = Machine::stopped();
    machine.warded(["plan", "certify-host", "--set", &format!("principal={NAME}")]).ends(3);
    let roots = || ["log.jsonl", "head.json"].map(|name| fs::read(machine.path("state/audit").join(name)).unwrap());
    let before = roots();

    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let mut files = vec![home.path().to_owned(), at("ssh"), at("warded")];
    fs::create_dir(at("ssh")).unwrap();
    Run::copies_warded(&at("warded"));
    for (path, (mode, _, _, contents)) in machine.tree() {
        let own = at("ssh").join(path.file_name().unwrap());
        if let Ok(text) = String::from_utf8(contents) {
            let text = text.replace(machine.path("ssh").to_str().unwrap(), at("ssh").to_str().unwrap());
            fs::write(&own, text).unwrap();
            fs::set_permissions(&own, fs::Permissions::from_mode(mode)).unwrap();
            files.push(own);
        }
    }
    files.iter().for_each(|file| chown(file, Some(USER), Some(USER)).unwrap());
    let warded = |words: &[&str]| {
        let mut command = machine.command("setpriv");
        let user = USER.to_string();
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--no-new-privs"]).arg(at("warded"));
        command.args(words).env_clear().env("HOME", home.path()).env("PATH", "/usr/bin:/bin").current_dir("/");
        Run::of(command.env("WARDED_SSHD_CONFIG", at("ssh/sshd_config")).env("WARDED_CA", at("ca")))
    };
    warded(&["ca", "init", at("ca").to_str().unwrap()]).ends(0);
    warded(&["plan", "certify-host", "--set", &format!("principal={NAME}")]).ends(3);
    let log = at(".local/state/warded/audit/log.jsonl");
    let count = fs::read_to_string(&log).unwrap().lines().count();
    assert!(count > 3, "{count}");
    let found = fs::metadata(&log).unwrap();
    assert_eq!((found.uid(), found.mode() & 0o777), (USER, 0o600));
    let verified = warded(&["audit", "verify", "--json"]).ends(0).object("warded.audit-verify/1");
    assert_eq!(verified["records"], count);
    assert_eq!(roots(), before);
    // The user cannot even read root's log.
    warded(&["--state", machine.path("state").to_str().unwrap(), "audit", "verify"]).ends(5).says(&["not safe"]);
    assert_eq!(roots(), before);
}
