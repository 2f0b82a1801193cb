//! Lines that come and go, in configurations of several files.

use super::*;

mod match_all;

/// A directory with a configuration: `main`, and the files that it includes.
struct ConfigFixture {
    _scratch: tempfile::TempDir,
    at: PathBuf,
}

impl ConfigFixture {
    fn new(files: &[(&str, &str)]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let at = fs::canonicalize(scratch.path()).unwrap();
        for (name, text) in files {
            fs::create_dir_all(at.join(name).parent().unwrap()).unwrap();
            fs::write(at.join(name), text.replace("DIR", at.to_str().unwrap())).unwrap();
        }
        Self { _scratch: scratch, at }
    }

    fn tree(&self, staged: &StagedFiles) -> Tree {
        Tree::read(&self.at.join("main"), Overlay(staged)).unwrap()
    }

    fn staged(&self, name: &str, text: Option<&str>) -> StagedFiles {
        [(self.at.join(name), text.map(|text| text.as_bytes().to_vec()))].into()
    }

    fn refusal(&self, staged: &StagedFiles, granted: &[&str]) -> String {
        let granted: Vec<_> = granted.iter().map(|&one| one.to_owned()).collect();
        let granted = MayChange::Only(&granted);
        let (before, after) = (self.tree(&StagedFiles::new()), self.tree(staged));
        let refused = difference(&before, &after, granted, None).and_then(|found| found.refuse(granted));
        refused.err().map(|error| error.message().replace(self.at.to_str().unwrap(), "DIR")).unwrap_or_default()
    }
}

#[test]
fn lines_need_a_grant_and_hold_for_everybody() {
    let old = "Port 22\n# note\nMatch User bob\n  ForceCommand x\n";
    let made = ConfigFixture::new(&[("main", old)]);
    let granted = ["HostCertificate", "ChallengeResponseAuthentication", "UseDNS"];
    for (new, expected) in [
        (old, ""),
        ("Port 22\n# other note\n\n\nMatch User bob\n\tForceCommand x \n", ""),
        // 8.4 and 9.2 do not read both alike in every case, so a line that is not ours keeps its bytes.
        ("Port 22\nMatch User bob\n  ForceCommand \"x\"\n", "line 4 removes `forcecommand \"x\"`"),
        ("Port 22\nMatch  User bob\n  ForceCommand x\n", "line 3 removes `match \"User\" \"bob\"`"),
        ("HostCertificate /a\nPort 22\nMatch User bob\n  ForceCommand x\n", ""),
        ("KbdInteractiveAuthentication no\nPort 22\nMatch User bob\n  ForceCommand x\n", ""),
        ("UseDNS yes\nPort 22\nMatch User bob\n  ForceCommand x\n", ""),
        (
            "Match all\nhostcertificate /a\nPort 22\nMatch User bob\n  ForceCommand x\n",
            "line 1 has `match \"all\"`, which is not granted",
        ),
        ("DenyUsers *\nPort 22\nMatch User bob\n  ForceCommand x\n", "line 1 has `denyusers \"*\"`, which is not"),
        (
            "Port 22\nMatch User bob\n  ForceCommand x\n  HostCertificate /a\n",
            "line 4 has `hostcertificate \"/a\"`, which holds only below `match \"User\" \"bob\"`",
        ),
        ("Match User bob\n  ForceCommand x\n", "line 1 removes `port \"22\"`"),
        // What was below the block now holds for everybody.
        ("Port 22\nForceCommand x\n", "line 3 removes `match \"User\" \"bob\"`"),
        ("Port 23\nMatch User bob\n  ForceCommand x\n", "line 1 removes `port \"22\"`"),
        (
            "Port 22\nInclude /etc/x\nMatch User bob\n  ForceCommand x\n",
            "line 2 has `include \"/etc/x\"`, which is not",
        ),
    ] {
        let found = made.refusal(&made.staged("main", Some(new)), &granted);
        assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{new}: {found}");
    }
    let found = made.refusal(&made.staged("main", Some("Match User x\nMatch all\n")), &["Match", "Include"]);
    assert!(found.contains("not granted"), "{found}");
}

