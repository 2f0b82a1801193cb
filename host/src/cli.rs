//! The command line: one command per file. Each file defines what the user sees; the work is done elsewhere.

mod apply;
mod audit;
mod bootstrap;
mod ca;
#[cfg(feature = "compiler")]
mod compile;
mod completions;
mod configuration;
mod confirm;
mod demo;
mod doctor;
mod enrol;
mod examples;
mod history;
mod identification;
mod invite;
mod known_hosts;
mod login;
mod logout;
mod man;
mod next_steps;
mod outlook;
pub mod output;
mod plan;
mod policy;
pub mod progress;
mod prometheus;
mod record;
mod recover;
mod rekey;
mod remove;
mod renew;
mod report;
mod revoke;
mod risk;
mod root_fingerprint;
mod settings_file;
mod ssh_config;
mod status;
mod token;
mod trust;
mod undo;
mod unenrol;
mod verify;
mod version;
mod watchdog;

use crate::{
    context::{Context, HangHandler, Options, ca_name},
    pipeline::announce::announce,
};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use identification::Identification;
use output::{ColorChoice, Failure, Output, Verbosity};
use std::{
    env,
    ffi::OsString,
    path::PathBuf,
    process::{self, ExitCode},
};
use warded_lib::{
    ca::step,
    error::{Error, Exit},
    machine::{core_dump, exec, memory, signals, umask},
};

/// SSH certificates on every machine, by sandboxed procedures that can be planned, proved and undone.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// Warded's configuration file
    #[arg(long, global = true, env = "WARDED_CONFIG", value_name = "FILE", help_heading = "Paths")]
    config: Option<PathBuf>,
    /// Directory of state, journal and audit
    #[arg(long, global = true, env = "WARDED_STATE", value_name = "DIR", help_heading = "Paths")]
    state: Option<PathBuf>,
    /// Directory of your own policies
    #[arg(long, global = true, env = "WARDED_POLICIES", value_name = "DIR", help_heading = "Paths")]
    policies: Option<PathBuf>,
    /// sshd's main configuration file
    #[arg(long, global = true, env = "WARDED_SSHD_CONFIG", value_name = "FILE", help_heading = "Paths")]
    sshd_config: Option<PathBuf>,
    /// The sshd program, if it is not the one that runs or the one in PATH
    #[arg(long, global = true, env = "WARDED_SSHD", value_name = "FILE", help_heading = "Paths")]
    sshd: Option<PathBuf>,
    /// Directory of a local CA, or the name of one that `bootstrap --name` configured
    #[arg(long, global = true, env = "WARDED_CA", value_name = "DIR|NAME", help_heading = "Paths")]
    ca: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Print only errors; for commands that change something
    #[arg(long, short, global = true, conflicts_with = "verbose", help_heading = "Output")]
    quiet: bool,
    /// Also print each step, and the programs that Warded starts
    #[arg(long, short, global = true, help_heading = "Output")]
    verbose: bool,
    /// When to colour the output
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", help_heading = "Output")]
    color: ColorChoice,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Trust a step-ca: fetch its root by fingerprint, and pin it
    Bootstrap(bootstrap::Bootstrap),
    /// On the admin's machine, make the code with which another machine enrols itself
    Invite(invite::Invite),
    /// Trust a CA and get certificates for this machine, with a code from `warded invite`
    Enrol(enrol::Enrol),
    /// Show what a procedure would change, and change nothing
    Plan(plan::Plan),
    /// Run a procedure: show, ask, prove, change, prove again
    Apply(apply::Apply),
    /// Renew the certificates that are due
    Renew(renew::Renew),
    /// Replace the certified host keys with new ones, and get certificates for them
    Rekey(rekey::Rekey),
    /// Stop renewing the certificates of an sshd
    Unenrol(unenrol::Unenrol),
    /// Show this machine's certificates and whether they are served
    Status(status::Status),
    /// List the runs: who ran what and when, the result, and how to undo it
    History(history::History),
    /// Undo the newest run and the renewals since, byte for byte; run it again for the run before
    Undo(undo::Undo),
    /// Undo everything that Warded changed here, and stop renewing
    Remove(remove::Remove),
    /// From a new login, keep what `apply --confirm-within` has changed
    Confirm(confirm::Confirm),
    /// Roll back what an interrupted run left (runs at boot)
    Recover(recover::Recover),
    /// Report what procedures can do, may do and did
    Audit(audit::Audit),
    /// List, test, publish and add policies: procedures and what they may do
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Show the certificate authority, or make one
    #[command(subcommand)]
    Ca(ca::Ca),
    /// Find what is wrong with this machine and its CA, and say how to correct it
    Doctor(doctor::Doctor),
    /// Make one-time tokens, so that a machine needs no password for the CA
    Token(token::Token),
    /// Get a certificate for yourself, and put it into your ssh-agent or into files
    Login(login::Login),
    /// Take Warded's certificates out of your ssh-agent, and remove their files
    Logout(logout::Logout),
    /// Print the line for ssh_config that makes ssh run `warded login` when needed
    SshConfig(ssh_config::SshConfig),
    /// Check from outside, without a login, that machines present certificates that clients accept
    Verify(verify::Verify),
    /// Tell the CA to stop renewing a certificate
    Revoke(revoke::Revoke),
    /// On the CA, print the fingerprint of its root certificate
    RootFingerprint(root_fingerprint::RootFingerprint),
    /// Show everything on a private sshd, without changing this machine
    Demo(demo::Demo),
    /// Check the configuration
    #[command(subcommand)]
    Config(configuration::ConfigCommand),
    /// Print completions for a shell
    Completions(completions::Completions),
    /// Write the manual pages
    Man(man::Man),
    /// Show the version and the parts of this program
    Version(version::Version),
    #[command(hide = true)]
    Watchdog(watchdog::Watchdog),
    #[cfg(feature = "compiler")]
    #[command(hide = true)]
    Compile(compile::Compile),
}

