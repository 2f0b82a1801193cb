//! User certificates are refused by their serial numbers, and nobody else is refused at any moment.

mod earlier;

use super::rekey::rolled_back;
use crate::support::{
    ClientKnowledge, Grants, Machine, Peer, Run, Setup,
    machine::{KEYS, NAME, keygen},
    script::{
        Argument::{Number, Text},
        Script,
    },
    step_ca::StepCa,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A machine that trusts the CA's user key, and two certificates of that CA with the serial numbers 7 and 8.
fn machine() -> (Machine, [PathBuf; 2]) {
    machine_with(&Setup::default())
}

fn machine_with(setup: &Setup) -> (Machine, [PathBuf; 2]) {
    let mut machine = Machine::with(&Setup { stopped: true, ..setup.clone() });
    let line = format!("TrustedUserCAKeys {}\n", machine.path("ca/user_ca.pub").display());
    fs::write(machine.config(), fs::read_to_string(machine.config()).unwrap() + &line).unwrap();
    machine.serve();
    let (ca, me) = (machine.path("ca/user_ca"), Run::of(Command::new("id").arg("-un")).stdout);
    let users = ["7", "8"].map(|serial| {
        let key = machine.path(&format!("client/user-{serial}"));
        keygen(&["-q", "-N", "", "-C", "somebody", "-t", "ed25519", "-f"], &key);
        let sign = ["-q", "-s", ca.to_str().unwrap(), "-I", "somebody", "-n", me.trim(), "-z", serial];
        keygen(&sign, &key.with_extension("pub"));
        key
    });
    (machine, users)
}

/// Whether somebody can log in with that certificate and nothing else.
fn gets_in(machine: &Machine, key: &Path) -> bool {
    let known = machine.path("client/known");
    fs::write(&known, KEYS.map(|name| format!("{NAME} {}", machine.host_key(name))).concat()).unwrap();
    let config = fs::read_to_string(machine.config()).unwrap();
    let port = config.lines().find_map(|line| line.strip_prefix("Port ")).unwrap();
    let mut command = machine.command("ssh");
    command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"]);
    command.args(["-o", &format!("UserKnownHostsFile={}", known.display()), "-o", &format!("HostKeyAlias={NAME}")]);
    command.args(["-b", "127.78.0.1", "-p", port, "-i"]).arg(key).args(["127.0.0.1", "true"]);
    Run::of(&mut command).code == Some(0)
}

/// Which of these users can log in.
fn get_in(machine: &Machine, users: &[PathBuf; 2]) -> [bool; 2] {
    users.each_ref().map(|key| gets_in(machine, key))
}

fn revoke(machine: &Machine, serial: &str) -> Run {
    machine.warded(["apply", "revoke-users", "--yes", "--set", &format!("serial={serial}")])
}

#[test]
fn a_revoked_user_is_refused_and_others_are_not() {
    let (machine, users) = machine();
    machine.certify();
    let first = machine.tree();
    let get_in = || get_in(&machine, &users);
    assert_eq!(get_in(), [true, true]);
    revoke(&machine, "7").ends(0);
    assert_eq!(get_in(), [false, true]);
    machine.serves_certificates();
    let revoked = machine.tree();
    let again = revoke(&machine, "7").ends(0);
    assert!(again.stdout.contains("Nothing to do"), "{}", again.stdout);
    // A later run that writes Warded's other lines leaves this one.
    machine.certify();
    assert_eq!(revoked, machine.tree());

    revoke(&machine, "8").ends(0);
    assert_eq!(get_in(), [false, false]);
    machine.client(&ClientKnowledge::Keys(machine.host_key("rsa"))).connects();
    machine.warded(["undo", "--yes"]).ends(0);
    assert_eq!(revoked, machine.tree());
    machine.warded(["undo", "--yes"]).ends(0);
    assert_eq!(first, machine.tree());
    assert_eq!(get_in(), [true, true]);
}

#[test]
fn somebody_elses_list_stays_and_what_to_do_is_said() {
    let (machine, _) = machine();
    let refused = |serial: &str, says: &[&str]| {
        let before = machine.tree();
        let run = revoke(&machine, serial);
        assert_ne!(run.code, Some(0), "{serial}");
        run.says(says);
        assert_eq!(before, machine.tree());
    };
    for serial in ["0", "x", "-1", "18446744073709551616"] {
        refused(serial, &["is not the serial number"]);
    }
    let theirs = machine.path("theirs");
    fs::write(&theirs, "").unwrap();
    let line = format!("RevokedKeys {}\n", theirs.display());
    let main = fs::read_to_string(machine.config()).unwrap();
    for (file, text) in [
        ("ssh/sshd_config", format!("{main}{line}")),
        ("ssh/sshd_config", format!("{main}Match User nobody\n  {line}")),
        ("ssh/sshd_config.d/10-theirs.conf", line),
    ] {
        fs::write(machine.path(file), text).unwrap();
        refused("7", &["another list of revoked keys", "ssh-keygen -k -u"]);
        fs::write(machine.config(), &main).unwrap();
    }
    fs::remove_file(machine.path("ssh/sshd_config.d/10-theirs.conf")).unwrap();
    // sshd takes the first line, so Warded's would have no effect.
    fs::write(machine.config(), format!("RevokedKeys none\n{main}")).unwrap();
    refused("7", &["RevokedKeys none", "take that line out"]);
    fs::write(machine.config(), &main).unwrap();
    fs::write(machine.path("ssh/warded-revoked.krl"), "what is this?\n").unwrap();
    refused("7", &["cannot add serial numbers to", "warded-revoked.krl"]);
}

/// Since OpenSSH 10.3 sshd accepts several lists in one line, and ignores a second line.
#[test]
fn a_list_stands_beside_somebody_elses_where_sshd_takes_both() {
    const THEIRS: &str = "/etc/ssh/theirs.krl";
    const OURS: &str = "/etc/ssh/warded-revoked.krl";
    const DROP_IN: &str = "/etc/ssh/sshd_config.d/50-warded-revoke-users.conf";
    for (suite, takes_both) in [("trixie", false), ("sid", true)] {
        let lines = format!("TrustedUserCAKeys /root/ca/user_ca.pub\nRevokedKeys {THEIRS}\n");
        let sh = |peer: &Peer, script: &str| Run::of(peer.command("sh").args(["-ec", script]));
        let Some(peer) = Peer::prepared(suite, |peer| {
            let config = peer.file("/etc/ssh/sshd_config");
            fs::write(&config, fs::read_to_string(&config).unwrap() + &lines).unwrap();
            fs::write(peer.file(THEIRS), "").unwrap();
        }) else {
            return;
        };
        for serial in ["7", "8", "9"] {
            let script = format!(
                "ssh-keygen -q -N '' -t ed25519 -f /root/u{serial}; \
                 ssh-keygen -q -s /root/ca/user_ca -I x -n root -z {serial} /root/u{serial}.pub"
            );
            sh(&peer, &script).ends(0);
        }
        sh(
            &peer,
            &format!("echo serial: 8 > /root/spec; ssh-keygen -q -k -f {THEIRS} -s /root/ca/user_ca.pub /root/spec"),
        )
        .ends(0);
        let get_in = || {
            ["7", "8", "9"].map(|serial| {
                let script = format!(
                    "ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o IdentitiesOnly=yes -b 127.78.0.{serial} \
                     -i /root/u{serial} root@127.0.0.1 true"
                );
                sh(&peer, &script).code == Some(0)
            })
        };
        assert_eq!(get_in(), [true, false, true], "{suite}");
        let apply = ["apply", "revoke-users", "--yes", "--set", "serial=7"];
        if !takes_both {
            peer.warded(&apply).ends(1).says(&["another list of revoked keys, /etc/ssh/theirs.krl", "uses only one"]);
            continue;
        }
        peer.warded(&apply).ends(0);
        assert_eq!(get_in(), [false, false, true], "{suite}");
        let names = || {
            let text = fs::read_to_string(peer.file(DROP_IN)).unwrap_or_default();
            text.lines().filter_map(|line| line.strip_prefix("RevokedKeys ")).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(names(), [format!("{THEIRS} {OURS}")]);
        peer.warded(&apply).ends(0).prints(&["Nothing to do."]);
        // The checks of sshd's lists read both of them.
        peer.warded(&["apply", "certify-host", "--set", "principal=web1.example.org", "--yes"]).ends(0);
        // Nothing schedules renewals on this machine; that is the only problem.
        let status = peer.warded(&["status"]).ends(4).stdout;
        assert_eq!(status.matches("\nproblem ").count(), 1, "{status}");
        fs::rename(peer.file(THEIRS), peer.file("/etc/ssh/away")).unwrap();
        let told = ["the list of revoked keys /etc/ssh/theirs.krl cannot be read", "refuse every public key"];
        peer.warded(&["doctor"]).ends(4).prints(&told);
        peer.warded(&["status"]).prints(&told);
        fs::rename(peer.file("/etc/ssh/away"), peer.file(THEIRS)).unwrap();
        // If the other list's names change, the next run adopts them.
        let config = peer.file("/etc/ssh/sshd_config");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text.replace(THEIRS, "/etc/ssh/theirs.krl \"/etc/ssh/more of theirs\"")).unwrap();
        fs::write(peer.file("/etc/ssh/more of theirs"), "").unwrap();
        peer.warded(&apply).ends(0);
        assert_eq!(names(), [format!("{THEIRS} \"/etc/ssh/more of theirs\" {OURS}")]);
        peer.warded(&["undo", "--yes"]).ends(0);
        assert_eq!(get_in(), [false, false, true], "{suite}");
    }
}

/// If sshd cannot read a list, it says nothing, and then refuses every public key. Here nobody whom Warded could try
/// may log in, so no login would show it.
#[test]
fn a_damaged_list_is_refused_where_no_login_would_show_it() {
    let machine = Machine::with(&Setup { lines: "PermitRootLogin no\n".to_owned(), ..Setup::default() });
    let (list, drop_in) = (machine.path("ssh/case.krl"), machine.path("ssh/sshd_config.d/60-case.conf"));
    let line = format!("RevokedKeys {}\n", list.display());
    let head = [&b"SSHKRL\n\0\x00\x00\x00\x01"[..], &[0; 32]].concat();
    let key = machine.host_key("rsa").into_bytes();
    let mut tried = 0;
    for (contents, line, says) in [
        ([&head[..], b"\x01\x00\x00\x00\x07garbage"].concat(), line.clone(), &["it is cut off"][..]),
        (
            [&head[..], b"\x01\x00\x00\x00\x0d\0\0\0\0\0\0\0\0\x24\0\0\0\0"].concat(),
            line.clone(),
            &["not every sshd reads"],
        ),
        (key, line.clone(), &["a list of plain keys"]),
        // sshd can load this list.
        (head, line, &[]),
    ] {
        let before = machine.tree();
        let run = write_files(&machine, &[(list.as_path(), &contents[..]), (&drop_in, line.as_bytes())], true);
        if says.is_empty() {
            run.ends(0);
        } else {
            run.ends(5).says(&[&["is not installed", "nothing was changed"], says].concat());
            assert_eq!(before, machine.tree());
            tried += 1;
        }
    }
    assert_eq!(tried, 3);

    // The list is in use now. Even if its line is removed, sshd reads the list until it is told.
    let before = machine.tree();
    for (contents, reloads, says) in [
        (&b"garbage"[..], true, "a list of plain keys"),
        (b"garbage", false, "a list of plain keys"),
        (&fs::read(&list).unwrap(), false, "60-case.conf would change, but the procedure does not reload sshd"),
    ] {
        let run = write_files(&machine, &[(list.as_path(), contents), (&drop_in, b"# none\n")], reloads);
        run.ends(5).says(&["refused: ", "nothing was changed", says]);
        assert_eq!(before, machine.tree());
    }
}

/// Makes a guest write files, and reload sshd if `reloads`.
fn write_files(machine: &Machine, files: &[(&Path, &[u8])], reloads: bool) -> Run {
    let mut script = Script::new("");
    let paths: Vec<String> = files.iter().map(|(path, _)| format!("{:?}", path.display().to_string())).collect();
    for (path, contents) in files {
        let path = path.to_str().unwrap().as_bytes();
        script.does("files.write", &[Text(path), Text(contents), Number(0), Number(0)]);
    }
    if reloads {
        script.does("services.reload", &[Text(b"ssh")]);
    }
    let write = format!("files.write = [{}]", paths.join(", "));
    Grants::of(&[&write, "sshd.keywords = [\"RevokedKeys\"]", "services.ssh = [\"reload\"]"]).write(
        &machine.path("policies"),
        "case",
        "go",
        &script.component(),
    );
    machine.warded(["apply", "go", "--policy", "case", "--yes"])
}

/// Runs Warded, and kills it before the exchange of files with this number, if there are that many. Returns strace's
/// output.
fn killed_at_exchange(machine: &Machine, when: u32, words: &[&str]) -> String {
    let trace = machine.path("trace");
    let mut command = machine.command("strace");
    command.arg("-o").arg(&trace).args(["-e", "trace=renameat2", "-e"]);
    command.arg(format!("inject=renameat2:signal=KILL:when={when}")).arg(env!("CARGO_BIN_EXE_warded"));
    Run::of(machine.environment(&mut command).args(words));
    fs::read_to_string(&trace).expect("strace did not run: is it installed?")
}

/// Killed before any exchange: sshd can read every file that its configuration names by then.
#[test]
fn no_crash_leaves_a_line_without_its_list() {
    let (machine, [revoked, other]) = machine();
    machine.certify();
    let (first, list) = (machine.tree(), machine.path("ssh/warded-revoked.krl"));
    let drop_in = machine.path("ssh/sshd_config.d/50-warded-revoke-users.conf");
    let mut killed = 0;
    for when in 1.. {
        let trace = killed_at_exchange(&machine, when, &["apply", "revoke-users", "--yes", "--set", "serial=7"]);
        // The list comes first.
        let order: Vec<bool> = trace
            .lines()
            .filter(|line| line.contains("warded-revoked.krl\"") || line.contains("50-warded-revoke-users.conf\""))
            .map(|line| line.contains("warded-revoked.krl\""))
            .collect();
        assert!(order.is_sorted_by(|one, next| one >= next), "exchange {when}: {trace}");
        let named = fs::read_to_string(&drop_in).is_ok_and(|text| text.contains("RevokedKeys"));
        assert!(!named || fs::read(&list).unwrap().starts_with(b"SSHKRL"), "exchange {when}");
        if !trace.contains("killed by SIGKILL") {
            break;
        }
        killed += 1;
        rolled_back(&machine, &format!("exchange {when}"));
        assert!(gets_in(&machine, &other), "exchange {when}");
        if machine.tree() != first {
            machine.warded(["undo", "--yes"]).ends(0);
        }
    }
    // They are in different groups of the queue: the first is on disk before the second begins.
    let newest = fs::read_dir(machine.path("state/runs")).unwrap();
    let newest = newest.filter_map(|run| run.unwrap().file_name().to_str()?.parse::<u64>().ok()).max().unwrap();
    let journal = fs::read(machine.path(&format!("state/runs/{newest}/journal.json"))).unwrap();
    let journal: serde_json::Value = serde_json::from_slice(&journal).unwrap();
    let orders: Vec<_> = journal["entries"].as_array().unwrap().iter().map(|entry| entry["order"].clone()).collect();
    assert_eq!(orders, ["write-certificate", "write-other"]);
    // One exchange for the list, and one for the drop-in that names it.
    assert!(killed >= 2, "{killed}");
    assert_eq!([&revoked, &other].map(|key| gets_in(&machine, key)), [false, true]);
}

#[test]
fn a_real_step_ca_renews_no_more_what_was_revoked() {
    let machine = Machine::start();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let warded = |arguments: &[&str]| Run::of(machine.warded_command([]).args(arguments).env_remove("WARDED_CA"));
    warded(&["bootstrap", "--ca-url", &ca.url(), "--fingerprint", &ca.fingerprint()]).ends(0);
    let password = ca.password_file();
    let credential = ["--provisioner", "admin", "--provisioner-password-file", password.to_str().unwrap()];
    let certify = ["apply", "certify-host", "--yes", "--set", "principal=web1.example.org"];
    warded(&[&certify[..], &credential[..]].concat()).ends(0);
    warded(&["renew", "--force"]).ends(0);
    // The machine's own certificate, which its key is enough to revoke.
    let own = machine.path("ssh/ssh_host_ed25519_key-cert.pub");
    let done = warded(&["revoke", own.to_str().unwrap(), "--yes", "--reason", "4"]).ends(0);
    assert!(done.stdout.contains("The CA tells nobody else"), "{}", done.stdout);
    assert_ne!(warded(&["renew", "--force"]).code, Some(0), "it was renewed all the same");
    // Another certificate: this takes the provisioner's password.
    assert_ne!(warded(&["revoke", "4711", "--yes"]).code, Some(0));
    let by_password = |arguments: &[&str]| warded(&[arguments, &credential[..]].concat());
    let done = by_password(&["revoke", "4711", "--yes", "--json"]).ends(0).object("warded.revoke/1");
    assert_eq!(done["serials"][0], "4711");
    assert_ne!(by_password(&["revoke", "4711", "--yes"]).code, Some(0), "revoked twice");
    by_password(&["revoke", "no-such-file", "--yes"]).ends(2).says(&["neither a serial number nor a certificate"]);
    machine.warded(["revoke", "4711", "--yes"]).ends(2).says(&["a local CA keeps no list", "revoke-users"]);
}