#[test]
fn a_line_goes_only_if_a_run_wrote_it() {
    let (ours, theirs) = ("HostCertificate /a\n", "HostCertificate /a\nHostCertificate /b\n");
    let made =
        ConfigFixture::new(&[("main", "Include DIR/d/*.conf\nHostCertificate /c\n"), ("d/50-warded.conf", theirs)]);
    let path = made.at.join("d/50-warded.conf");
    let keywords = ["hostcertificate".to_owned()];
    let refusal = |name: &str, after: Option<&str>, written: &str| {
        let granted = MayChange::Only(&keywords);
        let authorship = Authorship::of([(path.clone(), [None, Some(written.as_bytes().to_vec())])]);
        let (before, after) = (made.tree(&StagedFiles::new()), made.tree(&made.staged(name, after)));
        let refused = difference(&before, &after, granted, Some(&authorship)).and_then(|found| found.refuse(granted));
        refused.err().map(|error| error.message().to_owned()).unwrap_or_default()
    };
    let foreign = "removes `hostcertificate \"/b\"`, which Warded did not write";
    assert!(refusal("d/50-warded.conf", Some(ours), ours).contains(foreign));
    assert!(refusal("d/50-warded.conf", None, ours).contains("which Warded did not write"));
    assert_eq!(refusal("d/50-warded.conf", Some(ours), theirs), "");
    assert_eq!(refusal("d/50-warded.conf", None, theirs), "");
    // Lines may be added beside those that stay.
    assert_eq!(
        refusal("d/50-warded.conf", Some("HostCertificate /a\nHostCertificate /b\nHostCertificate /d\n"), ours),
        ""
    );
    let include = format!("Include {}/d/*.conf\n", made.at.display());
    assert!(
        refusal("main", Some(&include), theirs)
            .contains("removes `hostcertificate \"/c\"`, which Warded did not write")
    );
}

/// The operator's word stands in for lost records. What is not granted stays.
#[test]
fn lines_without_a_record_go_if_the_operator_accepts_it() {
    const BLOCK: &str = "# BEGIN warded\nHostCertificate /c\n# END warded\n";
    let made = ConfigFixture::new(&[
        ("main", &format!("Include DIR/d/*.conf\n{BLOCK}Match User bob\n  Banner none\n")),
        ("d/50-warded.conf", "HostCertificate /a\nBanner none\n"),
    ]);
    let keywords = ["hostcertificate".to_owned()];
    let granted = MayChange::Only(&keywords);
    let main = fs::read_to_string(made.at.join("main")).unwrap();
    let banner = "50-warded.conf line 2 removes `banner \"none\"`, which is not granted";
    for (name, after, accepted) in [
        ("d/50-warded.conf", Some("Banner none\n"), ""),
        ("d/50-warded.conf", Some("HostCertificate /b\nBanner none\n"), ""),
        ("d/50-warded.conf", Some("HostCertificate /a\n"), banner),
        ("d/50-warded.conf", None, banner),
        ("main", Some(main.replace(BLOCK, "").as_str()), ""),
        ("main", Some(main.replace("  Banner none\n", "").as_str()), "line 6 removes `banner \"none\"`, which is not"),
        ("main", Some(main.replace("Match User bob\n", "").as_str()), "line 5 removes `match \"User\" \"bob\"`, which"),
    ] {
        let (before, after) = (made.tree(&StagedFiles::new()), made.tree(&made.staged(name, after)));
        let refusal = |is_accepted| {
            let authorship = Authorship::default().with_unrecorded(is_accepted);
            let found = difference(&before, &after, granted, Some(&authorship)).unwrap().refuse(granted);
            found.err().map(|error| error.to_string()).unwrap_or_default()
        };
        let (by_default, with_risk) = (refusal(false), refusal(true));
        assert!(!by_default.is_empty(), "{name}");
        assert!(with_risk.contains(accepted) && with_risk.is_empty() == accepted.is_empty(), "{name}: {with_risk}");
        let is_told = by_default.contains("--accept-risk=unrecorded-lines");
        assert!(is_told || !accepted.is_empty(), "{name}: {by_default}");
    }
}

#[test]
fn a_directory_that_is_included_twice_is_looked_at_twice() {
    let drop_in = |made: &ConfigFixture| {
        made.refusal(&made.staged("d/a.conf", Some("HostCertificate /a\n")), &["HostCertificate"])
    };
    let main = |text| ConfigFixture::new(&[("main", text), ("d/z.conf", "Port 22\n")]);
    assert_eq!(drop_in(&main("Include DIR/d/*.conf\nInclude DIR/d/*.conf\n")), "");
    for (text, condition) in [
        ("Include DIR/d/*.conf\nMatch Address 10.0.0.0/8\n Include DIR/d/*.conf\n", "Address"),
        ("Match User bob\nInclude DIR/d/*.conf\n", "bob"),
    ] {
        let found = drop_in(&main(text));
        assert!(found.contains("which holds only below") && found.contains(condition), "{found}");
    }
    // A `Match` ends with its file, but not for what that file includes.
    assert_eq!(drop_in(&main("Match User bob\nX11Forwarding no\nMatch all\nInclude DIR/d/*.conf\n")), "");
    let nested = ConfigFixture::new(&[
        ("main", "Match User bob\nInclude DIR/b\nMatch all\nPort 1\n"),
        ("b", "Match all\nInclude DIR/d/*.conf\n"),
    ]);
    fs::create_dir(nested.at.join("d")).unwrap();
    assert!(drop_in(&nested).contains("which holds only below"));
}