impl Command {
    /// Whether the command's purpose is an effect, so that its output is secondary and `--quiet` can suppress it.
    fn is_effect(&self) -> bool {
        let other =
            matches!(self, Self::Bootstrap(_) | Self::Enrol(_) | Self::Revoke(_) | Self::Login(_) | Self::Logout(_));
        other || self.is_run()
    }

    /// Whether the command changes how the CA knows this machine. Such a command uses the CA that has no name.
    fn is_for_machine(&self) -> bool {
        matches!(self, Self::Plan(_) | Self::Apply(_) | Self::Enrol(_) | Self::Renew(_) | Self::Rekey(_))
    }

    /// Whether the command runs a guest, so that Warded first checks that there is enough memory. Commands that only
    /// read, confirm or restore a machine do what they can without this check.
    fn is_with_memory(&self) -> bool {
        if let Self::Policy(command) = self {
            return command.is_with_memory();
        }
        matches!(
            self,
            Self::Plan(_)
                | Self::Apply(_)
                | Self::Enrol(_)
                | Self::Renew(_)
                | Self::Rekey(_)
                | Self::Unenrol(_)
                | Self::Remove(_)
        )
    }

    /// Whether it may change the public status.
    fn is_run(&self) -> bool {
        matches!(
            self,
            Self::Apply(_)
                | Self::Enrol(_)
                | Self::Renew(_)
                | Self::Rekey(_)
                | Self::Unenrol(_)
                | Self::Undo(_)
                | Self::Remove(_)
                | Self::Confirm(_)
                | Self::Recover(_)
        )
    }
}

