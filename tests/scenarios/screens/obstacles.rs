//! What a person sees if a run cannot trust a file, and if a guest asks for a secret.

use super::refusals::{APPLY, machine};
use crate::{
    scenarios::refusals::write,
    support::{Run, screen::Screens},
};
use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
};

#[test]
fn of_files_that_cannot_be_trusted() {
    let machine = machine("");
    let mut screens = Screens::of(&machine);
    let open = |name: &str, mode: u32| fs::set_permissions(machine.path(name), Permissions::from_mode(mode)).unwrap();
    // Another user tries what only root can do.
    let mut plain = machine.command("setpriv");
    plain
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", env!("CARGO_BIN_EXE_warded")])
        .args(APPLY.split(' '));
    machine.environment(&mut plain);
    screens.keep("apply, by another user than root", &Run::of(&mut plain));
    open("ca/host_ca", 0o644);
    screens.show(&machine, APPLY);
    open("ca/host_ca", 0o600);
    fs::write(machine.path("config.toml"), "").unwrap();
    open("config.toml", 0o666);
    screens.show(&machine, APPLY);
    open("config.toml", 0o644);
    let drop_in = machine.path("ssh/sshd_config.d/50-warded.conf");
    symlink(machine.path("elsewhere"), &drop_in).unwrap();
    screens.show(&machine, APPLY);
    fs::remove_file(drop_in).unwrap();
    screens.show(&machine, APPLY);
    open("state", 0o777);
    screens.show(&machine, "status");
    screens.show(&machine, "renew");
    open("state", 0o700);
    let log = machine.path("state/audit/log.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    fs::write(&log, lines[..lines.len() - 2].join("\n") + "\n").unwrap();
    screens.show(&machine, "audit verify");
    insta::assert_snapshot!(screens.seen(), @r#"
    $ warded apply, by another user than root
    error: could not make /tmp/warded-test-dddddd/state
    cause: Permission denied (os error 13)
    state: nothing was changed
    next:  run this as root, or name a directory of your own with --state DIR
    [1]

    $ warded apply certify-host --yes --set principal=web1.example.org
    error: the local CA in /tmp/warded-test-dddddd/ca cannot be reached
    cause: /tmp/warded-test-dddddd/ca/host_ca is open to others (mode 0000)
    state: nothing was changed
    next:  name the right directory with --ca DIR
    [6]

    $ warded apply certify-host --yes --set principal=web1.example.org
    refused: /tmp/warded-test-dddddd/config.toml could have been written by another user
    cause: /tmp/warded-test-dddddd/config.toml: others can write it
    state: nothing was changed
    next:  read the file, and if it is as you left it: chmod go-w /tmp/warded-test-dddddd/config.toml
    [5]

    $ warded apply certify-host --yes --set principal=web1.example.org
    refused: certify-host gave up (invalid-configuration): sshd does not accept /tmp/warded-test-dddddd/ssh/sshd_config (/tmp/warded-test-dddddd/ssh/sshd_config.d/50-warded.conf: No such file or directory)
    state: nothing was changed
    next:  correct sshd's configuration: `sshd -t` says nothing once sshd accepts it
    [5]

    $ warded apply certify-host --yes --set principal=web1.example.org
    OS · OpenSSH 9.2 · init none · policy unix 0.1.0 (bundled)
    + /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub     new host certificate · web1.example.org
    + /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub   new host certificate · web1.example.org
    + /tmp/warded-test-dddddd/ssh/sshd_config.d/50-warded.conf
        +# Managed by Warded (policy unix, certify-host). `warded undo` takes it out.
        +HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub
        +HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    warning: Nothing runs `warded renew` automatically: /tmp/warded-test-dddddd/ssh/sshd_config is not the configuration of this machine's own sshd. Run it every hour from cron or a systemd timer (docs/RENEWAL.md).
    > renew from now on: web1.example.org from the local CA in /tmp/warded-test-dddddd/ca
    Certified 2 keys for web1.example.org.
    Proved beforehand: clients that pinned a plain key (ecdsa-sha2-nistp256, ssh-ed25519) get in, clients that know only the CA (SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx) get in.
    Seen live: 2 certificates served, the plain keys still offered.
    Valid:   N days left, until 00:00 UTC
    Renewal: by `warded renew`, due in N days, at 00:00 UTC. If nothing runs it yet: run it every hour from cron or a systemd timer (docs/RENEWAL.md). It asks nothing, and does nothing until a certificate is due.
    Clients: this line in known_hosts (or *.DOMAIN in place of the names, once for all machines):
    @cert-authority web1.example.org ssh-ed25519 AAAA…
    Log:     warded audit log --run 3
    Undo it with: warded undo  (run 3)
    [0]

    $ warded status
    refused: Warded's files in /tmp/warded-test-dddddd/state are not safe there
    cause: /tmp/warded-test-dddddd/state: others can write it
    state: nothing was changed
    next:  chmod go-w /tmp/warded-test-dddddd/state; or name another directory with --state DIR
    [5]

    $ warded renew
    refused: Warded's files in /tmp/warded-test-dddddd/state are not safe there
    cause: /tmp/warded-test-dddddd/state: others can write it
    state: nothing was changed
    next:  chmod go-w /tmp/warded-test-dddddd/state; or name another directory with --state DIR
    [5]

    $ warded audit verify
    error: the audit log is not intact: record 41 and all after it are gone: the head knows 42 records
    next:  keep the directory as evidence; everything before that record is as it was written
    [1]
    "#);
}

#[test]
fn of_guests_that_go_too_far() {
    let machine = machine("");
    let mut screens = Screens::of(&machine);
    let path = machine.path("ssh/sshd_config.d/60-test.conf").display().to_string();
    let grants = ["files.write = [\"{sshd}/sshd_config.d/60-test.conf\"]", "sshd.keywords = [\"LoginGraceTime\"]"];
    let key = fs::read_to_string(machine.path("ssh/ssh_host_ed25519_key")).unwrap();
    let run = write(&machine, &grants, &path, &key.lines().collect::<Vec<_>>());
    screens.keep("apply write-file: a private key", &run);
    let run = write(&machine, &grants, &path, &["Match User root", "LoginGraceTime 9"]);
    screens.keep("apply write-file: a line in a Match", &run);
    let run = write(&machine, &grants, &path, &["LoginGraceTime 9"]);
    screens.keep("apply write-file: a line that needs a reload, and none", &run);
    let component = machine.path("policies/writer.wasm");
    let mut bytes = fs::read(&component).unwrap();
    bytes.push(0);
    fs::write(&component, bytes).unwrap();
    screens.show(&machine, "plan write-file --policy writer --set path=/etc/motd");
    insta::assert_snapshot!(screens.seen(), @r#"
    $ warded apply write-file: a private key
    OS · OpenSSH 9.2 · init none · policy writer  (/tmp/warded-test-dddddd/policies/writer.toml)
    + /tmp/warded-test-dddddd/ssh/sshd_config.d/60-test.conf   private key
    refused: /tmp/warded-test-dddddd/ssh/sshd_config.d/60-test.conf line 1 has `-----begin "OPENSSH" "PRIVATE" "KEY-----"`, which is not granted
    cause: granted: logingracetime
    state: nothing was changed
    next:  make that change yourself if you want it; the policy's author decides what a procedure may change (sshd.keywords)
    [5]

    $ warded apply write-file: a line in a Match
    OS · OpenSSH 9.2 · init none · policy writer  (/tmp/warded-test-dddddd/policies/writer.toml)
    + /tmp/warded-test-dddddd/ssh/sshd_config.d/60-test.conf
        +Match User root
        +LoginGraceTime 9
    refused: /tmp/warded-test-dddddd/ssh/sshd_config.d/60-test.conf line 1 has `match "User" "root"`, which is not granted
    cause: granted: logingracetime
    state: nothing was changed
    next:  make that change yourself if you want it; the policy's author decides what a procedure may change (sshd.keywords)
    [5]

    $ warded apply write-file: a line that needs a reload, and none
    OS · OpenSSH 9.2 · init none · policy writer  (/tmp/warded-test-dddddd/policies/writer.toml)
    + /tmp/warded-test-dddddd/ssh/sshd_config.d/60-test.conf
        +LoginGraceTime 9
    refused: /tmp/warded-test-dddddd/ssh/sshd_config.d/60-test.conf would change, but the procedure does not reload sshd
    cause: the running sshd would keep its configuration, which then differs from the one on disk
    state: nothing was changed
    next:  the procedure has to reload sshd
    [5]

    $ warded plan write-file --policy writer --set path=/etc/motd
    refused: the component of policy writer is not the one that was accepted
    cause: accepted: sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
           there is: sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
    next:  review the component and accept it again, or put the accepted one back
    [5]
    "#);
}
