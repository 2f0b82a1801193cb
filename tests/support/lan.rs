//! A network of several booted machines, and of servers beside them.

use super::{booted::Booted, enclosure::Enclosure, network::Network, run::Run};
use std::{fs, process::Command};

/// Machines connected by a switch. The switch has an address, too, on which the test's servers can listen.
#[derive(Debug)]
pub(crate) struct Lan {
    switch: Enclosure,
    machines: u8,
}

impl Lan {
    /// The address of servers in [`Lan::network`].
    pub(crate) const HUB: &str = "10.77.0.1";

    /// Creates a network without machines. Needs root.
    pub(crate) fn new() -> Self {
        let lan = Self { switch: Enclosure::beside(), machines: 1 };
        ip(&lan.network(), &["link", "add", "lan", "type", "bridge"]);
        begins(&lan.network(), Self::HUB);
        lan
    }

    /// The switch's own network.
    pub(crate) fn network(&self) -> Network {
        self.switch.network()
    }

    /// Connects a machine and returns its address. It stays connected when it boots again.
    pub(crate) fn connects(&mut self, machine: &Booted) -> String {
        self.machines += 1;
        let number = self.machines;
        let (port, address) = (format!("port{number}"), format!("10.77.0.{number}"));
        let cable = ["link", "add", &port, "netns", self.switch.first_process(), "type", "veth", "peer", "name", "lan"];
        Run::of(Command::new("ip").args(cable).args(["netns", machine.keeper()])).ends(0);
        ip(&self.network(), &["link", "set", &port, "master", "lan", "up"]);
        begins(&machine.network(), &address);
        address
    }

    /// Adds these names to the ones that a machine resolves.
    pub(crate) fn names(machine: &Booted, names: &[(&str, &str)]) {
        let lines: String = names.iter().map(|(address, name)| format!("{address} {name}\n")).collect();
        fs::write(machine.file("/etc/hosts"), format!("127.0.0.1 localhost\n{lines}")).unwrap();
    }
}

fn begins(network: &Network, address: &str) {
    ip(network, &["address", "add", &format!("{address}/24"), "dev", "lan"]);
    ip(network, &["link", "set", "lan", "up"]);
}

fn ip(network: &Network, words: &[&str]) {
    Run::of(network.command("ip").args(words)).ends(0);
}
