//! Somebody had a file open while Warded replaced it, and wrote to it: that text is kept, and Warded reports it.

use crate::support::{Grants, Machine, Run};
use std::{fs, os::unix::fs::PermissionsExt as _};

#[test]
fn what_is_written_through_an_open_descriptor_is_told() {
    let machine = Machine::start();
    let directory = machine.path("ssh/sshd_config.d");
    let file = directory.join("60-test.conf");
    fs::write(&file, "# old\n").unwrap();
    // When the new file is in place, the old one is still beside it under a temporary name, and Warded asks sshd
    // whether it can be reloaded. The stand-in then writes to the old file, as the holder of an open descriptor would.
    let sshd = machine.path("stand-in");
    let text = format!(
        "#!/bin/sh\nif grep -q new {}; then for old in {}/.*.warded-*; do\n[ ! -e $old ] || echo '# theirs' >>$old\n\
         done; fi\nexec /usr/sbin/sshd \"$@\"\n",
        file.display(),
        directory.display()
    );
    fs::write(&sshd, text).unwrap();
    fs::set_permissions(&sshd, fs::Permissions::from_mode(0o755)).unwrap();
    Grants::of(&["files.write = [\"{sshd}/sshd_config.d/60-test.conf\"]", "services.ssh = [\"reload\"]"])
        .write_demo(&machine.path("policies"));
    let path = format!("path={}", file.display());
    let arguments = ["apply", "write-file", "--policy", "writer", "--yes", "--json", "--set", "reload=yes"];
    let mut command = machine.warded_command(arguments);
    let run = Run::of(command.args(["--set", "text=# new", "--set", &path, "--sshd"]).arg(&sshd));
    let run = run.ends(0).says(&["note: ", "60-test.conf.warded-", "this is what they wrote"]);
    let left = run.object("warded.apply/1")["left_alone"].clone();
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
    assert!(left[0]["path"].as_str().unwrap().contains("60-test.conf.warded-"), "{left}");
    assert!(left[0]["why"].as_str().unwrap().contains("this is what they wrote"), "{left}");
    let theirs: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .filter(|text| text.starts_with("# old\n# theirs\n"))
        .collect();
    assert_eq!(theirs.len(), 1);
    assert!(machine.audit().iter().any(|record| record.to_string().contains("this is what they wrote")));
    assert_eq!(machine.audit().pop().unwrap()["detail"], "kept");
}
