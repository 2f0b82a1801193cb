//! When somebody's edit takes effect is for that person to decide. A roll back of files that sshd has never read must
//! not reload sshd and so activate the edit. The same holds if Warded could not find out what sshd has read.

use super::*;
use crate::support::Setup;
use std::process::Stdio;

#[test]
fn a_look_that_did_not_end_does_not_switch_on_somebodys_edit() {
    if missing::strace() {
        return;
    }
    let machine = Machine::with(&Setup { lines: "MaxStartups 4\nLoginGraceTime 600\n".to_owned(), ..Setup::default() });
    let old = seen(&machine);
    reported::killed(&machine, &certify(&machine, &[]));
    let told = || fs::read_to_string(machine.path("sshd.log")).unwrap().matches("Received SIGHUP").count();
    let theirs = machine.path("ssh/sshd_config.d/70-theirs.conf");
    fs::write(&theirs, "MaxAuthTries 5\n").unwrap();
    // sshd refuses further connections now.
    let port = fs::read_to_string(machine.config()).unwrap();
    let port = port.lines().find_map(|line| line.strip_prefix("Port ")).unwrap().to_owned();
    let open = (3..9).map(|number| format!("exec {number}<>/dev/tcp/127.0.0.1/{port}; ")).collect::<String>();
    let mut full = machine.command("bash");
    full.args(["-c", &format!("{open} echo full; read -r")]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut full = full.spawn().unwrap();
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(full.stdout.as_mut().unwrap()), &mut said).unwrap();
    assert_eq!(said, "full\n");

    let before = told();
    let recovered = recover(&machine, 4);
    let reload = recovered["runs"][0]["reloads"][0]["error"].as_str().unwrap();
    assert!(reload.contains("was changed by somebody else"), "{recovered}");
    assert_eq!(told(), before);
    full.kill().unwrap();
    full.wait().unwrap();
    fs::remove_file(&theirs).unwrap();
    assert_eq!(seen(&machine), old);
}
