//! The findings in Prometheus' text format, for node_exporter's textfile collector: it reads `*.prom`, and needs to be able to
//! read the file. What is not known is absent, never 0.

use std::{fmt::Write as _, path::Path};
use warded_lib::{
    error::{Error, Result},
    machine::durable,
    probe::{Finding, Place, Presented},
};

/// Writes the file whole, or not at all.
pub(super) fn write(file: &Path, answers: &[(Place, Vec<Presented>)], now: u64) -> Result<()> {
    durable::replace(file, text(answers, now).as_bytes(), 0o644)
        .map_err(|error| Error::failed(format!("cannot write {}", file.display())).cause(error))
}

fn text(answers: &[(Place, Vec<Presented>)], now: u64) -> String {
    let mut text = String::new();
    let mut metric = |name: &str, help: &str, lines: Vec<String>| {
        // Writing to a String does not fail.
        let _always = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for line in lines {
            let _always = writeln!(text, "{name}{line}");
        }
    };
    let known = |presented: &[Presented]| {
        let is_unknown = presented.iter().any(|one| matches!(one.finding, Finding::Unknown(_)));
        let good = |one: &Presented| matches!(one.finding, Finding::Good | Finding::EndsSoon);
        (!is_unknown).then(|| u8::from(presented.iter().all(good)))
    };
    let reached = answers
        .iter()
        .map(|(place, presented)| format!("{{{}}} {}", labels(place), u8::from(known(presented).is_some())));
    metric("warded_verify_answered", "Whether the server answered the probe.", reached.collect());
    let accepted =
        answers.iter().filter_map(|(place, presented)| Some(format!("{{{}}} {}", labels(place), known(presented)?)));
    metric(
        "warded_verify_accepted",
        "Whether a client that knows only the CA accepts the server's host certificate.",
        accepted.collect(),
    );
    let ends = answers.iter().flat_map(|(place, presented)| {
        presented.iter().filter_map(|one| {
            let end = one.certificate.as_ref().map(warded_lib::ca::Certificate::valid_before)?;
            let end = Some(end).filter(|end| *end != u64::MAX)?;
            Some(format!("{{{},algorithm=\"{}\"}} {end}", labels(place), one.algorithm?))
        })
    });
    metric(
        "warded_verify_not_after_seconds",
        "When the presented host certificate ends, in seconds since 1970.",
        ends.collect(),
    );
    metric(
        "warded_verify_time_seconds",
        "When the servers were asked, in seconds since 1970.",
        vec![format!(" {now}")],
    );
    text
}

fn labels(place: &Place) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("host=\"{}\",port=\"{}\"", escaped(&place.name), place.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_absent() {
        let answer = |name: &str, finding| {
            let one = Presented { algorithm: None, certificate: None, finding };
            (name.parse::<Place>().unwrap(), vec![one])
        };
        let answers = [
            answer("a", Finding::Good),
            answer("b:2222", Finding::Unknown("x".to_owned())),
            answer("c", Finding::NoCertificate),
        ];
        let text = text(&answers, 7);
        let values: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            values,
            [
                "warded_verify_answered{host=\"a\",port=\"22\"} 1",
                "warded_verify_answered{host=\"b\",port=\"2222\"} 0",
                "warded_verify_answered{host=\"c\",port=\"22\"} 1",
                "warded_verify_accepted{host=\"a\",port=\"22\"} 1",
                "warded_verify_accepted{host=\"c\",port=\"22\"} 0",
                "warded_verify_time_seconds 7",
            ]
        );
    }
}
