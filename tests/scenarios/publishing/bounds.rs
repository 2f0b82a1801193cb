//! What an offered component may cost before it is refused: time, and memory for each process.

use super::Desk;
use crate::support::{
    Run, missing,
    odd::{composed, every_local_in_every_loop},
    policy,
    script::Script,
};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};
use warded_lib::digest::Digest;

/// The compiler may use 60 s of CPU time, and on a busy machine it may take longer to get that.
const PATIENCE: Duration = Duration::from_secs(300);
/// The compiler's memory limit, and the size of its program.
const MEMORY_KIB: u64 = (512 + 256) << 10;
/// Runs a command, and prints at the end how many KiB its largest process used.
const MEASURED: &str = "import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
";

fn add(desk: &Desk, file: &Path) -> Run {
    let digest = Digest::of(&fs::read(file).unwrap()).to_string();
    let words = ["policy", "add", file.to_str().unwrap(), "--yes", "--digest", &digest];
    let mut command = desk.machine.command("python3");
    command.args(["-c", MEASURED, env!("CARGO_BIN_EXE_warded")]);
    desk.machine.environment(&mut command).args(words);
    let begun = Instant::now();
    let run = desk.recorded(&words, || Run::of(&mut command));
    let memory: u64 = run.stderr.trim().lines().last().unwrap().parse().unwrap();
    eprintln!("{}: {:?}, {memory} KiB", file.display(), begun.elapsed());
    assert!(begun.elapsed() < PATIENCE, "{run:?}");
    assert!(memory < MEMORY_KIB, "{memory} KiB: {run:?}");
    run
}

#[test]
fn what_costs_too_much_is_refused_within_bounds() {
    if missing::program("python3", "python3") {
        return;
    }
    let desk = Desk::new();
    let file = desk.path("large.wasm");
    let is_refused = |bytes: &[u8], why: &[&str]| {
        fs::write(&file, bytes).unwrap();
        add(&desk, &file).ends(5).says(why);
        assert_eq!(desk.policies(), [], "{why:?}");
    };
    let request = "name = \"mine\"\nversion = \"1.0.0\"\n[procedure.go]\nsummary = \"s\"\n";
    let mut script = Script::new("/");
    script.field(&every_local_in_every_loop(1500, 1500));
    is_refused(
        &policy::asking(&script.component(), request),
        &["the component cannot be compiled", "the compiler has 512 MiB of memory and 60 s of a processor"],
    );
    is_refused(&vec![0; (16 << 20) + 1], &["large.wasm is larger than such a file may be", "the limit is 16384 KiB"]);
    is_refused(&vec![0; 16 << 20], &["this is not a WebAssembly component"]);
    // A composed component is compiled. Before anybody confirms, Warded says that it cannot follow the calls.
    fs::write(&file, policy::asking(&composed(), request)).unwrap();
    add(&desk, &file).ends(5).says(&["nobody has signed this component"]);
    let audited = desk.run(&["audit", file.to_str().unwrap()]).ends(0);
    audited.prints(&["counts as calling all 0 functions that the component imports: it contains another component"]);
    let many = format!("(component {})", "(core module)".repeat(1001));
    is_refused(&wat::parse_str(many).unwrap(), &["too many modules and components within", "the limit is 1000"]);
}

/// Names that look like a path or like another name, and texts that a terminal interprets.
#[test]
fn a_request_that_is_not_valid_is_refused_in_words() {
    let desk = Desk::new();
    let file = desk.path("odd.wasm");
    for (name, why) in [
        ("\"../mine\"", "is not a name"),
        ("\"m\\u0456ne\"", "is not a name"),
        ("\"mi\\u202Ene\"", "terminal"),
        ("\"mi\\u001Bne\"", "terminal"),
        ("\"MINE\"", "is not a name"),
        ("\"\"", "is not a name"),
    ] {
        let request = format!("name = {name}\nversion = \"1.0.0\"\n[procedure.go]\nsummary = \"s\"\n");
        fs::write(&file, policy::asking(&Script::new("/").component(), &request)).unwrap();
        let run = desk.add(&file, &[]).ends(5).says(&["the component's request is not valid", why]);
        assert!(run.stderr.lines().all(warded_lib::text::is_neutral), "{:?}", run.stderr);
        assert_eq!(desk.policies(), [], "{name}");
    }
}

/// Nobody can tell which of two requests a publisher meant.
#[test]
fn a_component_with_two_requests_is_not_added() {
    let desk = Desk::new();
    let file = desk.signed("1.0.0", &[]);
    let request = b"\x0dwarded:policyname = 'mine'\n";
    let section = [&[0, u8::try_from(request.len()).unwrap()][..], request].concat();
    fs::write(&file, [fs::read(&file).unwrap(), section].concat()).unwrap();
    desk.add(&file, &[]).ends(5).says(&["the component carries more than one request"]);
    assert_eq!(desk.policies(), []);
}

/// The audit log says what was refused and why, and so does the system log.
#[test]
fn a_refusal_is_on_record() {
    if missing::root() {
        return;
    }
    let desk = Desk::new();
    let file = desk.component("1.0.0", &[]);
    let system_log = desk.machine.system_log();
    desk.add(&file, &[]).ends(5);
    let line = system_log.recv_timeout(Duration::from_secs(30)).unwrap();
    let told =
        format!("policy.add {} (policy mine): refused: nobody has signed this component [audit ", file.display());
    assert!(line.starts_with("<84>warded[") && line.contains(&told), "{line}");
    let record = desk.machine.audit().pop().unwrap();
    let shown = (&record["kind"], &record["capability"], &record["need"]);
    assert_eq!(shown, (&"failed".into(), &"policy.add".into(), &file.to_str().unwrap().into()));
    assert_eq!(record["detail"], "refused: nobody has signed this component");
    assert_eq!(record["policy"], "mine");
    let log = desk.run(&["audit", "log", "--capability", "policy"]).ends(0).stdout;
    assert!(log.contains("policy.add") && log.contains("refused: nobody has signed"), "{log}");
}
