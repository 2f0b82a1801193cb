//! A run that is rolled back, one that was killed, and one whose CA is away.

use super::refusals::APPLY;
use crate::{
    scenarios::recovery::reported::killed,
    support::{Grants, Machine, screen::Screens},
};
use std::fs;

#[test]
fn of_runs_that_did_not_stay() {
    let machine = Machine::start();
    let grants = [
        "files.write = [\"{sshd}/sshd_config.d/60-test.conf\"]",
        "sshd.keywords = [\"PerSourceMaxStartups\"]",
        "services.ssh = [\"reload\"]",
    ];
    Grants::of(&grants).write_demo(&machine.path("policies"));
    let mut screens = Screens::of(&machine);
    // Only the running daemon shows that it accepts no more connections.
    screens.show(
        &machine,
        "apply write-file --policy writer --yes --set reload=yes --accept-risk=lose-ssh \
         --set text=PerSourceMaxStartups=0 --set path=DIR/ssh/sshd_config.d/60-test.conf",
    );
    fs::rename(machine.path("ca/host_ca"), machine.path("ca/away")).unwrap();
    screens.show(&machine, APPLY);
    fs::rename(machine.path("ca/away"), machine.path("ca/host_ca")).unwrap();
    let words: Vec<&str> = APPLY.split(' ').collect();
    let mut certify = machine.warded_command([]);
    certify.args(words);
    killed(&machine, &certify);
    for line in ["status", "renew", "recover", "recover", "history"] {
        screens.show(&machine, line);
    }
    // sshd says why it accepts no connection, unless the kernel resets it first.
    let said = "the server closed the connection: Exceeded MaxStartups";
    insta::assert_snapshot!(screens.seen().replace("the connection was reset", said), @r#"
    $ warded apply write-file --policy writer --yes --set reload=yes --accept-risk=lose-ssh --set text=PerSourceMaxStartups=0 --set path=DIR/ssh/sshd_config.d/60-test.conf
    OS · OpenSSH 9.2 · init none · policy writer  (/tmp/warded-test-dddddd/policies/writer.toml)
    + /tmp/warded-test-dddddd/ssh/sshd_config.d/60-test.conf
        +PerSourceMaxStartups=0
    > reload ssh (ssh.service; else SIGHUP to sshd)
    rolled back: sshd at 127.0.0.0:0000 does not offer its ecdsa-sha2-nistp256 host key as before
    cause: the server closed the connection: Exceeded MaxStartups
    seen:  no key
    state: as before (1 file restored; ssh reloaded, checked)
    [1]

    $ warded apply certify-host --yes --set principal=web1.example.org
    error: the local CA in /tmp/warded-test-dddddd/ca cannot be reached
    cause: could not read /tmp/warded-test-dddddd/ca/host_ca
    state: nothing was changed
    next:  name the right directory with --ca DIR
    [6]

    $ warded status
    HOST · OS · OpenSSH 9.2
    host key     ssh-rsa              serial ffffffffffffffffffff is on disk, and not served
    host key     ecdsa-sha2-nistp256  no certificate
    host key     ssh-ed25519          no certificate
    enrolled     no: warded apply certify-host --set principal=NAME
    problem      /tmp/warded-test-dddddd/ssh/ssh_host_rsa_key: serial ffffffffffffffffffff is on disk, and not served; warded apply certify-host puts its line back where it is gone; warded renew has sshd read it
    problem      run 3 (unix certify-host by root, 0 s ago, at 00:00 UTC) was interrupted; `warded recover`, or the next command that changes something, rolls it back
    [4]

    $ warded renew
    run 3 (unix certify-host by root, 0 s ago, at 00:00 UTC) had been interrupted: 1 file restored; ssh reloaded, checked
    error: this machine is not enrolled, so there is nothing to renew
    state: run 3, which was interrupted, was rolled back; nothing else was changed
    next:  warded apply certify-host --set principal=NAME
    [2]

    $ warded recover
    Nothing was interrupted.
    [0]

    $ warded recover
    Nothing was interrupted.
    [0]

    $ warded history
    run  started  ago  by  what  outcome  undo
    3  00:00 UTC  0 s  root  certify-host  rolled back  -
    1  00:00 UTC  0 s  root  write-file  rolled back  -
    [0]
    "#);
}
