//! The commands of the first day, one by one, with their questions.

use super::{super::enrol::Site, here, neutral, screen};
use crate::support::{
    Machine, Member,
    machine::NAME,
    step_ca::{Setup, StepCa},
    terminal::Terminal,
};
use std::{fmt::Write as _, fs};

/// A line that asks questions: each answer is typed once the words before it are seen.
fn asked(member: &Member, ca: &StepCa, columns: u16, line: &str, answers: &[(&str, &str)]) -> String {
    let mut terminal = Terminal::run(&member.machine, columns, &here(member, line), |_| ());
    for (words, answer) in answers {
        terminal.until(words).types(answer);
    }
    neutral(&terminal.ends().1, member, ca)
}

/// From an untrusted CA to the first renewal, with the questions.
#[test]
#[expect(clippy::too_many_lines, reason = "the screens, as they are")]
fn of_the_commands_of_the_first_day() {
    let mut all = String::new();
    for columns in [80, 120] {
        let Some(Site { member, ca }) = Site::new(Machine::stopped(), &Setup::default()) else { return };
        let bootstrap = format!("bootstrap --ca-url {} --fingerprint {}", ca.url(), ca.fingerprint());
        let code = member.machine.path("code");
        let password = ca.password_file();
        let invite =
            format!("invite {NAME} --provisioner-password-file {} 2>/dev/null >{}", password.display(), code.display());
        screen(&member, &ca, columns, &invite);
        let code = fs::read_to_string(code).unwrap();
        let mut keep = |what: &str, seen: &str| writeln!(all, "== {what}, {columns} columns\n{seen}").unwrap();
        keep("bootstrap", &screen(&member, &ca, columns, &bootstrap));
        keep("ca show", &screen(&member, &ca, columns, "ca show"));
        let answers = [("it is not shown): ", code.as_str()), ("[y/N] ", "n\n")];
        keep("enrol, and no", &asked(&member, &ca, columns, "enrol", &answers));
        let part = format!("{}\n", &code[..300]);
        let answers = [("it is not shown): ", part.as_str()), ("press Enter to stop: ", "\n")];
        keep("enrol, with a part", &asked(&member, &ca, columns, "enrol", &answers));
        let answers = [("it is not shown): ", code.as_str()), ("[y/N] ", "y\n")];
        asked(&member, &ca, columns, "enrol", &answers);
        for line in ["status", "renew", "renew --force"] {
            keep(line, &screen(&member, &ca, columns, line));
        }
    }
    insta::assert_snapshot!(all, @r#"
    == bootstrap, 80 columns
    Trusted: CN="Test, Inc. Root" (ECDSA, until 0000-00-00)
    It signs SSH certificates. For machines: admin (JWK). For people: admin (JWK).
    Renewals: sshpop (SSHPOP).
    Wrote /dddddddddddddddddddddd/step.toml and /dddddddddddddddddddddd/root_ca.crt
    == ca show, 80 columns
    https://127.0.0.1:99999
    root         CN="Test, Inc. Root" ·
    ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
    health       ok · step-ca VERSION
    clock        +0.0 s against this machine's
    host CA      SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
    ecdsa-sha2-nistp256
    user CA      SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
    ecdsa-sha2-nistp256
    provisioner  admin   JWK     hosts and people
    provisioner  sshpop  SSHPOP  renewals of hosts
    == enrol, and no, 80 columns
    Code from `warded invite` (it is not shown):
    CA    https://127.0.0.1:99999 · CN="Test, Inc. Root" (ECDSA, until 0000-00-00)
    root  ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
    names web1.example.org
    (the machine)
    + /dddddddddddddddddddddd/ssh/ssh_host_rsa_key-cert.pub       new host
      certificate · web1.example.org
    + /dddddddddddddddddddddd/ssh/ssh_host_ecdsa_key-cert.pub     new host
      certificate · web1.example.org
    + /dddddddddddddddddddddd/ssh/ssh_host_ed25519_key-cert.pub   new host
      certificate · web1.example.org
    + /dddddddddddddddddddddd/ssh/sshd_config.d/50-warded.conf
        +# Managed by Warded (policy unix, certify-host). `warded undo` takes it out.
        +HostCertificate /dddddddddddddddddddddd/ssh/ssh_host_rsa_key-cert.pub
        +HostCertificate /dddddddddddddddddddddd/ssh/ssh_host_ecdsa_key-cert.pub
        +HostCertificate /dddddddddddddddddddddd/ssh/ssh_host_ed25519_key-cert.pub
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    warning: Nothing runs `warded renew` automatically:
             /dddddddddddddddddddddd/ssh/sshd_config is not the configuration of
             this machine's own sshd. Run it every hour from cron or a systemd timer
             (docs/RENEWAL.md).
    > renew from now on: web1.example.org from the CA https://127.0.0.1:99999 with
      the root ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
    Apply 4 changes and reload ssh? [y/N] n
    Nothing was changed.
    == enrol, with a part, 80 columns
    Code from `warded invite` (it is not shown):
    419 characters are missing. Paste the rest, or press Enter to stop:
    error: the code cannot be used
    cause: it is cut off: 300 of its 719 characters are there
    state: nothing was changed
    next:  copy all of it again; where it does not get through a terminal:
           --code-file FILE, or standard input
    == status, 80 columns
    HOST · OS · OpenSSH VERSION (not listening)
    host key     ssh-rsa              29 days left, until 0000-00-00 00:00 UTC
    host key     ecdsa-sha2-nistp256  29 days left, until 0000-00-00 00:00 UTC
    host key     ssh-ed25519          29 days left, until 0000-00-00 00:00 UTC
    enrolled     web1.example.org by the CA https://127.0.0.1:99999 with the root
    ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff, policy unix
    renewal      due in 00 days, at 0000-00-00 00:00 UTC: warded renew
    schedule     (the machine's)
    note         this machine is called HOST, and is certified as web1.example.org
    problems     none
    == renew, 80 columns
    Nothing is due.
    == renew --force, 80 columns
    ~ /dddddddddddddddddddddd/ssh/ssh_host_rsa_key-cert.pub       renewed host
      certificate · web1.example.org
    ~ /dddddddddddddddddddddd/ssh/ssh_host_ecdsa_key-cert.pub     renewed host
      certificate · web1.example.org
    ~ /dddddddddddddddddddddd/ssh/ssh_host_ed25519_key-cert.pub   renewed host
      certificate · web1.example.org
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    Certified 3 keys for web1.example.org.
    Proved beforehand: clients that pinned a plain key (ssh-rsa,
    ecdsa-sha2-nistp256, ssh-ed25519) get in, clients that know only the CA
    (SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx) get in.
    No sshd is listening now: the next one to start serves this.
    == bootstrap, 120 columns
    Trusted: CN="Test, Inc. Root" (ECDSA, until 0000-00-00)
    It signs SSH certificates. For machines: admin (JWK). For people: admin (JWK). Renewals: sshpop (SSHPOP).
    Wrote /dddddddddddddddddddddd/step.toml and /dddddddddddddddddddddd/root_ca.crt
    == ca show, 120 columns
    https://127.0.0.1:99999
    root         CN="Test, Inc. Root" · ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
    health       ok · step-ca VERSION
    clock        +0.0 s against this machine's
    host CA      SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ecdsa-sha2-nistp256
    user CA      SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ecdsa-sha2-nistp256
    provisioner  admin   JWK     hosts and people
    provisioner  sshpop  SSHPOP  renewals of hosts
    == enrol, and no, 120 columns
    Code from `warded invite` (it is not shown):
    CA    https://127.0.0.1:99999 · CN="Test, Inc. Root" (ECDSA, until 0000-00-00)
    root  ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
    names web1.example.org
    (the machine)
    + /dddddddddddddddddddddd/ssh/ssh_host_rsa_key-cert.pub       new host certificate · web1.example.org
    + /dddddddddddddddddddddd/ssh/ssh_host_ecdsa_key-cert.pub     new host certificate · web1.example.org
    + /dddddddddddddddddddddd/ssh/ssh_host_ed25519_key-cert.pub   new host certificate · web1.example.org
    + /dddddddddddddddddddddd/ssh/sshd_config.d/50-warded.conf
        +# Managed by Warded (policy unix, certify-host). `warded undo` takes it out.
        +HostCertificate /dddddddddddddddddddddd/ssh/ssh_host_rsa_key-cert.pub
        +HostCertificate /dddddddddddddddddddddd/ssh/ssh_host_ecdsa_key-cert.pub
        +HostCertificate /dddddddddddddddddddddd/ssh/ssh_host_ed25519_key-cert.pub
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    warning: Nothing runs `warded renew` automatically: /dddddddddddddddddddddd/ssh/sshd_config is not the configuration of
             this machine's own sshd. Run it every hour from cron or a systemd timer (docs/RENEWAL.md).
    > renew from now on: web1.example.org from the CA https://127.0.0.1:99999 with the root
      ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
    Apply 4 changes and reload ssh? [y/N] n
    Nothing was changed.
    == enrol, with a part, 120 columns
    Code from `warded invite` (it is not shown):
    419 characters are missing. Paste the rest, or press Enter to stop:
    error: the code cannot be used
    cause: it is cut off: 300 of its 719 characters are there
    state: nothing was changed
    next:  copy all of it again; where it does not get through a terminal: --code-file FILE, or standard input
    == status, 120 columns
    HOST · OS · OpenSSH VERSION (not listening)
    host key     ssh-rsa              29 days left, until 0000-00-00 00:00 UTC
    host key     ecdsa-sha2-nistp256  29 days left, until 0000-00-00 00:00 UTC
    host key     ssh-ed25519          29 days left, until 0000-00-00 00:00 UTC
    enrolled     web1.example.org by the CA https://127.0.0.1:99999 with the root
    ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff, policy unix
    renewal      due in 00 days, at 0000-00-00 00:00 UTC: warded renew
    schedule     (the machine's)
    note         this machine is called HOST, and is certified as web1.example.org
    problems     none
    == renew, 120 columns
    Nothing is due.
    == renew --force, 120 columns
    ~ /dddddddddddddddddddddd/ssh/ssh_host_rsa_key-cert.pub       renewed host certificate · web1.example.org
    ~ /dddddddddddddddddddddd/ssh/ssh_host_ecdsa_key-cert.pub     renewed host certificate · web1.example.org
    ~ /dddddddddddddddddddddd/ssh/ssh_host_ed25519_key-cert.pub   renewed host certificate · web1.example.org
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    Certified 3 keys for web1.example.org.
    Proved beforehand: clients that pinned a plain key (ssh-rsa, ecdsa-sha2-nistp256, ssh-ed25519) get in, clients that know
    only the CA (SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx) get in.
    No sshd is listening now: the next one to start serves this.
    "#);
}
