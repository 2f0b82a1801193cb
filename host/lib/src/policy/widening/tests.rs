//! Compares grants, and everything else in a policy, with an accepted policy.

use super::*;

const SERVICE: &str = "[service.ssh]\nsystemd = ['ssh.service']\n";
const RENEW: &str = "[procedure.renew-host]\nsummary = 's'\nauthority = ['renew host']\nfiles.read = ['/a', '/c/*']\n\
                     services.ssh = ['reload']\n";

fn policy(service: &str, renew: &str) -> Policy {
    Policy::parse(&format!("name = 'x'\n{service}{renew}"), "p.toml").unwrap()
}

#[test]
fn only_what_was_not_accepted_is_beyond() {
    let accepted = policy(SERVICE, RENEW);
    let another = format!("{RENEW}[procedure.other]\nsummary = 's'\nfiles.write = ['/b']\n");
    for (service, renew, beyond_it) in [
        (SERVICE, RENEW.to_owned(), &[][..]),
        (SERVICE, RENEW.replace("files.read = ['/a', '/c/*']\n", ""), &[]),
        (SERVICE, another, &[]),
        (SERVICE, RENEW.replace("'/a'", "'/a', '/b'"), &["files.read /b"]),
        (SERVICE, RENEW.replace("files.read", "files.write"), &["files.write /a", "files.write /c/*"]),
        (
            SERVICE,
            RENEW.replace("files.read = ['/a'", "files.write = [{ path = '/a', forbid = '{' }"),
            &["files.write { path = \"/a\", forbid = \"{\" }", "files.write /c/*"],
        ),
        (SERVICE, RENEW.replace("'renew host'", "'issue host', 'renew host'"), &["authority issue host"]),
        (SERVICE, format!("{RENEW}sshd.keywords = ['Port']\n"), &["sshd.keywords port"]),
        (SERVICE, format!("{RENEW}sshd.effective = true\n"), &["sshd.effective"]),
        (SERVICE, format!("{RENEW}ssh.effective = true\n"), &["ssh.effective"]),
        (SERVICE, format!("{RENEW}keys = ['sshd-host-keys']\n"), &["keys sshd-host-keys"]),
        (SERVICE, format!("{RENEW}certificates = ['beside-key']\n"), &["certificates beside-key"]),
        (SERVICE, format!("{RENEW}facts = ['hostname']\n"), &["facts hostname"]),
        (SERVICE, format!("{RENEW}log = ['warn']\n"), &["log warn"]),
        (
            "[service.ssh]\nsystemd = ['ssh.service', 'other.service']\n",
            RENEW.to_owned(),
            &["services.ssh reload: other.service"],
        ),
        (
            "[service.ssh]\nsystemd = ['ssh.service']\n[schedule]\ncron.d = 'warded-renew'\n",
            format!("{RENEW}schedule = ['renew']\n"),
            &["schedule renew"],
        ),
        (
            "[service.ssh]\nsystemd = ['app.service']\n",
            RENEW.replace("['reload']", "['reload', 'restart']"),
            &["services.ssh reload: app.service", "services.ssh restart"],
        ),
        (SERVICE, RENEW.replace("'/a'", "'/a', '/c/d'"), &[]),
        (SERVICE, RENEW.replace("'/a'", "'/b/*'"), &["files.read /b/*"]),
    ] {
        let found = beyond(&accepted, &policy(service, &renew), &"renew-host".parse().unwrap());
        assert_eq!(found, beyond_it, "{service}{renew}");
    }
}

