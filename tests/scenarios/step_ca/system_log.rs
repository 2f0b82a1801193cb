//! Nobody reads the output of `renew` from a timer. So it is in the system log, and in `status`.

use super::{super::audit::is_told, renewals::revoke};
use crate::support::{Machine, Member, machine::keygen, missing, step_ca::StepCa};
use serde_json::Value;
use std::fs;

/// Changes the public status so that its certificates became due at `due` and expire at `end`, in seconds from now.
fn ages(member: &Member, due: i64, end: i64) {
    let file = member.machine.path("state-status/status.json");
    let mut status: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let at = |seconds: i64| (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds)).to_string();
    for key in status["keys"].as_array_mut().unwrap() {
        (key["due"], key["until"]) = (at(due).into(), at(end).into());
    }
    fs::write(file, status.to_string()).unwrap();
}

#[test]
fn a_renewal_names_what_it_left_and_on_whose_word_it_certified() {
    if missing::root() {
        return;
    }
    let machine = Machine::stopped();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    let (machine, system_log) = (&member.machine, member.machine.system_log());
    let key = |name: &str| machine.path(&format!("ssh/ssh_host_{name}_key"));
    let refused = ["2 certificates until 20", "; Not renewed: ", "ssh_host_rsa_key: the cause is not known"];
    let (rsa, noted) = (member.certificate("rsa"), "did not renew everything (exit code 4): Not renewed: ");

    member.warded(&["renew", "--force"]).ends(0);
    is_told(machine, &system_log, "<85>", &["renew-host: 3 certificates until 20"]);
    revoke(&ca, &member.certificate("rsa"));
    member.warded(&["renew", "--force"]).ends(4);
    is_told(machine, &system_log, "<84>", &refused);
    member.warded(&["status"]).prints(&[noted, "ssh_host_rsa_key"]);

    // The nearer the expiry, the higher the priority. A healthy certificate causes no message.
    for (due, end, priority) in [(-100, 1000, "<84>"), (-1000, 100, "<83>"), (-1000, -1, "<82>")] {
        ages(&member, due, end);
        member.warded(&["renew", "--force"]).ends(4);
        is_told(machine, &system_log, priority, &refused);
    }

    // Another key was replaced meanwhile.
    for file in [key("ecdsa"), key("ecdsa").with_extension("pub")] {
        fs::remove_file(file).unwrap();
    }
    keygen(&["-q", "-N", "", "-t", "ecdsa", "-f"], &key("ecdsa"));
    member.warded(&["renew", "--force"]).ends(4);
    let word = "ssh_host_ecdsa_key was replaced, and is certified on the word of ";
    is_told(machine, &system_log, "<84>", &["2 certificates until", word, "Not renewed: "]);

    // Only one problem is left.
    fs::remove_file(member.certificate_file("rsa")).unwrap();
    member.warded(&["renew"]).ends(4).prints(&["Nothing was renewed."]);
    let left = "ssh_host_rsa_key needs a new certificate, but this renewal cannot request one";
    is_told(machine, &system_log, "<84>", &["renew: nothing was renewed; ", left]);
    member.warded(&["status"]).ends(4).prints(&["did not renew everything (exit code 4): ", left]);
    ages(&member, -1000, -1);
    member.warded(&["renew"]).ends(4);
    is_told(machine, &system_log, "<82>", &["renew: nothing was renewed; "]);

    // A renewal that fails.
    fs::write(member.certificate_file("rsa"), rsa).unwrap();
    ages(&member, -1000, 100);
    let config = fs::read_to_string(machine.config()).unwrap();
    fs::write(machine.config(), format!("{config}\nNoSuchKeyword yes\n")).unwrap();
    let ended = member.warded(&["renew", "--force"]);
    assert_ne!(ended.code, Some(0), "{ended:?}");
    is_told(machine, &system_log, "<83>", &[": "]);
}
