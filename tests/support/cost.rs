//! What a command costs, together with everything that it started and waited for: real time, processor time, and
//! memory.

use super::Run;
use std::{ffi::OsStr, fs, path::Path, process::Command};

/// Seconds of real time, seconds of processor time, kilobytes.
pub(crate) type Cost = (f64, f64, u64);

/// bash measures both times in milliseconds, and time(1) the memory.
const MEASURED: &str = "file=$1; shift; exec 3>&2; TIMEFORMAT='%R %U %S'; \
    { time /usr/bin/time -q -f %M -o \"$file\" \"$@\" 2>&3; } 2>\"$file.time\"";

/// Runs a command with bash in an environment of its own, and writes its cost to `file`.
pub(crate) fn by<T: AsRef<OsStr>>(mut bash: Command, file: &Path, words: &[T], exits: &[i32]) -> Cost {
    bash.args(["-c", MEASURED, "bash"]).arg(file).args(words);
    let run = Run::of(&mut bash);
    assert!(run.code.is_some_and(|code| exits.contains(&code)), "{run:?}");
    let read = |file: &Path| fs::read_to_string(file).unwrap().trim().to_owned();
    let times = read(&file.with_extension("time"));
    let times: Vec<f64> = times.split(' ').map(|part| part.parse().unwrap()).collect();
    (times[0], times[1] + times[2], read(file).parse().unwrap())
}

/// The median.
pub(crate) fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|one, other| one.partial_cmp(other).unwrap());
    values[values.len() / 2]
}

/// The processor that the measurement runs on.
pub(crate) fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let count = text.lines().filter(|line| line.starts_with("processor")).count();
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    format!("{count} of {}, load {}", name.trim_start_matches(['\t', ' ', ':']), load.trim())
}
