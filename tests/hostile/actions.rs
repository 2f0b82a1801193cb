//! Guests that try to do more with an appliance's programs than the policy allows.

use super::{
    case::{Case, case},
    record::asked,
};
use crate::support::{
    Appliance, Run,
    appliance::{self, SECRET},
    script::Argument::{Expression, Number, Settings, Text},
};
use std::{fs, process::Command};

const GRANT: &str = "actions = [\"show\", \"set\", \"print\"]";

/// A guest on a machine with an appliance, on which the guest may change nothing.
fn of_appliance(name: &str) -> Case<()> {
    case(name).granted(&[GRANT]).with_actions(&appliance::tables()).hides(SECRET).given(|machine| {
        Appliance::on(machine);
    })
}

/// The same with an appliance whose options are part of sshd's main file.
fn of_sshd(name: &str) -> Case<()> {
    let tables = appliance::tables().replacen("[action.set]\n", "[action.set]\nyields = \"{sshd-config}\"\n", 1);
    of_appliance(name).with_actions(&tables).may_change(&["store/calls"])
}

/// The guest passes this input to `print` or `set`.
fn gives(name: &'static str, function: &'static str, action: &'static str, input: Vec<(Vec<u8>, Vec<u8>)>) -> Case<()> {
    of_appliance(name).does(move |guest| {
        let input: Vec<(&[u8], &[u8])> =
            input.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
        guest.does(function, &[Text(action.as_bytes()), Settings(&input)]);
    })
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = inputs();
    cases.extend(others());
    cases.extend(lies());
    cases.extend(keys());
    cases.push(
        of_appliance("a text of 1 MiB for a setting of an appliance")
            .does(|guest| {
                // The value lies in memory that is all zeros: a MiB of NUL.
                guest.field("(func $grow (drop (memory.grow (i32.const 32))))");
                guest.raw("(call $grow) (i32.store (i32.const 2048) (i32.const 2064)) (i32.store (i32.const 2052) (i32.const 7)) ");
                guest.raw("(i32.store (i32.const 2056) (i32.const 131072)) (i32.store (i32.const 2060) (i32.const 1048576)) ");
                guest.raw("(i64.store (i32.const 2064) (i64.const 0x00736e6f6974706f)) ");
                guest.does("actions.change", &[Text(b"set"), Number(2048), Number(1)]);
            })
            .gives_up("actions.change", "set", "invalid-input", "1048576 bytes"),
    );
    cases
}

/// Inputs that are not what the policy declares.
fn inputs() -> Vec<Case> {
    let one = |name: &str, value: &str| vec![(name.into(), value.into())];
    let invalid = |title, value: &str, why| {
        gives(title, "actions.query", "print", one("word", value)).gives_up(
            "actions.query",
            "print",
            "invalid-input",
            why,
        )
    };
    let declared = |title, input, why| {
        gives(title, "actions.change", "set", input).gives_up("actions.change", "set", "invalid-input", why)
    };
    vec![
        invalid("an argument that is an option", "--help", "no plain one"),
        invalid("an argument with a newline", "a\nb", "more than one line"),
        invalid("an argument with NUL", "a\0b", "more than one line"),
        invalid("an argument that is nothing", "", "no plain one"),
        invalid("an argument of 5,000 bytes", &"x".repeat(5_000), "may have 4096"),
        declared(
            "an input that is not declared",
            [one("options", "x"), one("host_key", "x")].concat(),
            "no such input",
        ),
        declared("an input given twice", [one("options", "x"), one("options", "y")].concat(), "given twice"),
        declared("an input whose name is a placeholder", one("{options}", "x"), "no such input"),
        declared("no input at all", Vec::new(), "missing"),
        declared("a setting with an escape sequence", one("options", "\u{1b}[2J"), "control character"),
    ]
}

