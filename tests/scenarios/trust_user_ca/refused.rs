//! What is refused, with messages that say what to do.

use super::{APPLY, DROP_IN, FILE, ROOT, Server};
use std::{fs, os::unix::fs::PermissionsExt as _};

/// sshd already uses another CA's file: Warded leaves it, in whatever state it is and whoever wrote it, and says what
/// to do.
#[test]
fn another_file_that_counts_stays_and_what_to_do_is_said() {
    let Some(server) = Server::start("bookworm", "PermitRootLogin no\n") else { return };
    let (line, theirs) = (server.file("/etc/ssh/sshd_config.d/10-theirs.conf"), server.file("/etc/ssh/trustedca.pub"));
    let other = server.text("/people/other_ca.pub");
    fs::write(&line, "TrustedUserCAKeys /etc/ssh/trustedca.pub\n").unwrap();
    let grant = "files.write = [\"/etc/ssh/trustedca.pub\"]";
    for (contents, says) in [
        (None, &[][..]),
        (Some(other.clone()), &[]),
        (Some(other.trim_end().to_owned()), &[]),
        (Some(format!("cert-authority {other}")), &["correct that file first", "options before the key in line 1"]),
        (Some(format!("@cert-authority * {other}")), &["correct that file first", "a line of known_hosts in line 1"]),
    ] {
        match &contents {
            None => drop(fs::remove_file(&theirs)),
            Some(contents) => fs::write(&theirs, contents).unwrap(),
        }
        let run = server.warded(&APPLY).ends(1);
        run.says(&["other-user-ca", "one file only, /etc/ssh/trustedca.pub", grant, ">>'/etc/ssh/trustedca.pub'"])
            .says(says);
        assert!(!server.exists(FILE));
        assert_eq!(fs::read_to_string(&theirs).ok(), contents);
    }
    // The suggested command works, even if the file's last line has no line end.
    fs::write(&theirs, other.trim_end()).unwrap();
    server.reloads();
    let said = server.warded(&APPLY).ends(1).stderr;
    let command = said.lines().find_map(|line| line.split_once("as root: ")).unwrap().1;
    server.sh(command);
    assert_eq!(fs::read_to_string(&theirs).unwrap(), format!("{}\n{}\n", other.trim_end(), server.key()));
    assert_eq!(server.by_certificate(), [true, false, true, false]);
    server
        .warded(&APPLY)
        .ends(0)
        .prints(&["sshd already reads this CA's keys from /etc/ssh/trustedca.pub", "Nothing to do."]);
    // sshd reads a last line without a line end, and one with a Windows line end.
    for end in ["", "\r\n"] {
        fs::write(&theirs, format!("{}\n{}{end}", other.trim_end(), server.key())).unwrap();
        assert_eq!(server.by_certificate(), [true, false, true, false], "{end:?}");
        server.warded(&APPLY).ends(0).prints(&["sshd already reads this CA's keys from /etc/ssh/trustedca.pub"]);
    }
    // Another line of theirs that makes sshd ignore certificates.
    let more = server.file("/etc/ssh/sshd_config.d/11-hardening.conf");
    for keyword in ["PubkeyAcceptedAlgorithms ssh-ed25519,rsa-sha2-512", "CASignatureAlgorithms rsa-sha2-512"] {
        fs::write(&more, format!("{keyword}\n")).unwrap();
        let name = keyword.split(' ').next().unwrap();
        server.warded(&APPLY).ends(1).says(&["other-user-ca", "accepts no certificate that they signed", name]);
    }
    fs::remove_file(more).unwrap();
    // Whoever can write the list decides who can log in.
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o666)).unwrap();
    server.warded(&["status"]).ends(4).prints(&["others can write /etc/ssh/trustedca.pub", "chmod go-w"]);
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o644)).unwrap();
    server.warded(&["status"]).ends(0);
    // A file that only a program of root's reads, as with Okta's agent.
    fs::write(&line, "TrustedUserCAKeys \"/var/lib/sftd/ssh_ca.pub\"\n").unwrap();
    server.warded(&APPLY).ends(1).says(&["other-user-ca", "one file only, /var/lib/sftd/ssh_ca.pub"]);
    fs::write(&line, "TrustedUserCAKeys none\n").unwrap();
    server.warded(&APPLY).ends(1).says(&["TrustedUserCAKeys none", "take that line out"]);
}

