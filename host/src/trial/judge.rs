//! Asks the sshd of this machine, if there is one, about a scenario's configuration. sshd reads a copy in which every
//! named file is part of the copy, so it needs neither root nor anything of this machine's configuration.

use super::{
    scenario::{self, Machine},
    tree::{self, Contents},
};
use sshd_config::{
    include,
    line::{Directive, directives, lines, with_arguments},
};
use std::{collections::BTreeSet, path::Path};
use warded_lib::{
    error::{Error, Label, Result},
    machine::{
        path::AbsolutePath,
        sshd::{
            Sshd, View,
            tree::{Overlay, StagedFiles, Tree as Configuration},
        },
    },
};

/// The keywords that name files which sshd reads.
const FILES: [&str; 5] = ["hostkey", "hostcertificate", "trustedusercakeys", "authorizedprincipalsfile", "revokedkeys"];
/// A keyword that is compared as well. If no line sets it, each release has its own value.
const ALGORITHMS: &str = "hostkeyalgorithms";

/// The result of asking sshd about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// sshd accepts the machine's configuration. The list says what is wrong after the run, one sentence each.
    Judged(Vec<String>),
    /// sshd was not asked, or does not accept the machine's configuration as the scenario describes it; the text says
    /// why.
    NotJudged(String),
}

/// Asks the sshd that is named, or else the installed one; `None` if the machine has none.
///
/// # Errors
/// The copies cannot be made.
pub(super) fn judge(
    machine: &Machine,
    program: Option<&Path>,
    before: &Contents,
    after: &Contents,
) -> Result<Option<Verdict>> {
    let main = machine.sshd_config.as_ref().map_or("/etc/ssh/sshd_config", AbsolutePath::as_str);
    let Some(described) = machine.sshd.as_ref().filter(|_| before.contains_key(main)) else { return Ok(None) };
    let look = |contents: &Contents| Look::at(contents, main, &described.host_keys, program);
    let before = match look(before)? {
        Ok(before) => before,
        Err(why) => return Ok(Some(Verdict::NotJudged(why))),
    };
    Ok(Some(Verdict::Judged(match look(after)? {
        Ok(after) => [before.unlike(described), before.unread(&after)].concat(),
        Err(why) => vec![format!("sshd accepts {main} as it was, and not as the run leaves it: {why}")],
    })))
}

/// How sshd reads a configuration once, with the paths of the scenario.
struct Look {
    words: Vec<Word>,
    /// What sshd complains of.
    complaints: Vec<String>,
}

/// A keyword that is compared, with its values other than `none`.
struct Word {
    keyword: &'static str,
    /// The values on all lines.
    written: BTreeSet<String>,
    /// The values that sshd prints.
    read: BTreeSet<String>,
}

impl Look {
    /// The inner error is what sshd says against the configuration, or why it was not asked.
    fn at(
        contents: &Contents,
        main: &str,
        host_keys: &[AbsolutePath],
        program: Option<&Path>,
    ) -> Result<Result<Self, String>> {
        let copy = tree::copy(contents, within)?;
        let root = copy.path().display().to_string();
        let real = |text: &str| text.replace(&root, "");
        let (configuration, view) = match ask(&root, main, host_keys, program) {
            Ok(asked) => asked,
            Err(error) => {
                let causes: Vec<&str> = error.notes_of(Label::Cause).collect();
                let why = if causes.is_empty() { error.message().to_owned() } else { causes.join("; ") };
                return Ok(Err(real(&why)));
            }
        };
        if view.tested.without_keys {
            return Ok(Err("there is no host key that it can use".to_owned()));
        }
        let word = |keyword| {
            let of_lines = configuration.directives().filter(|(_, _, directive)| directive.keyword == keyword);
            let of_lines = of_lines.flat_map(|(_, _, directive)| directive.arguments).map(|argument| argument.text);
            let read = view.effective.values(keyword).iter().cloned();
            Word { keyword, written: values(of_lines.map(|one| real(&one))), read: values(read.map(|one| real(&one))) }
        };
        let words = FILES.into_iter().chain([ALGORITHMS]).map(word).collect();
        Ok(Ok(Self { words, complaints: view.tested.words.iter().map(|line| real(line)).collect() }))
    }

    /// Where the answers that the scenario describes differ from those of this sshd.
    fn unlike(&self, described: &scenario::Sshd) -> Vec<String> {
        let mut wrong = Vec::new();
        for Word { keyword, written, read } in &self.words {
            let answers = match described.effective.get(*keyword) {
                None if *keyword == "hostkey" => values(described.host_keys.iter().map(ToString::to_string)),
                Some(answers) if *keyword != ALGORITHMS || !written.is_empty() => values(answers.iter().cloned()),
                Some(_) | None => continue,
            };
            if answers != *read {
                let [answers, read] = [&answers, read].map(shown);
                wrong.push(format!(
                    "before the run the scenario has sshd answer {keyword} {answers}, and it reads {read}"
                ));
            }
        }
        wrong
    }