#[test]
fn another_program_under_the_same_name_is_beyond() {
    const ACTIONS: &str = "name = 'x'
[action.show]
kind = 'query'
argv = ['/bin/tool', 'show']
output = { json = ['options'] }
[action.set]
kind = 'change'
argv = ['/bin/tool', 'set', { json = '{options}' }]
input.options = { type = 'text' }
state = { query = 'show', member = 'options', becomes = '{options}' }
undo = { action = 'back', options = '{before}' }
[action.back]
kind = 'change'
argv = ['/bin/tool', 'back', '{options}']
input.options = { type = 'text' }
state = { query = 'show', member = 'options', becomes = '{options}' }
undo = { action = 'set', options = '{before}' }
[procedure.renew-host]
summary = 's'
actions = ['set']
";
    let parse = |text: &str| Policy::parse(text, "p.toml").unwrap();
    let accepted = parse(ACTIONS);
    for (from, to, found) in [
        ("", "", 0),
        ("['/bin/tool', 'set'", "['/bin/other', 'set'", 1),
        ("['/bin/tool', 'back'", "['/bin/tool', 'back', '--all'", 1),
        ("['options'] }", "['options', 'key'] }", 1),
        ("'text' }", "'text', max = 9000 }", 1),
        ("['set']", "['set', 'show']", 1),
        ("undo = {", "yields = '{sshd-config}'\nundo = {", 0),
    ] {
        let now = parse(&ACTIONS.replacen(from, to, 1));
        assert_eq!(beyond(&accepted, &now, &"renew-host".parse().unwrap()).len(), found, "{from} -> {to}");
    }
    // `yields` only restricts an action, so dropping it goes beyond what was accepted.
    let restricted = ACTIONS.replacen("undo = {", "yields = '{sshd-config}'\nundo = {", 1);
    let accepted = parse(&restricted);
    for (now, found) in [
        (restricted.as_str(), 0),
        (ACTIONS, 1),
        (&restricted.replacen("'/bin/tool', 'set'", "'/bin/other', 'set'", 1), 1),
    ] {
        assert_eq!(beyond(&accepted, &parse(now), &"renew-host".parse().unwrap()).len(), found, "{now}");
    }
}

/// A service that is reached in a way that was not accepted, and a schedule that is kept in such a way, under the same
/// name.
#[test]
fn another_way_under_the_same_name_is_beyond() {
    const TWO: &str = "systemd = ['ssh.service', 'sshd.service']";
    const CRON: &str = "cron.d = 'warded-renew'";
    let parse = |service: &str, schedule: &str| {
        let renew = format!("{RENEW}schedule = ['renew']\n");
        policy(&format!("[service.ssh]\n{service}\n[schedule]\n{schedule}\n"), &renew)
    };
    let both = format!("{CRON}\nperiodic = 'warded-renew'");
    let accepted = parse(TWO, &both);
    for (service, schedule, expected) in [
        (TWO, both.as_str(), &[][..]),
        ("systemd = ['sshd.service']", CRON, &[]),
        (&format!("{TWO}\ndirect = 'sshd'"), &both, &["services.ssh reload: SIGHUP to sshd"]),
        ("systemd = ['ssh.service', 'app.service']", &both, &["services.ssh reload: app.service"]),
        (&format!("{TWO}\n[service.app]\nsystemd = ['app.service']"), &both, &[]),
        (TWO, "cron.d = 'warded-other'", &["schedule renew: /etc/cron.d/warded-other"]),
        (TWO, "periodic = 'warded-other'", &["schedule renew: /etc/periodic/hourly/warded-other"]),
        (
            TWO,
            &format!("{both}\nsystemd = 'warded-renew.timer'"),
            &[
                "schedule renew: /etc/systemd/system/warded-renew.timer",
                // A schedule of any kind includes the unit that recovers an interrupted run at boot.
                "schedule renew: /etc/systemd/system/warded-renew.service",
            ],
        ),
    ] {
        let found = beyond(&accepted, &parse(service, schedule), &"renew-host".parse().unwrap());
        assert_eq!(found, expected, "{service} {schedule}");
    }
}

