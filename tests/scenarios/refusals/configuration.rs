//! Lines that sshd would refuse, and lines that it would accept and that do harm.

use super::{drop_in, refused, serves, write};
use crate::support::{
    Machine, Peer, Run, Setup,
    machine::{NAME, tree},
};
use std::fs;

#[test]
fn a_line_that_sshd_refuses() {
    let machine = Machine::start();
    refused(
        &machine,
        r#"["HostCertificate"]"#,
        &["HostCertificate"],
        &["60-test.conf line 1: no argument after keyword"],
    );
    refused(
        &machine,
        r#"["LoginGraceTime"]"#,
        &["LoginGraceTime soon"],
        &["60-test.conf line 1", "invalid time value"],
    );
    refused(
        &machine,
        r#"["HostCertificate"]"#,
        &["HostCertifcate /x"],
        &["60-test.conf line 1", "not granted", "hostcertifcate"],
    );
    serves(&machine);
}

#[test]
fn a_keyword_that_is_not_granted() {
    let machine = Machine::start();
    for (lines, line, says) in [
        (vec!["DenyUsers *"], 1, "denyusers"),
        (vec!["denyusers=*"], 1, "denyusers"),
        (vec!["# a comment", "ForceCommand /bin/false"], 2, "forcecommand"),
        (vec!["Match User root", "    ForceCommand /bin/false"], 1, "match"),
        (vec!["Match all", "    DenyUsers root"], 1, "match"),
        (vec!["HostCertificate /x", "DenyUsers root"], 2, "denyusers"),
        (vec!["Include /etc/ssh/sshd_config"], 1, "include"),
        (vec!["AuthorizedKeysCommand /usr/bin/id", "AuthorizedKeysCommandUser root"], 1, "authorizedkeyscommand"),
        (vec!["HostKey /etc/ssh/ssh_host_rsa_key"], 1, "hostkey"),
    ] {
        let place = format!("60-test.conf line {line} ");
        refused(&machine, r#"["HostCertificate"]"#, &lines, &[&place, says, "not granted", "granted: hostcertificate"]);
    }
    refused(&machine, "[]", &["HostCertificate /x"], &["no sshd keyword is granted"]);
    serves(&machine);
}

/// An administrator granted the keyword without seeing what it does.
#[test]
fn a_granted_keyword_that_locks_people_out() {
    let machine = Machine::start();
    for (keyword, line, says) in [
        ("DenyUsers", "DenyUsers *", "log in"),
        ("ForceCommand", "ForceCommand /bin/false", "forcecommand decides who gets in"),
        ("HostKeyAlgorithms", "HostKeyAlgorithms ssh-ed25519", "host key could not connect any more"),
    ] {
        refused(&machine, &format!("[{keyword:?}]"), &[line], &[says]);
    }
    serves(&machine);
}

#[test]
fn a_certificate_that_would_be_hidden() {
    let lines = "HostKeyAlgorithms ssh-ed25519,ecdsa-sha2-nistp256,rsa-sha2-512\n".to_owned();
    let machine = Machine::with(&Setup { lines, ..Setup::default() });
    let before = machine.tree();
    let run = machine.warded(["apply", "certify-host", "--set", "principal=web1.example.org", "--yes"]);
    let place = format!("{} line ", machine.config().display());
    run.ends(5).says(&[
        "does not list their types",
        &place,
        "ssh-ed25519-cert-v01@openssh.com",
        "rsa-sha2-512-cert-v01",
    ]);
    assert_eq!(before, machine.tree());
    serves(&machine);
}

#[test]
fn the_main_file_outside_the_marked_block() {
    let machine = Machine::start();
    let before = machine.tree();
    let grants = ["files.write = [\"{sshd-config}\"]", "sshd.keywords = [\"DenyUsers\"]"];
    let path = machine.config();
    let run = write(&machine, &grants, path.to_str().unwrap(), &["DenyUsers *"]);
    run.ends(1).says(&["unmarked-change", "# BEGIN warded", "nothing was changed"]);
    assert_eq!(before, machine.tree());
    serves(&machine);
}

/// Without this the refusals above would prove nothing.
#[test]
fn a_granted_keyword_that_does_no_harm_is_taken() {
    let machine = Machine::start();
    drop_in(&machine, r#"["LoginGraceTime"]"#, &["LoginGraceTime 77"]).ends(0);
    assert!(machine.path("ssh/sshd_config.d/60-test.conf").exists());
}

/// What an administrator wrote into Warded's drop-in, or between its marks, belongs to the administrator.
#[test]
fn a_line_that_somebody_wrote_among_ours_is_not_removed() {
    for alone in [false, true] {
        let machine = Machine::with(&Setup { alone, without_rsa: true, ..Setup::default() });
        let again = || {
            let name = format!("principal={NAME}");
            machine.warded(["apply", "certify-host", "--set", &name, "--yes"])
        };
        machine.certify();
        let path = machine.path(if alone { "ssh/sshd_config" } else { "ssh/sshd_config.d/50-warded.conf" });
        let ours = fs::read_to_string(&path).unwrap();
        let certificate = machine.path("ssh/ssh_host_ed25519_key-cert.pub");
        let theirs = machine.path("ssh/theirs-cert.pub");
        fs::copy(&certificate, &theirs).unwrap();
        let first =
            format!("HostCertificate {}/ssh/ssh_host_ecdsa", machine.path("").to_str().unwrap().trim_end_matches('/'));
        let edited = |line: &str| fs::write(&path, ours.replacen(&first, &format!("{line}\n{first}"), 1)).unwrap();

        edited(&format!("HostCertificate {}", theirs.display()));
        assert_ne!(fs::read_to_string(&path).unwrap(), ours);
        let before = machine.tree();
        again().ends(5).says(&["theirs-cert.pub", "which Warded did not write", "nothing was changed"]);
        assert_eq!(machine.tree(), before);

        // A comment means nothing to sshd. It is removed, and the output says so.
        edited("# theirs");
        let run = again().ends(0);
        assert!(run.stdout.contains("was edited since Warded wrote it"), "{}", run.stdout);
        assert!(run.stdout.contains("-# theirs"), "{}", run.stdout);
        assert_eq!(fs::read_to_string(&path).unwrap(), ours);
        again().ends(0);
        serves(&machine);
    }
}

/// A directory of drop-ins that some connections read by another name: they would also get Warded's lines.
#[test]
fn a_directory_that_is_read_under_two_names() {
    let peer = Peer::prepared("trixie", |peer| {
        fs::create_dir(peer.file("/etc/ssh/more")).unwrap();
        Run::of(peer.command("mount").args(["--bind", "/etc/ssh/sshd_config.d", "/etc/ssh/more"])).ends(0);
        let config = peer.file("/etc/ssh/sshd_config");
        let stock = fs::read_to_string(&config).unwrap();
        fs::write(config, format!("{stock}Match User backup\n  Include /etc/ssh/more/*.conf\n")).unwrap();
    });
    let Some(peer) = peer else { return };
    let before = tree(&peer.file("/etc/ssh"));
    let principal = format!("principal={NAME}");
    for command in [&["plan"][..], &["apply", "--yes"]] {
        let words = [command, &["certify-host", "--set", &principal]].concat();
        peer.warded(&words).ends(5).says(&[
            "50-warded.conf is read a second time, as /etc/ssh/more/50-warded.conf",
            "their directory has two names",
        ]);
    }
    assert!(before == tree(&peer.file("/etc/ssh")));
    assert!(!fs::read_to_string(peer.file("/run/sshd.log")).unwrap().contains("SIGHUP"));
}

/// An Include through a process's own directory: the daemon works in `/`, wherever Warded is run.
#[test]
fn what_an_include_names_by_the_directory_of_a_process() {
    let principal = format!("principal={NAME}");
    // The Include line, the files that it may name, the directory in which Warded runs, and Warded's message.
    for (line, files, directory, says) in [
        ("Include /proc/self/cwd/etc/ssh/here.conf", "/etc/ssh/here.conf", "/", None),
        (
            "Include /proc/self/cwd/etc/ssh/here.conf",
            "/etc/ssh/here.conf",
            "/root",
            Some("sshd reads /proc/self/cwd/etc/ssh/here.conf, which no Include seems to name"),
        ),
        (
            "Include /proc/self/cwd/etc/ssh/here.conf",
            "/etc/ssh/here.conf /root/etc/ssh/here.conf",
            "/root",
            Some("/proc/self/cwd/etc/ssh/here.conf: which file that is depends on the directory"),
        ),
        ("Include /proc/self/cwd/here.conf", "/root/here.conf", "/root", Some("/proc/self/cwd/here.conf")),
        (
            "Include ~/here.conf",
            "/~/here.conf",
            "/root",
            Some("sshd reads ~/here.conf, which no Include seems to name"),
        ),
        ("Include ~/here.conf", "/~/here.conf", "/", Some("sshd reads ~/here.conf, which no Include seems to name")),
        // The daemon reads nothing there.
        ("Include ~/here.conf", "/root/~/here.conf", "/root", None),
    ] {
        let peer = Peer::prepared("trixie", |peer| {
            for file in files.split(' ').map(|file| peer.file(file)) {
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, "LoginGraceTime 77\n").unwrap();
            }
            let config = peer.file("/etc/ssh/sshd_config");
            let stock = fs::read_to_string(&config).unwrap();
            fs::write(config, format!("{line}\n{stock}")).unwrap();
        });
        let Some(peer) = peer else { return };
        let before = tree(&peer.file("/etc/ssh"));
        let mut command = peer.command("sh");
        let script = format!("cd '{directory}' && exec warded apply certify-host --set {principal} --yes");
        let run = Run::of(command.env("WARDED_CA", "/root/ca").args(["-c", &script]));
        match says {
            None => drop(run.ends(0)),
            Some(says) => {
                run.ends(5).says(&[says, "write that part in a simpler way", "nothing was changed"]);
                assert!(before == tree(&peer.file("/etc/ssh")), "{line}");
            }
        }
    }
}

/// The line does not tell at which addresses sshd would listen, so the plan does. Open addresses stay open.
#[test]
fn a_port_is_an_operators_to_grant_and_the_plan_says_where_sshd_would_listen() {
    let machine = Machine::start();
    let keywords = r#"["Port"]"#;
    let path = machine.path("ssh/sshd_config.d/60-test.conf");
    let grants = [
        "files.write = [\"{sshd}/sshd_config.d/60-test.conf\"]",
        "services.ssh = [\"reload\"]",
        "sshd.keywords = [\"Port\"]",
    ];
    crate::support::Grants::of(&grants).write_demo(&machine.path("policies"));
    let path = format!("path={}", path.display());
    let words =
        ["plan", "write-file", "--policy", "writer", "--set", &path, "--set", "text=Port 2201", "--set", "reload=yes"];
    machine.warded(words).ends(3).prints(&["Effect: sshd would also listen on 127.0.0.1:2201."]);
    drop_in(&machine, keywords, &["Port 2201"]).ends(0);
    let listed = Run::of(machine.command("ss").args(["-tlnH"])).stdout;
    assert!(listed.contains(":2201 ") && listed.contains(":2222 "), "{listed}");
    serves(&machine);
    machine.warded(["undo", "--yes"]).ends(5).says(&["a reload would close 127.0.0.1:2201"]);
    refused(&machine, r#"["LoginGraceTime"]"#, &["Port 2202"], &["port", "not granted"]);
    // No policy of this project grants the keyword.
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "toml") {
            let text = fs::read_to_string(&path).unwrap();
            let granted = text.lines().filter(|line| line.starts_with("sshd.keywords"));
            assert!(
                granted.into_iter().all(|line| !line.contains("Port") && !line.contains("AddressFamily")),
                "{path:?}"
            );
        }
    }
}

