//! The screens of the first day, as a person sees them in terminals of 80 and of 120 columns.

mod commands;

use super::enrol::Site;
use crate::support::{
    Machine, Member,
    machine::NAME,
    step_ca::{Setup, StepCa},
    terminal::Terminal,
};
use std::{fmt::Write as _, fs, os::unix::fs::PermissionsExt as _};

/// The screen of a line, without what differs from machine to machine. All lengths stay, so that lines end where they
/// do.
fn screen(member: &Member, ca: &StepCa, columns: u16, line: &str) -> String {
    let (_, seen) = Terminal::run(&member.machine, columns, &here(member, line), |_| ()).ends();
    neutral(&seen, member, ca)
}

/// A Warded command line with the files of this machine.
fn here(member: &Member, line: &str) -> String {
    let at = |name: &str| member.machine.path(name).display().to_string();
    // The admin's machine has other files.
    let [config, state] =
        if line.starts_with("invite") { ["admin/config.toml", "admin-state"] } else { ["step.toml", "state"] };
    format!(
        "env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb NO_COLOR=1 STEPPATH=/nonexistent WARDED_CONFIG={} \
         WARDED_STATE={} WARDED_POLICIES={} WARDED_SSHD_CONFIG={} {} {line}",
        at(config),
        at(state),
        at("policies"),
        at("ssh/sshd_config"),
        env!("CARGO_BIN_EXE_warded"),
    )
}

