//! `Match all`, in Warded's blocks and around them.

use super::*;
use crate::machine::sshd::Sshd;

#[test]
fn a_match_all_opens_the_last_block_and_no_other() {
    const OLD: &str = "Include DIR/d/*.conf\nMatch User bob\n  ForceCommand x\n";
    const BLOCK: &str = "# BEGIN warded\n# note\nMatch all\nHostCertificate /a\n# END warded\n";
    const SECOND: &str = "# BEGIN warded x\nMatch all\nHostCertificate /b\n# END warded x\n";
    for (before, after, expected) in [
        ("", BLOCK, ""),
        ("", &format!("{BLOCK}# theirs\n\n"), ""),
        ("", &format!("{BLOCK}{SECOND}"), ""),
        (BLOCK, "", ""),
        (BLOCK, SECOND, ""),
        ("", "Match all\nHostCertificate /a\n", "line 4 has `match \"all\"`, which is not granted"),
        (
            "",
            &BLOCK.replace("Match all", "Match User eve"),
            "line 6 has `match \"User\" \"eve\"`, which is not granted",
        ),
        (
            "",
            &BLOCK.replace("Match all", "Match all\nBanner none"),
            "line 7 has `banner \"none\"`, which is not granted",
        ),
        ("Port 22\n", &format!("{BLOCK}Port 22\n"), "removes `port"),
        (&format!("{BLOCK}Port 22\n"), "Port 22\n", "removes"),
        // Marks that do not pair up mark nothing.
        ("", &BLOCK.replace("# END warded", ""), "line 6 has `match \"all\"`, which is not granted"),
    ] {
        let made = ConfigFixture::new(&[("main", &format!("{OLD}{before}")), ("d/a.conf", "")]);
        let staged = |text: &str| text.replace("DIR", made.at.to_str().unwrap());
        let found = made.refusal(&made.staged("main", Some(&staged(&format!("{OLD}{after}")))), &["HostCertificate"]);
        assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{after}: {found}");
    }
    // Warded does not know which lines sshd reads after a file other than the main one.
    let made = ConfigFixture::new(&[("main", OLD), ("d/a.conf", "")]);
    let found = made.refusal(&made.staged("d/a.conf", Some(BLOCK)), &["HostCertificate"]);
    assert!(found.contains("d/a.conf line 3 has `match \"all\"`"), "{found}");
    // A run must have written the block.
    let made = ConfigFixture::new(&[("main", &format!("Match User bob\n  ForceCommand x\n{BLOCK}"))]);
    let keywords = ["hostcertificate".to_owned()];
    let granted = MayChange::Only(&keywords);
    let gone = made.staged("main", Some("Match User bob\n  ForceCommand x\n"));
    let (before, after) = (made.tree(&StagedFiles::new()), made.tree(&gone));
    let found = difference(&before, &after, granted, Some(&Authorship::default())).and_then(|one| one.refuse(granted));
    assert!(found.unwrap_err().message().contains("which Warded did not write"));
}

/// A line without effect, because an earlier line sets the keyword first, would take effect behind a `Match all`.
#[test]
fn a_match_all_comes_only_before_lines_of_wardeds() {
    let block =
        |text: &str| format!("Port 22\nHostCertificate /c\n# BEGIN warded\n{text}HostCertificate /a\n# END warded\n");
    let keywords = ["hostcertificate".to_owned()];
    let granted = MayChange::Only(&keywords);
    let (with, without) = (block("Match all\n"), block(""));
    for (before, after, expected) in [
        (&without, &with, "line 4 has `match \"all\"`, which is not granted"),
        (
            &with,
            &without,
            "line 4 removes `match \"all\"`, and `hostcertificate \"/a\"` (line 5) would no longer win over",
        ),
    ] {
        let made = ConfigFixture::new(&[("main", before)]);
        let staged = made.staged("main", Some(after));
        let (old, new) = (made.tree(&StagedFiles::new()), made.tree(&staged));
        let found =
            |authorship: &Authorship| difference(&old, &new, granted, Some(authorship)).unwrap().refuse(granted);
        let refused = found(&Authorship::default()).unwrap_err();
        assert!(refused.message().contains(expected), "{refused}");
        let main = made.at.join("main");
        let ours = Authorship::of([(main, [None, Some(before.as_bytes().to_vec())])]);
        assert!(found(&ours).is_ok(), "{expected}");
    }
}

