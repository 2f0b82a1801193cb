//! The results of `verify`, as metrics.

use crate::cli::prometheus::Metrics;
use warded_lib::{
    ca::Certificate,
    probe::{Finding, Place, Presentation},
};

pub(super) fn metrics(answers: &[(Place, Vec<Presentation>)], now: u64) -> Metrics {
    let mut metrics = Metrics::default();
    let known = |presented: &[Presentation]| {
        let is_unknown = presented.iter().any(|one| matches!(one.finding, Finding::Unknown(_)));
        let good = |one: &Presentation| matches!(one.finding, Finding::Good | Finding::EndsSoon);
        (!is_unknown).then(|| u8::from(presented.iter().all(good)))
    };
    metrics.gauge(
        "warded_verify_answered",
        "Whether the server answered the probe.",
        answers.iter().map(|(place, presented)| (labels(place), u8::from(known(presented).is_some()))),
    );
    metrics.gauge(
        "warded_verify_accepted",
        "Whether a client that knows only the CA accepts the server's host certificate.",
        answers.iter().filter_map(|(place, presented)| Some((labels(place), known(presented)?))),
    );
    let ends = answers.iter().flat_map(|(place, presented)| {
        presented.iter().filter_map(|one| {
            let end = one.certificate.as_ref().map(Certificate::valid_before)?;
            let end = Some(end).filter(|end| *end != u64::MAX)?;
            let algorithm = ("algorithm", one.algorithm?.to_string());
            Some((labels(place).into_iter().chain([algorithm]).collect(), end))
        })
    });
    metrics.gauge(
        "warded_verify_not_after_seconds",
        "When the presented host certificate ends, in seconds since 1970.",
        ends,
    );
    metrics.value("warded_verify_time_seconds", "When the servers were asked, in seconds since 1970.", Some(now));
    metrics
}

fn labels(place: &Place) -> Vec<(&'static str, String)> {
    vec![("host", place.name.clone()), ("port", place.port().to_string())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_absent() {
        let answer = |name: &str, finding| {
            let one = Presentation { algorithm: None, certificate: None, finding };
            (name.parse::<Place>().unwrap(), vec![one])
        };
        let answers = [
            answer("a", Finding::Good),
            answer("b:2222", Finding::Unknown("x".to_owned())),
            answer("c", Finding::NoCertificate),
        ];
        let metrics = metrics(&answers, 7);
        let values: Vec<&str> = metrics.text().lines().filter(|line| !line.starts_with('#')).collect();
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
