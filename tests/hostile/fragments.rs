//! Guests that try to put code into a file which a template engine runs as root; and directories in which a guest may
//! make no files.

use super::{
    case::{Case, case},
    record::asked,
};
use crate::support::script::{
    Argument::{Settings, Text},
    Script,
};
use std::{fs, sync::LazyLock};

const GRANT: &str = r#"files.write = [{ path = "{dir}/templates/*", forbid = "{}\\", parents = true }]"#;
const NESTED: &str = r#"files.write = [{ path = "{dir}/new/below/*", forbid = "{}\\", parents = true }]"#;

/// A query that prints the contents of a copy of two directories.
const MERGE: &str = r#"
[action.merge]
kind = "query"
argv = ["/bin/sh", "-c", "cat $0/etc/* >$0/out", "{scratch}"]
output = { file = "out" }
scratch.etc = ["{dir}/stock", "{dir}/templates"]
[action.set]
kind = "change"
argv = ["/bin/true"]
irreversible = true
"#;

/// The same query, declared as the source of sshd's main file.
static YIELDS: LazyLock<String> =
    LazyLock::new(|| MERGE.replacen("output =", "yields = \"{sshd-config}\"\noutput =", 1));

/// The guest asks this query with the directories as they are.
fn merges(name: &str, prepare: impl Fn(&std::path::Path) + Send + Sync + 'static, why: &str) -> Case {
    case(name)
        .with_actions(MERGE)
        .granted(&["actions = [\"merge\"]"])
        .given(move |machine| {
            fs::create_dir(machine.path("stock")).unwrap();
            prepare(&machine.path("stock"));
        })
        .does(|guest| {
            guest.does("actions.query", &[Text(b"merge"), Settings(&[])]);
        })
        .gives_up("actions.query", "merge", "untrusted-program", why)
}

fn forbidden(name: &str, path: &'static str, contents: &'static str, why: &str) -> Case {
    case(name)
        .granted(&[GRANT])
        .does(move |guest: &mut Script| {
            guest.writes(path, contents);
        })
        .gives_up("files.write", path, "forbidden-content", why)
}

