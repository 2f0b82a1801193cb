//! `componentize CORE.wasm POLICY.toml DIRECTORY`: makes `DIRECTORY/NAME.wasm`, the component, and
//! `DIRECTORY/NAME.toml`, its policy bound to the component's digest. NAME is the policy's.
//!
//! It refuses what the host would refuse later: an import from outside `warded:host`, and a policy with a procedure
//! that the component does not export.

mod component;
mod policy;

use policy::Policy;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

/// Why no component was made.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("usage: componentize CORE.wasm POLICY.toml DIRECTORY")]
    Usage,
    #[error("{path}: {cause}")]
    File { path: String, cause: std::io::Error },
    #[error("{path}: {cause}")]
    Policy { path: String, cause: policy::Invalid },
    #[error("{path}: {cause}")]
    Component { path: String, cause: component::Invalid },
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("componentize: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String, Failure> {
    let [core_path, policy_path, directory] = arguments else {
        return Err(Failure::Usage);
    };
    let core = read(core_path)?;
    let text = read(policy_path)?;
    let policy = Policy::parse(&text).map_err(|cause| Failure::Policy { path: policy_path.clone(), cause })?;
    let component =
        component::make(&core, &policy).map_err(|cause| Failure::Component { path: core_path.clone(), cause })?;
    write(&Path::new(directory).join(format!("{}.wasm", policy.name)), &component.bytes)?;
    write(&Path::new(directory).join(format!("{}.toml", policy.name)), policy.bound_to(&component.bytes).as_bytes())?;
    Ok(component.report(&policy.name))
}

fn read(path: &str) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|cause| Failure::File { path: path.to_owned(), cause })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(path, bytes).map_err(|cause| Failure::File { path: path.display().to_string(), cause })
}