    /// Where sshd does not read the lines as the run changed them; and sshd's new complaints.
    fn unread(&self, after: &Self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (before, after) in self.words.iter().zip(&after.words) {
            let (keyword, reads) = (after.keyword, shown(&after.read));
            // sshd does not print a change to its default list (`+x`) as it is written.
            let is_plain = |value: &&String| keyword != ALGORITHMS || !value.starts_with(['+', '-', '^']);
            let added = after.written.difference(&before.written).filter(is_plain);
            let gone = before.written.difference(&after.written).filter(is_plain);
            for value in added.filter(|value| !after.read.contains(*value)) {
                wrong.push(format!("the run writes {keyword} {value}, and sshd reads {reads}"));
            }
            for value in gone.filter(|value| after.read.contains(*value)) {
                wrong.push(format!("the run takes out {keyword} {value}, and sshd reads {reads}"));
            }
            if before.written == after.written && before.read != after.read {
                let was = shown(&before.read);
                wrong.push(format!("the run writes no {keyword}, and sshd reads {reads} where it read {was}"));
            }
        }
        let mut known = self.complaints.clone();
        for line in &after.complaints {
            match known.iter().position(|known| known == line) {
                Some(index) => drop(known.swap_remove(index)),
                None => wrong.push(format!("sshd complains of what the run leaves: {line}")),
            }
        }
        wrong
    }
}

/// The configuration in a copy, and how sshd reads it.
fn ask(root: &str, main: &str, host_keys: &[AbsolutePath], program: Option<&Path>) -> Result<(Configuration, View)> {
    let main: AbsolutePath = format!("{root}{main}").parse().map_err(|why: String| Error::failed(why))?;
    let sshd = Sshd::apart(&main, program)?;
    let mut sshd = sshd.ok_or_else(|| Error::failed("this machine has no sshd").next("name one with --sshd FILE"))?;
    let configuration = Configuration::read(main.as_path(), Overlay(&StagedFiles::new()))?;
    if !configuration.directives().any(|(_, _, directive)| directive.keyword == "hostkey") {
        // Without an option, sshd would look for this machine's keys.
        let mut keys: Vec<String> = host_keys.iter().map(ToString::to_string).collect();
        if keys.is_empty() {
            keys.push("/none".to_owned());
        }
        sshd.arguments.extend(keys.iter().flat_map(|key| ["-h".to_owned(), format!("{root}{key}")]));
    }
    let view = sshd.view(main.as_path(), &configuration)?;
    Ok((configuration, view))
}

/// A configuration file whose lines are changed to name files below this directory.
fn within(root: &str, contents: &[u8]) -> Vec<u8> {
    let mut text: Vec<Vec<u8>> = lines(contents).map(<[u8]>::to_vec).collect();
    for (number, Directive { keyword, arguments }) in directives(contents) {
        if keyword != "include" && !FILES.contains(&keyword.as_str()) {
            continue;
        }
        let below = arguments.iter().filter_map(|argument| {
            let path = match keyword.as_str() {
                "include" => include::pattern(&argument.text)?,
                // A relative path is below the home directory of the user who logs in.
                "authorizedprincipalsfile" if !argument.text.starts_with('/') => return None,
                _ if argument.text == "none" => return None,
                _ => argument.text.as_str().into(),
            };
            Some((argument.span.clone(), vec![tree::below(root, Path::new(&*path))]))
        });
        let below: Vec<_> = below.collect();
        if let Some(line) = text.get_mut(number - 1).filter(|_| !below.is_empty()) {
            *line = with_arguments(line, &below);
        }
    }
    text.concat()
}

fn values(all: impl Iterator<Item = String>) -> BTreeSet<String> {
    all.filter(|value| value != "none").collect()
}

fn shown(values: &BTreeSet<String>) -> String {
    if values.is_empty() { "none".to_owned() } else { values.iter().cloned().collect::<Vec<_>>().join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_that_a_line_names_lies_below() {
        for (line, expected) in [
            ("HostKey /etc/key\n", "HostKey \"/r/etc/key\"\n"),
            ("hostcertificate=\"/a b\" # x", "hostcertificate=\"/r/a b\" # x"),
            ("HostKey ../../etc/key", "HostKey \"/r/etc/key\""),
            ("Include a.d/*.conf /../../etc/shadow", "Include \"/r/etc/ssh/a.d/*.conf\" \"/r/etc/shadow\""),
            ("TrustedUserCAKeys none", "TrustedUserCAKeys none"),
            ("AuthorizedPrincipalsFile .ssh/principals", "AuthorizedPrincipalsFile .ssh/principals"),
            ("AuthorizedPrincipalsFile /p/%u", "AuthorizedPrincipalsFile \"/r/p/%u\""),
            ("# HostKey /etc/key\n\nBanner /etc/x", "# HostKey /etc/key\n\nBanner /etc/x"),
        ] {
            assert_eq!(String::from_utf8_lossy(&within("/r", line.as_bytes())), expected);
        }
    }
}
