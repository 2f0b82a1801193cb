//! Where the servers of a test listen and are asked: in the network of a test machine, or in this machine's own.

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::{
    ffi::OsStr,
    fs::File,
    net::{Ipv4Addr, TcpListener},
    os::fd::AsFd as _,
    panic::resume_unwind,
    process::Command,
    thread,
};

/// A network; by default this machine's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    inner: Option<String>,
}

impl Network {
    /// The network namespace of a process, by its ID.
    pub(crate) fn of_process(process: &str) -> Self {
        Self { inner: Some(process.to_owned()) }
    }

    /// A command for a program that is in this network and sees this machine's files. It ends with the network.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let Some(inner) = &self.inner else { return Command::new(program) };
        let mut command = Command::new("nsenter");
        command.args(["--target", inner, "--net", "--pid", "--"]).arg(program);
        command
    }

    /// Runs a closure that uses sockets. The sockets that it makes stay in this network, whoever uses them.
    pub(crate) fn on<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let Some(inner) = &self.inner else { return act() };
        let name_space = File::open(format!("/proc/{inner}/ns/net")).unwrap();
        // Only the calling thread changes its namespace, so a thread of its own does this and then ends.
        let moved = || {
            move_into_link_name_space(name_space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            act()
        };
        thread::scope(|scope| scope.spawn(moved).join()).unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// A port of the loopback interface on which nothing listens.
    pub(crate) fn free_port(&self) -> u16 {
        self.on(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port())
    }
}
