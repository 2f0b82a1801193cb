//! The lock-out matrix: releases of OpenSSH × configurations × commands × what goes wrong. Each cell runs the shipped
//! binary against a real sshd. The clients have pinned one of the host keys, or know only the CA. They log in by an
//! authorized key or by a certificate, as root or, if root may not log in, as an ordinary user. `tests/lockout` tries
//! all cells and prints the table, and with `--both-probes` compares both probes in each; as a test it is a sample.

mod caught;
mod cell;
mod condition;
mod liar;
mod probes;
mod sample;
mod shape;
mod subject;

use crate::support::{missing, peer::OLD};
use condition::Condition;
use sample::{SAMPLE, Sample};
use shape::Shape;
use std::{
    env,
    fmt::Write as _,
    panic,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};
use subject::{Subject, Task};

/// The Debian suites with these releases; 7.5 is built from source.
const RELEASES: [(&str, &str); 4] = [("7.5", OLD), ("8.4", "bullseye"), ("9.2", "bookworm"), ("10.0", "trixie")];

/// One machine: its place in the table, its release and shape, and the cells to try. Without a sample, all cells.
struct Machine {
    index: usize,
    release: &'static str,
    suite: &'static str,
    shape: Shape,
    sample: Option<&'static Sample>,
}

/// The rows of one machine in the table.
struct Rows {
    text: String,
    cells: usize,
    failures: Vec<String>,
}

impl Rows {
    fn without_machine(name: &str) -> Self {
        let failure = format!("{name}: the machine did not start, or the test could not go on");
        Self { text: String::new(), cells: 0, failures: vec![failure] }
    }
}

#[test]
fn nobody_is_locked_out() {
    if missing::root() {
        return;
    }
    let wanted = machines(env::var("WARDED_LOCKOUT").ok().as_deref());
    let (begun, next) = (Instant::now(), AtomicUsize::new(0));
    let rows: Mutex<Vec<(usize, Rows)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(machine) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (release, shape) = (machine.release, machine.shape.name());
                    // If a machine does not start, the others are tried nevertheless.
                    let done = panic::catch_unwind(|| {
                        rows_of(&Subject::start(machine.suite, machine.shape).unwrap(), machine)
                    });
                    let done = done.unwrap_or_else(|_| Rows::without_machine(&format!("{release}, {shape}")));
                    eprintln!("{release}, {shape}: {} cells, {} failures", done.cells, done.failures.len());
                    rows.lock().unwrap().push((machine.index, done));
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|(index, _)| *index);
    let head: String = (1..=Condition::all().len()).fold(String::new(), |mut head, column| {
        write!(head, "{column:>3}").unwrap();
        head
    });
    println!("\n{:44}{head}", "OpenSSH, its configuration, command");
    rows.iter().for_each(|(_, rows)| print!("{}", rows.text));
    for (column, condition) in Condition::all().iter().enumerate() {
        println!("{:>3}  {}", column + 1, condition.name());
    }
    println!(
        "  .  as it should be    F  not so    -  there is no such cell    (empty)  not in the sample\n\
         CA lies: by the library in the shipped binary's place; all others through the shipped binary"
    );
    let failures: Vec<&String> = rows.iter().flat_map(|(_, rows)| &rows.failures).collect();
    let cells: usize = rows.iter().map(|(_, rows)| rows.cells).sum();
    failures.iter().for_each(|failure| println!("\n{failure}"));
    if let Some(said) = probes::summary() {
        println!("{said}");
    }
    println!("lock-out matrix: {cells} cells, {} failures, {} s", failures.len(), begun.elapsed().as_secs());
    assert!(failures.is_empty() && cells > 20, "{} of {cells} cells failed", failures.len());
}

/// The machines of the matrix whose names begin with `wanted`. If none, those of the sample, with its cells.
fn machines(wanted: Option<&str>) -> Vec<Machine> {
    let shapes = RELEASES.iter().flat_map(|(release, suite)| Shape::ALL.map(|shape| (*release, *suite, shape)));
    let name = |release: &str, shape: Shape| format!("{release}, {}", shape.name());
    let row = |(index, (release, suite, shape)): (usize, (&'static str, &'static str, Shape))| {
        let sample = SAMPLE.iter().find(|sample| sample.suite == suite && sample.shape == shape);
        let sample = match wanted {
            Some(wanted) if wanted.split(';').any(|wanted| name(release, shape).starts_with(wanted)) => None,
            Some(_) => return None,
            None => Some(sample?),
        };
        Some(Machine { index, release, suite, shape, sample })
    };
    shapes.filter(|(_, suite, shape)| shape.is_for(suite)).enumerate().filter_map(row).collect()
}

fn rows_of(subject: &Subject, machine: &Machine) -> Rows {
    let Machine { index, release, shape, sample, .. } = machine;
    let mut rows = Rows { text: String::new(), cells: 0, failures: Vec::new() };
    let goes_wrong = env::var_os("WARDED_LOCKOUT_CLEAN").is_none();
    for (which, task) in Task::ALL.into_iter().enumerate() {
        write!(rows.text, "{:44}", format!("{release}  {}, {}", shape.name(), task.name())).unwrap();
        subject.restore(subject.base_of(task));
        for (column, condition) in Condition::all().into_iter().enumerate() {
            let mark = if !cell::exists(*shape, task, condition) || !(goes_wrong || condition == Condition::Nothing) {
                "-"
            } else if sample.is_none_or(|sample| sample.of(task).contains(&condition)) {
                rows.cells += 1;
                // The watchdog is killed in every other cell.
                match cell::cell(subject, task, condition, (index + which + column).is_multiple_of(2)) {
                    Ok(()) => ".",
                    Err(why) => {
                        let what = format!("{release}, {}, {}, {}", shape.name(), task.name(), condition.name());
                        eprintln!("{what}: {why}");
                        rows.failures.push(format!("{what}: {why}"));
                        "F"
                    }
                }
            } else {
                " "
            };
            write!(rows.text, "{mark:>3}").unwrap();
        }
        rows.text.push('\n');
    }
    rows
}
