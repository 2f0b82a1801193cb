//! Prometheus' text format, for node_exporter's textfile collector, which reads `*.prom` and needs permission to read
//! the file. What is not known is absent, never 0.

use std::{
    fmt::{Display, Write as _},
    path::Path,
};
use warded_lib::{error::Result, machine::named_file};

/// Metrics in that format.
#[derive(Debug, Default)]
pub(super) struct Metrics(String);

impl Metrics {
    /// Adds a gauge: its name, its help text, and each of its values with its labels. A gauge without values is left
    /// out.
    pub(super) fn gauge<V: Display>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Vec<(&'static str, String)>, V)>,
    ) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return;
        }
        // Writing to a String does not fail.
        let _always = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in values {
            let labels: Vec<String> =
                labels.into_iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(&value))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _always = writeln!(self.0, "{name}{labels} {value}");
        }
    }

    /// Adds a gauge with one value, if the value is known.
    pub(super) fn value<V: Display>(&mut self, name: &str, help: &str, value: Option<V>) {
        self.gauge(name, help, value.map(|value| (Vec::new(), value)));
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Writes the file atomically, readable for everybody.
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        named_file::replace(file, self.0.as_bytes(), 0o644)
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_absent() {
        let mut metrics = Metrics::default();
        metrics.gauge("a", "One.", [(vec![("key", "x\"\\\n".to_owned()), ("b", "c".to_owned())], 1)]);
        metrics.gauge("b", "None.", Vec::<(Vec<_>, u8)>::new());
        metrics.value("c", "Unknown.", None::<u8>);
        metrics.value("d", "Known.", Some(0));
        assert_eq!(
            metrics.text(),
            "# HELP a One.\n# TYPE a gauge\na{key=\"x\\\"\\\\\\n\",b=\"c\"} 1\n\
             # HELP d Known.\n# TYPE d gauge\nd 0\n"
        );
    }
}
