//! A file that sshd reads at each login must exist as long as sshd's loaded configuration names it. If a list of
//! revoked keys is missing, sshd refuses every key, including those that are not on the list.

use super::*;

/// A list of revoked keys is in use, the change is not confirmed, and its watchdog is dead.
fn unconfirmed(machine: &Machine) -> PathBuf {
    machine.certify();
    let apply = ["apply", "revoke-users", "--yes", "--set", "serial=7", "--confirm-within", "10m"];
    machine.warded(apply).ends(0);
    watchdogs(machine).into_iter().for_each(|pid| send(pid, Signal::KILL));
    wait("the watchdog ends", LONG, || watchdogs(machine).is_empty());
    serves(machine);
    machine.path("ssh/warded-revoked.krl")
}

#[test]
fn a_list_goes_with_what_names_it_whatever_else_was_edited() {
    let machine = Machine::start();
    let list = unconfirmed(&machine);
    let theirs = machine.path("ssh/sshd_config.d/70-theirs.conf");
    fs::write(&theirs, "MaxAuthTries 5\n").unwrap();
    recover(&machine, 0);
    assert!(!list.exists());
    serves(&machine);
    // sshd no longer names the list.
    let effective = Run::of(machine.command("/usr/sbin/sshd").args(["-T", "-f"]).arg(machine.config())).ends(0);
    assert!(effective.stdout.contains("revokedkeys none"), "{}", effective.stdout);
}

#[test]
fn a_list_stays_where_sshd_cannot_be_told_or_somebodys_file_names_it() {
    let machine = Machine::start();
    let list = unconfirmed(&machine);
    let theirs = machine.path("ssh/sshd_config.d/70-theirs.conf");
    // sshd would end if it were told to read this.
    fs::write(&theirs, "MaxAuthTrie 5\n").unwrap();
    let recovered = recover(&machine, 4);
    assert!(list.exists(), "{recovered}");
    let left = recovered["runs"][0]["left_alone"].to_string();
    assert!(left.contains("warded-revoked.krl") && left.contains("may still read this file"), "{recovered}");
    serves(&machine);

    let machine = Machine::start();
    let list = unconfirmed(&machine);
    let edited = machine.path("ssh/sshd_config.d/50-warded-revoke-users.conf");
    let text = fs::read_to_string(&edited).unwrap();
    fs::write(&edited, format!("{text}MaxAuthTries 5\n")).unwrap();
    let recovered = recover(&machine, 4);
    assert!(list.exists(), "{recovered}");
    let left = recovered["runs"][0]["left_alone"].to_string();
    assert!(left.contains("50-warded-revoke-users.conf") && left.contains("may name it"), "{recovered}");
    serves(&machine);
}

/// The file that names the list need not belong to the run: any file that sshd reads may name it.
#[test]
fn a_list_stays_where_somebody_has_copied_the_line_that_names_it() {
    let machine = Machine::start();
    let list = unconfirmed(&machine);
    let line = format!("RevokedKeys {}\n", list.display());
    fs::write(machine.path("ssh/sshd_config.d/10-theirs.conf"), line).unwrap();
    let recovered = recover(&machine, 4);
    assert!(list.exists(), "{recovered}");
    let left = recovered["runs"][0]["left_alone"].to_string();
    assert!(left.contains("10-theirs.conf may name it"), "{recovered}");
    serves(&machine);
}

/// A run that is killed before it tells sshd has not told it, but somebody else may have reloaded sshd since.
#[test]
fn a_list_stays_where_somebody_else_let_sshd_read_it() {
    let machine = Machine::start();
    machine.certify();
    let list = machine.path("ssh/warded-revoked.krl");
    let apply = machine.warded_command(["apply", "revoke-users", "--yes", "--set", "serial=7"]);
    // The run removes this mark right before it tells sshd. Here the removal is delayed.
    let untold = machine.path("state/runs/2/untold");
    let slowly = "inject=unlink,unlinkat:delay_enter=20000000";
    let options = ["-o", "/dev/null", "-P", untold.to_str().unwrap(), "-e", "trace=unlink,unlinkat", "-e", slowly];
    let mut run = reported::traced(&machine, &apply, &options).spawn().unwrap();
    wait("sshd is about to be told", LONG, || {
        list.exists() && machine.path("ssh/sshd_config.d/50-warded-revoke-users.conf").exists()
    });
    reported::kill_with_watchdog(&machine);
    run.wait().unwrap();
    assert!(state(&machine) == "committing" && untold.exists());
    let starts = fs::read_to_string(machine.path("sshd.log")).unwrap().matches("Server listening").count();
    let pid = fs::read_to_string(machine.path("sshd.pid")).unwrap();
    Run::of(machine.command("kill").args(["-HUP", pid.trim()])).ends(0);
    wait("sshd reads it", LONG, || {
        fs::read_to_string(machine.path("sshd.log")).unwrap().matches("Server listening").count() > starts
    });
    serves(&machine);
    // sshd cannot be told again: with this line it would not start.
    fs::write(machine.path("ssh/sshd_config.d/70-theirs.conf"), "MaxAuthTrie 5\n").unwrap();
    let recovered = recover(&machine, 4);
    assert!(list.exists(), "{recovered}");
    serves(&machine);
}

/// If Warded cannot find sshd at the moment, one may run nevertheless.
#[test]
fn a_list_stays_where_sshd_cannot_be_found() {
    let machine = Machine::start();
    let list = unconfirmed(&machine);
    // Like an editor that has moved a file away, and has not put the new one in its place yet.
    fs::rename(machine.config(), machine.path("moved")).unwrap();
    let recovered = recover(&machine, 4);
    fs::rename(machine.path("moved"), machine.config()).unwrap();
    assert!(list.exists(), "{recovered}");
    assert!(recovered["runs"][0]["fault"].as_str().unwrap().contains("was not reloaded"), "{recovered}");
    serves(&machine);
}

/// An undo tells sshd before it removes the list. If it is killed in between, everybody still gets in.
#[test]
fn an_undo_takes_a_list_out_when_sshd_has_been_told() {
    let machine = Machine::start();
    machine.certify();
    machine.warded(["apply", "revoke-users", "--yes", "--set", "serial=7"]).ends(0);
    let list = machine.path("ssh/warded-revoked.krl");
    let told = || fs::read_to_string(machine.path("sshd.log")).unwrap().matches("Received SIGHUP").count();
    let before = told();
    let trace = machine.path("trace");
    let mut undo = machine.command("strace");
    // The second exchange removes the list. strace does not follow the watchdog, which rolls the undo back.
    undo.arg("-o").arg(&trace).args(["-e", "trace=renameat2", "-e", "inject=renameat2:signal=KILL:when=2"]);
    undo.arg(env!("CARGO_BIN_EXE_warded")).args(["undo", "--yes"]);
    let run = Run::of(machine.environment(&mut undo));
    assert!(run.code != Some(0) && fs::read_to_string(&trace).unwrap().contains("killed by SIGKILL"), "{run:?}");
    assert!(told() > before, "it was taken out before sshd was told");
    serves(&machine);
    wait("it is rolled back", LONG, || state(&machine) == "rolled-back" && watchdogs(&machine).is_empty());
    assert!(list.exists());
    serves(&machine);
    machine.warded(["undo", "--yes"]).ends(0);
    assert!(!list.exists());
    serves(&machine);
}
