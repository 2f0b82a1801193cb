//! Policies and the audit.

use crate::support::{Machine, Setup, machine::NAME, screen::Screens};

#[test]
fn of_policies_and_the_audit() {
    let machine = Machine::with(&Setup { without_rsa: true, ..Setup::default() });
    let mut screens = Screens::of(&machine);
    machine.certify();
    for line in [
        "policy list",
        "policy show unix",
        &format!("plan certify-host --set principal={NAME} --record DIR/recording"),
        "audit unix",
        "audit log --last 3",
        "audit log --denied",
        "audit verify",
        "policy remove unix",
        "policy update DIR/none.wasm",
    ] {
        screens.show(&machine, line);
    }
    insta::assert_snapshot!(screens.seen(), @r#"
    $ warded policy list
    unix 0.1.0  bundled · for this machine
      certify-host     Certify every host key that sshd uses, and have sshd present the certificates
      rekey-host       Replace the host keys that this CA certified, and have the new ones certified
      renew-host       Renew the certificates of this machine's host keys when they are due
      revoke-users     Have sshd refuse user certificates, by their serial numbers
      trust-host-ca    Have ssh on this machine trust the CA for the hosts of a domain
      trust-user-ca    Have sshd accept user certificates of the CA
    [0]

    $ warded policy show unix
    unix 0.1.0 · sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff · bundled
    Certificates for the SSH host keys of a Unix machine with OpenSSH

    certify-host: Certify every host key that sshd uses, and have sshd present the certificates
      --set principal=…  a name that clients will use for this machine, needed, may be repeated
      may  know facts: sshd.config, sshd.directory
      may  write files: {sshd}/sshd_config.d/50-warded.conf, /etc/ssh/sshd_config.d/50-warded.conf, {sshd-config}
      may  use keys, never see them: whatever host keys sshd uses, {sshd}/ssh_host_rsa_key, {sshd}/ssh_host_ecdsa_key, {sshd}/ssh_host_ed25519_key
      may  write certificates: beside those keys
      may  ask the CA, for names that you confirm: roots host, issue host
      may  read sshd's effective configuration
      may  change these keywords of sshd: hostcertificate
      may  have a service reloaded: ssh (ssh.service or sshd.service; else SIGHUP to sshd)
      may  have `warded renew` run every hour
      may  tell you something

    rekey-host: Replace the host keys that this CA certified, and have the new ones certified
      --set key=…  the path of a host key, to replace only that one, may be repeated
      may  read files: /etc/pve/nodes
      may  use keys, never see them: whatever host keys sshd uses
      may  write certificates: beside those keys
      may  ask the CA, for names that you confirm: roots host, rekey host
      may  read sshd's effective configuration
      may  have a service reloaded: ssh (ssh.service or sshd.service; else SIGHUP to sshd)
      may  tell you something

    renew-host: Renew the certificates of this machine's host keys when they are due
      --set principal=…  a name for the certificate of a host key that was replaced, may be repeated
      may  use keys, never see them: whatever host keys sshd uses
      may  write certificates: beside those keys
      may  ask the CA, for names that you confirm: renew host, issue host
      may  read sshd's effective configuration
      may  have a service reloaded: ssh (ssh.service or sshd.service; else SIGHUP to sshd)
      may  tell you something

    revoke-users: Have sshd refuse user certificates, by their serial numbers
      --set serial=…  the serial number of a user certificate, needed, may be repeated
      may  know facts: sshd.config, sshd.directory, sshd.version
      may  read files: {sshd}/sshd_config.d/*, /etc/ssh/sshd_config.d/*
      may  write files: {sshd}/warded-revoked.krl, {sshd}/sshd_config.d/50-warded-revoke-users.conf, {sshd-config}, /etc/ssh/warded-revoked.krl, /etc/ssh/sshd_config.d/50-warded-revoke-users.conf, {sshd}/sshd_config.d/50-warded.conf, /etc/ssh/sshd_config.d/50-warded.conf
      may  ask the CA, for names that you confirm: roots user
      may  read sshd's effective configuration
      may  change these keywords of sshd: revokedkeys
      may  have a service reloaded: ssh (ssh.service or sshd.service; else SIGHUP to sshd)
      may  tell you something

    trust-host-ca: Have ssh on this machine trust the CA for the hosts of a domain
      --set domain=…  the names of hosts that the CA certifies, such as *.example.org, needed, may be repeated
      may  know facts: user.id, home, ca.name
      may  read files: {home}/.ssh/known_hosts2, /etc/ssh/ssh_known_hosts2
      may  write files: {home}/.ssh/known_hosts, /etc/ssh/ssh_known_hosts
      may  ask the CA, for names that you confirm: roots host
      may  read ssh's effective configuration
      may  tell you something

    trust-user-ca: Have sshd accept user certificates of the CA
      --set principals=…  LOGIN=PRINCIPAL[,PRINCIPAL...]: the principals whose certificates log in as LOGIN; or none, may be repeated
      may  know facts: sshd.config, sshd.directory
      may  read files: {sshd}/sshd_config.d/*, /etc/ssh/sshd_config.d/*, {sshd}/*.pub, /etc/ssh/*.pub
      may  write files: {sshd}/warded-user-ca.pub, {sshd}/sshd_config.d/50-warded-trust-user-ca.conf, {sshd-config}, /etc/ssh/warded-user-ca.pub, /etc/ssh/sshd_config.d/50-warded-trust-user-ca.conf, { path = "{sshd}/warded-principals/*", parents = true }, { path = "/etc/ssh/warded-principals/*", parents = true }
      may  ask the CA, for names that you confirm: roots user
      may  read sshd's effective configuration
      may  change these keywords of sshd: trustedusercakeys, authorizedprincipalsfile
      may  have a service reloaded: ssh (ssh.service or sshd.service; else SIGHUP to sshd)
      may  tell you something
    [0]

    $ warded plan certify-host --set principal=web1.example.org --record DIR/recording
    Recorded in /tmp/warded-test-dddddd/recording: it holds what the procedure read.
    OS · OpenSSH 9.2 · init none · policy unix 0.1.0 (bundled)
    warning: Nothing runs `warded renew` automatically: /tmp/warded-test-dddddd/ssh/sshd_config is not the configuration of this machine's own sshd. Run it every hour from cron or a systemd timer (docs/RENEWAL.md).
    Nothing to do.
    [0]

    $ warded audit unix
    unix 0.1.0  bundled · sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
    audit log: 48 records, the first 0 s ago, at 00:00 UTC, chain intact

    certify-host: can call 24 of the 28 functions that the component imports
      reachable requested granted    calls  grant
          ●         ●        ●          2  facts sshd.config
          ●         ●        ●          2  facts sshd.directory
          ●         ●        ●          2  authority roots host
                                           2 × host CA keys
          ●         ●        ●          2  authority issue host
                                           2 × host certificate for web1.example.org
          ●         ●        ●          2  keys sshd-host-keys
                                           2 × the host keys that sshd uses
          ●         ●        ●          -  keys {sshd}/ssh_host_rsa_key
          ●         ●        ●          -  keys {sshd}/ssh_host_ecdsa_key
          ●         ●        ●          -  keys {sshd}/ssh_host_ed25519_key
          ●         ●        ●          6  certificates beside-key
                                           3 × /tmp/warded-test-dddddd/ssh/ssh_host_ecdsa_key-cert.pub
                                           3 × /tmp/warded-test-dddddd/ssh/ssh_host_ed25519_key-cert.pub
          ●         ●        ●          5  files.write {sshd}/sshd_config.d/50-warded.conf
                                           2 × /tmp/warded-test-dddddd/ssh/sshd_config.d
                                           3 × /tmp/warded-test-dddddd/ssh/sshd_config.d/50-warded.conf
          ●         ●        ●          -  files.write /etc/ssh/sshd_config.d/50-warded.conf
          ●         ●        ●          2  files.write {sshd-config}
                                           2 × /tmp/warded-test-dddddd/ssh/sshd_config
          ●         ●        ●          4  sshd.effective
                                           2 × HostCertificate
                                           2 × hostkeyalgorithms
          ●         ●        ●          -  sshd.keywords hostcertificate
          ●         ●        ●          1  services.ssh reload
          ●         ●        ●          2  schedule renew
                                           2 × renewals
          ●         ●        ●          -  log info
          ●         ●        ●          2  log warn
      asked for something in 2 runs: the first 0 s ago, at 00:00 UTC; the last 0 s ago, at 00:00 UTC

    rekey-host: can call 18 of the 28 functions that the component imports
      reachable requested granted    calls  grant
          ●         ●        ●          -  authority roots host
          ●         ●        ●          -  authority rekey host
          ●         ●        ●          -  keys sshd-host-keys
          ●         ●        ●          -  certificates beside-key
          ●         ●        ●          -  files.read /etc/pve/nodes
          ●         ●        ●          -  sshd.effective
          ●         ●        ●          -  services.ssh reload
          ●         ●        ●          -  log warn

    renew-host: can call 17 of the 28 functions that the component imports
      reachable requested granted    calls  grant
          ●         ●        ●          -  authority renew host
          ●         ●        ●          -  authority issue host
          ●         ●        ●          -  keys sshd-host-keys
          ●         ●        ●          -  certificates beside-key
          ●         ●        ●          -  sshd.effective
          ●         ●        ●          -  services.ssh reload
          ●         ●        ●          -  log info
          ●         ●        ●          -  log warn

    revoke-users: can call 10 of the 28 functions that the component imports
      reachable requested granted    calls  grant
          ●         ●        ●          -  facts sshd.config
          ●         ●        ●          -  facts sshd.directory
          ●         ●        ●          -  facts sshd.version
          ●         ●        ●          -  authority roots user
          ●         ●        ●          -  files.read {sshd}/sshd_config.d/*
          ●         ●        ●          -  files.read /etc/ssh/sshd_config.d/*
          ●         ●        ●          -  files.write {sshd}/warded-revoked.krl
          ●         ●        ●          -  files.write {sshd}/sshd_config.d/50-warded-revoke-users.conf
          ●         ●        ●          -  files.write {sshd-config}
          ●         ●        ●          -  files.write /etc/ssh/warded-revoked.krl
          ●         ●        ●          -  files.write /etc/ssh/sshd_config.d/50-warded-revoke-users.conf
          ●         ●        ●          -  files.write {sshd}/sshd_config.d/50-warded.conf
          ●         ●        ●          -  files.write /etc/ssh/sshd_config.d/50-warded.conf
          ●         ●        ●          -  sshd.effective
          ●         ●        ●          -  sshd.keywords revokedkeys
          ●         ●        ●          -  services.ssh reload
          ●         ●        ●          -  log info
          ●         ●        ●          -  log warn

    trust-host-ca: can call 8 of the 28 functions that the component imports
      reachable requested granted    calls  grant
          ●         ●        ●          -  facts user.id
          ●         ●        ●          -  facts home
          ●         ●        ●          -  facts ca.name
          ●         ●        ●          -  authority roots host
          ●         ●        ●          -  files.read {home}/.ssh/known_hosts2
          ●         ●        ●          -  files.read /etc/ssh/ssh_known_hosts2
          ●         ●        ●          -  files.write {home}/.ssh/known_hosts
          ●         ●        ●          -  files.write /etc/ssh/ssh_known_hosts
          ●         ●        ●          -  ssh.effective
          ●         ●        ●          -  log info
          ●         ●        ●          -  log warn

    trust-user-ca: can call 10 of the 28 functions that the component imports
      reachable requested granted    calls  grant
          ●         ●        ●          -  facts sshd.config
          ●         ●        ●          -  facts sshd.directory
          ●         ●        ●          -  authority roots user
          ●         ●        ●          -  files.read {sshd}/sshd_config.d/*
          ●         ●        ●          -  files.read /etc/ssh/sshd_config.d/*
          ●         ●        ●          -  files.read {sshd}/*.pub
          ●         ●        ●          -  files.read /etc/ssh/*.pub
          ●         ●        ●          -  files.write {sshd}/warded-user-ca.pub
          ●         ●        ●          -  files.write {sshd}/sshd_config.d/50-warded-trust-user-ca.conf
          ●         ●        ●          -  files.write {sshd-config}
          ●         ●        ●          -  files.write /etc/ssh/warded-user-ca.pub
          ●         ●        ●          -  files.write /etc/ssh/sshd_config.d/50-warded-trust-user-ca.conf
          ●         ●        ●          -  files.write { path = "{sshd}/warded-principals/*", parents = true }
          ●         ●        ●          -  files.write { path = "/etc/ssh/warded-principals/*", parents = true }
          ●         ●        ●          -  sshd.effective
          ●         ●        ●          -  sshd.keywords trustedusercakeys
          ●         ●        ●          -  sshd.keywords authorizedprincipalsfile
          ●         ●        ●          -  services.ssh reload
          ●         ●        ●          -  log info
          ●         ●        ●          -  log warn

    unused  certify-host: keys {sshd}/ssh_host_rsa_key was not used in 2 runs
            next: keep it only if a machine like this one will need it
    unused  certify-host: keys {sshd}/ssh_host_ecdsa_key was not used in 2 runs
            next: keep it only if a machine like this one will need it
    unused  certify-host: keys {sshd}/ssh_host_ed25519_key was not used in 2 runs
            next: keep it only if a machine like this one will need it
    unused  certify-host: files.write /etc/ssh/sshd_config.d/50-warded.conf was not used in 2 runs
            next: keep it only if a machine like this one will need it
    Nothing is granted that no procedure can call, and nothing can be called that is not granted.
    [0]

    $ warded audit log --last 3
    46  00:00:00 UTC, 0 s ago  failed  unix certify-host schedule.renewals renewals  · no-scheduler: Nothing runs `warded renew` automatically: /tmp/warded-test-dddddd/ssh/sshd_config is not the configuration of this machine's own sshd. Run it every hour from cron or a systemd timer (docs/RENEWAL.md).
    47  00:00:00 UTC, 0 s ago  asked  unix certify-host log.warn a message  [log warn]
    48  00:00:00 UTC, 0 s ago  done  unix certify-host  · nothing to do
    [0]

    $ warded audit log --denied
    [0]

    $ warded audit verify
    48 records, chain intact; the last 16 records not sealed
    [0]

    $ warded policy remove unix
    refused: policy unix is part of this program
    next:  another policy can stand in for it: instead-of, in docs/POLICIES.md
    [5]

    $ warded policy update DIR/none.wasm
    error: cannot read /tmp/warded-test-dddddd/none.wasm
    cause: No such file or directory (os error 2)
    [1]
    "#);
}
