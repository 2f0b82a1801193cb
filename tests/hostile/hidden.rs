//! Guests that use characters which a terminal interprets, reorders or does not show, in every text of theirs that
//! reaches a person or the log.

use super::{
    case::{Case, case},
    record::{Record, asked, ended},
};
use crate::support::{
    Machine,
    odd::{DOING_NOTHING, MEMORY, PROCEDURE, TYPES},
    script::Argument::{self, Expression, Number, Text, Texts},
};
use std::{collections::BTreeSet, fs, ops::RangeInclusive};
use warded_lib::digest::Digest;

/// Unicode 16.0, `DerivedCoreProperties.txt`: `Default_Ignorable_Code_Point`, which includes all of `Bidi_Control`.
/// Taken from Unicode and not from Warded's own list, since the tests check that list.
const IGNORABLE: [RangeInclusive<char>; 17] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{202a}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fff8}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];
/// Unicode 16.0, `UnicodeData.txt`: the separators of lines and of paragraphs (categories Zl and Zp), and the
/// characters of the block Specials that set annotations apart.
const SEPARATING: [RangeInclusive<char>; 2] = ['\u{2028}'..='\u{2029}', '\u{fff9}'..='\u{fffb}'];
/// The control characters (category Cc) that have the most effect on a terminal.
const CONTROLS: [char; 6] = ['\u{7}', '\u{8}', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}'];

/// The first character of a text that hides, reorders or moves what is shown. Line ends are allowed.
pub(super) fn first_in(text: &str) -> Option<char> {
    let is_hidden = |character: &char| all_ranges().any(|range| range.contains(character));
    text.chars().find(|character| is_hidden(character) || character.is_control() && !matches!(character, '\n' | '\t'))
}

fn all_ranges() -> impl Iterator<Item = RangeInclusive<char>> {
    IGNORABLE.into_iter().chain(SEPARATING)
}

/// The first and the last character of every range.
fn unseen() -> String {
    all_ranges().flat_map(|range| BTreeSet::from([*range.start(), *range.end()])).collect()
}

/// The same characters and the controls.
fn all_hidden() -> String {
    unseen().chars().chain(CONTROLS).collect()
}

/// These characters as Warded has to show them.
fn all_shown() -> String {
    shown(&all_hidden())
}

fn shown(hidden: &str) -> String {
    hidden.chars().map(|character| format!("\\u{{{:x}}}", u32::from(character))).collect()
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = words();
    cases.extend(names());
    cases.extend(contents());
    cases.extend(files());
    cases
}

fn hidden_in(channel: &str) -> Case<()> {
    case(format!("hidden characters in {channel}"))
}

/// Texts that the guest itself prints.
fn words() -> Vec<Case> {
    vec![
        hidden_in("a line that informs and in one that warns")
            .granted(&["log = [\"info\", \"warn\"]"])
            .does(|guest| {
                guest.says("info", &format!("info {}", all_hidden())).says("warn", &format!("warn {}", all_hidden()));
            })
            .ends(
                &[0],
                &[&format!("info {}", all_shown()), &format!("warn {}", all_shown())],
                asked("log.info", "a message"),
            ),
        hidden_in("an error's code, message and next step")
            .does(|guest| {
                let all = all_hidden();
                guest.fails(all.as_bytes(), format!("m{all}").as_bytes(), format!("n{all}").as_bytes());
            })
            .ends(
                &[1],
                &[&format!("({})", all_shown()), &format!("m{}", all_shown()), &format!("n{}", all_shown())],
                ended("go gave up ("),
            ),
        hidden_in("a detail of an error, and in its name")
            .does(|guest| {
                let all = all_hidden();
                guest.fails_with(b"code", b"message", [format!("n{all}").as_bytes(), format!("v{all}").as_bytes()]);
            })
            .ends(&[1], &[&format!("n{}", all_shown()), &format!("v{}", all_shown())], ended("go gave up (code")),
    ]
}

