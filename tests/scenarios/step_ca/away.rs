//! What a person sees if a step-ca refuses or does not answer.

use crate::support::{
    Machine, Member,
    screen::Screens,
    step_ca::{Provisioner, Setup, StepCa},
};
use std::{fs, os::unix::fs::PermissionsExt as _};

#[test]
#[expect(clippy::too_many_lines, reason = "the screens, as they are")]
fn of_a_ca_that_refuses_and_of_one_that_is_away() {
    let machine = Machine::start();
    let setup = Setup::of([Provisioner::jwk("admin"), Provisioner::sshpop("pop")]);
    let Some(mut ca) = StepCa::with(&machine.network(), &setup) else { return };
    let member = Member { machine };
    let mut screens = Screens::of(&member.machine);
    let password = ca.password_file();
    let certify = "apply certify-host --set principal=web1.example.org --yes";
    let with_password = format!("{certify} --provisioner-password-file PASSWORD");
    let show = |screens: &mut Screens, line: &str| {
        let words = line.replace("PASSWORD", password.to_str().unwrap());
        let words = words.replace("DIR", member.machine.path("").to_str().unwrap().trim_end_matches('/'));
        let words: Vec<&str> = words.split(' ').collect();
        screens.keep(line, &member.warded(&words));
    };
    member.bootstrap(&ca.url(), &ca.fingerprint()).ends(0);
    show(&mut screens, certify);
    fs::write(member.machine.path("wrong"), "wrong\n").unwrap();
    fs::set_permissions(member.machine.path("wrong"), fs::Permissions::from_mode(0o600)).unwrap();
    show(&mut screens, &format!("{certify} --provisioner-password-file DIR/wrong"));
    fs::write(member.machine.path("token"), "eyJhbGciOiJub25lIn0.e30.AAAA\n").unwrap();
    show(&mut screens, &format!("{certify} --token-file DIR/token"));
    show(&mut screens, &with_password);
    for line in ["renew", "doctor", "revoke DIR/ssh/ssh_host_rsa_key-cert.pub", "renew --force", "status"] {
        show(&mut screens, line);
    }
    ca.stop();
    for line in ["renew --force", "status", "doctor", "ca roots", &with_password] {
        show(&mut screens, line);
    }
    insta::assert_snapshot!(screens.seen(), @r#"
    $ warded apply certify-host --set principal=web1.example.org --yes
    OS · OpenSSH 9.2 · init none · policy unix 0.1.0 (bundled)
    + /tmp/warded-test-dddddd/ssh/ssh_host_rsa_key-cert.pub       new host certificate · web1.example.org
    + /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub     new host certificate · web1.example.org
    + /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub   new host certificate · web1.example.org
    + /tmp/warded-test-dddddd/ssh/sshd_config.d/50-warded.conf
        +# Managed by Warded (policy unix, certify-host). `warded undo` takes it out.
        +HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_rsa_key-cert.pub
        +HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub
        +HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    warning: Nothing runs `warded renew` automatically: /tmp/warded-test-dddddd/ssh/sshd_config is not the configuration of this machine's own sshd. Run it every hour from cron or a systemd timer (docs/RENEWAL.md).
    > renew from now on: web1.example.org from the CA https://127.0.0.0:00000 with the root ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
    error: the CA cannot be asked for a certificate
    cause: the password of the provisioner admin is needed, and there is no terminal to ask for it
    state: nothing was changed
    next:  give one of these: --token-file, --provisioner-password-file, --provisioner-key-file, --x5c-cert, or the systemd credential provisioner-password; an expired certificate is renewed without them if the CA's SSHPOP provisioner has the claim "allowRenewalAfterExpiry": true
    [2]

    $ warded apply certify-host --set principal=web1.example.org --yes --provisioner-password-file DIR/wrong
    OS · OpenSSH 9.2 · init none · policy unix 0.1.0 (bundled)
    + /tmp/warded-test-dddddd/ssh/ssh_host_rsa_key-cert.pub       new host certificate · web1.example.org
    + /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub     new host certificate · web1.example.org
    + /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub   new host certificate · web1.example.org
    + /tmp/warded-test-dddddd/ssh/sshd_config.d/50-warded.conf
        +# Managed by Warded (policy unix, certify-host). `warded undo` takes it out.
        +HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_rsa_key-cert.pub
        +HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub
        +HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    warning: Nothing runs `warded renew` automatically: /tmp/warded-test-dddddd/ssh/sshd_config is not the configuration of this machine's own sshd. Run it every hour from cron or a systemd timer (docs/RENEWAL.md).
    > renew from now on: web1.example.org from the CA https://127.0.0.0:00000 with the root ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
    error: the CA cannot be asked for a certificate
    cause: cannot unlock the key of the provisioner admin (JWK): the password is wrong
    state: nothing was changed
    next:  give the right password
    [2]

    $ warded apply certify-host --set principal=web1.example.org --yes --token-file DIR/token
    OS · OpenSSH 9.2 · init none · policy unix 0.1.0 (bundled)
    + /tmp/warded-test-dddddd/ssh/ssh_host_rsa_key-cert.pub       new host certificate · web1.example.org
    + /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub     new host certificate · web1.example.org
    + /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub   new host certificate · web1.example.org
    + /tmp/warded-test-dddddd/ssh/sshd_config.d/50-warded.conf
        +# Managed by Warded (policy unix, certify-host). `warded undo` takes it out.
        +HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_rsa_key-cert.pub
        +HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub
        +HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    warning: Nothing runs `warded renew` automatically: /tmp/warded-test-dddddd/ssh/sshd_config is not the configuration of this machine's own sshd. Run it every hour from cron or a systemd timer (docs/RENEWAL.md).
    > renew from now on: web1.example.org from the CA https://127.0.0.0:00000 with the root ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
    error: the CA cannot be asked for a certificate
    cause: this token is not for an SSH certificate: `step ca token` needs --ssh --host
    state: nothing was changed
    next:  on the admin's machine: warded token web1.example.org --host -n web1.example.org
    [2]

    $ warded apply certify-host --set principal=web1.example.org --yes --provisioner-password-file PASSWORD
    OS · OpenSSH 9.2 · init none · policy unix 0.1.0 (bundled)
    + /tmp/warded-test-dddddd/ssh/ssh_host_rsa_key-cert.pub       new host certificate · web1.example.org
    + /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub     new host certificate · web1.example.org
    + /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub   new host certificate · web1.example.org
    + /tmp/warded-test-dddddd/ssh/sshd_config.d/50-warded.conf
        +# Managed by Warded (policy unix, certify-host). `warded undo` takes it out.
        +HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_rsa_key-cert.pub
        +HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub
        +HostCertificate /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    warning: Nothing runs `warded renew` automatically: /tmp/warded-test-dddddd/ssh/sshd_config is not the configuration of this machine's own sshd. Run it every hour from cron or a systemd timer (docs/RENEWAL.md).
    > renew from now on: web1.example.org from the CA https://127.0.0.0:00000 with the root ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
    Certified 3 keys for web1.example.org.
    Proved beforehand: clients that pinned a plain key (ssh-rsa, ecdsa-sha2-nistp256, ssh-ed25519) get in, clients that know only the CA (SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx) get in.
    Seen live: 3 certificates served, the plain keys still offered.
    Valid:   N days left, until 00:00 UTC
    Renewal: by `warded renew`, due in N days, at 00:00 UTC. If nothing runs it yet: run it every hour from cron or a systemd timer (docs/RENEWAL.md). It asks nothing, and does nothing until a certificate is due.
    Clients: this line in known_hosts (or *.DOMAIN in place of the names, once for all machines):
    @cert-authority web1.example.org ecdsa-sha2-nistp256 AAAA…
    Log:     warded audit log --run 4
    Undo it with: warded undo  (run 4)
    [0]

    $ warded renew
    Nothing is due.
    [0]

    $ warded doctor
    ok      CA           the CA https://127.0.0.0:00000 answers, and its root is the pinned one
    ok      clock        it agrees with the CA's to within N s
    ok      SSH          it signs host certificates and user certificates
    ok      enrolment    host certificates come from admin (JWK)
    note    expiry       this CA does not renew expired certificates: a machine that was off for longer needs new tokens
                         to allow it: "allowRenewalAfterExpiry": true in the claims of the SSHPOP provisioner
    ok      renewal      the CA renews host certificates
    ok      machine      nothing is wrong with its certificates, and no run was interrupted
    ok      sshd         OpenSSH 9.2 listens
    ok      key          /tmp/warded-test-dddddd/ssh/ssh_host_rsa_key
    ok      key          /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key
    ok      key          /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key
    ok      disk         there is room for what a renewal writes
    note    schedule     unknown: systemd is installed, and is not process 1 here
                         see that something runs `warded renew` every hour: docs/RENEWAL.md
    note    recovery     nothing runs `warded recover` at the start of the machine
                         docs/RECOVERY.md has scripts for other inits: without one an interrupted run waits for the next command or renewal
    note    machine      this machine is called HOST, and is certified as web1.example.org
    [0]

    $ warded revoke DIR/ssh/ssh_host_rsa_key-cert.pub
    - ffffffffffffffffffff  host certificate "web1.example.org", N days left, until 00:00 UTC
      It is this machine's own: from then on it can be neither renewed nor rekeyed. If it is to go on being served, do `warded rekey` first, and revoke the old serial number afterwards. To have this key certified anew all the same: warded apply certify-host --force
    error: there is no terminal to ask at
    state: nothing was changed
    next:  say yes beforehand with --yes
    [2]

    $ warded renew --force
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_rsa_key-cert.pub       renewed host certificate · web1.example.org
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub     renewed host certificate · web1.example.org
    ~ /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub   renewed host certificate · web1.example.org
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    Certified 3 keys for web1.example.org.
    Proved beforehand: clients that pinned a plain key (ssh-rsa, ecdsa-sha2-nistp256, ssh-ed25519) get in, clients that know only the CA (SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx) get in.
    Seen live: 3 certificates served, the plain keys still offered.
    [0]

    $ warded status
    HOST · OS · OpenSSH 9.2
    host key     ssh-rsa              N days left, until 00:00 UTC · served
    host key     ecdsa-sha2-nistp256  N days left, until 00:00 UTC · served
    host key     ssh-ed25519          N days left, until 00:00 UTC · served
    enrolled     web1.example.org by the CA https://127.0.0.0:00000 with the root ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff, policy unix
    renewal      due in N days, at 00:00 UTC: warded renew
    last run     0 s ago, at 00:00 UTC: succeeded
    schedule     unknown: systemd is installed, and is not process 1 here
    note         this machine is called HOST, and is certified as web1.example.org
    problems     none
    [0]

    $ warded renew --force
    error: the CA https://127.0.0.0:00000 cannot be reached
    cause: Connection refused (os error 111)
    state: nothing was changed
    next:  make sure that the CA runs, and that this machine reaches it
    [6]

    $ warded status
    HOST · OS · OpenSSH 9.2
    host key     ssh-rsa              N days left, until 00:00 UTC · served
    host key     ecdsa-sha2-nistp256  N days left, until 00:00 UTC · served
    host key     ssh-ed25519          N days left, until 00:00 UTC · served
    enrolled     web1.example.org by the CA https://127.0.0.0:00000 with the root ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff, policy unix
    renewal      due in N days, at 00:00 UTC: warded renew
    last run     0 s ago, at 00:00 UTC: did not reach the CA
    schedule     unknown: systemd is installed, and is not process 1 here
    note         the CA https://127.0.0.0:00000 cannot be reached: Connection refused (os error 111); no renewal is due yet
    note         the last renewal (0 s ago, at 00:00 UTC) did not reach the CA (exit code 6): the CA https://127.0.0.0:00000 cannot be reached: Connection refused (os error 111); no renewal is due yet
    note         this machine is called HOST, and is certified as web1.example.org
    problems     none
    [0]

    $ warded doctor
    WRONG   CA           the CA https://127.0.0.0:00000 cannot be reached: Connection refused (os error 111)
                         make sure that the CA runs, and that this machine reaches it
    ok      machine      nothing is wrong with its certificates, and no run was interrupted
    ok      sshd         OpenSSH 9.2 listens
    ok      key          /tmp/warded-test-dddddd/ssh/ssh_host_rsa_key
    ok      key          /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key
    ok      key          /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key
    ok      disk         there is room for what a renewal writes
    note    schedule     unknown: systemd is installed, and is not process 1 here
                         see that something runs `warded renew` every hour: docs/RENEWAL.md
    note    recovery     nothing runs `warded recover` at the start of the machine
                         docs/RECOVERY.md has scripts for other inits: without one an interrupted run waits for the next command or renewal
    note    machine      the CA https://127.0.0.0:00000 cannot be reached: Connection refused (os error 111); no renewal is due yet
    note    machine      the last renewal (0 s ago, at 00:00 UTC) did not reach the CA (exit code 6): the CA https://127.0.0.0:00000 cannot be reached: Connection refused (os error 111); no renewal is due yet
    note    machine      this machine is called HOST, and is certified as web1.example.org
    [4]

    $ warded ca roots
    error: the CA https://127.0.0.0:00000 cannot be reached
    cause: Connection refused (os error 111)
    next:  make sure that the CA runs, and that this machine reaches it
    [6]

    $ warded apply certify-host --set principal=web1.example.org --yes --provisioner-password-file PASSWORD
    error: the CA https://127.0.0.0:00000 cannot be reached
    cause: Connection refused (os error 111)
    state: nothing was changed
    next:  make sure that the CA runs, and that this machine reaches it
    [6]
    "#);
}
