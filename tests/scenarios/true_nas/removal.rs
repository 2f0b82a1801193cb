//! Everything is removed, whatever was done before, and whatever an administrator has written since.

use super::USER;
use crate::support::true_nas::{CERTIFY, REMOVE, Settings, State, TRUST, TrueNas};

/// Undoes everything.
const ALL: [&str; 3] = ["remove", "--yes", "--accept-risk=lose-ssh"];
const RENEW: [&str; 2] = ["renew", "--force"];

#[test]
fn after_any_order_of_procedures_all_is_as_before() {
    comes_and_goes_in_any_order("25.10");
}

#[test]
fn after_any_order_of_procedures_all_is_as_before_on_core() {
    comes_and_goes_in_any_order("13.3");
}

fn comes_and_goes_in_any_order(version: &str) {
    let settings = Settings { password_user: USER, options: "Banner none", ..Settings::of(version) };
    let Some(machine) = TrueNas::start(settings) else { return };
    let before = machine.state();
    // The restored job has the command of the first one.
    machine.warded(&CERTIFY).ends(0);
    let certified = machine.stored("jobs");
    machine.warded(&REMOVE).ends(0);
    machine.warded(&["undo", "--yes"]).ends(0);
    let words = |jobs: &str| jobs.split('\t').skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&machine.stored("jobs")), words(&certified));
    assert!(certified.contains("/usr/bin/warded"), "{certified}");
    machine.warded(&REMOVE).ends(0);
    let orders: [&[&[&str]]; 5] = [
        &[&CERTIFY],
        &[&TRUST],
        &[&CERTIFY, &RENEW, &TRUST],
        &[&TRUST, &CERTIFY, &RENEW],
        &[&CERTIFY, &REMOVE, &TRUST],
    ];
    for order in orders {
        for removal in [&REMOVE[..], &ALL] {
            order.iter().for_each(|words| drop(machine.warded(words).ends(0)));
            machine.warded(removal).ends(0);
            assert_eq!(machine.state(), before, "{order:?}, {removal:?}");
        }
    }
    machine.is_as_generated();
    machine.lets_everybody_in(false);
}

#[test]
fn what_an_administrator_wrote_since_stays() {
    let settings = Settings { options: "Banner none\n", ..Settings::of("25.10") };
    let Some(machine) = TrueNas::start(settings) else { return };
    let before = machine.state();
    machine.warded(&CERTIFY).ends(0);
    machine.warded(&TRUST).ends(0);
    let edited = format!("LogLevel VERBOSE\n{}", machine.stored("options"));
    machine.sets(Settings { options: &edited, ..settings });
    machine.lets_everybody_in(true);
    // Warded's block is complete, so this is not drift.
    machine.warded(&["status"]).ends(0);
    let with_both = machine.state();
    let first = "The policy truenas takes its own lines out first.";
    machine.warded(&["remove", "--plan"]).ends(3).prints(&[first, "> run ssh-update", "> run renewal-job-delete"]);
    let confirmed = ["remove", "--yes", "--confirm-within", "10m"];
    machine.warded(&confirmed).ends(5).says(&["this removal needs several", "warded apply remove"]);
    assert_eq!(machine.state(), with_both);
    // The refusal of the removal leaves everything as well.
    machine.warded(&["remove", "--yes"]).ends(5).says(&["a way to log in would be gone"]);
    assert_eq!(machine.state(), with_both);

    machine.warded(&ALL).ends(0).prints(&[first]);
    let options = "LogLevel VERBOSE\nBanner none\n";
    machine.is_as_generated();
    let now = machine.state();
    let mut expected = State { options: options.to_owned(), sshd_config: now.sshd_config.clone(), ..before };
    // The generated file has the administrator's lines, as the check above has shown.
    let generated = now.files.iter().filter(|(path, _)| path.ends_with("etc/ssh/sshd_config"));
    expected.files.extend(generated.map(|(path, found)| (path.clone(), found.clone())));
    assert_eq!(expected, now);
    machine.lets_everybody_in(false);
    machine.warded(&["remove", "--plan"]).ends(0).prints(&["Warded has changed no file here"]);
    machine.warded(&["status"]).ends(0).prints(&["enrolled     no", "problems     none"]);
}

/// The block's `Match all` ends the `Match` of a user who may log in with a password. A line that an administrator has
/// added below the block would fall into that `Match`.
#[test]
fn a_line_below_the_block_stays_and_holds_for_everybody() {
    const LINE: &str = "LogLevel VERBOSE";
    for (password_user, end) in [(None, ""), (None, "\n"), (USER, ""), (USER, "\n")] {
        let settings = Settings { password_user, options: "Banner none", ..Settings::of("25.10") };
        let Some(machine) = TrueNas::start(settings) else { return };
        machine.warded(&CERTIFY).ends(0);
        let adds = |text: &str| {
            let options = format!("{}\n{text}{end}", machine.stored("options").trim_end());
            machine.sets(Settings { options: &options, ..settings });
            machine.lets_everybody_in(true);
        };
        adds(LINE);
        let mut expected = format!("Banner none\n{LINE}{end}");
        if password_user.is_some() {
            let with_line = machine.state();
            let told = ["`loglevel \"VERBOSE\"` (line", "fall into `match \"User\" \"jane\"`", "a line `Match all`"];
            machine.warded(&REMOVE).ends(5).says(&told);
            machine.warded(&ALL).ends(5).says(&told);
            assert_eq!(machine.state(), with_line);
            let options = machine.stored("options").replace(LINE, &format!("Match all\n{LINE}"));
            machine.sets(Settings { options: &options, ..settings });
            expected = format!("Banner none\nMatch all\n{LINE}{end}");
        }
        machine.warded(if end.is_empty() { &REMOVE[..] } else { &ALL }).ends(0);
        assert_eq!(machine.stored("options"), expected);
        machine.is_as_generated();
        machine.lets_everybody_in(false);
        let shown = machine.command("/usr/sbin/sshd").args(["-T", "-C", "user=ann,host=h,addr=192.0.2.1"]).output();
        assert!(String::from_utf8(shown.unwrap().stdout).unwrap().contains("loglevel VERBOSE"));
    }
}

#[test]
fn settings_without_our_block_are_drift() {
    let Some(machine) = TrueNas::start(Settings::of("25.10")) else { return };
    machine.warded(&CERTIFY).ends(0);
    machine.warded(&["status"]).ends(0);
    machine.sets(Settings { options: "LogLevel INFO\n", ..Settings::of("25.10") });
    let seen = "somebody changed what ssh-update had set: ssh-config shows something else";
    machine.warded(&["status"]).ends(4).prints(&[seen]);
    machine.warded(&["status", "--prometheus"]).ends(4).prints(&["warded_drift 1"]);
    machine.mode("ssh.config:is-down");
    machine.warded(&["status"]).ends(4).prints(&["cannot check whether the setting made by ssh-update is still there"]);
    machine.mode("none");
    machine.warded(&CERTIFY).ends(0);
    machine.warded(&["status"]).ends(0);
}
