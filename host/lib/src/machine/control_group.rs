//! Which service a process belongs to. When the main process of a service ends, systemd ends all its other processes,
//! whatever session they are in, unless the service says otherwise.

use std::fs;

/// The outermost service that this process is in; none in a scope, such as a login's.
#[must_use]
pub fn service() -> Option<String> {
    service_in(&fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// The same for another process.
#[must_use]
pub fn service_of(pid: i32) -> Option<String> {
    service_in(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

/// Finds the service in the text of `/proc/PID/cgroup`, version 1 or 2.
fn service_in(cgroup: &str) -> Option<String> {
    // With both versions mounted, systemd's hierarchy of version 1 has the path, and version 2 shows only `/`.
    let paths = cgroup.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        matches!(controllers, "" | "name=systemd").then_some(path)
    });
    paths.flat_map(|path| path.split('/')).find(|part| part.ends_with(".service")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_told_from_a_login() {
        for (cgroup, expected) in [
            ("0::/system.slice/run-u7.service\n", Some("run-u7.service")),
            ("0::/system.slice/system-sshd.slice/sshd@1.service\n", Some("sshd@1.service")),
            ("0::/lobby.slice/lobby-door.slice/door.service\n", Some("door.service")),
            // Processes of the service in control groups of its own.
            ("0::/system.slice/door.service/init\n", Some("door.service")),
            ("0::/system.slice/door.service/system.slice/inner.service\n", Some("door.service")),
            // A terminal of a desktop ends together with all programs of the user.
            ("0::/user.slice/user-7.slice/user@7.service/app.slice/app-term.scope\n", Some("user@7.service")),
            ("0::/user.slice/user-7.slice/user@7.service/app.slice/x.service\n", Some("user@7.service")),
            ("12:cpu:/\n1:name=systemd:/system.slice/cron.service\n0::/\n", Some("cron.service")),
            ("12:cpu:/system.slice/cron.service\n1:name=systemd:/\n0::/\n", None),
            ("0::/user.slice/user-0.slice/session-3.scope\n", None),
            ("0::/system.slice/run-r1f.scope\n", None),
            ("0::/system.slice/services/x.services\n", None),
            ("0::/\n", None),
            ("0:\n:::\n", None),
            ("", None),
        ] {
            assert_eq!(service_in(cgroup).as_deref(), expected, "{cgroup}");
        }
    }
}