#[test]
fn what_may_be_written_may_be_read_and_nothing_else() {
    use Key::{Certificates, Facts, Keys, ReadFiles, WriteFiles};
    let line = |key: Key, value: &str| Line { key, value: value.to_owned() };
    let (careful, parents) = ("{ path = '/w/*', forbid = '{' }", "{ path = '/w/x', parents = true }");
    for (key, value, accepted_key, accepted, expected) in [
        (ReadFiles, "/w/x", ReadFiles, "/w/*", true),
        (ReadFiles, "/w/x", WriteFiles, "/w/*", true),
        (ReadFiles, "/w/x", WriteFiles, careful, true),
        (ReadFiles, "/v/x", WriteFiles, "/w/*", false),
        (ReadFiles, "/w/x", Certificates, "/w/*", false),
        (WriteFiles, "/w/x", ReadFiles, "/w/*", false),
        (WriteFiles, "/w/x", WriteFiles, "/w/*", true),
        (WriteFiles, "/w/x", WriteFiles, careful, false),
        (WriteFiles, parents, WriteFiles, "/w/*", false),
        (Certificates, "/w/x", WriteFiles, "/w/*", false),
        (Certificates, "/w/x", Certificates, "/w/*", true),
        (Keys, "/w/x", Keys, "/w/*", true),
        (Facts, "/w/x", Facts, "/w/*", false),
    ] {
        let found = is_within(&line(key, value), &line(accepted_key, accepted));
        assert_eq!(found, expected, "{key:?} {value}, {accepted_key:?} {accepted}");
    }
}

#[test]
fn another_renewal_is_wider() {
    let parse = |renewal: &str| {
        let other = "[procedure.b]\nsummary = 's'\n";
        Policy::parse(&format!("name = 'x'\n[procedure.a]\nsummary = 's'\n{renewal}{other}"), "p.toml").unwrap()
    };
    let [none, a, b] = ["", "renewal = 'a'\n", "renewal = 'b'\n"].map(parse);
    for (accepted, now, expected) in [
        (&none, &none, &[][..]),
        (&a, &a, &[]),
        (&a, &none, &[]),
        (&none, &a, &["renewal a (of a)"]),
        (&a, &b, &["renewal b (of a)"]),
    ] {
        assert_eq!(wider(accepted, now), expected);
    }
}

#[test]
fn a_policy_for_more_machines_is_wider() {
    let parse = |conditions: &str| {
        let text = format!("name = 'x'\n{conditions}\n[procedure.a]\nsummary = 's'\n");
        Policy::parse(&text, "p.toml").unwrap()
    };
    for (accepted, now, expected) in [
        ("", "", &[][..]),
        ("", "when = [{ os = 'debian' }]", &[]),
        ("when = [{ os = 'debian' }, { path = '/x' }]", "when = [{ path = '/x' }]", &[]),
        ("when = [{ os = 'debian' }, { path = '/x' }]", "when = [{ path = '/x' }, { os = 'alpine' }]", &["when"]),
        ("when = [{ os = 'debian' }]", "when = [{ os = 'debian' }, { path = '/x' }]", &["when"]),
        ("when = [{ os = 'debian' }]", "", &["when"]),
        ("unless = [{ os = 'debian' }, { path = '/x' }]", "unless = [{ path = '/x' }]", &["unless"]),
        ("unless = [{ path = '/x' }]", "unless = [{ path = '/y' }]", &["unless"]),
        ("", "unless = [{ path = '/x' }]", &[]),
        ("instead-of = ['unix']", "instead-of = ['unix']", &[]),
        ("", "instead-of = ['unix']", &["instead-of unix"]),
    ] {
        assert_eq!(wider(&parse(accepted), &parse(now)), expected, "{accepted} -> {now}");
    }
}