/// A guest puts `Match all` at the top of its block in the main file: then no global line below it would be global any
/// more.
#[test]
fn a_match_all_at_the_top_of_the_main_file() {
    let machine = Machine::with(&Setup { alone: true, without_rsa: true, ..Setup::default() });
    let before = machine.tree();
    let config = fs::read_to_string(machine.config()).unwrap();
    let block = ["# BEGIN warded", "Match all", "LoginGraceTime 77", "# END warded"];
    let lines: Vec<&str> = block.into_iter().chain(config.lines()).collect();
    let grants = [
        "files.write = [\"{sshd-config}\"]",
        "services.ssh = [\"reload\"]",
        "sshd.keywords = [\"LoginGraceTime\", \"Match\"]",
    ];
    let run = write(&machine, &grants, machine.config().to_str().unwrap(), &lines);
    assert!(matches!(run.code, Some(1 | 2 | 5)), "{run:?}");
    run.says(&["match"]);
    assert!(before == machine.tree());
    serves(&machine);
}

/// A directory of drop-ins that is read twice: both times for all connections, or the second time only for some.
#[test]
fn a_directory_of_drop_ins_that_is_included_twice() {
    for (around, harmless) in [("", true), ("Match User backup\n  ", false), ("Match all\n", true)] {
        let machine = Machine::stopped();
        let config = fs::read_to_string(machine.config()).unwrap();
        let include =
            format!("Include {}/ssh/sshd_config.d/*.conf\n", machine.path("").to_str().unwrap().trim_end_matches('/'));
        assert!(config.contains(&include), "{config}");
        fs::write(machine.config(), format!("{config}{around}{include}")).unwrap();
        if harmless {
            drop_in(&machine, r#"["LoginGraceTime"]"#, &["LoginGraceTime 77"]).ends(0);
        } else {
            let says = ["which holds only below `match \"User\" \"backup\"`", "move that `Match` below the Include"];
            refused(&machine, r#"["LoginGraceTime"]"#, &["LoginGraceTime 77"], &says);
        }
    }
}

/// OpenSSH 10.0 accepts a configuration above 256 KiB, and then resets every connection.
#[test]
fn a_configuration_that_is_too_long_to_serve() {
    let Some(peer) = Peer::start("trixie", "") else { return };
    let config = peer.file("/etc/ssh/sshd_config");
    let stock = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{stock}{}", format!("# {}\n", "x".repeat(97)).repeat(2_750))).unwrap();
    Run::of(peer.command("/usr/sbin/sshd").arg("-t")).ends(0);
    let before = tree(&peer.file("/etc/ssh"));
    let principal = format!("principal={NAME}");
    for command in [&["plan"][..], &["apply", "--yes"]] {
        let run = peer.warded(&[command, &["certify-host", "--set", &principal]].concat());
        run.ends(5).says(&["nothing was changed"]);
    }
    assert!(before == tree(&peer.file("/etc/ssh")));
    assert!(!fs::read_to_string(peer.file("/run/sshd.log")).unwrap().contains("SIGHUP"));
}

/// Each refusal has a next step.
#[test]
fn every_refusal_of_a_line_says_what_to_do() {
    let machine = Machine::start();
    for (keywords, lines, says) in [
        (r#"["HostCertificate"]"#, vec!["DenyUsers *"], "make that change yourself if you want it"),
        (r#"["HostCertificate"]"#, vec!["HostCertificate /none"], "correct what sshd complains about"),
        (r#"["TrustedUserCAKeys"]"#, vec!["TrustedUserCAKeys /none"], "or remove the lines that name it"),
        (r#"["HostKey"]"#, vec!["HostKey /none"], "next:  "),
    ] {
        refused(&machine, keywords, &lines, &[says, "next:  "]);
    }
}
