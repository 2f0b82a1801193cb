//! A machine with a CA of its own, from the first plan to the removal of Warded.

use crate::support::{Machine, Setup, machine::NAME, screen::Screens};

#[test]
#[expect(clippy::too_many_lines, reason = "the screens, as they are")]
fn from_the_first_plan_to_the_end() {
    let machine = Machine::with(&Setup { without_rsa: true, ..Setup::default() });
    let mut screens = Screens::of(&machine);
    let certify = format!("certify-host --set principal={NAME}");
    for line in [
        "status",
        "history",
        "ca show",
        &format!("plan {certify}"),
        &format!("apply {certify} --yes --confirm-within 5m"),
        "status",
        "renew",
        "confirm",
        "confirm --same-login",
        &format!("plan {certify}"),
        "status",
        "renew",
        "renew --force",
        "undo --plan",
        "undo --yes",
        &format!("apply {certify} --yes"),
        "rekey --plan",
        "rekey --yes",
        "rekey --yes --accept-risk=replace-host-keys",
        "history",
        "recover",
        "unenrol --yes",
        "renew",
        "remove --plan",
        "remove --yes",
        "remove --yes",
        "undo --yes",
    ] {
        screens.show(&machine, line);
    }
    insta::assert_snapshot!(screens.seen(), @r#"
    $ warded status
    HOST · OS · OpenSSH 9.2
    host key     ecdsa-sha2-nistp256  no certificate
    host key     ssh-ed25519          no certificate
    enrolled     no: warded apply certify-host --set principal=NAME
    problems     none
    [0]

    $ warded history
    No run has changed anything yet.
    [0]

    $ warded ca show
    the local CA in /tmp/warded-test-dddddd/ca
    host CA      SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ssh-ed25519
    user CA      SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ssh-ed25519
    [0]

    $ warded plan certify-host --set principal=web1.example.org
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
    certify-host would change 3 files, and enrol this machine for renewal. Nothing has been changed.
    [3]

    $ warded apply certify-host --set principal=web1.example.org --yes --confirm-within 5m
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
    Not final yet. Log in to this machine again and run `warded confirm` there within N min (by 00:00:00 UTC).
    Otherwise run 1 is rolled back automatically.
    Valid:   N days left, until 00:00 UTC
    Clients: this line in known_hosts (or *.DOMAIN in place of the names, once for all machines):
    @cert-authority web1.example.org ssh-ed25519 AAAA…
    Log:     warded audit log --run 1
    [0]

    $ warded status
    HOST · OS · OpenSSH 9.2
    host key     ecdsa-sha2-nistp256  N days left, until 00:00 UTC · served
    host key     ssh-ed25519          N days left, until 00:00 UTC · served
    enrolled     no: warded apply certify-host --set principal=NAME
    problem      run 1 (unix certify-host by root, 0 s ago, at 00:00 UTC) is rolled back unless it is confirmed (N min left, until 00:00 UTC): run `warded confirm` in a new login
    [4]

    $ warded renew
    refused: run 1 (unix certify-host by root, 0 s ago, at 00:00 UTC) has not been confirmed yet
    state: it is rolled back unless that is done (N min left, until 00:00 UTC)
    next:  open a new login to this machine and run `warded confirm` there; or wait until it has been rolled back
    [5]

    $ warded confirm
    refused: run 1 (unix certify-host by root, 0 s ago, at 00:00 UTC) has to be confirmed from a new login
    cause: no sshd is among the processes that started this one: a console, a script, tmux or screen does not show whether new logins work
    state: run 1 (unix certify-host by root, 0 s ago, at 00:00 UTC) is rolled back unless it is confirmed (N min left, until 00:00 UTC)
    next:  open a new login by SSH and run `warded confirm` in its own shell; or take the risk: warded confirm --same-login
    [5]

    $ warded confirm --same-login
    Confirmed run 1 (unix certify-host by root, 0 s ago, at 00:00 UTC): 3 files stay as changed.
    [0]

    $ warded plan certify-host --set principal=web1.example.org
    OS · OpenSSH 9.2 · init none · policy unix 0.1.0 (bundled)
    warning: Nothing runs `warded renew` automatically: /tmp/warded-test-dddddd/ssh/sshd_config is not the configuration of this machine's own sshd. Run it every hour from cron or a systemd timer (docs/RENEWAL.md).
    Nothing to do.
    [0]

    $ warded status
    HOST · OS · OpenSSH 9.2
    host key     ecdsa-sha2-nistp256  N days left, until 00:00 UTC · served
    host key     ssh-ed25519          N days left, until 00:00 UTC · served
    enrolled     web1.example.org by the local CA in /tmp/warded-test-dddddd/ca, policy unix
    renewal      due in N days, at 00:00 UTC: warded renew
    schedule     unknown: systemd is installed, and is not process 1 here
    note         this machine is called HOST, and is certified as web1.example.org
    problems     none
    [0]

    $ warded renew
    Nothing is due.
    [0]

    $ warded renew --force
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub     renewed host certificate · web1.example.org
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub   renewed host certificate · web1.example.org
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    Certified 2 keys for web1.example.org.
    Proved beforehand: clients that pinned a plain key (ecdsa-sha2-nistp256, ssh-ed25519) get in, clients that know only the CA (SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx) get in.
    Seen live: 2 certificates served, the plain keys still offered.
    [0]

    $ warded undo --plan
    Undoing run 1 (unix certify-host by root, 0 s ago, at 00:00 UTC), and 1 renewal since
    - /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub     certificate
    - /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub   certificate
    - /tmp/warded-test-dddddd/ssh/sshd_config.d/50-warded.conf
        -# Managed by Warded (policy unix, certify-host). `warded undo` takes it out.
        -HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub
        -HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    Nothing has been changed.
    [3]

    $ warded undo --yes
    Undoing run 1 (unix certify-host by root, 0 s ago, at 00:00 UTC), and 1 renewal since
    - /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub     certificate
    - /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub   certificate
    - /tmp/warded-test-dddddd/ssh/sshd_config.d/50-warded.conf
        -# Managed by Warded (policy unix, certify-host). `warded undo` takes it out.
        -HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub
        -HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    Undone: 3 files as before.
    [0]

    $ warded apply certify-host --set principal=web1.example.org --yes
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
    Log:     warded audit log --run 5
    Undo it with: warded undo  (run 5)
    [0]

    $ warded rekey --plan
    OS · OpenSSH 9.2 · init none · policy unix 0.1.0 (bundled)
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key              private key, another one, made here
        ! clients that pinned SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx will warn of a changed host key, and refuse to connect
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key.pub
        -ecdsa-sha2-nistp256 AAAA… root@web1
        +ecdsa-sha2-nistp256 AAAA… root@web1
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub     rekeyed host certificate · web1.example.org
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key            private key, another one, made here
        ! clients that pinned SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx will warn of a changed host key, and refuse to connect
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key.pub
        -ssh-ed25519 AAAA… root@web1
        +ssh-ed25519 AAAA… root@web1
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub   rekeyed host certificate · web1.example.org
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    rekey-host would change 6 files. Nothing has been changed.
    Clients that know only a host key which is replaced would be refused: `apply` refuses that without --accept-risk=replace-host-keys.
    [3]

    $ warded rekey --yes
    OS · OpenSSH 9.2 · init none · policy unix 0.1.0 (bundled)
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key              private key, another one, made here
        ! clients that pinned SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx will warn of a changed host key, and refuse to connect
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key.pub
        -ecdsa-sha2-nistp256 AAAA… root@web1
        +ecdsa-sha2-nistp256 AAAA… root@web1
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub     rekeyed host certificate · web1.example.org
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key            private key, another one, made here
        ! clients that pinned SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx will warn of a changed host key, and refuse to connect
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key.pub
        -ssh-ed25519 AAAA… root@web1
        +ssh-ed25519 AAAA… root@web1
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub   rekeyed host certificate · web1.example.org
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    refused: host keys that clients may know would end
    cause: /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key: clients that pinned SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx will warn of a changed host key, and refuse to connect
           /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key: clients that pinned SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx will warn of a changed host key, and refuse to connect
    state: nothing was changed
    next:  if that is what you want, run it again with --accept-risk=replace-host-keys
    [5]

    $ warded rekey --yes --accept-risk=replace-host-keys
    OS · OpenSSH 9.2 · init none · policy unix 0.1.0 (bundled)
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key              private key, another one, made here
        ! clients that pinned SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx will warn of a changed host key, and refuse to connect
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key.pub
        -ecdsa-sha2-nistp256 AAAA… root@web1
        +ecdsa-sha2-nistp256 AAAA… root@web1
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub     rekeyed host certificate · web1.example.org
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key            private key, another one, made here
        ! clients that pinned SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx will warn of a changed host key, and refuse to connect
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key.pub
        -ssh-ed25519 AAAA… root@web1
        +ssh-ed25519 AAAA… root@web1
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub   rekeyed host certificate · web1.example.org
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    Certified 2 keys for web1.example.org.
    Proved beforehand: clients that pinned a plain key (ecdsa-sha2-nistp256, ssh-ed25519) get in, clients that know only the CA (SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx) get in.
    Seen live: 2 certificates served, the plain keys still offered.
    Valid:   N days left, until 00:00 UTC
    Renewal: by `warded renew`, due in N days, at 00:00 UTC. If nothing runs it yet: run it every hour from cron or a systemd timer (docs/RENEWAL.md). It asks nothing, and does nothing until a certificate is due.
    Clients: this line in known_hosts (or *.DOMAIN in place of the names, once for all machines):
    @cert-authority web1.example.org ssh-ed25519 AAAA…
    Log:     warded audit log --run 7
    Undo it with: warded undo  (run 7)
    [0]

    $ warded history
    run  started  ago  by  what  outcome  undo
    7  00:00 UTC  0 s  root  rekey-host  kept  warded undo 7
    5  00:00 UTC  0 s  root  certify-host  kept  warded undo --down-to 5
    4  00:00 UTC  0 s  root  undo of runs 1 to 3  kept  -
    3  00:00 UTC  0 s  root  renew-host  undone by run 4  -
    1  00:00 UTC  0 s  root  certify-host  undone by run 4  -
    [0]

    $ warded recover
    Nothing was interrupted.
    [0]

    $ warded unenrol --yes
    - /tmp/warded-test-dddddd/ssh/sshd_config: web1.example.org by the local CA in /tmp/warded-test-dddddd/ca, policy unix
      Its certificates and its configuration stay as they are; nothing renews the certificates.
    Not enrolled any more.
    [0]

    $ warded renew
    error: this machine is not enrolled, so there is nothing to renew
    next:  warded apply certify-host --set principal=NAME
    [2]

    $ warded remove --plan
    Undoing run 7 (unix rekey-host by root, 0 s ago, at 00:00 UTC) and all before it, down to run 5 (unix certify-host by root, 0 s ago, at 00:00 UTC)
    - /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub     certificate
    - /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub   certificate
    - /tmp/warded-test-dddddd/ssh/sshd_config.d/50-warded.conf
        -# Managed by Warded (policy unix, certify-host). `warded undo` takes it out.
        -HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub
        -HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    = /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key   stays: clients know this key
    = /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key.pub   stays: clients know this key
    = /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key   stays: clients know this key
    = /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key.pub   stays: clients know this key
    Nothing has been changed.
    [3]

    $ warded remove --yes
    Undoing run 7 (unix rekey-host by root, 0 s ago, at 00:00 UTC) and all before it, down to run 5 (unix certify-host by root, 0 s ago, at 00:00 UTC)
    - /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub     certificate
    - /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub   certificate
    - /tmp/warded-test-dddddd/ssh/sshd_config.d/50-warded.conf
        -# Managed by Warded (policy unix, certify-host). `warded undo` takes it out.
        -HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub
        -HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    = /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key   stays: clients know this key
    = /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key.pub   stays: clients know this key
    = /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key   stays: clients know this key
    = /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key.pub   stays: clients know this key
    Removed: 3 files as before Warded.
    Left as they are, since clients know them: /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key, /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key.pub, /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key, /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key.pub.
    The log of what Warded did stays in /tmp/warded-test-dddddd/state: delete that directory when you no longer need it.
    Other users remove the certificates of their own logins with `warded logout`.
    [0]

    $ warded remove --yes
    Warded has changed no file here, or every change was undone.
    [0]

    $ warded undo --yes
    There is nothing to undo.
    [0]
    "#);
}

#[test]
fn of_a_ca_of_ones_own() {
    let machine = Machine::stopped();
    let mut screens = Screens::of(&machine);
    for line in ["ca init DIR/second", "ca show --ca DIR/second", "ca roots", "config check", "doctor", "verify"] {
        screens.show(&machine, line);
    }
    insta::assert_snapshot!(screens.seen(), @r#"
    $ warded ca init DIR/second
    Made a CA in /tmp/warded-test-dddddd/second
    host CA  SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx  signs machines
    user CA  SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx  signs people

    To use it, put this line into Warded's configuration file:
      ca = "/tmp/warded-test-dddddd/second"
    Clients trust the machines it certifies with this line in known_hosts (narrow the `*`):
      @cert-authority * ssh-ed25519 AAAA… warded host CA
    [0]

    $ warded ca show --ca DIR/second
    the local CA in /tmp/warded-test-dddddd/second
    host CA      SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ssh-ed25519
    user CA      SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ssh-ed25519
    [0]

    $ warded ca roots
    # Host CA, which signs machines. For clients, in known_hosts (narrow the *):
    @cert-authority * ssh-ed25519 AAAA…
    # User CA, which signs people. For the file that TrustedUserCAKeys names:
    ssh-ed25519 AAAA…
    [0]

    $ warded config check
    /tmp/warded-test-dddddd/config.toml is valid.
    ca           /tmp/warded-test-dddddd/ca   (an option, or its variable)
    sshd-config  /tmp/warded-test-dddddd/ssh/sshd_config   (an option, or its variable)
    sshd         the one that runs, or the one in PATH   (the default)
    policies     /tmp/warded-test-dddddd/policies   (an option, or its variable)
    state        /tmp/warded-test-dddddd/state   (an option, or its variable)
    renew-after  50 percent of a certificate's life   (the default)
    renew-every  24 hours   (the default)
    [0]

    $ warded doctor
    ok      CA           the local CA in /tmp/warded-test-dddddd/ca
    ok      machine      nothing is wrong with its certificates, and no run was interrupted
    note    sshd         OpenSSH 9.2 does not listen
                         start it, so that a change is seen live and not only proved beforehand
    ok      key          /tmp/warded-test-dddddd/ssh/ssh_host_rsa_key
    ok      key          /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key
    ok      key          /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key
    ok      disk         there is room for what a renewal writes
    [0]

    $ warded verify
    error: the following required arguments were not provided:
      <HOST>...

    Usage: warded verify --config <FILE> --state <DIR> --policies <DIR> --sshd-config <FILE> --ca <DIR|NAME> <HOST>...

    For more information, try '--help'.
    [2]
    "#);
}
