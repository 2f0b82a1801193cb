//! The report as one page: no script, nothing from elsewhere. Every text that a guest or a path could have chosen is
//! escaped, and a content policy lets nothing run even if one were not.

use super::report::Subject;
use crate::assessment::{Assessment, Basis, Finding, Procedure, Severity};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use std::{
    collections::VecDeque,
    fmt::{self, Display, Write as _},
    fs::File,
    io::Read as _,
    path::Path,
};
use warded_artifact::reach::Reach;
use warded_lib::{
    audit::{Kind, Record},
    digest::Digest,
    error::{Error, Result},
    machine::named_file,
    text::{neutral, neutral_path},
};

const STYLE: &str = include_str!("report.css");
/// The mark by which such a page is recognised.
const MARK: &str = "<meta name=\"generator\" content=\"warded audit\">";
/// It stands within so many bytes from the beginning.
const MARK_WITHIN: u64 = 4096;
/// A page has at most so many runs, the newest ones.
const RUNS: usize = 200;

/// Text in a page.
struct Text<T>(T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in neutral(&self.0.to_string()).chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Writes the page. It takes the place of a page that this command wrote, and of no other file without `--overwrite`.
///
/// # Errors
/// There is something else at that path, or it cannot be written.
pub(super) fn write(path: &Path, page: &str, overwrite: bool) -> Result<()> {
    named_file::refuse_other(path)?;
    if !overwrite && path.exists() && !is_report(path) {
        return Err(Error::refused(format!("{} is no report of this command", neutral_path(path)))
            .state("it is as it was")
            .next("name another file, or say that it may be lost: --overwrite"));
    }
    // Names of machines and paths are for those who may read the log.
    named_file::replace(path, page.as_bytes(), 0o600)
}

/// Whether a file begins like such a page.
fn is_report(path: &Path) -> bool {
    let mut beginning = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MARK_WITHIN).read_to_end(&mut beginning));
    read.is_ok() && String::from_utf8_lossy(&beginning).contains(MARK)
}

/// The page.
pub(super) fn page<'r>(
    subject: &Subject,
    machine: &str,
    assessed: &Assessment,
    findings: &[Finding],
    runs: impl Iterator<Item = &'r [Record]>,
) -> String {
    let mut page = String::new();
    let hash = BASE64_STANDARD.encode(Digest::of(STYLE.as_bytes()).bytes());
    let title = Text(&subject.title);
    append(
        &mut page,
        format_args!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n{MARK}\n\
             <title>Audit of {title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <h1>{title}</h1>\n<p class=\"verdict\">{}</p>\n",
            Text(verdict(findings, subject.chain_is_broken()))
        ),
    );
    facts(&mut page, subject, machine);
    list(&mut page, findings);
    for (name, procedure) in &assessed.procedures {
        section(&mut page, name, procedure, assessed);
    }
    timeline(&mut page, runs);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn append(page: &mut String, text: fmt::Arguments<'_>) {
    page.push_str(&fmt::format(text));
}

fn verdict(findings: &[Finding], broken: bool) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let parts: Vec<String> = [
        (Severity::Denied, "denied attempt", "denied attempts"),
        (Severity::Under, "call without a grant", "calls without a grant"),
        (Severity::Over, "grant too many", "grants too many"),
    ]
    .into_iter()
    .filter_map(|(severity, one, many)| match count(severity) {
        0 => None,
        1 => Some(format!("1 {one}")),
        found => Some(format!("{found} {many}")),
    })
    .collect();
    let found = if parts.is_empty() {
        "What is granted is what can be called, and nothing was denied.".to_owned()
    } else {
        format!("To look at: {}.", parts.join(", "))
    };
    if broken { format!("The audit log is not intact. {found}") } else { found }
}

fn facts(page: &mut String, subject: &Subject, machine: &str) {
    let component = Digest::of(&subject.component).to_string();
    let log = subject.log_in_words();
    let made = moment(Timestamp::now());
    page.push_str("<dl>\n");
    for (term, value) in [
        ("machine", machine),
        ("made", &made),
        ("from", &subject.origin),
        ("component", &component),
        ("audit log", &log),
    ] {
        append(page, format_args!("<dt>{term}</dt><dd>{}</dd>\n", Text(value)));
    }
    page.push_str("</dl>\n");
}

fn list(page: &mut String, findings: &[Finding]) {
    page.push_str("<h2>Findings</h2>\n");
    if findings.is_empty() {
        page.push_str("<p>None.</p>\n");
        return;
    }
    page.push_str("<ul>\n");
    for finding in findings {
        let severity = finding.severity.to_string();
        append(
            page,
            format_args!(
                "<li><span class=\"{severity}\">{severity}</span> {}: {}. <span class=\"soft\">Next: {}.</span></li>\n",
                Text(&finding.procedure),
                Text(&finding.what),
                Text(finding.next)
            ),
        );
    }
    page.push_str("</ul>\n");
}

