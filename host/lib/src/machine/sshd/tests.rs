//! Tests that run a real sshd with configurations of their own.

use super::*;
use std::fs;

fn directory() -> (tempfile::TempDir, AbsolutePath) {
    let scratch = tempfile::tempdir().unwrap();
    let config = scratch.path().canonicalize().unwrap().join("odd.conf");
    (scratch, config.as_path().try_into().unwrap())
}

#[test]
fn a_configuration_without_usable_keys_is_read() {
    let (scratch, config) = directory();
    fs::write(config.as_path(), format!("HostKey {}/none\nPort 2222\nPidFile /p/id\n", scratch.path().display()))
        .unwrap();
    let sshd = Sshd::find(&config, None).unwrap().unwrap();
    assert!(
        sshd.listener.is_none()
            && sshd.arguments.is_empty()
            && sshd.version().starts_with(|c: char| c.is_ascii_digit())
    );
    let effective = sshd.effective(config.as_path(), &[]).unwrap();
    assert!(effective.host_keys.is_empty() && effective.values("HostKey").is_empty());
    assert_eq!(effective.values("port"), ["2222"]);
    assert_eq!(sshd.pid_file(), Some("/p/id".into()));
    let tree = Tree::read(config.as_path(), Overlay(&StagedFiles::new())).unwrap();
    let tested = sshd.view(config.as_path(), &tree).unwrap().tested;
    assert!(
        tested.without_keys && tested.words.iter().any(|line| line.contains("Unable to load host key")),
        "{tested:?}"
    );
}

#[test]
fn what_is_not_there_is_said() {
    let (_scratch, config) = directory();
    let error = Sshd::find(&config, None).unwrap_err().to_string();
    assert!(error.contains("no such file") && error.contains("--sshd-config"), "{error}");
    assert!(Sshd::find(&config, Some(Path::new("/no/sshd"))).unwrap_err().to_string().contains("no such program"));
    assert!(Sshd::find(&config, Some(Path::new("sshd"))).is_err());
    fs::write(config.as_path(), "Foo bar\n").unwrap();
    let sshd = Sshd::find(&config, None).unwrap().unwrap();
    let tree = Tree::read(config.as_path(), Overlay(&StagedFiles::new())).unwrap();
    let told = sshd.view(config.as_path(), &tree).unwrap_err().to_string();
    assert!(told.contains("line 1: Bad configuration option: Foo"), "{told}");
}

#[test]
fn a_program_that_others_could_have_changed_is_not_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().canonicalize().unwrap();
    let program = directory.join("sshd");
    fs::copy(exec::find("sshd").unwrap(), &program).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let said = || trusted(&program).map_err(|error| error.to_string());
    assert_eq!(said(), Ok(program.clone()));
    mode(&program, 0o757);
    assert!(said().unwrap_err().contains("others can write it"), "{:?}", said());
    mode(&program, 0o755);
    mode(&directory, 0o777);
    assert!(said().unwrap_err().contains("others can write this directory"), "{:?}", said());
    mode(&directory, 0o755);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&program, Some(65534), None).unwrap();
        assert!(said().unwrap_err().contains("it belongs to another user"), "{:?}", said());
        std::os::unix::fs::chown(&program, Some(0), None).unwrap();
    }
    let link = directory.join("link");
    std::os::unix::fs::symlink(&program, &link).unwrap();
    assert_eq!(trusted(&link).unwrap(), link);
    assert!(trusted(&directory.join("none")).unwrap_err().to_string().contains("No such file"));
}

#[test]
fn sshd_says_what_it_reads_whatever_a_match_asks_for() {
    let (scratch, config) = directory();
    let at = scratch.path().canonicalize().unwrap();
    let at = at.display();
    fs::write(format!("{at}/a.d"), "LoginGraceTime 7\n").unwrap();
    fs::write(format!("{at}/b.d"), "X11Forwarding no\n").unwrap();
    let text = format!(
        "Include {at}/a.d\nPort 2222\nMatch LocalPort 1,2\n  PermitTTY no\nMatch User bob\n Include {at}/b.d\nMatch all\nUseDNS no\n"
    );
    fs::write(config.as_path(), text.replace("1,2", "tcpmux")).unwrap();
    let sshd = Sshd::find(&config, None).unwrap().unwrap();
    let tree = Tree::read(config.as_path(), Overlay(&StagedFiles::new())).unwrap();
    assert_eq!(tree.spare_port(), u16::MAX);
    let view = sshd.view(config.as_path(), &tree).unwrap();
    let names: Vec<_> = view.reading.files.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    assert_eq!(names, ["a.d", "b.d", "odd.conf"]);
    let keywords: Vec<_> = view.reading.settings.iter().map(|one| one.keyword.as_str()).collect();
    assert_eq!(keywords, ["logingracetime", "port", "usedns"]);
    assert_eq!(sshd.effective(config.as_path(), &[]).unwrap().values("permittty"), ["yes"]);
    let lines: Vec<_> = tree.lines().unwrap();
    let within = |keyword: &str| lines.iter().find(|one| one.directive.keyword == keyword).unwrap().within.len();
    assert_eq!([within("port"), within("permittty"), within("x11forwarding"), within("usedns")], [0, 1, 1, 0]);
}

#[test]
fn a_completed_listener_listens_where_the_configuration_says() {
    let (_scratch, config) = directory();
    fs::write(config.as_path(), "Port 2222\nListenAddress 127.0.0.1\n").unwrap();
    let sshd = Sshd::find(&config, None).unwrap().unwrap();
    let socket = |address: &str| Socket { address: address.parse().unwrap(), inherited: false, inode: 1 };
    for (addresses, arguments, expected) in [
        (Some(&["127.0.0.1:2222"][..]), &[][..], true),
        (Some(&["127.0.0.1:22", "127.0.0.1:2222"]), &[], true),
        (Some(&["127.0.0.1:22"]), &[], false),
        (Some(&["127.0.0.2:2222"]), &[], false),
        (Some(&["127.0.0.1:2223"]), &[], false),
        (Some(&["127.0.0.1:2223"]), &["-p", "2223"], true),
        // What cannot be seen does not count against the listener.
        (Some(&[]), &[], true),
        (None, &[], true),
    ] {
        let listener = Listener {
            pid: 7,
            unit: None,
            binary: None,
            gone: None,
            arguments: arguments.iter().map(|&argument: &&str| argument.to_owned()).collect(),
            is_completed: true,
            sockets: addresses.map(|addresses| addresses.iter().map(|address| socket(address)).collect()),
        };
        assert_eq!(sshd.is_where_configured(&listener), expected, "{addresses:?} {arguments:?}");
        let known = sshd.choose(vec![listener]).is_some();
        assert_eq!(known, expected, "{addresses:?} {arguments:?}");
    }
}
