//! The `warded` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    warded::cli::main()
}