fn section(page: &mut String, name: &str, procedure: &Procedure, assessed: &Assessment) {
    let all = assessed.imported.len();
    let reach = match &procedure.reach {
        Reach::Functions(functions) => {
            format!("It can call {} of the {all} functions that the component imports.", functions.len())
        }
        Reach::Everything { because } => {
            format!("It counts as calling all {all} functions that the component imports: {because}.")
        }
    };
    append(page, format_args!("<h2>{}</h2>\n<p>{}</p>\n", Text(name), Text(reach)));
    for note in procedure.notes() {
        append(page, format_args!("<p>Note: {}.</p>\n", Text(note)));
    }
    // On a narrow screen the table is moved by the keyboard, too.
    append(
        page,
        format_args!(
            "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"Grants of {}\"><table>\n\
             <caption>Grants of {}</caption>\n<thead><tr>",
            Text(name),
            Text(name)
        ),
    );
    for column in ["grant", "reachable", "requested", "granted", "calls"] {
        append(page, format_args!("<th scope=\"col\">{column}</th>"));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for grant in &procedure.grants {
        append(page, format_args!("<tr><th scope=\"row\"><code>{}</code></th>", Text(&grant.line)));
        let granted = (procedure.basis == Basis::Policy).then_some(grant.granted);
        for held in [Some(grant.reachable), Some(grant.requested), granted] {
            page.push_str(match held {
                Some(true) => "<td class=\"mark\">● yes</td>",
                Some(false) => "<td class=\"mark no\">– no</td>",
                None => "<td class=\"mark no\">n/a</td>",
            });
        }
        calls(page, procedure, &grant.line.to_string());
        page.push_str("</tr>\n");
    }
    for function in &procedure.ungranted {
        append(
            page,
            format_args!(
                "<tr><th scope=\"row\">no grant for <code>{}</code></th><td class=\"mark\">● yes</td>\
                 <td class=\"mark no\">– no</td><td class=\"mark no\">– no</td><td class=\"number\">0</td></tr>\n",
                Text(function)
            ),
        );
    }
    page.push_str("</tbody>\n</table></div>\n");
}

fn calls(page: &mut String, procedure: &Procedure, grant: &str) {
    let Some(exercise) = procedure.usage.grants.get(grant) else {
        page.push_str("<td class=\"number\">0</td>");
        return;
    };
    append(
        page,
        format_args!("<td><details><summary>{} in {}</summary><ul>", exercise.count.calls, runs(exercise.count.runs)),
    );
    for (need, calls) in &exercise.needs {
        append(page, format_args!("<li>{calls} × <code>{}</code></li>", Text(need)));
    }
    page.push_str("</ul></details></td>");
}

fn runs(count: u64) -> String {
    if count == 1 { "1 run".to_owned() } else { format!("{count} runs") }
}

/// The records of the newest runs, the oldest one first.
#[derive(Default)]
pub(super) struct NewestRuns {
    pub(super) runs: VecDeque<Vec<Record>>,
}

impl NewestRuns {
    /// Takes the next record of the log.
    pub(super) fn add(&mut self, record: &Record) {
        let of_run = self.runs.back_mut().filter(|run| {
            record.event.kind != Kind::Started && run.last().is_some_and(|last| last.event.run == record.event.run)
        });
        if let Some(run) = of_run {
            run.push(record.clone());
            return;
        }
        self.runs.push_back(vec![record.clone()]);
        if self.runs.len() > RUNS {
            self.runs.pop_front();
        }
    }
}

/// The runs, each with what it did and how it ended.
fn timeline<'r>(page: &mut String, runs: impl Iterator<Item = &'r [Record]>) {
    let mut runs = runs.peekable();
    if runs.peek().is_none() {
        return;
    }
    page.push_str("<h2>Runs</h2>\n<ul>\n");
    for run in runs {
        let Some(first) = run.first() else { continue };
        let count = |kind| run.iter().filter(|record| record.event.kind == kind).count();
        let number = if first.event.run == 0 { "without a number".to_owned() } else { first.event.run.to_string() };
        append(
            page,
            format_args!(
                "<li><details><summary>{} · run {} · {} · {} calls, {} denied</summary><ul>",
                moment(first.time),
                Text(number),
                Text(&first.event.procedure),
                count(Kind::Asked),
                count(Kind::Denied)
            ),
        );
        for record in run.iter().filter(|record| !matches!(record.event.kind, Kind::Asked)) {
            append(page, format_args!("<li><code>{}</code></li>", Text(record)));
        }
        page.push_str("</ul></details></li>\n");
    }
    page.push_str("</ul>\n");
}

fn moment(time: Timestamp) -> String {
    time.strftime("%F %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        let text = Text("<script>alert('1')</script>\" onload=\"x\u{202e}&amp;").to_string();
        assert_eq!(text, "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot; onload=&quot;x\\u{202e}&amp;amp;");
    }

    #[test]
    fn only_a_report_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("page.html");
        write(&path, MARK, false).unwrap();
        write(&path, MARK, false).unwrap();
        std::fs::write(&path, "mine").unwrap();
        write(&path, MARK, false).unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        write(&path, MARK, true).unwrap();
        let link = directory.path().join("link.html");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for overwrite in [false, true] {
            write(&link, MARK, overwrite).unwrap_err();
        }
        assert!(link.symlink_metadata().unwrap().is_symlink());
    }
}