/// Actions that are not granted, or not for this function, and inputs with words that mean something to a shell.
fn others() -> Vec<Case> {
    let denied = |title, function: &'static str, action: &'static str, why: &'static str| {
        of_appliance(title)
            .does(move |guest| {
                guest.does(function, &[Text(action.as_bytes()), Settings(&[(b"options", b"x")])]);
            })
            .ends_denied(function, action, why)
    };
    vec![
        denied("a change taken for a query", "actions.query", "set", "set is a change, and no query"),
        denied("a query taken for a change", "actions.change", "show", "show is a query, and no change"),
        denied("another procedure's action", "actions.change", "job-delete", "no grant covers it"),
        denied("another policy's action", "actions.query", "other-policys", "no grant covers it"),
        denied("an action with a path in its name", "actions.query", "../../bin/sh", "no grant covers it"),
        of_appliance("a member that no policy shows")
            .granted(&["log = [\"info\"]"])
            .may_change(&["store/calls"])
            .does(|guest| {
                guest.does("actions.query", &[Text(b"show"), Settings(&[])]);
                // The guest logs everything that it got.
                guest.raw("(call $log.info (i32.load (i32.const 1028)) (i32.load (i32.const 1032))) ");
                guest.raw("(if (i32.const 0) (then ").says("info", "").raw(")) ");
            })
            .ends(&[0], &["note: {\"options\":\"Banner none"], asked("actions.query", "show")),
        of_sshd("lines for sshd outside of the marks")
            .does(|guest| {
                let options: &[u8] = b"Banner none\nAuthorizedKeysCommand /x\n";
                guest.does("actions.change", &[Text(b"set"), Settings(&[(b"options", options)])]);
            })
            .ends(&[5], &["another text outside of Warded's marks"], asked("actions.change", "set")),
        of_sshd("lines for sshd between the marks that the file does not have")
            .does(|guest| {
                let options: &[u8] = b"Banner none\n# BEGIN warded\nAuthorizedKeysCommand /x\n# END warded\n";
                guest.does("actions.change", &[Text(b"set"), Settings(&[(b"options", options)])]);
            })
            .ends(&[5], &["other lines between Warded's marks"], asked("actions.change", "set")),
        of_appliance("words for a shell")
            .granted(&["log = [\"info\"]"])
            .does(|guest| {
                let word: &[u8] = b"$(touch {dir}/taken); `touch {dir}/taken` ' \" {warded} {options}";
                guest.does("actions.query", &[Text(b"print"), Settings(&[(b"word", word)])]);
            })
            .ends(&[0], &["Nothing to do"], asked("actions.query", "print")),
        of_appliance("33 programs")
            .does(|guest| {
                guest.repeats_counting(40, "x0000", |guest, [at, length]| {
                    let (Expression(at), Expression(length)) = (at, length) else { unreachable!() };
                    guest.raw(&format!(
                        "(i32.store (i32.const 2048) (i32.const 2064)) (i32.store (i32.const 2052) (i32.const 4)) \
                         (i32.store (i32.const 2056) {at}) (i32.store (i32.const 2060) {length}) \
                         (i32.store (i32.const 2064) (i32.const 0x64726f77)) "
                    ));
                    guest.tries("actions.query", &[Text(b"print"), Number(2048), Number(1)]);
                });
            })
            .ends_stopped("it ran more than 32 queries"),
    ]
}

/// State queries whose answer is wrong. `says` is a script that prints the answer.
fn lies() -> Vec<Case> {
    let asks_to_set = |title: &str, says: &'static str| {
        let says_so = "argv = [\"/bin/sh\", \"{dir}/store/says\"]";
        let tables = appliance::tables().replacen("argv = [\"{dir}/tool\", \"show\"]", says_so, 1);
        of_appliance(title)
            .with_actions(&tables)
            .given(move |machine| fs::write(machine.path("store/says"), says).unwrap())
            .does(|guest| {
                guest.does("actions.change", &[Text(b"set"), Settings(&[(b"options", b"mine")])]);
            })
    };
    vec![
        asks_to_set("a state query that says that it is done", r#"echo '{"options":"mine"}'"#).ends(
            &[0],
            &["Nothing to do"],
            asked("actions.change", "set"),
        ),
        asks_to_set(
            "a state query that says something else each time",
            r#"read word </proc/sys/kernel/random/uuid; echo "{\"options\":\"$word\"}""#,
        )
        .may_change(&["store/calls"])
        .ends(
            &[5],
            &["another answer than when this was planned", "nothing was changed"],
            asked("actions.change", "set"),
        ),
        asks_to_set("a state query that never says that it is done", r#"printf '%s\n' '{"options":"Banner none\n"}'"#)
            .may_change(&["store/calls"])
            .ends(
                &[1],
                &["set succeeded, and show does not show that", "state: as before"],
                asked("actions.change", "set"),
            ),
        // The host takes what the query printed before as the earlier value, which the undo restores. The error is for
        // the policy's author.
        asks_to_set("a state query that never says what is there", r#"echo '{"options":"theirs"}'"#)
            .may_change(&["store/calls", "store/settings"])
            .ends(
                &[1],
                &["set succeeded, and show does not show that", "state: as before"],
                asked("actions.change", "set"),
            ),
        asks_to_set("a state query without the member", r#"echo '{"others":"x"}'"#).gives_up(
            "actions.change",
            "set",
            "unexpected-output",
            "shows no options",
        ),
        asks_to_set("a state query about two things", r#"echo '[{"options":"x"},{"options":"y"}]'"#).gives_up(
            "actions.change",
            "set",
            "unexpected-output",
            "2 things where one is expected",
        ),
    ]
}

/// Guests that ask for the appliance's private keys by their member's name. Here the policy's author lets a query show
/// too much.
fn keys() -> Vec<Case> {
    let by_name = |title: &str, encode: &'static str| {
        let tables = appliance::tables().replacen("[\"options\"]", "[\"options\", \"host_key\"]", 1);
        let tables = tables.replacen("[\"{dir}/tool\", \"show\"]", "[\"/bin/cat\", \"{dir}/store/database\"]", 1);
        of_appliance(title)
            .with_actions(&tables)
            .hides("PRIVATE KEY")
            .hides("b3BlbnNzaC1rZXktdjE")
            .given(move |machine| {
                let script = format!(
                    "printf '{{\"options\":\"x\",\"host_key\":\"%s\"}}' \"$({encode} <ssh/ssh_host_ed25519_key)\" \
                     >store/database"
                );
                let mut shell = Command::new("sh");
                Run::of(shell.args(["-ec", &script]).current_dir(machine.path(""))).ends(0);
            })
            .does(|guest| {
                guest.does("actions.query", &[Text(b"show"), Settings(&[])]);
            })
            .gives_up("actions.query", "show", "private-key", "holds a private key")
    };
    vec![
        by_name("a private key asked for by the name of its member", r"sed ':a;N;$!ba;s/\n/\\n/g'"),
        // TrueNAS stores private keys in this form.
        by_name("a private key in base64 asked for by the name of its member", "base64 -w0"),
    ]
}
