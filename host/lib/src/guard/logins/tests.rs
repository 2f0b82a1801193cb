//! What is a way in, and which of them are lost or gained.

use super::*;

fn lost_by(user: &User, before: (&Effective, Overlay<'_>), after: (&Effective, Overlay<'_>)) -> Vec<String> {
    let (before, after) = (ways(user, before.0, before.1).all, ways(user, after.0, after.1).all);
    let lost = before.iter().filter(|(way, _)| !after.contains_key(*way));
    lost.map(|(_, way)| format!("{}: {}", user.name, way.what)).collect()
}

const KEY: &str = "restrict ssh-ed25519 AAAA somebody\n# old\n\nssh-rsa BBBB other\n";

fn user(name: &str) -> User {
    User { name: name.to_owned(), id: Some(1000), home: Some(format!("/home/{name}")) }
}

#[test]
fn whatever_lets_in_without_a_certificate_is_missed() {
    let base = "pubkeyauthentication yes\nauthorizedkeysfile .ssh/authorized_keys %h/two\nauthorizedkeyscommand none\n\
                passwordauthentication yes\nkbdinteractiveauthentication yes\nusepam yes\nauthenticationmethods any\n\
                permitrootlogin prohibit-password\npubkeyacceptedalgorithms ssh-ed25519,rsa-sha2-512\n";
    let staged = StagedFiles::from([
        ("/home/ann/.ssh/authorized_keys".into(), Some(KEY.as_bytes().to_vec())),
        ("/keys/ann".into(), Some(KEY.replace("# old\n", "").into_bytes())),
    ]);
    for (from, to, expected) in [
        ("", "", vec![]),
        ("authorizedkeysfile .ssh/authorized_keys %h/two", "authorizedkeysfile none", vec![2, 0]),
        ("authorizedkeysfile .ssh/authorized_keys %h/two", "authorizedkeysfile .ssh/authorized_keys", vec![0, 0]),
        ("authorizedkeysfile .ssh/authorized_keys %h/two", "authorizedkeysfile /keys/%u", vec![0, 0]),
        ("authorizedkeysfile .ssh/authorized_keys %h/two", "authorizedkeysfile /keys/%U", vec![2, 0]),
        ("pubkeyauthentication yes", "pubkeyauthentication no", vec![2, 0]),
        ("ssh-ed25519,rsa-sha2-512", "ssh-ed25519,ssh-ed25519-cert-v01@openssh.com", vec![1, 0]),
        ("passwordauthentication yes", "passwordauthentication no", vec![1, 0]),
        ("usepam yes", "usepam no", vec![1, 0]),
        ("kbdinteractiveauthentication yes", "kbdinteractiveauthentication no", vec![1, 0]),
        ("authenticationmethods any", "authenticationmethods publickey,password password", vec![3, 0]),
        ("authenticationmethods any", "authenticationmethods publickey password keyboard-interactive:pam", vec![0, 0]),
        ("permitrootlogin prohibit-password", "permitrootlogin no", vec![0, 0]),
        ("authorizedkeyscommand none", "authorizedkeyscommand /x", vec![0, 0]),
    ] {
        let (before, after) = (Effective::parse(base), Effective::parse(&base.replace(from, to)));
        let lost = |name| lost_by(&user(name), (&before, Overlay(&staged)), (&after, Overlay(&staged))).len();
        let expected = if expected.is_empty() { vec![0, 0] } else { expected };
        assert_eq!([lost("ann"), lost("root")], expected[..], "{to}");
    }
    let no_files = StagedFiles::new();
    let lost = |before: &str, after: &str| {
        let (before, after) = (Effective::parse(before), Effective::parse(after));
        lost_by(&user("root"), (&before, Overlay(&no_files)), (&after, Overlay(&no_files)))
    };
    let root = "permitrootlogin yes\npasswordauthentication yes\n";
    assert_eq!(lost(root, &root.replace("yes\npass", "no\npass")), ["root: a password"]);
    let command = "pubkeyauthentication yes\nauthorizedkeyscommand /x\n";
    assert_eq!(lost(command, &command.replace("/x", "none")), ["root: the keys that /x tells"]);
    assert_eq!(lost("gssapiauthentication yes\n", "gssapiauthentication no\n"), ["root: gssapi-with-mic"]);
    // If a user's home is not known, only the names of the files can be compared.
    let stranger = User { name: "far".to_owned(), id: None, home: None };
    let (before, after) = (Effective::parse(base), Effective::parse(&base.replace(".ssh/authorized_keys ", "")));
    let lost = lost_by(&stranger, (&before, Overlay(&no_files)), (&after, Overlay(&no_files)));
    assert_eq!(lost, ["far: the keys in .ssh/authorized_keys"]);
}

#[test]
fn lists_of_names_shut_out() {
    for (before, after, expected) in [
        ("allowusers a\nallowusers b\n", "allowusers b\nallowusers a\nallowusers c\n", vec![]),
        ("allowusers a\nallowusers b\n", "allowusers b\n", vec!["allowusers a"]),
        ("allowusers a\n", "", vec![]),
        ("", "allowgroups a\n", vec!["everybody but allowgroups a"]),
        ("denyusers a\n", "denyusers a\ndenygroups b\n", vec!["denygroups b"]),
        ("denyusers a\n", "", vec![]),
    ] {
        assert_eq!(shut_out(&Effective::parse(before), &Effective::parse(after)), expected, "{before} {after}");
    }
}