/// Runs the command line and gives its exit code.
#[must_use]
pub fn main() -> ExitCode {
    core_dump::forbid();
    umask::spare_owner();
    drop(signals::outlive_file_sizes());
    completions::answer();
    let parsed = definition().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let Cli { global, command } = match parsed {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(misused(&error, env::args_os()).code()),
    };
    let verbosity = match (global.quiet && command.is_effect(), global.verbose) {
        (true, _) => Verbosity::Quiet,
        (false, true) => Verbosity::Verbose,
        (false, false) => Verbosity::Usual,
    };
    if verbosity == Verbosity::Verbose {
        exec::watch_programs(|program| output::say(&format!("$ {}", program.shell_line())));
    }
    let output = Output::new(global.json, verbosity, global.color);
    if command.is_with_memory()
        && let Err(error) = memory::refuse_too_little().map_err(Error::or_unchanged)
    {
        output.failure(&error);
        return ExitCode::from(error.exit().code());
    }
    let options = Options {
        config: global.config,
        makes_config: false,
        is_for_machine: command.is_for_machine(),
        state: global.state,
        policies: global.policies,
        sshd_config: global.sshd_config,
        sshd: global.sshd,
        ca: global.ca,
        identification: step::Identification::default(),
        on_hang: on_hang(global.json),
    };
    let open_with = |options: &Options| Context::open(options).map_err(Error::or_unchanged);
    let open_as = |identification: &Identification| {
        open_with(&Options { identification: identification.for_ca(), ..options.clone() })
    };
    let open = || open_as(&Identification::default());
    let is_run = command.is_run();
    let ended = match command {
        Command::Bootstrap(command) => command.run(&options, output),
        Command::Invite(command) => open_as(&command.identification).and_then(|context| command.run(&context, output)),
        Command::Enrol(command) => open_with(&Options { makes_config: true, ..options.clone() })
            .and_then(|context| command.run(&options, context, output)),
        Command::Plan(command) => open().and_then(|context| command.run(&context, output)),
        Command::Apply(command) => open_as(&command.identification).and_then(|context| command.run(&context, output)),
        Command::Renew(command) => open_as(&command.identification).and_then(|context| command.run(&context, output)),
        Command::Rekey(command) => open_as(&command.identification).and_then(|context| command.run(&context, output)),
        Command::Unenrol(command) => open().and_then(|context| command.run(&context, output)),
        Command::Status(command) => command.run(&open, &options, output),
        Command::History(command) => open().and_then(|context| command.run(&context, output)),
        Command::Undo(command) => open().and_then(|context| command.run(&context, output)),
        Command::Remove(command) => open().and_then(|context| command.run(&context, output)),
        Command::Confirm(command) => open().and_then(|context| command.run(&context, output)),
        Command::Recover(command) => command.run(&options, output),
        Command::Audit(command) => command.run(open(), &options, output),
        Command::Policy(command) => command.run(open, &options, output),
        Command::Ca(command) => command.run(&open, output),
        Command::Doctor(command) => open().and_then(|context| command.run(&context, &options, output)),
        Command::Token(command) => open_as(&command.identification).and_then(|context| command.run(&context, output)),
        Command::Login(command) if command.on_demand => {
            Ok(login::Login::run_on_demand(ca_name(&options).as_ref(), |until| {
                // ssh reads the stdout of this process, so nothing else may be printed there.
                let output = Output::new(false, Verbosity::Beside, ColorChoice::Never);
                open_as(&command.identification).and_then(|context| command.run(&context, Some(until), output))
            }))
        }
        Command::Login(command) => {
            open_as(&command.identification).and_then(|context| command.run(&context, None, output))
        }
        Command::Verify(command) => open().and_then(|context| command.run(&context, output)),
        Command::SshConfig(command) => open().and_then(|context| command.run(&context, output)),
        Command::Logout(command) => open().and_then(|context| command.run(&context, output)),
        Command::Revoke(command) => open_as(&command.identification).and_then(|context| command.run(&context, output)),
        Command::RootFingerprint(command) => command.run(output),
        Command::Demo(command) => command.run(&options, output),
        Command::Config(command) => command.run(&options, output),
        Command::Completions(command) => command.run(output),
        Command::Man(command) => command.run(output),
        Command::Version(_) => version::Version::run(&options, output),
        Command::Watchdog(command) => command.run(&options),
        #[cfg(feature = "compiler")]
        Command::Compile(command) => Ok(command.run()),
    };
    if is_run {
        // The run has ended, whether or not its result can be announced.
        drop(announce(&options));
    }
    match ended {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            let error = recover::told(error);
            output.failure(&error);
            ExitCode::from(error.exit().code())
        }
    }
}

/// Handles a command line that clap did not accept, or that asks for help, which clap prints.
fn misused(error: &clap::Error, mut arguments: impl Iterator<Item = OsString>) -> Exit {
    let printed = error.print();
    if !error.use_stderr() {
        return if printed.is_ok() { Exit::Done } else { Exit::Failed };
    }
    // The message for people is printed by now. A program that asked for JSON also gets an object with the same text.
    if arguments.any(|argument| argument == "--json") {
        let text = error.render().to_string();
        let mut paragraphs = text.split("\n\n").map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
        let message = paragraphs.next().unwrap_or_default();
        let told = Error::usage(message.trim_start_matches("error: "));
        let told = paragraphs.filter(|text| !text.is_empty()).fold(told, Error::next);
        drop(Output::new(true, Verbosity::Usual, ColorChoice::Never).object(&Failure::of(&told)));
    }
    Exit::Usage
}

fn definition() -> clap::Command {
    examples::added(Cli::command())
}

fn on_hang(json: bool) -> HangHandler {
    if json { HangHandler(|error| hung(error, true)) } else { HangHandler(|error| hung(error, false)) }
}

/// Ends the process because a host call does not return: the thread that would report the error hangs in that call.
fn hung(error: &Error, json: bool) -> ! {
    Output::new(json, Verbosity::Usual, ColorChoice::Never).failure(&recover::told(error.clone()));
    exec::end_all();
    process::exit(i32::from(error.exit().code()))
}
