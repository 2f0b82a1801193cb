//! Trust: people's certificates on a server, and the CA on a client.

use crate::support::{Peer, screen::Screens};

#[test]
#[expect(clippy::too_many_lines, reason = "the screens, as they are")]
fn of_trust() {
    let Some(peer) = Peer::start("bookworm", "") else { return };
    let mut screens = Screens::by_default();
    for line in [
        "plan trust-user-ca",
        "apply trust-user-ca --yes",
        "apply trust-user-ca --yes --accept-risk=root-by-certificate",
        "apply trust-user-ca --yes --accept-risk=root-by-certificate",
        "apply revoke-users --yes --set serial=7",
        "apply trust-host-ca --yes",
        "apply trust-host-ca --yes --set domain=*",
        "plan trust-host-ca --set domain=*.example.org",
        "apply trust-host-ca --yes --set domain=*.example.org",
        "status",
        "undo --yes --plan",
        "undo --plan",
        "remove --yes --accept-risk=lose-ssh",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        screens.keep(line, &peer.warded(&words));
    }
    insta::assert_snapshot!(screens.seen(), @r#"
    $ warded plan trust-user-ca
    OS · OpenSSH 9.2 · init none · policy unix 0.1.0 (bundled)
    + /etc/ssh/warded-user-ca.pub
        +ssh-ed25519 AAAA…
    + /etc/ssh/sshd_config.d/50-warded-trust-user-ca.conf
        +# Managed by Warded (policy unix, trust-user-ca). `warded undo` takes it out.
        +TrustedUserCAKeys /etc/ssh/warded-user-ca.pub
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    note: From then on, whoever has a certificate of this CA with a user's name as a principal can log in as that user, unless a line about that user says otherwise.
    trust-user-ca would change 2 files. Nothing has been changed.
    Found out: by certificates of this CA sshd would let in root.
    Found out: root logged in by a certificate of a temporary CA in place of this one, and not by one of another CA.
    Would not be proved: what PAM would say of these users (an account that is locked or has expired, a rule of pam_access).
    A certificate with the principal root would log in as root: `apply` refuses that without --accept-risk=root-by-certificate.
    [3]

    $ warded apply trust-user-ca --yes
    OS · OpenSSH 9.2 · init none · policy unix 0.1.0 (bundled)
    + /etc/ssh/warded-user-ca.pub
        +ssh-ed25519 AAAA…
    + /etc/ssh/sshd_config.d/50-warded-trust-user-ca.conf
        +# Managed by Warded (policy unix, trust-user-ca). `warded undo` takes it out.
        +TrustedUserCAKeys /etc/ssh/warded-user-ca.pub
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    note: From then on, whoever has a certificate of this CA with a user's name as a principal can log in as that user, unless a line about that user says otherwise.
    refused: a certificate with the principal root would log in as root
    cause: the CA may give a person such a certificate, for example for a mail address that begins with root@
    state: nothing was changed
    next:  keep root out (PermitRootLogin no), or say which principals are root's (AuthorizedPrincipalsFile)
    next:  if that is what you want, run it again with --accept-risk=root-by-certificate
    [5]

    $ warded apply trust-user-ca --yes --accept-risk=root-by-certificate
    OS · OpenSSH 9.2 · init none · policy unix 0.1.0 (bundled)
    + /etc/ssh/warded-user-ca.pub
        +ssh-ed25519 AAAA…
    + /etc/ssh/sshd_config.d/50-warded-trust-user-ca.conf
        +# Managed by Warded (policy unix, trust-user-ca). `warded undo` takes it out.
        +TrustedUserCAKeys /etc/ssh/warded-user-ca.pub
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    note: From then on, whoever has a certificate of this CA with a user's name as a principal can log in as that user, unless a line about that user says otherwise.
    Done.
    Proved beforehand: clients that pinned a plain key (ssh-rsa, ecdsa-sha2-nistp256, ssh-ed25519) get in, root can log in.
    Proved beforehand: by certificates of this CA sshd lets in root.
    Proved beforehand: root logged in by a certificate of a temporary CA in place of this one, and not by one of another CA.
    Not proved: what PAM would say of these users (an account that is locked or has expired, a rule of pam_access).
    Seen live: the plain keys are offered as before.
    Undo it with: warded undo  (run 2)
    [0]

    $ warded apply trust-user-ca --yes --accept-risk=root-by-certificate
    OS · OpenSSH 9.2 · init none · policy unix 0.1.0 (bundled)
    note: From then on, whoever has a certificate of this CA with a user's name as a principal can log in as that user, unless a line about that user says otherwise.
    Nothing to do.
    [0]

    $ warded apply revoke-users --yes --set serial=7
    OS · OpenSSH 9.2 · init none · policy unix 0.1.0 (bundled)
    + /etc/ssh/warded-revoked.krl
    + /etc/ssh/sshd_config.d/50-warded-revoke-users.conf
        +# Managed by Warded (policy unix, revoke-users). `warded undo` takes it out.
        +RevokedKeys /etc/ssh/warded-revoked.krl
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    Done.
    Proved beforehand: clients that pinned a plain key (ssh-rsa, ecdsa-sha2-nistp256, ssh-ed25519) get in.
    Seen live: the plain keys are offered as before.
    Undo it with: warded undo  (run 4)
    [0]

    $ warded apply trust-host-ca --yes
    error: trust-host-ca needs the setting domain: the names of hosts that the CA certifies, such as *.example.org
    state: nothing was changed
    next:  --set domain=…
    [2]

    $ warded apply trust-host-ca --yes --set domain=*
    OS · OpenSSH 9.2 · init none · policy unix 0.1.0 (bundled)
    + /etc/ssh/ssh_known_hosts
        +@cert-authority * ssh-ed25519 AAAA… warded trust-host-ca /root/ca
    note: Set up clients first: once a host presents a certificate, Go programs that know the host's plain key, but not this CA, refuse the host (golang/go#00000).
    warning: * is not limited to one domain: this CA could impersonate every host that it matches, such as github.com.
    refused: the CA would be trusted for *, which is not limited to one domain
    cause: whoever holds the CA's key could impersonate every host that the pattern covers, such as github.com
    state: nothing was changed
    next:  name your own domain: --set domain='*.example.org'; list IP addresses one by one
    next:  if you want that, run it again with --accept-risk=any-host
    [5]

    $ warded plan trust-host-ca --set domain=*.example.org
    OS · init none · policy unix 0.1.0 (bundled)
    + /etc/ssh/ssh_known_hosts
        +@cert-authority *.example.org ssh-ed25519 AAAA… warded trust-host-ca /root/ca
    note: Set up clients first: once a host presents a certificate, Go programs that know the host's plain key, but not this CA, refuse the host (golang/go#00000).
    trust-host-ca would change 1 file. Nothing has been changed.
    [3]

    $ warded apply trust-host-ca --yes --set domain=*.example.org
    OS · OpenSSH 9.2 · init none · policy unix 0.1.0 (bundled)
    + /etc/ssh/ssh_known_hosts
        +@cert-authority *.example.org ssh-ed25519 AAAA… warded trust-host-ca /root/ca
    note: Set up clients first: once a host presents a certificate, Go programs that know the host's plain key, but not this CA, refuse the host (golang/go#00000).
    Done.
    Proved beforehand: ssh trusts the CA for *.example.org, and for no other name.
    Undo it with: warded undo  (run 7)
    [0]

    $ warded status
    HOST · OS · OpenSSH 9.2
    host key     ssh-rsa              no certificate
    host key     ecdsa-sha2-nistp256  no certificate
    host key     ssh-ed25519          no certificate
    user CA      SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ssh-ed25519 · trusted by sshd's list /etc/ssh/warded-user-ca.pub
    enrolled     no: warded apply certify-host --set principal=NAME
    problems     none
    [0]

    $ warded undo --yes --plan
    error: the argument '--yes' cannot be used with '--plan'

    Usage: warded undo --yes --ca <DIR|NAME> [RUN]

    For more information, try '--help'.
    [2]

    $ warded undo --plan
    Undoing run 7 (unix trust-host-ca by root, 0 s ago, at 00:00 UTC)
    - /etc/ssh/ssh_known_hosts
        -@cert-authority *.example.org ssh-ed25519 AAAA… warded trust-host-ca /root/ca
    Nothing has been changed.
    [3]

    $ warded remove --yes --accept-risk=lose-ssh
    Undoing run 7 (unix trust-host-ca by root, 0 s ago, at 00:00 UTC) and all before it, down to run 2 (unix trust-user-ca by root, 0 s ago, at 00:00 UTC)
    - /etc/ssh/ssh_known_hosts
        -@cert-authority *.example.org ssh-ed25519 AAAA… warded trust-host-ca /root/ca
    - /etc/ssh/warded-revoked.krl
    - /etc/ssh/sshd_config.d/50-warded-revoke-users.conf
        -# Managed by Warded (policy unix, revoke-users). `warded undo` takes it out.
        -RevokedKeys /etc/ssh/warded-revoked.krl
    - /etc/ssh/warded-user-ca.pub
        -ssh-ed25519 AAAA…
    - /etc/ssh/sshd_config.d/50-warded-trust-user-ca.conf
        -# Managed by Warded (policy unix, trust-user-ca). `warded undo` takes it out.
        -TrustedUserCAKeys /etc/ssh/warded-user-ca.pub
    > reload ssh (ssh.service or sshd.service; else SIGHUP to sshd)
    Removed: 5 files as before Warded.
    Not proved: what PAM would say of these users (an account that is locked or has expired, a rule of pam_access).
    The log of what Warded did stays in /var/lib/warded: delete that directory when you no longer need it.
    Other users remove the certificates of their own logins with `warded logout`.
    [0]
    "#);
}
