//! `status` and `doctor` report what sshd does not say.

use crate::support::{
    Machine, Run,
    machine::{NAME, Setup},
    missing,
};
use jiff::Timestamp;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    time::Instant,
};

/// The number of the user nobody.
const NOBODY: u32 = 65534;

#[track_caller]
fn both_say(machine: &Machine, words: &[&str]) {
    for command in ["status", "doctor"] {
        let run = machine.warded([command]).ends(4);
        for word in words {
            assert!(run.stdout.contains(word), "{command} does not say {word:?}: {}", run.stdout);
        }
    }
}

#[test]
fn a_missing_list_of_revoked_keys_is_told() {
    let machine = Machine::stopped();
    let list = machine.path("revoked_keys");
    let line = format!("RevokedKeys {}\n", list.display());
    fs::write(machine.config(), fs::read_to_string(machine.config()).unwrap() + &line).unwrap();
    let words = ["the list of revoked keys", list.to_str().unwrap(), "refuse every public key"];
    // Warded's own certificates are fine, so `status` is healthy; `doctor` checks the whole machine.
    let is_told =
        || [("status", 0), ("doctor", 4)].map(|(command, end)| machine.warded([command]).ends(end).prints(&words));
    is_told();
    fs::write(&list, "").unwrap();
    machine.warded(["status"]).ends(0);

    // A list that applies only to some connections.
    fs::remove_file(&list).unwrap();
    let before = fs::read_to_string(machine.config()).unwrap().replace(&line, "");
    fs::write(machine.config(), format!("{before}\nMatch User *\n  {line}")).unwrap();
    is_told();

    // sshd would wait at a FIFO during each login, and every change is refused.
    mknodat(CWD, &list, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    both_say(&machine, &["the list of revoked keys", "it is no regular file"]);
}

#[test]
fn a_certified_key_that_sshd_ignores_is_told() {
    let machine = Machine::start();
    machine.certify();
    machine.warded(["status"]).ends(0);
    let key = machine.path("ssh/ssh_host_ecdsa_key");
    fs::write(&key, "").unwrap();
    both_say(
        &machine,
        &[key.to_str().unwrap(), "sshd does not offer it: the file is empty", "restore it from a backup"],
    );
}

/// sshd itself would wait for the file, and be killed after 15 seconds, so Warded does not ask it.
#[test]
fn a_certificate_or_a_key_that_has_no_end_is_told_at_once() {
    let machine = Machine::start();
    machine.certify();
    let fifo = |path: &Path| mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for (name, keyword) in [
        ("ssh_host_ecdsa_key-cert.pub", "hostcertificate"),
        ("ssh_host_ed25519_key", "hostkey"),
        ("theirs.conf", "Include"),
    ] {
        let path = machine.path("ssh").join(name);
        let kept = fs::read(&path).ok();
        drop(fs::remove_file(&path));
        fifo(&path);
        let main = fs::read_to_string(machine.config()).unwrap();
        if keyword == "Include" {
            fs::write(machine.config(), format!("Include {}\n{main}", path.display())).unwrap();
        }
        let began = Instant::now();
        both_say(&machine, &[&format!("{keyword} names {}, which sshd cannot read to its end", path.display())]);
        assert!(began.elapsed().as_secs() < 120, "{name}: {:?}", began.elapsed());
        fs::remove_file(&path).unwrap();
        kept.iter().for_each(|kept| fs::write(&path, kept).unwrap());
        drop(fs::set_permissions(&path, fs::Permissions::from_mode(0o600)));
        fs::write(machine.config(), main).unwrap();
    }
    machine.warded(["status"]).ends(0);
}

/// If the record of the enrolment is lost, nothing renews the certificates that sshd still presents. If a command ended
/// the enrolment, the operator knows.
#[test]
fn an_enrolment_that_is_lost_is_told_and_one_that_was_ended_is_not() {
    let machine = Machine::start();
    machine.certify();
    let lost = ["this machine is not enrolled: nothing renews it", "warded apply certify-host", "warded unenrol"];
    fs::remove_file(machine.path("state/enrolment.json")).unwrap();
    both_say(&machine, &lost);
    machine.certify();
    machine.warded(["status"]).ends(0);
    machine.warded(["unenrol", "--yes"]).ends(0);
    machine.warded(["status"]).ends(0).prints(&["enrolled     no"]);
    machine.warded(["unenrol", "--yes"]).ends(2).says(&["is not enrolled"]);

    // The whole state is lost, including the records of the runs.
    fs::remove_dir_all(machine.path("state")).unwrap();
    both_say(&machine, &lost);
    machine.warded(["unenrol", "--plan"]).ends(3).prints(&["no enrolment is known"]);
    machine.warded(["unenrol", "--yes"]).ends(0);
    machine.warded(["status"]).ends(0);

    let machine = Machine::start();
    machine.certify();
    machine.warded(["remove", "--yes"]).ends(0);
    machine.warded(["status"]).ends(0);
}

/// sshd serves a certificate without its line until it reads its configuration again. Warded reports that beforehand,
/// and each refusal says how to restore the line.
#[test]
fn a_certificate_that_no_line_names_is_told_before_the_next_reload() {
    let machine = Machine::start();
    machine.certify();
    let drop_in = machine.path("ssh/sshd_config.d/50-warded.conf");
    let lines = fs::read_to_string(&drop_in).unwrap();
    fs::remove_file(&drop_in).unwrap();
    machine.serves_certificates();
    let told =
        ["no HostCertificate line of sshd's configuration names its certificate", "warded apply certify-host puts"];
    machine.warded(["status"]).ends(4).prints(&told).prints(&["serves it until its next reload"]);
    let told = "To put back what is missing: warded apply certify-host";
    machine.warded(["renew"]).ends(4).prints(&["no HostCertificate line", told, "Nothing was renewed."]);
    machine.warded(["renew", "--plan"]).ends(4).prints(&["no HostCertificate line", told]);
    let forced = machine.warded(["renew", "--force"]).ends(5);
    let forced = forced.says(&["no HostCertificate line", "next:  warded apply certify-host"]);
    assert!(!forced.stdout.contains(told), "{forced:?}");
    machine.certify();
    machine.warded(["renew"]).ends(0);
    assert_eq!(fs::read_to_string(&drop_in).unwrap(), lines);
    machine.warded(["status"]).ends(0);
}

#[test]
fn a_certificate_that_has_lost_its_key_is_told() {
    let machine = Machine::start();
    machine.certify();
    let key = machine.path("ssh/ssh_host_ecdsa_key");
    let line = format!("HostKey {}\n", key.display());
    let main = fs::read_to_string(machine.config()).unwrap();
    assert!(main.contains(&line), "{main}");
    fs::write(machine.config(), main.replace(&line, "")).unwrap();
    for file in ["ssh_host_ecdsa_key", "ssh_host_ecdsa_key.pub"] {
        fs::remove_file(machine.path("ssh").join(file)).unwrap();
    }
    let told = ["ssh_host_ecdsa_key-cert.pub, and has no host key for it", "warded apply certify-host"];
    machine.warded(["status"]).ends(4).prints(&told);
}

/// The file belongs to root and is readable by everybody. The list of its fields is closed.
#[test]
fn the_public_status_has_these_fields_and_no_other() {
    if missing::root() {
        return;
    }
    let machine = Machine::start();
    let file = machine.path("state-status/status.json");
    machine.warded(["renew"]).ends(2);
    assert!(!file.exists(), "there is nothing to tell of a machine that is not enrolled");
    machine.certify();
    machine.warded(["renew"]).ends(0);
    for (path, mode) in [(file.as_path(), 0o644), (file.parent().unwrap(), 0o755)] {
        let found = path.metadata().unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid()), (mode, 0), "{}", path.display());
    }
    let status: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        fields(&status),
        ["ca", "change_waits", "due", "keys", "last_renewal", "names", "scheduled", "schema"],
        "{status}"
    );
    assert_eq!(fields(&status["keys"][0]), ["algorithm", "due", "file", "sshd_config", "until"]);
    assert_eq!(fields(&status["last_renewal"]), ["at", "error", "exit"]);
    assert_eq!((&status["ca"], &status["names"]), (&"local".into(), &serde_json::json!([NAME])), "{status}");
    assert_eq!((status["keys"].as_array().unwrap().len(), &status["last_renewal"]["exit"]), (3, &0.into()));
    machine.warded(["undo", "--yes"]).ends(0);
    let undone: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!((&undone["ca"], &undone["keys"]), (&Value::Null, &serde_json::json!([])), "{undone}");

    // Warded does not write to a directory that others can write.
    fs::set_permissions(file.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
    let before = fs::read(&file).unwrap();
    machine.certify();
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_user_sees_what_root_recorded_and_what_is_private() {
    if missing::root() {
        return;
    }
    let machine = Machine::start();
    machine.certify();
    fs::set_permissions(machine.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    Run::copies_warded(&machine.path("warded"));
    let home = machine.path("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    let nobody = |words: &[&str]| {
        let mut command = machine.command("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(machine.path("warded"));
        machine.environment(command.args(words)).env("HOME", &home).env_remove("WARDED_CA");
        Run::of(&mut command)
    };
    let status = nobody(&["status"]).ends(0).prints(&[
        "ssh_host_ed25519_key-cert.pub",
        "recorded by root in ",
        &format!("enrolled     {NAME} by a local CA"),
        "renewal      due in ",
        "sudo warded status",
        "problems     none",
    ]);
    assert!(!status.stdout.contains("warded apply"), "{}", status.stdout);
    let metrics = nobody(&["status", "--prometheus"]).ends(0).stdout;
    assert!(metrics.contains("\nwarded_enrolled 1\n") && metrics.contains("\nwarded_problems 0\n"), "{metrics}");
    assert!(!metrics.contains("warded_drift"), "{metrics}");
    let object = nobody(&["status", "--json"]).ends(0).object("warded.status-without-root/1");
    assert_eq!((&object["healthy"], object["certificates"].as_array().unwrap().len()), (&true.into(), 3), "{object}");

    // With a state directory of the user's own, `doctor` continues as far as it can.
    let own = home.join("state");
    let doctor = nobody(&["--state", own.to_str().unwrap(), "doctor"]);
    let doctor = doctor.prints(&["note    machine      the host keys can only be read by root: sudo warded doctor"]);
    assert!(
        !doctor.stdout.contains("WRONG   machine") && !doctor.stdout.contains("run this as root"),
        "{}",
        doctor.stdout
    );
    fs::remove_dir_all(own).unwrap();

    // If the user can see a fault, both root's `status` and the user's report it.
    let certificate = machine.path("ssh/ssh_host_ecdsa_key-cert.pub");
    let drop_in = machine.path("ssh/sshd_config.d/50-warded.conf");
    let other = fs::read(machine.path("ssh/ssh_host_ed25519_key-cert.pub")).unwrap();
    let write = |text: &[u8]| fs::write(&certificate, text).unwrap();
    let shown = certificate.to_str().unwrap();
    let damages: [(&dyn Fn(), _, _); 5] = [
        (&|| fs::remove_file(&certificate).unwrap(), &certificate, [shown, " is gone"]),
        (&|| write(b""), &certificate, [shown, "not an SSH certificate"]),
        (&|| write(b"garbage"), &certificate, [shown, "not an SSH certificate"]),
        (&|| write(&other), &certificate, [shown, "for another key"]),
        (&|| fs::remove_file(&drop_in).unwrap(), &drop_in, [shown, "no HostCertificate line"]),
    ];
    for (damage, path, says) in damages {
        let kept = fs::read(path).unwrap();
        damage();
        machine.warded(["status"]).ends(4);
        nobody(&["status"]).ends(4).prints(&says).prints(&["sudo warded status"]);
        fs::write(path, kept).unwrap();
        machine.warded(["status"]).ends(0);
        nobody(&["status"]).ends(0);
    }
    // A certificate that only root may read is no problem.
    fs::set_permissions(&certificate, fs::Permissions::from_mode(0o600)).unwrap();
    nobody(&["status"]).ends(0);
    fs::set_permissions(&certificate, fs::Permissions::from_mode(0o644)).unwrap();

    // The user sees what root recorded as wrong, and not why.
    let file = machine.path("state-status/status.json");
    let mut recorded: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    recorded["due"] = "2026-01-01T00:00:00Z".into();
    recorded["last_renewal"] = serde_json::json!({ "at": "2026-01-02T00:00:00Z", "exit": 6, "error": "unreachable" });
    fs::write(&file, recorded.to_string()).unwrap();
    let ago = "at 2026-01-02 00:00 UTC) did not reach the CA (exit code 6)";
    nobody(&["status"]).ends(4).prints(&["problem      the last renewal (", ago]);

    // A file that somebody else could have written is ignored.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let status = nobody(&["status"]).ends(4).prints(&["could have been written by another user"]);
    assert!(!status.stdout.contains("2026-01-02"), "{}", status.stdout);
    fs::remove_file(&file).unwrap();
    nobody(&["status"]).ends(4).prints(&["root has recorded nothing in "]);
    assert_eq!(fs::read_dir(&home).unwrap().count(), 0, "to look leaves nothing behind");
}

/// On such a machine only root can ask the CA; the advice is the same command with sudo.
#[test]
fn an_ordinary_user_on_an_enrolled_machine_is_not_told_that_there_is_no_ca() {
    if missing::root() {
        return;
    }
    let machine = Machine::start();
    machine.certify();
    fs::set_permissions(machine.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    Run::copies_warded(&machine.path("warded"));
    // The default place of root's state; the user has no state.
    let copied = "mount -t tmpfs -o mode=755 tmpfs /var/lib && cp -r \"$1\" /var/lib/warded-status";
    Run::of(machine.command("sh").args(["-ec", copied, "sh"]).arg(machine.path("state-status"))).ends(0);
    let home = machine.path("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    let nobody = |words: &[&str]| {
        let mut command = machine.command("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(machine.path("warded"));
        command.args(words).env_clear().env("HOME", &home).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        Run::of(&mut command)
    };
    let plan = ["plan", "trust-host-ca", "--set", "domain=*.example.org"];
    let has_one = "you have no CA configured; this machine has one, a local CA";
    for (words, again) in [
        (&plan[..], "next:  sudo warded plan trust-host-ca --set 'domain=*.example.org'"),
        (&["ca", "roots"], "next:  sudo warded ca roots"),
        (
            &["ca", "roots", "--known-hosts", "*.example.org"],
            "next:  sudo warded ca roots --known-hosts '*.example.org'",
        ),
    ] {
        let run = nobody(words).ends(2).says(&[has_one, again]);
        assert!(!run.stderr.contains("no CA is configured"), "{}", run.stderr);
    }
    nobody(&["doctor"]).prints(&[has_one]);
}

#[test]
fn another_openssh_than_the_one_that_proved_the_change_is_told() {
    let machine = Machine::start();
    machine.certify();
    let file = machine.path("state/last-proof.json");
    let mut proof: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let version = proof["openssh"].as_str().unwrap().to_owned();
    assert!(!machine.warded(["status"]).ends(0).stdout.contains("was proved with"));
    // Another program has been installed since: an upgrade replaces it.
    proof["openssh"] = "7.4".into();
    proof["program"]["inode"] = 1.into();
    fs::write(&file, proof.to_string()).unwrap();
    let told = format!("note         this is OpenSSH {version}, and run 1 was proved with 7.4");
    machine.warded(["status"]).ends(0).prints(&[&told]);
    machine.warded(["renew", "--force"]).ends(0);
    assert!(!machine.warded(["status"]).ends(0).stdout.contains("was proved with"));
}

/// The names of metrics in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    // A label of a target is no metric: `warded_host="yes"`.
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '='));
    words.filter(|word| word.starts_with("warded_") && !word.contains('=')).map(str::to_owned).collect()
}

/// The file has everything that is known, and every user can read it. The rules and the dashboard use no other metrics.
#[test]
fn a_machine_is_monitored_by_prometheus() {
    let machine = Machine::with(&Setup { without_rsa: true, ..Setup::default() });
    let before = machine.warded(["status", "--prometheus"]).ends(0).stdout;
    assert!(!before.contains("not_after") && before.contains("\nwarded_healthy 1\n"), "{before}");
    machine.certify();
    machine.warded(["renew", "--force"]).ends(0);
    let file = machine.path("warded.prom");
    let run = machine.warded(["status", "--prometheus", file.to_str().unwrap()]);
    assert!(run.stdout.is_empty(), "{run:?}");
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    let ends: Vec<&str> =
        text.lines().filter(|line| line.starts_with("warded_certificate_not_after_seconds{algorithm=")).collect();
    let now = Timestamp::now().as_second();
    assert_eq!(ends.len(), 2, "{text}");
    assert!(ends.iter().all(|line| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap() > now), "{text}");
    assert_eq!(text.matches("\nwarded_certificate_due_seconds{").count(), 2, "{text}");
    assert_eq!(text.matches("} 1\n").count(), 3, "two are served, and there is a version: {text}");
    assert!(text.contains("\nwarded_last_renewal_exit_code 0\n") && !text.contains("warded_ca_reachable 0"), "{text}");

    let hosts = machine.path("hosts.txt");
    fs::write(&hosts, format!("{NAME} 127.0.0.1:2222\n")).unwrap();
    let probed = machine.path("probed.prom");
    let words = ["verify", "--hosts", hosts.to_str().unwrap(), "--prometheus", probed.to_str().unwrap()];
    let run = machine.warded(words);
    let probed = fs::read_to_string(&probed).unwrap_or_else(|_| panic!("{run:?}"));
    // This metric is absent on a machine whose systemd is out of sight.
    let known = metrics(&(text + &probed + "\nwarded_renewal_scheduled 1\n"));
    for asked in
        [include_str!("../../deploy/ops/warded-alerts.yml"), include_str!("../../deploy/ops/grafana-dashboard.json")]
    {
        let asked = metrics(asked);
        assert!(asked.len() >= 8 && asked.is_subset(&known), "{:?}", asked.difference(&known));
    }
}
