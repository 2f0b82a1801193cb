//! `warded enrol` at a terminal, while another user reads everything that they can.

use super::*;

/// Ctrl-C and `kill` during the hidden input leave the terminal as it was.
#[test]
fn a_terminal_shows_again_what_is_typed_after_the_question() {
    let Some(site) = Site::new(Machine::stopped(), &Setup::default()) else { return };
    let machine = &site.member.machine;
    let enrol = machine_line(&site.member, "enrol");
    // The shell continues, and prints whether the terminal echoes.
    let after =
        "trap : INT; RUN; echo \"ended with $?\"; stty -a | grep -q -w -e '-echo' && echo silent || echo echoes";
    let mut terminal = Terminal::run(machine, 400, &after.replace("RUN", &enrol), |_| ());
    terminal.until("it is not shown): ").types("\x03");
    let (_, seen) = terminal.ends();
    assert!(seen.contains("ended with 130") && seen.contains("\nechoes"), "{seen}");
    let pid = machine.path("pid");
    let noted = format!("sh -c 'echo $$ >{}; exec {enrol}'", pid.display());
    let mut terminal = Terminal::run(machine, 400, &after.replace("RUN", &noted), |_| ());
    terminal.until("it is not shown): ");
    Run::of(machine.command("kill").arg("-TERM").arg(fs::read_to_string(pid).unwrap().trim())).ends(0);
    let (_, seen) = terminal.ends();
    assert!(seen.contains("ended with 143") && seen.contains("\nechoes"), "{seen}");
    // At the later question Ctrl-C has its usual effect.
    let mut terminal = Terminal::run(machine, 400, &after.replace("RUN", &enrol), |_| ());
    terminal.until("it is not shown): ").types(&site.invites(&[]));
    terminal.until("[y/N] ").types("\x03");
    let (_, seen) = terminal.ends();
    assert!(seen.contains("ended with 130") && !site.member.config().exists(), "{seen}");
}

/// Another user reads all that they can, again and again, and a last time after a file `over` exists. The script prints
/// everything that it reads. `$2` is the machine's own directory. In directories that all tests share, it reads only
/// new files.
const SPY: &str = "touch \"$1/spying\"
    until [ -n \"$last\" ]; do
        [ ! -e \"$1/over\" ] || last=1
        cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null
        find \"$1\" \"$2\" /run /dev/shm -type f -readable -exec cat {} + 2>/dev/null
        find /tmp /var/tmp -xdev -newer \"$1/spying\" -type f -readable -size -64k -exec cat {} + 2>/dev/null
    done";

/// The code does not appear on the terminal either.
#[test]
fn another_user_who_reads_everything_finds_no_token() {
    let Some(site) = Site::new(Machine::stopped(), &Setup::default()) else { return };
    let machine = &site.member.machine;
    let code = site.invites(&[]);
    let directory = machine.path("");
    for open in [directory.as_path(), &machine.path("ssh")] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o755)).unwrap();
    }
    // The CA stands for another machine; its log contains the tokens that it was given.
    fs::set_permissions(site.ca.path(""), fs::Permissions::from_mode(0o700)).unwrap();
    let theirs = machine.path("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o777)).unwrap();
    let mut spy = machine.command("setpriv");
    spy.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", SPY, "spy"]).arg(&theirs).arg(&directory);
    let mut spy = spy.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = spy.stdout.take().unwrap();
    let reads = std::thread::spawn(move || {
        let mut seen = Vec::new();
        output.read_to_end(&mut seen).unwrap();
        seen
    });
    let (spying, tick) = (theirs.join("spying"), machine.path("tick"));
    wait("he reads", LONG, || spying.exists());
    // The script finds files that are newer than its mark. File times advance in steps.
    let marked = fs::metadata(spying).unwrap().modified().unwrap();
    wait("a file is newer", LONG, || {
        fs::write(&tick, "").unwrap();
        fs::metadata(&tick).unwrap().modified().unwrap() > marked
    });
    let baits = [theirs.clone(), machine.path("ssh"), "/tmp".into(), "/var/tmp".into()];
    let baits: Vec<_> = baits
        .iter()
        .map(|place| {
            let mut file = tempfile::NamedTempFile::new_in(place).unwrap();
            let bait = format!("a token that lies about in {}", place.display());
            std::io::Write::write_all(&mut file, bait.as_bytes()).unwrap();
            fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
            (file, bait)
        })
        .collect();

    let mut terminal = Terminal::run(machine, 400, &machine_line(&site.member, "enrol"), |_| ());
    // Pasted as two lines: the first is not the whole code.
    terminal.until("it is not shown): ").types(&format!("{}\n", &code[..400]));
    terminal.until("Paste the rest").types(&code[400..]);
    terminal.until("[y/N] ").types("y\n");
    let (ended, seen) = terminal.ends();
    assert_eq!(ended, 0, "{seen}");
    for told in [
        "29 days left, until ",
        "warded renew",
        "@cert-authority web1.example.org,web1 ecdsa",
        "warded audit log --run",
    ] {
        assert!(seen.contains(told), "{told} is not in {seen}");
    }

    fs::write(theirs.join("over"), "").unwrap();
    spy.wait().unwrap();
    let read = reads.join().unwrap();
    let has = |text: &str| read.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(has("enrol"), "he does not see what there is");
    baits.iter().for_each(|(_, bait)| assert!(has(bait), "he does not find {bait}"));
    let signature = code.trim().rsplit('.').next().unwrap();
    // All tokens of this provisioner, including other tests', have the same beginning.
    let whole = code.trim();
    for secret in [signature, &whole[whole.len() - 160..whole.len() - 80]] {
        assert!(!has(secret), "{secret} was read");
    }
    for part in [signature, &code[50..120], &code[420..500]] {
        assert!(!seen.contains(part), "{part} was shown: {seen}");
    }
}

fn machine_line(member: &Member, words: &str) -> String {
    let path = |name: &str| member.machine.path(name).display().to_string();
    let line = member.machine.warded_line(words);
    line.replacen("env -i ", &format!("env -i STEPPATH=/nonexistent PATH={} ", std::env::var("PATH").unwrap()), 1)
        .replace(
            &format!("WARDED_CONFIG={}", path("config.toml")),
            &format!("WARDED_CONFIG={}", member.config().display()),
        )
        .replace(&format!("WARDED_CA={}", path("ca")), "X=")
}