/// Warded's own list: entries that sshd reads as Warded's are normalized, and the file must belong to root.
#[test]
fn our_list_is_in_order_and_roots() {
    let Some(server) = Server::start("bookworm", "PermitRootLogin no\n") else { return };
    server.warded(&APPLY).ends(0);
    let list = server.file(FILE);
    let ours = fs::read_to_string(&list).unwrap();
    for edited in [ours.replace(' ', "\t"), format!("# a comment\n\n  {ours}")] {
        fs::write(&list, &edited).unwrap();
        assert!(server.by_certificate()[0], "sshd reads it: {edited:?}");
        server.warded(&APPLY).ends(0);
        assert_eq!(fs::read_to_string(&list).unwrap(), ours);
        server.warded(&["undo", "--yes"]).ends(0);
        assert_eq!(fs::read_to_string(&list).unwrap(), edited);
    }
    fs::write(&list, &ours).unwrap();
    server.sh(&format!("chown 4321 {FILE}"));
    let run = server.warded(&APPLY).ends(1);
    run.says(&["belongs to another user (uid 4321)", &format!("chown root {FILE}"), "nothing was changed"]);
    server.sh(&format!("mv {FILE} /etc/ssh/other; chown root /etc/ssh/other; ln -s other {FILE}"));
    server.warded(&APPLY).ends(1).says(&["a link", "put what it leads to in the place of the link"]);
}

/// Hardening that makes sshd reject certificates silently.
#[test]
fn the_word_that_is_missing_is_named() {
    let Some(server) = Server::start("bookworm", "PermitRootLogin no\n") else { return };
    let hardening = server.file("/etc/ssh/sshd_config.d/10-hardening.conf");
    for (line, says) in [
        (
            "PubkeyAcceptedAlgorithms ssh-ed25519,rsa-sha2-512,rsa-sha2-256\n",
            "add ssh-ed25519-cert-v01@openssh.com to PubkeyAcceptedAlgorithms",
        ),
        ("CASignatureAlgorithms ecdsa-sha2-nistp256,rsa-sha2-512\n", "add ssh-ed25519 to CASignatureAlgorithms"),
    ] {
        fs::write(&hardening, line).unwrap();
        server.warded(&APPLY).ends(5).says(&["sshd would take no certificate of this CA", says, "nothing was changed"]);
        server.warded(&["plan", "trust-user-ca"]).ends(5).says(&[says]);
        assert!(!server.exists(FILE));
    }
}

/// The output names everybody who cannot log in, each with the line that decides it.
#[test]
fn what_decides_for_each_user_is_told() {
    let Some(server) = Server::start("trixie", "") else { return };
    let line = server.file("/etc/ssh/sshd_config.d/10-more.conf");
    let told = |text: &str, arguments: &[&str], code: i32, says: &[&str]| {
        fs::write(&line, text).unwrap();
        let run = server.warded(arguments).ends(code);
        let all = run.stdout.clone() + &run.stderr;
        says.iter().for_each(|words| assert!(all.contains(words), "{text}: {words}: {all}"));
    };
    let plan = ["plan", "trust-user-ca"];
    told("DenyUsers ann\n", &plan, 3, &["ann: sshd says: User ann from 127.0.0.1 not allowed"]);
    told("AllowGroups root\n", &plan, 3, &["ann: sshd says: User ann from 127.0.0.1 not allowed"]);
    told("Match User ann\n  PubkeyAuthentication no\n", &plan, 3, &["ann: PubkeyAuthentication no"]);
    told(
        "Match User ann\n  PubkeyAcceptedAlgorithms ssh-ed25519\n",
        &plan,
        3,
        &["ann: PubkeyAcceptedAlgorithms has no ssh-ed25519-cert-v01@openssh.com"],
    );
    told("Match User ann\n  CASignatureAlgorithms rsa-sha2-512\n", &plan, 3, &["ann: CASignatureAlgorithms has no"]);
    told("Match User ann\n  AuthenticationMethods password\n", &plan, 3, &["ann: AuthenticationMethods password"]);
    told(
        "Match User ann\n  TrustedUserCAKeys /etc/ssh/theirs.pub\n",
        &plan,
        3,
        &["ann: a Match has TrustedUserCAKeys /etc/ssh/theirs.pub"],
    );
    let file = "AuthorizedPrincipalsFile /etc/ssh/auth_principals/%u\n";
    told(file, &plan, 5, &["ann: AuthorizedPrincipalsFile /etc/ssh/auth_principals/ann: No such file", "nobody in"]);
    server.sh("mkdir /etc/ssh/auth_principals; echo dba >/etc/ssh/auth_principals/ann");
    // The file has no principal for root, so there is no risk to accept.
    told(file, &APPLY, 0, &["sshd lets in ann (principal dba)", "root: AuthorizedPrincipalsFile"]);
    server.warded(&["undo", "--yes"]).ends(0);
    told(
        "Match User ann\n  AuthorizedPrincipalsCommand /bin/echo ann\n  AuthorizedPrincipalsCommandUser root\n",
        &plan,
        3,
        &["a query would run a program"],
    );
}