fn neutral(seen: &str, member: &Member, ca: &StepCa) -> String {
    let directory = member.machine.path("").display().to_string();
    let same = |text: &str, with: char| with.to_string().repeat(text.len());
    let key = ca.authority("host").split(' ').nth(1).unwrap().to_owned();
    let user_key = ca.authority("user").split(' ').nth(1).unwrap().to_owned();
    let (url, print) = (ca.url(), ca.fingerprint());
    let port = url.rsplit(':').next().unwrap();
    let mut text = seen
        .replace(&key, "HOST-CA-KEY")
        .replace(&user_key, "USER-CA-KEY")
        .replace(&print, &same(&print, 'f'))
        .replace(&format!("{}…{}", &print[..4], &print[60..]), "ffff…ffff")
        .replace(
            directory.trim_end_matches('/'),
            &format!("/{}", "d".repeat(directory.trim_end_matches('/').len() - 1)),
        )
        .replace(&format!(":{port}"), &format!(":{}", "9".repeat(port.len())));
    // Machines differ here: from this line up to the first change.
    if let (Some(start), Some(changes)) = (text.find("policy unix"), text.find("\n+ ")) {
        let start = text[..start].rfind("names ").and_then(|at| text[at..].find('\n').map(|end| at + end + 1));
        text.replace_range(start.unwrap_or_default()..=changes, "(the machine)\n");
    }
    let of_machine = |line: &str| {
        // Lines about the machine's name, and about the difference between its clock and the CA's.
        let [host, clock] = ["this machine is called ", "clock        "];
        if let Some((_, listens)) = line.split_once(" · OpenSSH ") {
            let listens = listens.split_once(' ').map_or("", |(_, listens)| listens);
            format!("HOST · OS · OpenSSH VERSION {listens}")
        } else if let Some((before, (_, after))) =
            line.split_once(host).and_then(|(before, rest)| Some((before, rest.split_once(',')?)))
        {
            format!("{before}{host}HOST,{after}")
        } else if let Some((_, after)) = line.strip_prefix(clock).and_then(|rest| rest.split_once(" s ")) {
            format!("{clock}+0.0 s {after}")
        } else if line.starts_with("schedule ") {
            "schedule     (the machine's)".to_owned()
        } else if let Some((before, _)) = line.split_once("step-ca ").filter(|_| line.starts_with("health ")) {
            format!("{before}step-ca VERSION")
        } else {
            line.to_owned()
        }
    };
    let line = |line: &str| match line.split_once("SHA256:") {
        Some((before, after)) => {
            let (print, after) = after.split_at(43.min(after.len()));
            format!("{before}SHA256:{}{after}", same(print, 'x'))
        }
        None => without_times(line),
    };
    text.lines().map(|text| line(&of_machine(text)).trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// A line without the digits of dates, of times of day, and of the time until a certificate is due, which differs from
/// machine to machine. All other numbers stay.
fn without_times(line: &str) -> String {
    let zeros = |text: &str| text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>();
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for at in 0..words.len() {
        let bare = words[at].trim_matches(|sign: char| !sign.is_ascii_digit());
        let is_time =
            bare.contains([':', '-']) && bare.bytes().all(|byte| byte.is_ascii_digit() || b":-".contains(&byte));
        let is_of_due = at >= 2 && words[at - 2] == "due" && words[at - 1] == "in";
        if is_time || is_of_due {
            words[at] = zeros(&words[at]);
        }
    }
    words.join(" ")
}

#[test]
#[expect(clippy::too_many_lines, reason = "the screens, as they are")]
fn of_the_first_day() {
    let mut all = String::new();
    for columns in [80, 120] {
        let Some(Site { member, ca }) = Site::new(Machine::stopped(), &Setup::default()) else { return };
        let file = member.machine.path("code");
        let mut show = |what: &str, line: &str| {
            let seen = screen(&member, &ca, columns, line);
            // Lines of a file, and lines to be copied, stay as they are.
            let is_whole =
                |line: &str| line.starts_with("    ") || line.contains("@cert-authority") || !line.contains(' ');
            let fits = |line: &str| line.chars().count() <= usize::from(columns);
            assert!(seen.lines().all(|line| fits(line) || is_whole(line)), "wider than {columns}:\n{seen}");
            writeln!(all, "== {what}, {columns} columns\n{seen}").unwrap();
        };
        show(
            "invite",
            &format!(
                "invite {NAME} -n web1 --provisioner-password-file {} 2>&1 >{}",
                ca.password_file().display(),
                file.display()
            ),
        );
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        show("enrol", &format!("enrol --yes --code-file {} 2>/dev/null", file.display()));
        show("roots", "ca roots");
        show("wrong fingerprint", &format!("bootstrap --ca-url {} --fingerprint {}", ca.url(), "0".repeat(64)));
        let code = fs::read_to_string(&file).unwrap();
        fs::write(&file, &code[..400]).unwrap();
        show("cut off", &format!("enrol --yes --code-file {}", file.display()));
    }
    insta::assert_snapshot!(all, @r#"
    == invite, 80 columns
    This code (1 token) certifies web1.example.org web1 once, within 5 min (until
    00:00 UTC). On the machine: sudo warded enrol, and paste the code when it asks.
    Until then, whoever has the code can have any key certified for these names:
    hand it over as you would a password.
    == enrol, 80 columns
    CA    https://127.0.0.1:99999 · CN="Test, Inc. Root" (ECDSA, until 0000-00-00)
    root  ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
    names web1.example.org web1
    (the machine)
    + /dddddddddddddddddddddd/root_ca.crt                         root certificate ·
      CN="Test, Inc. Root"
    + /dddddddddddddddddddddd/step.toml
        +[step-ca]
        +url = "https://127.0.0.1:99999"
        +fingerprint = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
        +root = "/dddddddddddddddddddddd/root_ca.crt"
        +renewal-provisioner = "sshpop"
    + /dddddddddddddddddddddd/ssh/ssh_host_rsa_key-cert.pub       new host
      certificate · web1.example.org, web1
    + /dddddddddddddddddddddd/ssh/ssh_host_ecdsa_key-cert.pub     new host
      certificate · web1.example.org, web1
    + /dddddddddddddddddddddd/ssh/ssh_host_ed25519_key-cert.pub   new host
      certificate · web1.example.org, web1
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
    > renew from now on: web1, web1.example.org from the CA https://127.0.0.1:99999
      with the root ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
    Certified 3 keys for web1.example.org web1.
    Proved beforehand: clients that pinned a plain key (ssh-rsa,
    ecdsa-sha2-nistp256, ssh-ed25519) get in, clients that know only the CA
    (SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx) get in.
    No sshd is listening now: the next one to start serves this.
    Valid:   29 days left, until 0000-00-00 00:00 UTC
    Renewal: by `warded renew`, due in 00 days, at 0000-00-00 00:00 UTC. If nothing
             runs it yet: run it every hour from cron or a systemd timer
             (docs/RENEWAL.md). It asks nothing, and does nothing until a
             certificate is due.
    Clients: this line in known_hosts (or *.DOMAIN in place of the names, once for
             all machines):
    @cert-authority web1.example.org,web1 ecdsa-sha2-nistp256 HOST-CA-KEY
    Log:     warded audit log --run 1
    Undo it with: warded undo  (run 1)
    == roots, 80 columns
    # Host CA, which signs machines. For clients, in known_hosts (narrow the *):
    @cert-authority * ecdsa-sha2-nistp256 HOST-CA-KEY
    # User CA, which signs people. For the file that TrustedUserCAKeys names:
    ecdsa-sha2-nistp256 USER-CA-KEY
    == wrong fingerprint, 80 columns
    refused: no root of https://127.0.0.1:99999 has the fingerprint that was given
    cause: trusted: ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
           given:   0000000000000000000000000000000000000000000000000000000000000000
    seen:  that server says that it has the root ffff…ffff, which this machine
           trusts already
    state: nothing was changed
    next:  compare the fingerprint with what `warded root-fingerprint root_ca.crt`
           prints on the CA
    == cut off, 80 columns
    error: the code cannot be used
    cause: it is cut off: 400 of its 729 characters are there
    state: nothing was changed
    next:  copy all of it again; where it does not get through a terminal:
           --code-file FILE, or standard input
    == invite, 120 columns
    This code (1 token) certifies web1.example.org web1 once, within 5 min (until 00:00 UTC). On the machine: sudo warded
    enrol, and paste the code when it asks. Until then, whoever has the code can have any key certified for these names:
    hand it over as you would a password.
    == enrol, 120 columns
    CA    https://127.0.0.1:99999 · CN="Test, Inc. Root" (ECDSA, until 0000-00-00)
    root  ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
    names web1.example.org web1
    (the machine)
    + /dddddddddddddddddddddd/root_ca.crt                         root certificate · CN="Test, Inc. Root"
    + /dddddddddddddddddddddd/step.toml
        +[step-ca]
        +url = "https://127.0.0.1:99999"
        +fingerprint = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
        +root = "/dddddddddddddddddddddd/root_ca.crt"
        +renewal-provisioner = "sshpop"
    + /dddddddddddddddddddddd/ssh/ssh_host_rsa_key-cert.pub       new host certificate · web1.example.org, web1
    + /dddddddddddddddddddddd/ssh/ssh_host_ecdsa_key-cert.pub     new host certificate · web1.example.org, web1
    + /dddddddddddddddddddddd/ssh/ssh_host_ed25519_key-cert.pub   new host certificate · web1.example.org, web1
    + /dddddddddddddddddddddd/ssh/sshd_config.d/50-warded.conf
        +# Managed by Warded (policy unix, certify-host). `warded undo` takes it out.
        +HostCertificate /dddddddddddddddddddddd/ssh/ssh_host_rsa_key-cert.pub
        +HostCertificate /dddddddddddddddddddddd/ssh/ssh_host_ecdsa_key-cert.pub
        +HostCertificate /dddddddddddddddddddddd/ssh/ssh_host_ed25519_key-cert.pub
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    warning: Nothing runs `warded renew` automatically: /dddddddddddddddddddddd/ssh/sshd_config is not the configuration of
             this machine's own sshd. Run it every hour from cron or a systemd timer (docs/RENEWAL.md).
    > renew from now on: web1, web1.example.org from the CA https://127.0.0.1:99999 with the root
      ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
    Certified 3 keys for web1.example.org web1.
    Proved beforehand: clients that pinned a plain key (ssh-rsa, ecdsa-sha2-nistp256, ssh-ed25519) get in, clients that know
    only the CA (SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx) get in.
    No sshd is listening now: the next one to start serves this.
    Valid:   29 days left, until 0000-00-00 00:00 UTC
    Renewal: by `warded renew`, due in 00 days, at 0000-00-00 00:00 UTC. If nothing runs it yet: run it every hour from cron
             or a systemd timer (docs/RENEWAL.md). It asks nothing, and does nothing until a certificate is due.
    Clients: this line in known_hosts (or *.DOMAIN in place of the names, once for all machines):
    @cert-authority web1.example.org,web1 ecdsa-sha2-nistp256 HOST-CA-KEY
    Log:     warded audit log --run 1
    Undo it with: warded undo  (run 1)
    == roots, 120 columns
    # Host CA, which signs machines. For clients, in known_hosts (narrow the *):
    @cert-authority * ecdsa-sha2-nistp256 HOST-CA-KEY
    # User CA, which signs people. For the file that TrustedUserCAKeys names:
    ecdsa-sha2-nistp256 USER-CA-KEY
    == wrong fingerprint, 120 columns
    refused: no root of https://127.0.0.1:99999 has the fingerprint that was given
    cause: trusted: ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
           given:   0000000000000000000000000000000000000000000000000000000000000000
    seen:  that server says that it has the root ffff…ffff, which this machine trusts already
    state: nothing was changed
    next:  compare the fingerprint with what `warded root-fingerprint root_ca.crt` prints on the CA
    == cut off, 120 columns
    error: the code cannot be used
    cause: it is cut off: 400 of its 729 characters are there
    state: nothing was changed
    next:  copy all of it again; where it does not get through a terminal: --code-file FILE, or standard input
    "#);
}