#[test]
fn a_whole_policy_is_compared() {
    const ACCEPTED: &str = "name = 'x'\nwhen = [{ init = 'systemd' }]\nunless = [{ path = '/x' }]\n\
        instead-of = ['unix']\n[procedure.a]\nsummary = 's'\nfiles.write = ['/w/*']\n\
        settings.level = { type = 'choice', values = ['1', '2'], help = 'h' }\n\
        settings.names = { type = 'string', many = true, help = 'n' }\n";
    let parse = |text: &str| Policy::parse(text, "p.toml").unwrap();
    let accepted = parse(ACCEPTED);
    for (from, to, expected) in [
        ("", "", &[][..]),
        ("'/w/*'", "'/w/one'", &[]),
        ("files.write = ['/w/*']", "files.read = ['/w/one']", &[]),
        ("'/w/*'", "'/w/*', '/v'", &["files.write /v (of a)"]),
        ("'/w/*'", "{ path = '/w/*', forbid = '{' }", &[]),
        ("'/w/*'", "{ path = '/w/*', parents = true }", &["files.write { path = \"/w/*\", parents = true } (of a)"]),
        ("[{ init = 'systemd' }]", "[{ init = 'systemd', os = 'debian' }]", &[]),
        ("[{ init = 'systemd' }]", "[{ os = 'debian' }]", &["when"]),
        ("when = [{ init = 'systemd' }]\n", "", &["when"]),
        ("unless = [{ path = '/x' }]", "unless = [{ path = '/x' }, { os = 'debian' }]", &[]),
        ("unless = [{ path = '/x' }]\n", "", &["unless"]),
        ("instead-of = ['unix']\n", "", &[]),
        ("['unix']", "['unix', 'other']", &["instead-of other"]),
        ("values = ['1', '2']", "values = ['1']", &[]),
        ("values = ['1', '2']", "values = ['1', '3']", &["settings.level (of a)"]),
        ("help = 'h' }", "help = 'h', many = true }", &["settings.level (of a)"]),
        ("type = 'choice', values = ['1', '2']", "type = 'string'", &["settings.level (of a)"]),
        ("type = 'string', many = true", "type = 'principal', many = true", &["settings.names (of a)"]),
        ("many = true, help = 'n'", "help = 'n'", &[]),
        ("settings.names = ", "settings.other = ", &["settings.other (of a)"]),
        ("help = 'n' }\n", "help = 'n' }\n[procedure.b]\nsummary = 's'\n", &["[procedure.b]"]),
    ] {
        let now = parse(&ACCEPTED.replacen(from, to, 1));
        assert_eq!(wider(&accepted, &now), expected, "{from} -> {to}");
    }
}

#[test]
fn what_a_grant_forbade_besides_stays_forbidden() {
    let parse = |write: &str| {
        let text = format!("name = 'x'\n[procedure.a]\nsummary = 's'\nfiles.write = [{write}]\n");
        Policy::parse(&text, "p.toml").unwrap()
    };
    let all = "{ path = '/t/d/*', forbid = '{}' }";
    for (accepted, now, expected) in [
        (format!("'/t/d/x', {all}"), format!("'/t/d/x', {all}"), &[][..]),
        (format!("'/t/d/x', {all}"), all.to_owned(), &[]),
        (format!("'/t/d/x', {all}"), "'/t/d/x'".to_owned(), &["files.write /t/d/x: \"{}\" was forbidden there (of a)"]),
        (format!("'/t/d/x', {all}"), "'/t/d/x', { path = '/t/d/*', forbid = '{}<' }".to_owned(), &[]),
        (
            format!("'/t/d/x', {all}"),
            "{ path = '/t/d/x', forbid = '{' }".to_owned(),
            &["files.write { path = \"/t/d/x\", forbid = \"{\" }: \"}\" was forbidden there (of a)"],
        ),
        (format!("'/t/e', {all}"), "'/t/e'".to_owned(), &[]),
        (
            "'/t/*/x', { path = '/t/d/*', forbid = '{' }".to_owned(),
            "'/t/*/x', { path = '/t/d/*', forbid = '{' }".to_owned(),
            &[],
        ),
        (
            "'/t/*/x', { path = '/t/d/*', forbid = '{' }".to_owned(),
            "'/t/*/x'".to_owned(),
            &["files.write /t/*/x: \"{\" was forbidden there (of a)"],
        ),
        (
            "'/t/*/x', { path = '/t/d/*', forbid = '{' }".to_owned(),
            "'/t/*/x', { path = '/t/*/*', forbid = '{' }".to_owned(),
            &["files.write { path = \"/t/*/*\", forbid = \"{\" } (of a)"],
        ),
    ] {
        assert_eq!(wider(&parse(&accepted), &parse(&now)), expected, "{accepted} -> {now}");
    }
}