/// Warded asks sshd with a CA that stands in for this one. What sshd decides for the real one is what counts.
#[test]
fn what_the_stand_in_cannot_show_is_told() {
    let Some(server) = Server::start("trixie", "PermitRootLogin no\n") else { return };
    let line = server.file("/etc/ssh/sshd_config.d/10-more.conf");
    let told = |text: &str, code: i32, says: &str| {
        fs::write(&line, text).unwrap();
        let run = server.warded(&["plan", "trust-user-ca"]).ends(code);
        let all = run.stdout + &run.stderr;
        assert!(all.contains(says), "{text}: {says}: {all}");
    };
    server.sh(
        "cp /root/ca/user_ca.pub /etc/ssh/revoked; ssh-keygen -q -k -f /etc/ssh/revoked.krl /root/ca/user_ca.pub; \
               cp /people/other_ca.pub /etc/ssh/others",
    );
    told("RevokedKeys /etc/ssh/revoked\n", 5, "ann: RevokedKeys /etc/ssh/revoked has the CA's own key");
    told("RevokedKeys /etc/ssh/revoked.krl\n", 5, "sshd would let nobody in by a certificate of this CA");
    told("RevokedKeys /etc/ssh/others\n", 3, "ann logged in by a certificate");
    told("AllowUsers *@10.*\n", 3, "certificates of ann: AllowUsers *@10.* decides by the client's address");
}

/// Without another way to log in, the loss of the CA would lock everybody out.
#[test]
fn without_another_way_in_nothing_is_done() {
    let Some(server) = Server::start("bookworm", "PasswordAuthentication no\n") else { return };
    server.sh("rm /root/.ssh/authorized_keys /home/ann/.ssh/authorized_keys");
    let refused = server.warded(&[&APPLY[..], &[ROOT]].concat()).ends(5);
    refused.says(&["if the CA were lost, nobody could log in", "--accept-risk=lose-ssh", "nothing was changed"]);
    assert!(!server.exists(FILE));
    // A plan is refused like the run, unless it has the run's option. Without the option for root it is shown, and says
    // what the run would be refused for.
    let plan = |risks: &[&str]| server.warded(&[&["plan", "trust-user-ca"], risks].concat());
    plan(&[]).ends(5).says(&["if the CA were lost, nobody could log in", "--accept-risk=lose-ssh"]);
    plan(&[ROOT]).ends(5).says(&["--accept-risk=lose-ssh"]);
    plan(&["--accept-risk=lose-ssh"]).ends(3).prints(&[FILE, &format!("`apply` refuses that without {ROOT}")]);
    plan(&["--accept-risk=lose-ssh", ROOT]).ends(3).prints(&[FILE, &format!("log in as root: accepted by {ROOT}.")]);
    let not_accepted = |risks: &[&str]| {
        let object = plan(&[&["--json", "--accept-risk=lose-ssh"], risks].concat()).ends(3).object("warded.plan/1");
        let risks: Vec<_> = object["not_accepted"].as_array().unwrap().iter().map(|one| one["risk"].clone()).collect();
        risks
    };
    assert_eq!((not_accepted(&[]), not_accepted(&[ROOT])), (vec!["root-by-certificate".into()], Vec::new()));
    assert!(!server.exists(FILE));
    server.warded(&[&APPLY[..], &[ROOT, "--accept-risk=lose-ssh"]].concat()).ends(0);
    assert_eq!(server.by_certificate(), [true, true, false, false]);
    // It is not undone either, and the plan says so.
    for command in [&["undo", "--plan"][..], &["undo", "--yes"], &["remove", "--plan"], &["remove", "--yes"]] {
        server.warded(command).ends(5).says(&["a way to log in would be gone", "--accept-risk=lose-ssh"]);
        assert!(server.exists(FILE), "{command:?}");
    }
    for command in ["undo", "remove"] {
        server.warded(&[command, "--plan", "--accept-risk=lose-ssh"]).ends(3).prints(&["Nothing has been changed."]);
    }
}

/// A certificate for root is a risk from every address, and under every name of root's.
#[test]
fn root_is_root_from_elsewhere_and_by_another_name() {
    let elsewhere = "PermitRootLogin no\nMatch Address 10.0.0.0/8\n    PermitRootLogin prohibit-password\n";
    let Some(server) = Server::start("bookworm", elsewhere) else { return };
    server.warded(&APPLY).ends(5).says(&["a certificate with the principal root would log in as root", ROOT]);
    let config = server.file("/etc/ssh/sshd_config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("Login prohibit-password", "Login forced-commands-only")).unwrap();
    server.sh("echo 'toor:x:0:0::/root:/bin/sh' >>/etc/passwd");
    server.reloads();
    server.warded(&APPLY).ends(0).prints(&["toor: PermitRootLogin no"]);
}

/// A file that others can write must not decide about anybody's login.
#[test]
fn a_list_that_others_can_change_is_refused() {
    let Some(server) = Server::start("bookworm", "PermitRootLogin no\n") else { return };
    server.warded(&APPLY).ends(0);
    server.sh("chown 1000 /etc/ssh/warded-user-ca.pub; : >/etc/ssh/warded-user-ca.pub");
    server.warded(&["undo", "--yes", "--down-to", "1"]).ends(5);
    fs::remove_file(server.file(DROP_IN)).unwrap();
    server.reloads();
    server.warded(&APPLY).ends(5).says(&["others can change it", "nothing was changed"]);
}
