//! The results of `status`, as metrics.

use super::StatusObject;
use crate::{
    cli::{outlook::ProblemKind, prometheus::Metrics},
    public_status::PublicStatus,
};
use jiff::Timestamp;

/// One host key's certificate.
struct CertificateMetric {
    labels: Vec<(&'static str, String)>,
    not_after: Option<i64>,
    due: Option<Timestamp>,
    served: Option<bool>,
}

/// What both kinds of status contain.
struct CommonMetrics {
    certificates: Vec<CertificateMetric>,
    due: Option<Timestamp>,
    renewed: Option<(Timestamp, u8)>,
    scheduled: Option<bool>,
    waits: bool,
    ca_reachable: Option<bool>,
    enrolled: Option<bool>,
    drift: Option<usize>,
    problems: usize,
}

/// Metrics from the status that root sees.
pub(super) fn of(status: &StatusObject) -> Metrics {
    let sshds = || std::iter::once(status).chain(&status.others);
    let certificates = sshds().flat_map(|sshd| {
        sshd.host_keys.iter().filter_map(|key| {
            let certificate = key.certificate.as_ref()?;
            let labels = vec![
                ("algorithm", key.algorithm.clone()),
                ("path", key.path.clone()),
                ("sshd_config", sshd.sshd_config.to_string()),
            ];
            let not_after = certificate.valid_before.map(Timestamp::as_second);
            Some(CertificateMetric { labels, not_after, due: key.due, served: key.served })
        })
    });
    let known = CommonMetrics {
        certificates: certificates.collect(),
        due: sshds().filter_map(|sshd| sshd.due).min(),
        renewed: status.last_renewal.as_ref().map(|renewal| (renewal.at, renewal.exit)),
        scheduled: status.scheduled,
        waits: status.unconfirmed.is_some(),
        ca_reachable: status.ca_reachable,
        enrolled: Some(sshds().any(StatusObject::is_enrolled)),
        drift: Some(status.problems.iter().filter(|problem| problem.kind == ProblemKind::Drift).count()),
        problems: status.problems.len(),
    };
    metrics(&known)
}

/// Metrics from what root recorded for every user; `problems` is how many problems this user sees.
pub(super) fn of_public(status: Option<&PublicStatus>, problems: usize) -> Metrics {
    let certificates = status.iter().flat_map(|status| &status.keys).map(|key| CertificateMetric {
        labels: vec![("algorithm", key.algorithm.clone())],
        not_after: key.until.map(Timestamp::as_second),
        due: key.due,
        served: None,
    });
    let known = CommonMetrics {
        certificates: certificates.collect(),
        due: status.and_then(|status| status.due),
        renewed: status.and_then(|status| status.last_renewal.as_ref()).map(|renewal| (renewal.at, renewal.exit)),
        scheduled: status.and_then(|status| status.scheduled),
        waits: status.is_some_and(|status| status.change_waits),
        ca_reachable: None,
        enrolled: status.map(|status| status.ca.is_some()),
        drift: None,
        problems,
    };
    metrics(&known)
}

fn metrics(known: &CommonMetrics) -> Metrics {
    let mut metrics = Metrics::default();
    let certificates = &known.certificates;
    metrics.gauge(
        "warded_certificate_not_after_seconds",
        "When the host certificate on disk ends, in seconds since 1970.",
        certificates.iter().filter_map(|one| Some((one.labels.clone(), one.not_after?))),
    );
    metrics.gauge(
        "warded_certificate_due_seconds",
        "When the host certificate is due for renewal, in seconds since 1970.",
        certificates.iter().filter_map(|one| Some((one.labels.clone(), one.due?.as_second()))),
    );
    metrics.gauge(
        "warded_certificate_served",
        "Whether sshd serves the host certificate on disk.",
        certificates.iter().filter_map(|one| Some((one.labels.clone(), u8::from(one.served?)))),
    );
    metrics.value(
        "warded_renewal_due_seconds",
        "When the next certificate is due, in seconds since 1970.",
        known.due.map(Timestamp::as_second),
    );
    metrics.value(
        "warded_last_renewal_seconds",
        "When the last renewal ended, in seconds since 1970.",
        known.renewed.map(|(at, _)| at.as_second()),
    );
    metrics.value(
        "warded_last_renewal_exit_code",
        "The exit code of the last renewal.",
        known.renewed.map(|(_, exit)| exit),
    );
    metrics.value(
        "warded_renewal_scheduled",
        "Whether something runs warded renew automatically.",
        known.scheduled.map(u8::from),
    );
    metrics.value(
        "warded_change_waits",
        "Whether a change is rolled back unless it is confirmed.",
        Some(u8::from(known.waits)),
    );
    metrics.value("warded_ca_reachable", "Whether the CA answered.", known.ca_reachable.map(u8::from));
    metrics.value(
        "warded_healthy",
        "Whether warded status has no problem to tell.",
        Some(u8::from(known.problems == 0)),
    );
    metrics.value("warded_problems", "How many problems warded status tells.", Some(known.problems));
    metrics.value(
        "warded_drift",
        "How many of these are that something which Warded set is not so any more.",
        known.drift,
    );
    metrics.value("warded_enrolled", "Whether warded renew renews certificates here.", known.enrolled.map(u8::from));
    metrics.value(
        "warded_status_seconds",
        "When this was found, in seconds since 1970.",
        Some(Timestamp::now().as_second()),
    );
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    metrics.gauge("warded_build_info", "The version of Warded.", [(version, 1)]);
    metrics
}
