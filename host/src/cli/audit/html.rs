//! The report as one page, without scripts and without anything from elsewhere. Every text that a guest or a path could
//! have chosen is escaped (`markup.rs`), and even if one were not, a content security policy would let nothing run.

use super::{markup::Page, report::Subject};
use crate::assessment::{Assessment, Basis, Exercise, Finding, Procedure, Severity};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use std::{collections::VecDeque, fs::File, io::Read as _, path::Path};
use warded_artifact::reach::Reach;
use warded_lib::{
    audit::{Kind, Record},
    digest::Digest,
    error::{Error, Result},
    machine::named_file,
    text::neutral_path,
};

const STYLE: &str = include_str!("report.css");
/// The mark by which such a page is recognised.
const MARK: &str = "<meta name=\"generator\" content=\"warded audit\">";
/// The mark must be within so many bytes from the beginning.
const MARK_WITHIN: u64 = 4096;
const NOT_APPLICABLE: &str = "<td class=\"mark no\">n/a</td>";
/// The maximum number of runs on a page; the newest are shown.
const RUNS: usize = 200;

/// Writes the page. It replaces a page that this command wrote earlier; any other file only with `--overwrite`.
///
/// # Errors
/// There is another file at that path, or the page cannot be written.
pub(super) fn write(path: &Path, page: &str, overwrite: bool) -> Result<()> {
    named_file::refuse_other(path)?;
    if !overwrite && path.exists() && !is_report(path) {
        return Err(Error::refused(format!("{} is not a report of this command", neutral_path(path)))
            .state("it is as it was")
            .next("name another file, or replace this one: --overwrite"));
    }
    // Only users who may read the log should see the names of machines and paths.
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
    let mut page = Page::default();
    page.markup("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
        .markup("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-")
        .text(BASE64_STANDARD.encode(Digest::of(STYLE.as_bytes()).bytes()))
        .markup("'; base-uri 'none'; form-action 'none'\">\n")
        .markup("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")
        .markup(MARK)
        .markup("\n<title>Audit of ")
        .text(&subject.title)
        .markup("</title>\n<style>")
        .markup(STYLE)
        .markup("</style>\n</head>\n<body>\n<main>\n<h1>")
        .text(&subject.title)
        .markup("</h1>\n<p class=\"verdict\">")
        .text(verdict(findings, assessed.basis, subject))
        .markup("</p>\n");
    facts(&mut page, subject, machine);
    list(&mut page, findings);
    for (name, procedure) in &assessed.procedures {
        section(&mut page, name, procedure, (assessed, subject));
    }
    never_called(&mut page, assessed);
    timeline(&mut page, runs);
    page.markup("</main>\n</body>\n</html>\n");
    page.finish()
}

fn verdict(findings: &[Finding], basis: Basis, subject: &Subject) -> String {
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
    let found = match (parts.is_empty(), basis, subject.log_is_read()) {
        (false, _, _) => format!("To look at: {}.", parts.join(", ")),
        (true, Basis::Request, _) => "What it asks for is what it can call.".to_owned(),
        (true, Basis::Policy, true) => "What is granted is what can be called, and nothing was denied.".to_owned(),
        (true, Basis::Policy, false) => "What is granted is what can be called.".to_owned(),
    };
    if subject.chain_is_broken() { format!("The audit log is not intact. {found}") } else { found }
}

fn facts(page: &mut Page, subject: &Subject, machine: &str) {
    let component = Digest::of(&subject.component).to_string();
    let log = subject.log_in_words();
    let made = moment(Timestamp::now());
    page.markup("<dl>\n");
    for (term, value) in [
        ("machine", machine),
        ("made", &made),
        ("from", &subject.origin),
        ("component", &component),
        ("audit log", &log),
    ] {
        page.markup("<dt>").text(term).markup("</dt><dd>").text(value).markup("</dd>\n");
    }
    page.markup("</dl>\n");
}

fn list(page: &mut Page, findings: &[Finding]) {
    page.markup("<h2>Findings</h2>\n");
    if findings.is_empty() {
        page.markup("<p>None.</p>\n");
        return;
    }
    page.markup("<ul>\n");
    for Finding { severity, procedure, what, next } in findings {
        page.markup("<li><span class=\"")
            .text(severity)
            .markup("\">")
            .text(severity)
            .markup("</span> ")
            .text(procedure)
            .markup(": ")
            .text(what)
            .markup(". <span class=\"soft\">Next: ")
            .text(next)
            .markup(".</span></li>\n");
    }
    page.markup("</ul>\n");
}

fn section(page: &mut Page, name: &str, procedure: &Procedure, (assessed, subject): (&Assessment, &Subject)) {
    let all = assessed.imported.len();
    let reach = match &procedure.reach {
        Reach::Functions(functions) => {
            format!("It can call {} of the {all} functions that the component imports.", functions.len())
        }
        Reach::Everything { because } => {
            format!("It counts as calling all {all} functions that the component imports: {because}.")
        }
    };
    page.markup("<h2>").text(name).markup("</h2>\n<p>").text(reach).markup("</p>\n");
    let used = procedure.usage.in_words(moment).map(|used| format!("It {used}"));
    for line in used.into_iter().chain(procedure.notes().into_iter().map(|note| format!("Note: {note}"))) {
        page.markup("<p>").text(line).markup(".</p>\n");
    }
    // On a narrow screen, the table can be scrolled with the keyboard, too.
    page.markup("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"Grants of ")
        .text(name)
        .markup("\"><table>\n<caption>Grants of ")
        .text(name)
        .markup("</caption>\n<thead><tr>");
    for column in ["grant", "reachable", "requested", "granted", "calls"] {
        page.markup("<th scope=\"col\">").text(column).markup("</th>");
    }
    page.markup("</tr></thead>\n<tbody>\n");
    let of_policy = |holds: bool| (procedure.basis == Basis::Policy).then_some(holds);
    for grant in &procedure.grants {
        page.markup("<tr><th scope=\"row\"><code>").text(&grant.line).markup("</code></th>");
        marks(page, [Some(grant.reachable), Some(grant.requested), of_policy(grant.granted)]);
        calls(page, procedure.usage.grants.get(&grant.line.to_string()), subject);
        page.markup("</tr>\n");
    }
    for function in &procedure.ungranted {
        page.markup("<tr><th scope=\"row\">no grant for <code>").text(function).markup("</code></th>");
        marks(page, [Some(true), Some(false), of_policy(false)]);
        calls(page, None, subject);
        page.markup("</tr>\n");
    }
    page.markup("</tbody>\n</table></div>\n");
}

/// Words and signs, for people who see no colours.
fn marks(page: &mut Page, columns: [Option<bool>; 3]) {
    for holds in columns {
        page.markup(match holds {
            Some(true) => "<td class=\"mark\">● yes</td>",
            Some(false) => "<td class=\"mark no\">– no</td>",
            None => NOT_APPLICABLE,
        });
    }
}

fn calls(page: &mut Page, exercise: Option<&Exercise>, subject: &Subject) {
    let Some(Exercise { count, needs }) = exercise else {
        page.markup(if subject.log_is_read() { "<td class=\"number\">0</td>" } else { NOT_APPLICABLE });
        return;
    };
    page.markup("<td><details><summary>")
        .text(count.calls)
        .markup(" in ")
        .text(runs(count.runs))
        .markup("</summary><ul>");
    for (need, calls) in needs {
        page.markup("<li>").text(calls).markup(" × <code>").text(need).markup("</code></li>");
    }
    page.markup("</ul></details></td>");
}

fn runs(count: u64) -> String {
    if count == 1 { "1 run".to_owned() } else { format!("{count} runs") }
}

fn never_called(page: &mut Page, assessed: &Assessment) {
    if assessed.never_called.is_empty() {
        return;
    }
    page.markup("<h2>Exported, and never called by the host</h2>\n<ul>\n");
    for name in &assessed.never_called {
        page.markup("<li><code>").text(name).markup("</code></li>\n");
    }
    page.markup("</ul>\n");
}

/// The records of the newest runs, the oldest one first.
#[derive(Default)]
pub(super) struct NewestRuns {
    pub(super) runs: VecDeque<Vec<Record>>,
}

impl NewestRuns {
    /// Adds the next record of the log.
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
fn timeline<'r>(page: &mut Page, runs: impl Iterator<Item = &'r [Record]>) {
    let mut runs = runs.peekable();
    if runs.peek().is_none() {
        return;
    }
    page.markup("<h2>Runs</h2>\n<ul>\n");
    for run in runs {
        let Some(first) = run.first() else { continue };
        let count = |kind| run.iter().filter(|record| record.event.kind == kind).count();
        let number = if first.event.run == 0 { "without a number".to_owned() } else { first.event.run.to_string() };
        page.markup("<li><details><summary>")
            .text(moment(first.time))
            .markup(" · run ")
            .text(number)
            .markup(" · ")
            .text(&first.event.procedure)
            .markup(" · ")
            .text(count(Kind::Asked))
            .markup(" calls, ")
            .text(count(Kind::Denied))
            .markup(" denied</summary><ul>");
        for record in run.iter().filter(|record| !matches!(record.event.kind, Kind::Asked)) {
            page.markup("<li><code>").text(record).markup("</code></li>");
        }
        page.markup("</ul></details></li>\n");
    }
    page.markup("</ul>\n");
}

fn moment(time: Timestamp) -> String {
    time.strftime("%F %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

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
