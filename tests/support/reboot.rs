//! A machine in namespaces loses its power and starts again: all of its processes end at once, `/run` is empty, and the
//! kernel calls this another boot.

use super::{peer::Peer, run::Run};

/// Spares this shell, and what keeps the namespaces: the first process and the cat(1) with which it waits.
const CUT: &str = "
    for process in /proc/[0-9]*; do
        pid=${process#/proc/}
        case $pid:$(cat $process/comm 2>/dev/null || :) in
        1:* | $$:* | *:cat | *:) ;;
        *) kill -9 $pid 2>/dev/null || : ;;
        esac
    done
    boot=/proc/sys/kernel/random/boot_id
    umount $boot 2>/dev/null || :
    rm -rf /run/*
    mkdir /run/sshd
    cat /proc/sys/kernel/random/uuid >/run/boot_id
    mount --bind /run/boot_id $boot";

impl Peer {
    /// Cuts the power, and starts the machine up to where its init starts services: none runs yet.
    pub(crate) fn loses_power(&self) {
        Run::of(self.command("sh").args(["-ec", CUT])).ends(0);
        assert!(self.processes().is_empty(), "Warded runs on");
    }
}