#[test]
fn a_name_in_a_match_makes_usedns_decide() {
    let text = "Port 22\nMatch Host *.example.org\n PermitTTY no\n";
    let made = ConfigFixture::new(&[("main", text)]);
    let found = made.refusal(&made.staged("main", Some(&format!("UseDNS yes\n{text}"))), &["UseDNS"]);
    assert!(found.contains("decides for whom") && found.contains("DIR/main line 3"), "{found}");
}

#[test]
fn texts_are_short_and_have_no_nul() {
    let made = ConfigFixture::new(&[("main", "Port 22\n")]);
    let refusal = |text: &[u8]| {
        let staged: StagedFiles = [(made.at.join("main"), Some(text.to_vec()))].into();
        let parts = parts(&staged, &made.tree(&staged).files);
        assert_eq!(parts.len(), 1);
        refuse_bytes(&staged, &parts, MayChange::Only(&[])).err().map(|error| error.message().to_owned())
    };
    assert_eq!(refusal(b"Port 22\n"), None);
    let longer = |by: usize| refusal(&vec![b'#'; "Port 22\n".len() + by]);
    assert_eq!(longer(16 * 1024), None);
    assert!(longer(16 * 1024 + 1).unwrap().contains("would grow by 16385 bytes"));
    assert!(refusal(b"Port 22\n#\0\n").unwrap().contains("line 2 has a NUL byte"));
}

#[test]
fn one_file_under_two_names_is_refused() {
    // Neither another file in the directory nor one of that name in another directory is the same file.
    let main = ("main", "Include DIR/d/*.conf\nInclude DIR/e/*.conf\n");
    let made = ConfigFixture::new(&[main, ("d/a.conf", "UseDNS no\n"), ("d/c.conf", ""), ("e/a.conf", "")]);
    let staged = made.staged("d/a.conf", Some("UseDNS yes\n"));
    let refused = |made: &ConfigFixture| {
        refuse_second_names(&parts(&staged, &made.tree(&staged).files), &made.tree(&StagedFiles::new()))
    };
    assert!(refused(&made).is_ok());
    fs::hard_link(made.at.join("d/a.conf"), made.at.join("d/b.conf")).unwrap();
    assert!(refused(&made).unwrap_err().message().ends_with("d/b.conf"));
}

#[test]
fn sshd_reads_what_is_read_here() {
    use crate::machine::sshd::{Sshd, reading::Setting};
    for (main, agrees) in [
        (
            "Include DIR/d/*.conf\nPort 22\nMatch User bob\n  X11Forwarding no\n  Include DIR/e\nMatch all\nUseDNS no\n",
            true,
        ),
        ("Include \"DIR/d/[ab].conf\"\nLoginGraceTime=7 # x\n\"LogLevel\" INFO\n", true),
        ("Include DIR/d/[[:alpha:]].conf\n", true),
        // sshd takes it relative to its working directory, which is not known here.
        ("Include ~/none\nUseDNS no\n", true),
        ("Include DIR/./d//*.conf\n", true),
    ] {
        let made = ConfigFixture::new(&[("main", main), ("d/a.conf", "LoginGraceTime 9\n"), ("e", "PermitTTY no\n")]);
        let path = made.at.join("main");
        let sshd = Sshd::find(&path.as_path().try_into().unwrap(), None).unwrap().unwrap();
        let tree = made.tree(&StagedFiles::new());
        let mut reading = sshd.view(&path, &tree).unwrap().reading;
        let told = refuse_misread(&tree, &reading, MatchBlocks::Shut).err().map(|error| error.to_string());
        assert_eq!(told.is_none(), agrees, "{main}: {told:?}");
        let spoilers: [fn(&mut Setting); 3] =
            [|one| one.file.push("x"), |one| one.line += 1, |one| one.keyword.push('x')];
        for spoil in spoilers {
            let mut other = reading.clone();
            spoil(other.settings.last_mut().unwrap());
            assert!(refuse_misread(&tree, &other, MatchBlocks::Shut).is_err(), "{main}: {:?}", other.settings.last());
        }
        reading.settings.pop();
        assert!(refuse_misread(&tree, &reading, MatchBlocks::Shut).is_err() || tree.lines().unwrap().len() < 2);
        reading.files.insert("/else".into());
        assert!(
            refuse_misread(&tree, &reading, MatchBlocks::Shut).unwrap_err().to_string().contains("sshd reads /else")
        );
    }
}