/// Whether the removal of the block does something to other lines, by the comparison and by sshd itself.
#[test]
fn a_match_all_goes_only_if_no_other_line_needs_it() {
    const BLOCK: &str = "# BEGIN warded\nMatch all\nHostCertificate /a\n# END warded\n";
    const LOUD: &str = "LogLevel VERBOSE\n";
    const BOB: &str = "Match User bob\n  PermitTTY no\n";
    const INCLUDE: &str = "Include DIR/d/*.conf\n";
    let keywords = ["hostcertificate".to_owned()];
    let granted = MayChange::Only(&keywords);
    let falls = "`loglevel \"VERBOSE\"` (line 7) would fall into `match \"User\" \"bob\"`";
    let loses = "`loglevel \"VERBOSE\"` (line 6) would no longer win over `loglevel \"INFO\"` (DIR/main line 1)";
    for (head, tail, included, expected) in [
        ("Port 22\n", LOUD, "", ""),
        ("Port 22\n", "# note\nLogLevel VERBOSE\nBanner none\n", "", ""),
        ("Port 22\n", INCLUDE, LOUD, ""),
        (BOB, LOUD, "", falls),
        (BOB, "# note\n", "", ""),
        (BOB, "Match User eve\n  LogLevel VERBOSE\n", "", ""),
        (BOB, "Match all\nLogLevel VERBOSE\n", "", ""),
        (BOB, INCLUDE, LOUD, "would fall into `match \"User\" \"bob\"`"),
        (&format!("{BOB}Match all\n"), LOUD, "", ""),
        (INCLUDE, LOUD, BOB, ""),
        ("LogLevel INFO\n", LOUD, "", loses),
        ("LogLevel INFO\n", "Match all\nLogLevel VERBOSE\n", "", ""),
        ("Match User bob\n  LogLevel INFO\nMatch all\n", LOUD, "", ""),
        (INCLUDE, LOUD, "LogLevel INFO\n", "would no longer win over `loglevel \"INFO\"` (DIR/d/a.conf line 1)"),
        ("LogLevel INFO\n", INCLUDE, LOUD, "`loglevel \"VERBOSE\"` (line 1) would no longer win over"),
        ("KbdInteractiveAuthentication no\n", "ChallengeResponseAuthentication yes\n", "", "would no longer win over"),
    ] {
        let made = ConfigFixture::new(&[("main", &format!("{head}{BLOCK}{tail}")), ("d/a.conf", included)]);
        let directory = made.at.to_str().unwrap();
        let (head, tail) = (head.replace("DIR", directory), tail.replace("DIR", directory));
        let without = format!("{head}{tail}");
        let (old, new) = (made.tree(&StagedFiles::new()), made.tree(&made.staged("main", Some(&without))));
        let refusal = |authorship: &Authorship| {
            let refused = difference(&old, &new, granted, Some(authorship)).unwrap().refuse(granted);
            refused.err().map(|error| error.message().replace(directory, "DIR")).unwrap_or_default()
        };
        let main = made.at.join("main");
        let ours = [Some(head.clone().into_bytes()), Some(format!("{head}{BLOCK}").into_bytes())];
        for authorship in [
            Authorship::of([(main.clone(), ours)]),
            // The records are lost.
            Authorship::default().with_unrecorded(true),
        ] {
            let found = refusal(&authorship);
            assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{head}{tail}: {found}");
        }
        let found = refusal(&Authorship::default());
        assert!(found.contains(if expected.is_empty() { "which Warded did not write" } else { expected }), "{found}");

        let sshd = Sshd::find(&main.as_path().try_into().unwrap(), None).unwrap().unwrap();
        let asked = || {
            let fields =
                [("user", "ann"), ("host", "h"), ("addr", "192.0.2.1"), ("laddr", "192.0.2.2"), ("lport", "22")];
            let effective = sshd.effective(&main, &fields.map(|(field, value)| (field.to_owned(), value.to_owned())));
            let effective = effective.unwrap();
            ["loglevel", "banner", "kbdinteractiveauthentication"].map(|keyword| effective.values(keyword).to_vec())
        };
        let with_block = asked();
        fs::write(&main, &without).unwrap();
        assert_eq!(asked() == with_block, expected.is_empty(), "{head}{tail}");
    }
}
