//! A person's browser, and a QR code for their phone.

use fast_qr::QRBuilder;
use rustix::process::geteuid;
use std::{
    env,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};
use warded_lib::machine::exec::{self, Program};

/// Whether a browser can be opened here.
pub(super) fn is_here() -> bool {
    program("").is_some()
}

/// Starts a browser without waiting for it; returns whether one was started. The address is visible to others in the
/// browser's command line, but it works only once.
pub(super) fn open(address: &str) -> bool {
    program(address).is_some_and(|program| program.launch().is_ok())
}

/// The program that opens a browser: the one in `BROWSER`, or else the desktop's own.
fn program(address: &str) -> Option<Program> {
    let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let (path, arguments) = match set("BROWSER") {
        Some(browser) => named(&browser, address)?,
        None if set("DISPLAY").is_some() || set("WAYLAND_DISPLAY").is_some() => {
            (exec::find("xdg-open")?, vec![address.to_owned()])
        }
        None if set("WSL_DISTRO_NAME").is_some() => (exec::find("wslview")?, vec![address.to_owned()]),
        None => return None,
    };
    // It is the user's program, and runs in the user's environment.
    let inherited = env::vars_os().filter(|(name, _)| name != "PATH" || !geteuid().is_root());
    Some(inherited.fold(Program::new(path), |program, (name, value)| program.env(name, value)).args(arguments))
}

/// The first of the commands in `BROWSER` (`firefox`, `links -g %s`, `firefox:chromium`), with its arguments.
fn named(browser: &str, address: &str) -> Option<(PathBuf, Vec<String>)> {
    let mut words = browser.split(':').next()?.split_whitespace();
    let program = found(words.next()?)?;
    let mut arguments: Vec<String> = words.map(|word| word.replace("%s", address)).collect();
    if !browser.contains("%s") {
        arguments.push(address.to_owned());
    }
    Some((program, arguments))
}

fn found(program: &str) -> Option<PathBuf> {
    let path = Path::new(program);
    if path.is_absolute() {
        return path.is_file().then(|| path.to_owned());
    }
    let own = || {
        env::split_paths(&env::var_os("PATH")?)
            .map(|directory| directory.join(program))
            .find(|path| path.is_absolute() && path.is_file())
    };
    exec::find(program).or_else(|| if geteuid().is_root() || program.contains('/') { None } else { own() })
}

/// The address as a QR code for a terminal.
pub(super) fn picture(address: &str) -> Option<String> {
    if io::stderr().is_terminal() { drawn(address) } else { None }
}

/// Dark on white, whatever the terminal's own colours: not every camera reads inverted codes. The white margin is two
/// modules wider than the library draws it.
fn drawn(address: &str) -> Option<String> {
    let code = QRBuilder::new(address).build().ok()?.to_str();
    let width = code.lines().next()?.chars().count() + 4;
    let white = "\u{2588}".repeat(width);
    let lines =
        [white.clone()].into_iter().chain(code.lines().map(|line| format!("\u{2588}\u{2588}{line}\u{2588}\u{2588}")));
    let lines: Vec<String> = lines.chain([white]).map(|line| format!("\u{1b}[97;40m{line}\u{1b}[0m")).collect();
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_named_as_everywhere() {
        let words = |browser: &str| {
            named(browser, "http://x").map(|(path, arguments)| format!("{} {}", path.display(), arguments.join("|")))
        };
        for (browser, expected) in [
            ("/bin/sh", Some("/bin/sh http://x")),
            ("/bin/sh -c", Some("/bin/sh -c|http://x")),
            ("/bin/sh --url=%s -n", Some("/bin/sh --url=http://x|-n")),
            ("/bin/sh:/bin/true", Some("/bin/sh http://x")),
            ("/nonexistent/browser", None),
            ("", None),
        ] {
            assert_eq!(words(browser).as_deref(), expected, "{browser}");
        }
    }
}