#[test]
fn sshd_reads_what_is_read_here_in_blocks_too() {
    use crate::{guard::Candidate, machine::sshd::Sshd};
    let blocks = "Port 22\nMatch User bob Address 10.0.0.0/8 # one\n  ForceCommand \"x y\"\n  Include DIR/d/*.conf\n\
        Match LocalPort 7\n  PermitTTY=no\nMatch all\nUseDNS no\nMatch Group g\n  AuthenticationMethods password\n  \
        PasswordAuthentication no\n";
    let made = ConfigFixture::new(&[("main", blocks), ("d/a.conf", "X11Forwarding no\nMatch Host h\n  Banner none\n")]);
    let path = made.at.join("main");
    let sshd = Sshd::find(&path.as_path().try_into().unwrap(), None).unwrap().unwrap();
    let candidate = Candidate::build(&sshd, &StagedFiles::new()).unwrap();
    let mut reading = candidate.reading_with_blocks_open().unwrap().unwrap();
    let tree = made.tree(&StagedFiles::new());
    assert_eq!(refuse_misread(&tree, &reading, MatchBlocks::Open).err().map(|error| error.to_string()), None);
    let shown: Vec<&str> = reading.settings.iter().map(|one| one.keyword.as_str()).collect();
    assert!(["forcecommand", "banner", "permittty", "passwordauthentication"].iter().all(|one| shown.contains(one)));
    reading.settings.retain(|one| one.keyword != "permittty");
    let told = refuse_misread(&tree, &reading, MatchBlocks::Open).unwrap_err().to_string();
    assert!(told.contains("sshd reads its configuration differently"), "{told}");
    let plain = ConfigFixture::new(&[("main", "Port 22\nMatch all\n")]);
    let sshd = Sshd::find(&plain.at.join("main").as_path().try_into().unwrap(), None).unwrap().unwrap();
    assert!(Candidate::build(&sshd, &StagedFiles::new()).unwrap().reading_with_blocks_open().unwrap().is_none());
}

#[test]
fn a_file_that_others_can_write_is_theirs() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    let made = ConfigFixture::new(&[("main", "Include DIR/d/*.conf\n"), ("d/a.conf", "UseDNS no\n")]);
    let (root, nothing) = (Root::ambient().unwrap(), StagedFiles::new());
    let refused = |staged: &StagedFiles| {
        let error = refuse_foreign_files(&root, staged, &made.tree(staged)).err()?;
        Some(error.to_string())
    };
    let mode = |name: &str, mode| fs::set_permissions(made.at.join(name), fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(refused(&nothing), None);
    for (name, open, shut) in [("d/a.conf", 0o666, 0o644), ("d", 0o777, 0o755)] {
        mode(name, open);
        let told = refused(&nothing).unwrap();
        assert!(told.contains("d/a.conf, which others can change") && told.contains("can write"), "{told}");
        mode(name, shut);
    }
    // A masked file, as systemd masks files; then one masked by a link that others can replace.
    std::os::unix::fs::symlink("/dev/null", made.at.join("d/z.conf")).unwrap();
    assert_eq!(refused(&nothing), None);
    mode("d", 0o777);
    fs::remove_file(made.at.join("d/a.conf")).unwrap();
    assert!(refused(&nothing).unwrap().contains("d/z.conf, which others can change"));
    mode("d", 0o755);
    fs::write(made.at.join("d/a.conf"), "UseDNS no\n").unwrap();
    if rustix::process::geteuid().is_root() {
        chown(made.at.join("d/a.conf"), Some(65534), None).unwrap();
        assert!(refused(&nothing).unwrap().contains("belongs to another user"));
        // A file that this run writes anew is checked as it is staged.
        assert_eq!(refused(&made.staged("d/a.conf", Some("UseDNS yes\n"))), None);
    }
    assert_eq!(refused(&made.staged("d/b.conf", Some("Port 22\n"))).is_some(), rustix::process::geteuid().is_root());
}
