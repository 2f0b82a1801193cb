//! What a person sees after somebody else's edits.

use super::refusals::{APPLY, machine};
use crate::support::screen::Screens;
use std::fs;

#[test]
#[expect(clippy::too_many_lines, reason = "the screens, as they are")]
fn of_what_somebody_else_did() {
    let machine = machine("");
    machine.certify();
    let mut screens = Screens::of(&machine);
    let ours = machine.path("ssh/sshd_config.d/50-warded.conf");
    fs::write(&ours, fs::read_to_string(&ours).unwrap() + "LoginGraceTime 99\n").unwrap();
    screens.show(&machine, "undo --yes");
    screens.show(&machine, "remove --yes");
    fs::remove_file(&ours).unwrap();
    screens.show(&machine, "status");
    screens.show(&machine, "renew");
    let certificate = machine.path("ssh/ssh_host_ed25519_key-cert.pub");
    fs::write(&certificate, "not a certificate\n").unwrap();
    screens.show(&machine, "status");
    screens.show(&machine, APPLY);
    let log = machine.path("state/audit/log.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replacen("certify-host", "certify-hosts", 1)).unwrap();
    screens.show(&machine, "audit verify");
    fs::write(machine.path("config.toml"), "[step-ca]\nurl = 7\n").unwrap();
    screens.show(&machine, "config check");
    screens.show(&machine, "status");
    insta::assert_snapshot!(screens.seen(), @r#"
    $ warded undo --yes
    refused: run 1 (unix certify-host by root, 0 s ago, at 00:00 UTC) is not undone: 1 file changed since
    seen:  --- /tmp/warded-test-dddddd/ssh/sshd_config.d/50-warded.conf (as the run left it)
           +++ /tmp/warded-test-dddddd/ssh/sshd_config.d/50-warded.conf (now)
           @@ -1,3 +1,4 @@
            # Managed by Warded (policy unix, certify-host). `warded undo` takes it out.
            HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub
            HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub
           +LoginGraceTime 99
    state: nothing was changed
    next:  to give these changes up, restore each file, then run this again:
           rm /tmp/warded-test-dddddd/ssh/sshd_config.d/50-warded.conf
    [5]

    $ warded remove --yes
    refused: 1 file changed since the last run
    seen:  --- /tmp/warded-test-dddddd/ssh/sshd_config.d/50-warded.conf (as the run left it)
           +++ /tmp/warded-test-dddddd/ssh/sshd_config.d/50-warded.conf (now)
           @@ -1,3 +1,4 @@
            # Managed by Warded (policy unix, certify-host). `warded undo` takes it out.
            HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub
            HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub
           +LoginGraceTime 99
    state: nothing was changed
    next:  to discard these edits: warded remove --discard-edits
    [5]

    $ warded status
    HOST · OS · OpenSSH 9.2
    host key     ecdsa-sha2-nistp256  no HostCertificate line of sshd's configuration names its certificate: sshd serves it until its next reload or start
    host key     ssh-ed25519          no HostCertificate line of sshd's configuration names its certificate: sshd serves it until its next reload or start
    enrolled     web1.example.org by the local CA in /tmp/warded-test-dddddd/ca, policy unix
    renewal      due in N days, at 00:00 UTC: warded renew
    schedule     unknown: systemd is installed, and is not process 1 here
    note         this machine is called HOST, and is certified as web1.example.org
    problem      /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key: no HostCertificate line of sshd's configuration names its certificate: sshd serves it until its next reload or start; warded apply certify-host puts its line back
    problem      /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key: no HostCertificate line of sshd's configuration names its certificate: sshd serves it until its next reload or start; warded apply certify-host puts its line back
    [4]

    $ warded renew
    warning: no HostCertificate line of sshd's configuration names /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub, /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub: sshd does not present them after its next reload or start. To put back what is missing: warded apply certify-host
    Nothing was renewed.
    [4]

    $ warded status
    HOST · OS · OpenSSH 9.2
    host key     ecdsa-sha2-nistp256  no HostCertificate line of sshd's configuration names its certificate: sshd serves it until its next reload or start
    host key     ssh-ed25519          its certificate is not an SSH certificate: it is not a certificate's line (a plain key?)
    enrolled     web1.example.org by the local CA in /tmp/warded-test-dddddd/ca, policy unix
    renewal      due in N days, at 00:00 UTC: warded renew
    last run     0 s ago, at 00:00 UTC: did not renew everything
    schedule     unknown: systemd is installed, and is not process 1 here
    note         the last renewal (0 s ago, at 00:00 UTC) did not renew everything (exit code 4): no HostCertificate line of sshd's configuration names /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub, /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub: sshd does not present them after its next reload or start. To put back what is missing: warded apply certify-host; no renewal is due yet
    note         this machine is called HOST, and is certified as web1.example.org
    problem      /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key: no HostCertificate line of sshd's configuration names its certificate: sshd serves it until its next reload or start; warded apply certify-host puts its line back
    problem      /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key: its certificate is not an SSH certificate: it is not a certificate's line (a plain key?)
    [4]

    $ warded apply certify-host --yes --set principal=web1.example.org
    OS · OpenSSH 9.2 · init none · policy unix 0.1.0 (bundled)
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub   new host certificate · web1.example.org
    + /tmp/warded-test-dddddd/ssh/sshd_config.d/50-warded.conf
        +# Managed by Warded (policy unix, certify-host). `warded undo` takes it out.
        +HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub
        +HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    warning: /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub is not a certificate: Warded replaces it with one.
    warning: Nothing runs `warded renew` automatically: /tmp/warded-test-dddddd/ssh/sshd_config is not the configuration of this machine's own sshd. Run it every hour from cron or a systemd timer (docs/RENEWAL.md).
    Certified 1 key for web1.example.org.
    Proved beforehand: clients that pinned a plain key (ecdsa-sha2-nistp256, ssh-ed25519) get in, clients that know only the CA (SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx) get in.
    Seen live: 1 certificate served, the plain keys still offered.
    Valid:   N days left, until 00:00 UTC
    Renewal: by `warded renew`, due in N days, at 00:00 UTC. If nothing runs it yet: run it every hour from cron or a systemd timer (docs/RENEWAL.md). It asks nothing, and does nothing until a certificate is due.
    Clients: this line in known_hosts (or *.DOMAIN in place of the names, once for all machines):
    @cert-authority web1.example.org ssh-ed25519 AAAA…
    Log:     warded audit log --run 3
    Undo it with: warded undo  (run 3)
    [0]

    $ warded audit verify
    error: the audit log is not intact: record 1 is changed
    next:  keep the directory as evidence; everything before that record is as it was written
    [1]

    $ warded config check
    error: /tmp/warded-test-dddddd/config.toml:0:0: invalid type: integer `7`, expected a string
    next:  docs/USAGE.md describes the configuration
    [2]

    $ warded status
    error: /tmp/warded-test-dddddd/config.toml:0:0: invalid type: integer `7`, expected a string
    state: nothing was changed
    next:  docs/USAGE.md describes the configuration
    [2]
    "#);
}
