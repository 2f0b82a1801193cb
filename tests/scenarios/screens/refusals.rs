//! What a person sees if Warded refuses or cannot continue.

use crate::{
    scenarios::refusals::write,
    support::{Machine, Setup, screen::Screens},
};
use std::{fs, os::unix::fs::PermissionsExt as _};

/// A machine without an RSA key, whose sshd has these lines at the end of its configuration.
pub(super) fn machine(lines: &str) -> Machine {
    Machine::with(&Setup { lines: lines.to_owned(), without_rsa: true, ..Setup::default() })
}

pub(super) const APPLY: &str = "apply certify-host --yes --set principal=web1.example.org";

#[test]
#[expect(clippy::too_many_lines, reason = "the screens, as they are")]
fn of_what_was_typed() {
    let machine = Machine::stopped();
    let mut screens = Screens::of(&machine);
    for line in [
        "aply",
        "apply certify",
        "apply certify-host --yes",
        "apply certify-host --set principal=web1",
        "apply certify-host --yes --set colour=blue",
        "apply certify-host --yes --set principal=*.example.org",
        "apply certify-host --yes --policy nobodys",
        "apply certify-host --yes --set principal=web1 --sshd /nowhere",
        "apply certify-host --yes --set principal=web1 --accept-risk=all",
        "plan certify-host --set principal=web1 --ca nowhere",
        "renew",
        "undo",
        "undo --down-to 7",
        "confirm",
        "policy show nobodys",
        "policy add DIR/none.wasm",
        "completions tcsh",
        "audit nobodys",
        "revoke DIR/none-cert.pub",
    ] {
        screens.show(&machine, line);
    }
    insta::assert_snapshot!(screens.seen(), @r#"
    $ warded aply
    error: unrecognized subcommand 'aply'

      tip: some similar subcommands exist: 'policy', 'apply'

    Usage: warded [OPTIONS] <COMMAND>

    For more information, try '--help'.
    [2]

    $ warded apply certify
    error: no policy for this machine has a procedure certify
    next:  there are: certify-host, rekey-host, renew-host, revoke-users, trust-host-ca, trust-user-ca
    [2]

    $ warded apply certify-host --yes
    error: certify-host needs the setting principal: a name that clients will use for this machine
    state: nothing was changed
    next:  --set principal=…
    [2]

    $ warded apply certify-host --set principal=web1
    OS · OpenSSH 9.2 · init none · policy unix 0.1.0 (bundled)
    + /tmp/warded-test-dddddd/ssh/ssh_host_rsa_key-cert.pub       new host certificate · web1
    + /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub     new host certificate · web1
    + /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub   new host certificate · web1
    + /tmp/warded-test-dddddd/ssh/sshd_config.d/50-warded.conf
        +# Managed by Warded (policy unix, certify-host). `warded undo` takes it out.
        +HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_rsa_key-cert.pub
        +HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub
        +HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    warning: Nothing runs `warded renew` automatically: /tmp/warded-test-dddddd/ssh/sshd_config is not the configuration of this machine's own sshd. Run it every hour from cron or a systemd timer (docs/RENEWAL.md).
    > renew from now on: web1 from the local CA in /tmp/warded-test-dddddd/ca
    error: there is no terminal to ask at
    state: nothing was changed
    next:  say yes beforehand with --yes
    [2]

    $ warded apply certify-host --yes --set colour=blue
    error: certify-host has no setting colour
    state: nothing was changed
    next:  one of: principal
    [2]

    $ warded apply certify-host --yes --set principal=*.example.org
    error: setting principal of certify-host: "*.example.org" cannot be a host principal: wildcards do not work in certificates; give each name
    state: nothing was changed
    next:  a name that clients will use for this machine
    [2]

    $ warded apply certify-host --yes --policy nobodys
    error: there is no policy nobodys
    next:  `warded policy list` shows those there are
    [2]

    $ warded apply certify-host --yes --set principal=web1 --sshd /nowhere
    error: /nowhere: no such program
    state: nothing was changed
    next:  name sshd's binary by its absolute path
    [2]

    $ warded apply certify-host --yes --set principal=web1 --accept-risk=all
    error: invalid value 'all' for '--accept-risk <RISK>'
      [possible values: lose-ssh, admit-logins, root-by-certificate, replace-host-keys, new-ca-key, any-host, unknown-listener, not-seen-live, unrecorded-lines]

    For more information, try '--help'.
    [2]

    $ warded plan certify-host --set principal=web1 --ca nowhere
    error: the CA cannot be asked for a certificate
    cause: there is no CA called nowhere, and no directory of that name
    state: nothing was changed
    next:  to configure one for logins: warded bootstrap --name nowhere
    [2]

    $ warded renew
    error: this machine is not enrolled, so there is nothing to renew
    next:  warded apply certify-host --set principal=NAME
    [2]

    $ warded undo
    There is nothing to undo.
    [0]

    $ warded undo --down-to 7
    error: run 7 cannot be undone
    cause: there is no such run, or it was folded into an earlier run
    state: nothing was changed
    next:  warded history shows which runs can be undone
    [2]

    $ warded confirm
    There is nothing to confirm.
    [0]

    $ warded policy show nobodys
    error: there is no policy nobodys
    next:  `warded policy list` shows those there are
    [2]

    $ warded policy add DIR/none.wasm
    error: cannot read /tmp/warded-test-dddddd/none.wasm
    cause: No such file or directory (os error 2)
    [1]

    $ warded completions tcsh
    error: invalid value 'tcsh' for '<SHELL>'
      [possible values: bash, elvish, fish, powershell, zsh]

      tip: a similar value exists: 'zsh'

    For more information, try '--help'.
    [2]

    $ warded audit nobodys
    error: there is no policy nobodys
    next:  `warded policy list` shows those there are
    [2]

    $ warded revoke DIR/none-cert.pub
    error: a local CA keeps no list of what it revoked
    next:  for user certificates, on each machine: warded apply revoke-users --set serial=NUMBER
    [2]
    "#);
}

#[test]
fn of_configurations_that_stand_in_the_way() {
    let machine = machine("HostKeyAlgorithms ssh-ed25519,ecdsa-sha2-nistp256\n");
    let mut screens = Screens::of(&machine);
    screens.show(&machine, APPLY);
    fs::write(machine.path("ssh/sshd_config.d/10-theirs.conf"), "LoginGraceTime soon\n").unwrap();
    screens.show(&machine, APPLY);
    fs::remove_file(machine.path("ssh/sshd_config.d/10-theirs.conf")).unwrap();
    fs::set_permissions(machine.path("ssh/sshd_config.d"), fs::Permissions::from_mode(0o777)).unwrap();
    screens.show(&machine, APPLY);
    insta::assert_snapshot!(screens.seen(), @r#"
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
    refused: sshd would not serve these certificates
    cause: HostKeyAlgorithms (/tmp/warded-test-dddddd/ssh/sshd_config line 12) does not list their types
    seen:  types: ecdsa-sha2-nistp256, ssh-ed25519
    state: nothing was changed
    next:  add ecdsa-sha2-nistp256-cert-v01@openssh.com,ssh-ed25519-cert-v01@openssh.com to that list, or remove it
    [5]

    $ warded apply certify-host --yes --set principal=web1.example.org
    refused: certify-host gave up (invalid-configuration): sshd does not accept /tmp/warded-test-dddddd/ssh/sshd_config (/tmp/warded-test-dddddd/ssh/sshd_config.d/10-theirs.conf line 1: invalid time value.)
    state: nothing was changed
    next:  correct sshd's configuration: `sshd -t` says nothing once sshd accepts it
    [5]

    $ warded apply certify-host --yes --set principal=web1.example.org
    error: certify-host gave up (untrusted-path): /tmp/warded-test-dddddd/ssh/sshd_config.d: others can write this directory
    state: nothing was changed
    next:  chmod go-w /tmp/warded-test-dddddd/ssh/sshd_config.d
    [1]
    "#);
}

#[test]
fn of_grants_and_of_who_gets_in() {
    let machine = machine("");
    let mut screens = Screens::of(&machine);
    let drop_in = machine.path("ssh/sshd_config.d/60-test.conf").display().to_string();
    let of = |keyword: &str| {
        [
            "files.write = [\"{sshd}/sshd_config.d/60-test.conf\"]".to_owned(),
            "services.ssh = [\"reload\"]".to_owned(),
            format!("sshd.keywords = [{keyword:?}]"),
        ]
    };
    for (keyword, text) in [
        ("HostCertificate", "DenyUsers *"),
        ("HostCertificate", "HostCertificate"),
        ("DenyUsers", "DenyUsers *"),
        ("HostKeyAlgorithms", "HostKeyAlgorithms ssh-ed25519"),
    ] {
        let grants = of(keyword);
        let run = write(&machine, &grants.each_ref().map(String::as_str), &drop_in, &[text]);
        screens.keep(&format!("apply write-file, which is granted {keyword}: {text}"), &run);
    }
    let run = write(&machine, &[], "/etc/motd", &["hello"]);
    screens.keep("apply write-file, which is granted nothing", &run);
    insta::assert_snapshot!(screens.seen(), @r#"
    $ warded apply write-file, which is granted HostCertificate: DenyUsers *
    OS · OpenSSH 9.2 · init none · policy writer  (/tmp/warded-test-dddddd/policies/writer.toml)
    + /tmp/warded-test-dddddd/ssh/sshd_config.d/60-test.conf
        +DenyUsers *
    > reload ssh (ssh.service; else SIGHUP to sshd)
    refused: /tmp/warded-test-dddddd/ssh/sshd_config.d/60-test.conf line 1 has `denyusers "*"`, which is not granted
    cause: granted: hostcertificate
    state: nothing was changed
    next:  make that change yourself if you want it; the policy's author decides what a procedure may change (sshd.keywords)
    [5]

    $ warded apply write-file, which is granted HostCertificate: HostCertificate
    OS · OpenSSH 9.2 · init none · policy writer  (/tmp/warded-test-dddddd/policies/writer.toml)
    + /tmp/warded-test-dddddd/ssh/sshd_config.d/60-test.conf
        +HostCertificate
    > reload ssh (ssh.service; else SIGHUP to sshd)
    refused: sshd would not accept /tmp/warded-test-dddddd/ssh/sshd_config after this change
    cause: /tmp/warded-test-dddddd/ssh/sshd_config.d/60-test.conf line 1: no argument after keyword "HostCertificate"
           /tmp/warded-test-dddddd/ssh/sshd_config.d/60-test.conf: terminating, 1 bad configuration options
    state: nothing was changed
    next:  correct that place; if the procedure writes it, tell the policy's author
    [5]

    $ warded apply write-file, which is granted DenyUsers: DenyUsers *
    OS · OpenSSH 9.2 · init none · policy writer  (/tmp/warded-test-dddddd/policies/writer.toml)
    + /tmp/warded-test-dddddd/ssh/sshd_config.d/60-test.conf
        +DenyUsers *
    > reload ssh (ssh.service; else SIGHUP to sshd)
    refused: a way to log in would be gone
    seen:  denyusers *
    cause: a user who has no other way in could not log in any more
    state: nothing was changed
    next:  if that is what you want, run it again with --accept-risk=lose-ssh
    [5]

    $ warded apply write-file, which is granted HostKeyAlgorithms: HostKeyAlgorithms ssh-ed25519
    OS · OpenSSH 9.2 · init none · policy writer  (/tmp/warded-test-dddddd/policies/writer.toml)
    + /tmp/warded-test-dddddd/ssh/sshd_config.d/60-test.conf
        +HostKeyAlgorithms ssh-ed25519
    > reload ssh (ssh.service; else SIGHUP to sshd)
    refused: a client that knows sshd's ecdsa-sha2-nistp256 host key could not connect any more
    cause: no answer
    state: nothing was changed
    next:  make such a change yourself, once no client needs that key any more
    [5]

    $ warded apply write-file, which is granted nothing
    refused: write-file of policy writer asked for files.write: /etc/motd
    cause: no grant covers it
    state: nothing was changed; the denial is on record
    next:  if it should be allowed, [procedure.write-file] needs: files.write = ["/etc/motd"]
    [5]
    "#);
}