pub(super) fn cases() -> Vec<Case> {
    let plain = "{dir}/templates/80Certificates";
    vec![
        forbidden("a program in a fragment", plain, "# x\n{ `touch /tmp/taken` }\n", "'{'"),
        forbidden("a program in a comment of a fragment", plain, "# {$OUT = `id`}\n", "'{'"),
        forbidden("the end of a program in a fragment", plain, "}\n", "'}'"),
        forbidden("a backslash in a fragment", plain, "# \\\n", "'\\\\'"),
        forbidden("a program in the name of a fragment", "{dir}/templates/80{x}", "# x\n", "'{'"),
        forbidden("a fragment that goes on in the next one", plain, "# x\nHostCertificate /x", "end with a newline"),
        forbidden("a program in a fragment's last line without end", plain, "{", "'{'"),
        merges(
            "a copy of a link to a file that only root may read",
            |stock| std::os::unix::fs::symlink("/etc/shadow", stock.join("10")).unwrap(),
            "not a regular file",
        ),
        merges(
            "a copy of a file that others can write",
            |stock| {
                use std::os::unix::fs::PermissionsExt as _;
                fs::write(stock.join("10"), "").unwrap();
                fs::set_permissions(stock.join("10"), fs::Permissions::from_mode(0o666)).unwrap();
            },
            "can write it",
        ),
        merges(
            "a copy of somebody's file",
            |stock| {
                fs::write(stock.join("10"), "").unwrap();
                std::os::unix::fs::chown(stock.join("10"), Some(1234), None).unwrap();
            },
            "belongs to another user",
        ),
        case("a fragment for a copy by a grant that forbids nothing, by another name of the directory")
            .with_actions(&MERGE.replace("{dir}/templates", "{dir}/by-another-name"))
            .granted(&["files.write = [\"{dir}/real/*\"]", "actions = [\"merge\"]"])
            .given(|machine| {
                fs::create_dir(machine.path("real")).unwrap();
                std::os::unix::fs::symlink("real", machine.path("by-another-name")).unwrap();
            })
            .does(|guest| {
                guest.writes("{dir}/real/80", "{`id`}\n");
                guest.does("actions.query", &[Text(b"merge"), Settings(&[])]);
            })
            .gives_up("files.write", "{dir}/real/80", "forbidden-content", "the grant has no `forbid`"),
        case("a fragment for a copy by a grant that forbids something else, by another name of the directory")
            .with_actions(&MERGE.replace("{dir}/templates", "{dir}/by-another-name"))
            .granted(&["files.write = [{ path = \"{dir}/real/*\", forbid = \"%\" }]", "actions = [\"merge\"]"])
            .given(|machine| {
                fs::create_dir(machine.path("real")).unwrap();
                std::os::unix::fs::symlink("real", machine.path("by-another-name")).unwrap();
            })
            .does(|guest| {
                guest.writes("{dir}/real/80", "{`id`}\n");
            })
            .gives_up("files.write", "{dir}/real/80", "forbidden-content", "leads there by another name"),
        case("a fragment with lines that the file does not have")
            .with_actions(&YIELDS)
            .granted(&[GRANT, "actions = [\"merge\"]"])
            .given(|machine| {
                fs::create_dir(machine.path("stock")).unwrap();
                fs::write(machine.path("stock/10"), "# theirs\n").unwrap();
            })
            .does(|guest| {
                // The guest asks the query before it has staged anything, so the answer has nothing that the guard
                // would refuse.
                guest.does("actions.query", &[Text(b"merge"), Settings(&[])]);
                guest.writes(plain, "PermitRootLogin yes\n");
            })
            .ends(
                &[5],
                &["the program of merge would make another", "nothing was changed"],
                asked("files.write", plain),
            ),
        case("a private key by a query")
            .with_actions(MERGE)
            .granted(&["actions = [\"merge\"]"])
            .given(|machine| {
                fs::create_dir(machine.path("stock")).unwrap();
                fs::write(machine.path("stock/10"), "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n").unwrap();
            })
            .does(|guest| {
                guest.does("actions.query", &[Text(b"merge"), Settings(&[])]);
            })
            .gives_up("actions.query", "merge", "private-key", "holds a private key"),
        case("the place of the copies in an input")
            .with_actions(
                "[action.show]\nkind = 'query'\nargv = ['/bin/echo', '{word}', '{scratch}/x']\n\
                 input.word = { type = 'line' }\noutput = { text = true }\nscratch.x = ['{dir}/stock']\n\
                 [action.set]\nkind = 'change'\nargv = ['/bin/true']\nirreversible = true\n",
            )
            .granted(&["actions = [\"show\"]", "log = [\"info\"]"])
            .does(|guest| {
                guest.does("actions.query", &[Text(b"show"), Settings(&[(b"word", b"{scratch}")])]);
                guest.raw("(call $log.info (i32.load (i32.const 1028)) (i32.load (i32.const 1032))) ");
                guest.raw("(if (i32.const 0) (then ").says("info", "").raw(")) ");
            })
            .ends(&[0], &["note: {scratch} /"], asked("actions.query", "show")),
        case("a fragment in a directory that no grant writes out")
            .granted(&[r#"files.write = [{ path = "{dir}/none/*", forbid = "{" }]"#])
            .does(|guest| {
                guest.writes("{dir}/none/x", "# x\n");
            })
            .gives_up("files.write", "{dir}/none/x", "io", "does not exist"),
        case("a directory by the name of a file")
            .granted(&[NESTED])
            .does(|guest| {
                guest.writes("{dir}/new/below/x/y", "# x\n");
            })
            .ends_denied("files.write", "{dir}/new/below/x/y", "no grant covers it"),
        case("a directory behind a link that leads nowhere")
            .granted(&[NESTED])
            .given(|machine| std::os::unix::fs::symlink("/etc/nowhere", machine.path("new")).unwrap())
            .does(|guest| {
                guest.writes("{dir}/new/below/x", "# x\n");
            })
            .gives_up("files.write", "{dir}/new/below/x", "io", "does not exist"),
        case("a directory in one that others can write")
            .granted(&[NESTED])
            .given(|machine| {
                use std::os::unix::fs::PermissionsExt as _;
                fs::create_dir(machine.path("new")).unwrap();
                fs::set_permissions(machine.path("new"), fs::Permissions::from_mode(0o777)).unwrap();
            })
            .does(|guest| {
                guest.writes("{dir}/new/below/x", "# x\n");
            })
            .gives_up("files.write", "{dir}/new/below/x", "untrusted-path", "can write this directory"),
    ]
}