/// Names that the guest asks for.
fn names() -> Vec<Case> {
    let text: &'static str = Box::leak(all_hidden().into_boxed_str());
    let path: &'static str = Box::leak(format!("{{dir}}/granted/{text}").into_boxed_str());
    let shown = all_shown();
    let gives_up = |capability: &'static str, asked: &'static str, code: &str, more: &'static [Argument<'static>]| {
        hidden_in(&format!("what is asked of {capability}"))
            .granted(&[
                "files.read = [\"{dir}/granted/*\"]",
                "files.write = [\"{dir}/granted/*\"]",
                "keys = [\"{dir}/granted/*\"]",
                "sshd.effective = true",
            ])
            .does(move |guest| {
                guest.does(capability, &[&[Text(asked.as_bytes())][..], more].concat());
            })
            .gives_up(capability, asked, code, if code == "invalid-path" { &shown } else { "letters and digits" })
    };
    let denied = |capability: &'static str| {
        hidden_in(&format!("what is asked of {capability}"))
            .does(move |guest| {
                guest.does(capability, &[Text(text.as_bytes())]);
            })
            .ends_denied(capability, text, &all_shown())
    };
    vec![
        denied("machine.fact"),
        denied("services.reload"),
        denied("services.restart"),
        gives_up("files.read", path, "invalid-path", &[]),
        gives_up("files.list", path, "invalid-path", &[]),
        gives_up("files.remove", path, "invalid-path", &[]),
        gives_up("files.write", path, "invalid-path", &[Text(b"x"), Number(0), Number(0)]),
        gives_up("keys.open", path, "invalid-path", &[]),
        gives_up("keys.ensure", path, "invalid-path", &[Text(b"ssh-ed25519")]),
        gives_up("keys.replace", path, "invalid-path", &[]),
        gives_up("authority.read", path, "invalid-path", &[]),
        gives_up("sshd.effective", text, "invalid-keyword", &[Number(0), Number(0)]),
        hidden_in("the kind of a key")
            .granted(&["keys = [\"{dir}/granted/*\"]"])
            .does(|guest| {
                guest.does("keys.ensure", &[Text(b"{dir}/granted/key"), Text(text.as_bytes())]);
            })
            .gives_up("keys.ensure", "{dir}/granted/key", "algorithm", &all_shown()),
        hidden_in("a name for a certificate")
            .granted(&["keys = [\"sshd-host-keys\"]", "authority = [\"issue host\"]"])
            .told(&["--set", "principal=localhost"])
            .does(|guest| {
                guest.does("keys.host-keys", &[]).takes_first();
                let names = Texts(&["\u{2066}localhost".as_bytes()]);
                guest.does("authority.issue", &[Expression("(local.get $h)"), Number(0), names]);
            })
            .gives_up("authority.issue", "\u{2066}localhost", "invalid-principal", "\\u{2066}localhost"),
        hidden_in("a setting of the operator's")
            .told(&["--set", &format!("principal=local{}host", unseen())])
            .does(|_| {})
            .ends(&[2], &["error: "], Record::of("started").never()),
    ]
}

/// Contents that the guest writes, and contents that were there before.
fn contents() -> Vec<Case> {
    const DROP_IN: &[&str] =
        &["files.write = [\"{sshd}/sshd_config.d/60-case.conf\"]", "sshd.keywords = [\"HostCertificate\"]"];
    const PATH: &str = "{dir}/ssh/sshd_config.d/60-case.conf";
    vec![
        hidden_in("a file that is written, and in the one before")
            .granted(&["files.write = [\"{dir}/ssh/motd\"]"])
            .given(|machine| fs::write(machine.path("ssh/motd"), format!("old {}\n", all_hidden())).unwrap())
            .does(|guest| {
                guest.writes("{dir}/ssh/motd", &format!("new {}\n", all_hidden()));
            })
            .ends(
                &[0],
                &[&format!("-old {}", all_shown()), &format!("+new {}", all_shown())],
                asked("files.write", "{dir}/ssh/motd"),
            )
            .may_change(&["ssh/motd"]),
        hidden_in("a line for sshd that is not granted")
            .granted(DROP_IN)
            .does(|guest| {
                guest.writes(PATH, &format!("Banner {}\n", all_hidden()));
            })
            .ends(&[5], &[&all_shown(), "which is not granted"], asked("files.write", PATH)),
        hidden_in("a line that sshd complains of")
            .granted(DROP_IN)
            .does(|guest| {
                guest.writes(PATH, &format!("HostCertificate {{dir}}/{}\n", all_hidden()));
            })
            .ends(&[5], &["Could not load host certificate"], asked("files.write", PATH)),
    ]
}

/// Texts in a component, or in another component's policy.
fn files() -> Vec<Case> {
    let component = |import: fn(&str) -> String| {
        // The escapes of the text format: it does not accept these characters as they are.
        move |_: &Machine| wat::parse_str(format!("(component {})", import(&all_shown()))).unwrap()
    };
    let policy = |what: &str, file: String, name: String, summary: String, says: &str| {
        let text = format!(
            "name = \"{name}\"\ncomponent = \"{}\"\n[procedure.other]\nsummary = \"{summary}\"\n",
            Digest::of(b"")
        );
        hidden_in(what)
            .given(move |machine| {
                fs::write(machine.path("policies").join(format!("{file}.toml")), &text).unwrap();
                fs::write(machine.path("policies").join(format!("{file}.wasm")), "").unwrap();
            })
            .does(|_| {})
            .ends(&[2], &[says], Record::of("started").never())
    };
    let (plain, hidden) = ("other".to_owned(), format!("other{}", unseen()));
    vec![
        hidden_in("the address of an import")
            .made_as(component(|hidden| format!("(import \"url=<https://{hidden}>\" (func))")))
            .ends_refused(&["refused: "]),
        hidden_in("the name of a function that is stopped")
            .made_as(component(|hidden| {
                format!(
                    "{TYPES} {MEMORY}
                     (core module $m (func $s (@name \"{hidden}\") (unreachable)) (start $s) {DOING_NOTHING})
                     (core instance $i (instantiate $m)) {PROCEDURE}"
                )
            }))
            .ends_stopped("it panicked"),
        policy("the summary of another policy", plain.clone(), plain.clone(), hidden.clone(), ":4:"),
        policy("the name of another policy", plain.clone(), hidden.clone(), plain.clone(), ":1:"),
        // Warded names a policy's file only where something is wrong with it. A file's name has at most 255 bytes.
        policy(
            "the file name of another policy",
            "other\u{2066}\u{ad}\u{3164}\u{e0001}".to_owned(),
            hidden,
            plain,
            "other\\u{2066}\\u{ad}\\u{3164}\\u{e0001}.toml:",
        ),
    ]
}
