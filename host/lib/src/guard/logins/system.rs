//! Files other than sshd's own that decide about logins.

use std::path::Path;

/// Files, and directories of such files.
const SYSTEM: [&str; 35] = [
    // The options that sshd starts with.
    "/etc/conf.d/ssh",
    "/etc/conf.d/sshd",
    "/etc/default/ssh",
    "/etc/default/sshd",
    "/etc/group",
    "/etc/hosts.allow",
    "/etc/hosts.deny",
    "/etc/hosts.equiv",
    "/etc/krb5.conf",
    "/etc/krb5.conf.d",
    "/etc/krb5.keytab",
    // Every program, sshd included, loads the libraries that this file names.
    "/etc/ld.so.preload",
    "/etc/login.access",
    "/etc/master.passwd",
    "/etc/nologin",
    "/etc/nslcd.conf",
    "/etc/nsswitch.conf",
    "/etc/pam.conf",
    "/etc/pam.d",
    "/etc/passwd",
    "/etc/security",
    "/etc/shadow",
    "/etc/shells",
    "/etc/ssh/shosts.equiv",
    "/etc/sssd",
    "/etc/sysconfig/sshd",
    "/etc/userdb",
    "/run/nologin",
    "/run/userdb",
    "/usr/etc/nsswitch.conf",
    "/usr/etc/pam.d",
    "/usr/etc/security",
    "/usr/lib/pam.d",
    "/usr/local/etc/pam.d",
    "/var/run/nologin",
];
/// Names of files in a user's home. They count in any directory, since homes may be anywhere.
const OF_A_USER: [&str; 4] = [".k5login", ".k5users", ".rhosts", ".shosts"];
/// The lists of hosts whose word sshd takes for their users, where `HostbasedAuthentication` is on.
const KNOWN_HOSTS: [&str; 4] =
    ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2", ".ssh/known_hosts", ".ssh/known_hosts2"];

/// Whether a file decides who gets in. `hostbased`: `HostbasedAuthentication` is on for some connection.
pub(super) fn decides(path: &Path, hostbased: bool) -> bool {
    SYSTEM.iter().any(|system| path.starts_with(system))
        || OF_A_USER.iter().any(|name| path.ends_with(name))
        || hostbased && KNOWN_HOSTS.iter().any(|name| path.ends_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_is_known_by_its_name() {
        for (path, without, with_hostbased) in [
            ("/etc/pam.d/sshd", true, true),
            ("/usr/lib/pam.d/sshd", true, true),
            ("/etc/pam.conf", true, true),
            ("/run/nologin", true, true),
            ("/etc/nsswitch.conf", true, true),
            ("/etc/sssd/conf.d/x.conf", true, true),
            ("/etc/krb5.conf.d/x", true, true),
            ("/etc/default/ssh", true, true),
            ("/etc/sysconfig/sshd", true, true),
            ("/run/userdb/x.user", true, true),
            ("/etc/default/sshguard", false, false),
            ("/etc/krb5.keytab", true, true),
            ("/etc/ssh/shosts.equiv", true, true),
            ("/etc/ld.so.preload", true, true),
            ("/root/.k5login", true, true),
            ("/srv/people/ann/.shosts", true, true),
            ("/home/ann/.rhosts", true, true),
            ("/etc/ssh/ssh_known_hosts", false, true),
            ("/home/ann/.ssh/known_hosts", false, true),
            ("/etc/pam.d.orig/sshd", false, false),
            ("/etc/ssh/ssh_host_rsa_key-cert.pub", false, false),
            ("/home/ann/.ssh/config", false, false),
            ("/etc/cron.d/warded", false, false),
        ] {
            let path = Path::new(path);
            assert_eq!((decides(path, false), decides(path, true)), (without, with_hostbased), "{}", path.display());
        }
    }
}
