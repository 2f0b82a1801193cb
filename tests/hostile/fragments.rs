//! Guests that want code in a file which a template engine runs as root; and directories where none are to be made.

use super::case::{Case, case};
use crate::support::script::Script;
use std::fs;

const GRANT: &str = r#"files.write = [{ path = "{dir}/templates/*", forbid = "{}\\", parents = true }]"#;
const NESTED: &str = r#"files.write = [{ path = "{dir}/new/below/*", forbid = "{}\\", parents = true }]"#;

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
        forbidden("a fragment that goes on in the next one", plain, "# x\nHostCertificate /x", "no end"),
        forbidden("a program in a fragment's last line without end", plain, "{", "'{'"),
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
