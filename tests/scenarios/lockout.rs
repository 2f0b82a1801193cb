//! The lock-out matrix: releases of OpenSSH × configurations × commands × what goes wrong, each cell
//! through the shipped binary and a real sshd, with clients that pinned each host key or know only
//! the CA, and log in by an authorized key. `tests/lockout` tries all cells and prints the table;
//! as a test it is a sample.

mod caught;
mod cell;
mod condition;
mod liar;
mod shape;
mod subject;

use condition::Condition;
use shape::Shape;
use std::{
    env,
    fmt::Write as _,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};
use subject::{Subject, Task};

/// The suites of Debian that have these releases.
const RELEASES: [(&str, &str); 2] = [("9.2", "bookworm"), ("10.0", "trixie")];
/// In a sample: these machines, and of their cells one in so many.
const SAMPLE: [usize; 4] = [2, 5, 11, 12];
const ONE_IN: usize = 9;

/// The rows of one machine.
struct Rows {
    text: String,
    cells: usize,
    failures: Vec<String>,
}

#[test]
fn nobody_is_locked_out() {
    let all = env::var("WARDED_LOCKOUT").is_ok_and(|all| all == "all");
    let machines: Vec<(&str, &'static str, Shape)> =
        RELEASES.iter().flat_map(|(release, suite)| Shape::ALL.map(|shape| (*release, *suite, shape))).collect();
    let wanted: Vec<usize> = if all { (0..machines.len()).collect() } else { SAMPLE.to_vec() };
    let (begun, next) = (Instant::now(), AtomicUsize::new(0));
    let rows: Mutex<Vec<(usize, Rows)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(index) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (release, suite, shape) = machines[*index];
                    let Some(subject) = Subject::start(suite, shape) else { return };
                    let done = rows_of(&subject, release, shape, *index, all);
                    eprintln!("{release}, {}: {} cells, {} failures", shape.name(), done.cells, done.failures.len());
                    rows.lock().unwrap().push((*index, done));
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|(index, _)| *index);
    if rows.is_empty() {
        // Said already: not root.
        return;
    }
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
    println!("lock-out matrix: {cells} cells, {} failures, {} s", failures.len(), begun.elapsed().as_secs());
    assert!(failures.is_empty() && cells > 20, "{} of {cells} cells failed", failures.len());
}

fn rows_of(subject: &Subject, release: &str, shape: Shape, index: usize, all: bool) -> Rows {
    let mut rows = Rows { text: String::new(), cells: 0, failures: Vec::new() };
    for (which, task) in Task::ALL.into_iter().enumerate() {
        write!(rows.text, "{:44}", format!("{release}  {}, {}", shape.name(), task.name())).unwrap();
        subject.restore(subject.base_of(task));
        for (column, condition) in Condition::all().into_iter().enumerate() {
            let mark = if !cell::exists(task, condition) {
                "-"
            } else if all || (column + which * 4 + index * 5).is_multiple_of(ONE_IN) {
                rows.cells += 1;
                // The watchdog is alive in one half of the cells.
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
