//! `status` in words.

use super::{StatusObject, circumstances::time, user_ca::UserCa};
use crate::cli::output::{Output, Style};
use warded_lib::error::Result;

pub(super) fn show(status: &StatusObject, output: Output) -> Result<()> {
    output.line(format!("{} · {} · {}", status.hostname, status.os, described(status)))?;
    show_sshd(status, output)?;
    for other in &status.others {
        output.line(format!("{} · {}", other.sshd_config, described(other)))?;
        show_sshd(other, output)?;
    }
    if status.enrolled.is_some() || !status.others.is_empty() {
        if let Some(renewal) = &status.last_renewal {
            let how = renewal.error.map_or_else(|| "succeeded".to_owned(), |error| error.to_string());
            output.line(format!("last run     {}: {how}", time(renewal.at)))?;
        }
        let next = status.next_run.map(|next| format!(", next {}", time(next))).unwrap_or_default();
        output.line(format!("schedule     {}{next}", status.schedule))?;
    }
    for warning in &status.warnings {
        output.line(format!("warning      {}", output.paint(Style::Red, &warning.to_string())))?;
    }
    for note in &status.notes {
        output.line(format!("note         {note}"))?;
    }
    if status.problems.is_empty() {
        return output.line("problems     none");
    }
    status
        .problems
        .iter()
        .try_for_each(|problem| output.line(format!("problem      {}", output.paint(Style::Red, &problem.to_string()))))
}

fn described(status: &StatusObject) -> String {
    let sshd = status.sshd.as_ref().map_or_else(|| "no sshd".to_owned(), |version| format!("OpenSSH {version}"));
    let listening = if status.listening || status.sshd.is_none() { "" } else { " (not listening)" };
    format!("{sshd}{listening}")
}

fn show_sshd(status: &StatusObject, output: Output) -> Result<()> {
    if status.needed_ssh {
        output.detail("asked by `ssh`: sshd allows no algorithms that Warded supports");
    }
    for key in &status.host_keys {
        let (style, state) = match (&key.problem, &key.certificate, key.served) {
            (Some(problem), ..) => (Style::Red, problem.clone()),
            (None, None, _) => {
                let why = key.left_alone.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                (Style::Dim, format!("no certificate{why}"))
            }
            (None, Some(_), served) => {
                let served = if served == Some(true) { " · served" } else { "" };
                (Style::Green, format!("{}{served}", key.until))
            }
        };
        output.line(format!("host key     {:20} {}", key.algorithm, output.paint(style, &state)))?;
    }
    for UserCa { fingerprint, algorithm, file } in &status.user_cas {
        output.line(format!("user CA      {fingerprint} {algorithm} · trusted by sshd's list {file}"))?;
    }
    let Some(enrolled) = &status.enrolled else {
        return output.line("enrolled     no: warded apply certify-host --set principal=NAME");
    };
    output.line(format!("enrolled     {enrolled}"))?;
    status.due.map_or(Ok(()), |due| output.line(format!("renewal      due {}: warded renew", time(due))))
}
