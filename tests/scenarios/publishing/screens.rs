//! What a person sees when policies are published, from the publisher's desk to the machine.

use super::Desk;
use crate::support::{Run, screen::Screens};

/// What the demonstration's component may write.
const GRANTS: [&str; 1] = ["files.write = [\"{sshd}/a\", \"/etc/motd\"]"];
const FEWER: [&str; 1] = ["files.write = [\"{sshd}/a\"]"];
const SIGN: &str = "policy sign DIR/desk/mine.wasm --publisher ops@example.org --key DIR/desk/key";

/// Runs Warded command lines, and keeps their screens.
fn show(desk: &Desk, screens: &mut Screens, lines: &[&str]) {
    for line in lines {
        let digest = std::fs::read(desk.path("mine.wasm")).map(|bytes| warded_lib::digest::Digest::of(&bytes));
        let words = line.replace("DIGEST", &digest.map_or_else(|_| String::new(), |digest| digest.to_string()));
        let words = words.replace("DIR", desk.machine.path("").to_str().unwrap().trim_end_matches('/'));
        screens.keep(line, &Run::of(desk.machine.warded_command([]).args(words.split(' '))));
    }
}

#[test]
fn of_policies_that_are_signed_added_and_updated() {
    let desk = Desk::new();
    let mut screens = Screens::of(&desk.machine);
    desk.component("1.0.0", &GRANTS);
    let add = "policy add DIR/desk/mine.wasm --yes --digest DIGEST";
    show(&desk, &mut screens, &[SIGN, "policy add DIR/desk/mine.wasm", add, add, "policy list", "policy show mine"]);
    desk.component("1.1.0", &FEWER);
    show(&desk, &mut screens, &[SIGN, "policy update DIR/desk/mine.wasm", "policy update DIR/desk/mine.wasm"]);
    show(&desk, &mut screens, &["policy rollback mine", "policy list", "policy remove mine --yes", "policy list"]);
    insta::assert_snapshot!(screens.seen(), @r#"
    $ warded policy sign DIR/desk/mine.wasm --publisher ops@example.org --key DIR/desk/key
    Signed mine 1.0.0 as ops@example.org.
    Wrote /tmp/warded-test-dddddd/desk/mine.wasm.manifest and /tmp/warded-test-dddddd/desk/mine.wasm.manifest.sig.
    [0]

    $ warded policy add DIR/desk/mine.wasm
    mine 1.0.0 · sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff · signed by ops@example.org (ED25519 key SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx)

    Its procedures:
      go: A test
    It would be granted:
      !! go  files.write /etc/motd · make, change and remove this file
       ! go  files.write {sshd}/a · make, change and remove this file
    note: go: files.write {sshd}/a is granted, and the procedure can call nothing that needs it
    note: go: files.write /etc/motd is granted, and the procedure can call nothing that needs it
    error: there is no terminal to ask at
    state: nothing was changed
    next:  say yes beforehand with --yes
    [2]

    $ warded policy add DIR/desk/mine.wasm --yes --digest DIGEST
    mine 1.0.0 · sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff · signed by ops@example.org (ED25519 key SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx)

    Its procedures:
      go: A test
    It would be granted:
      !! go  files.write /etc/motd · make, change and remove this file
       ! go  files.write {sshd}/a · make, change and remove this file
    note: go: files.write {sshd}/a is granted, and the procedure can call nothing that needs it
    note: go: files.write /etc/motd is granted, and the procedure can call nothing that needs it
    Added mine 1.0.0. It changes nothing until a procedure is applied:
      warded plan go  A test
    [0]

    $ warded policy add DIR/desk/mine.wasm --yes --digest DIGEST
    mine 1.0.0 is there already.
    [0]

    $ warded policy list
    unix 0.1.0  bundled · for this machine
      certify-host     Certify every host key that sshd uses, and have sshd present the certificates
      rekey-host       Replace the host keys that this CA certified, and have the new ones certified
      renew-host       Renew the certificates of this machine's host keys when they are due
      revoke-users     Have sshd refuse user certificates, by their serial numbers
      trust-host-ca    Have ssh on this machine trust the CA for the hosts of a domain
      trust-user-ca    Have sshd accept user certificates of the CA
    mine 1.0.0  /tmp/warded-test-dddddd/policies/mine.toml · for this machine
      go               A test
    [0]

    $ warded policy show mine
    mine 1.0.0 · sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff · /tmp/warded-test-dddddd/policies/mine.toml
    signed by ops@example.org (ED25519 key SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx)


    go: A test
      may  write files: {sshd}/a, /etc/motd
    [0]

    $ warded policy sign DIR/desk/mine.wasm --publisher ops@example.org --key DIR/desk/key
    Signed mine 1.1.0 as ops@example.org.
    Wrote /tmp/warded-test-dddddd/desk/mine.wasm.manifest and /tmp/warded-test-dddddd/desk/mine.wasm.manifest.sig.
    [0]

    $ warded policy update DIR/desk/mine.wasm
    Added mine 1.1.0 in place of 1.0.0. It changes nothing until a procedure is applied:
      warded plan go  A test
    [0]

    $ warded policy update DIR/desk/mine.wasm
    mine 1.1.0 is there already.
    [0]

    $ warded policy rollback mine
    Policy mine is at 1.0.0 again, in place of 1.1.0.
    [0]

    $ warded policy list
    unix 0.1.0  bundled · for this machine
      certify-host     Certify every host key that sshd uses, and have sshd present the certificates
      rekey-host       Replace the host keys that this CA certified, and have the new ones certified
      renew-host       Renew the certificates of this machine's host keys when they are due
      revoke-users     Have sshd refuse user certificates, by their serial numbers
      trust-host-ca    Have ssh on this machine trust the CA for the hosts of a domain
      trust-user-ca    Have sshd accept user certificates of the CA
    mine 1.0.0  /tmp/warded-test-dddddd/policies/mine.toml · for this machine
      go               A test
    [0]

    $ warded policy remove mine --yes
    Removed policy mine. What it configured stays as it is.
    [0]

    $ warded policy list
    unix 0.1.0  bundled · for this machine
      certify-host     Certify every host key that sshd uses, and have sshd present the certificates
      rekey-host       Replace the host keys that this CA certified, and have the new ones certified
      renew-host       Renew the certificates of this machine's host keys when they are due
      revoke-users     Have sshd refuse user certificates, by their serial numbers
      trust-host-ca    Have ssh on this machine trust the CA for the hosts of a domain
      trust-user-ca    Have sshd accept user certificates of the CA
    [0]
    "#);
}

#[test]
fn of_policies_that_are_not_accepted() {
    let desk = Desk::new();
    let mut screens = Screens::of(&desk.machine);
    let add = "policy add DIR/desk/mine.wasm --yes --digest DIGEST";
    desk.component("1.0.0", &FEWER);
    show(&desk, &mut screens, &[add]);
    desk.trusts("");
    desk.sign(&desk.path("mine.wasm"), super::PUBLISHER, "key").ends(0);
    show(&desk, &mut screens, &[add]);
    desk.trusts(&desk.signer(""));
    show(&desk, &mut screens, &["policy add DIR/desk/mine.wasm --yes --digest sha256:0000"]);
    show(&desk, &mut screens, &["policy rollback mine", add, "policy rollback mine"]);
    desk.signed("0.9.0", &FEWER);
    show(&desk, &mut screens, &[add, "policy update DIR/desk/mine.wasm"]);
    desk.signed("1.1.0", &GRANTS);
    show(&desk, &mut screens, &["policy update DIR/desk/mine.wasm"]);
    insta::assert_snapshot!(screens.seen(), @r#"
    $ warded policy add DIR/desk/mine.wasm --yes --digest DIGEST
    mine 1.0.0 · sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff · NOT SIGNED

    Its procedures:
      go: A test
    It would be granted:
       ! go  files.write {sshd}/a · make, change and remove this file
    note: go: files.write {sshd}/a is granted, and the procedure can call nothing that needs it
    refused: nobody has signed this component
    state: nothing was changed
    next:  have its publisher sign it, or accept that nobody vouches for it: --accept-risk=unsigned-policy
    [5]

    $ warded policy add DIR/desk/mine.wasm --yes --digest DIGEST
    refused: the signature is not one that ops@example.org may make on this machine
    cause: ssh-keygen: Could not verify signature.
    next:  see that allowed_signers has the publisher's key, with the namespace warded-policy and valid today, and that revoked_signers does not have it
    [5]

    $ warded policy add DIR/desk/mine.wasm --yes --digest sha256:0000
    error: invalid value 'sha256:0000' for '--digest <sha256:HEX>': not a digest: expected "sha256:" and 64 hexadecimal digits, got "sha256:0000"

    For more information, try '--help'.
    [2]

    $ warded policy rollback mine
    refused: there is no policy mine
    next:  `warded policy list` shows those there are
    [5]

    $ warded policy add DIR/desk/mine.wasm --yes --digest DIGEST
    mine 1.0.0 · sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff · signed by ops@example.org (ED25519 key SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx)

    Its procedures:
      go: A test
    It would be granted:
       ! go  files.write {sshd}/a · make, change and remove this file
    note: go: files.write {sshd}/a is granted, and the procedure can call nothing that needs it
    Added mine 1.0.0. It changes nothing until a procedure is applied:
      warded plan go  A test
    [0]

    $ warded policy rollback mine
    refused: there is no earlier version of policy mine on this machine
    state: nothing was changed
    next:  add it again from its file: warded policy add --allow-downgrade
    [5]

    $ warded policy add DIR/desk/mine.wasm --yes --digest DIGEST
    mine 0.9.0 · sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff · signed by ops@example.org (ED25519 key SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx)

    Its procedures:
      go: A test
    It would be granted:
       ! go  files.write {sshd}/a · make, change and remove this file
    note: go: files.write {sshd}/a is granted, and the procedure can call nothing that needs it
    It replaces version 1.0.0.
    refused: version 1.0.0 is there, and this one is not higher
    state: nothing was changed
    next:  to replace it all the same: --allow-downgrade
    [5]

    $ warded policy update DIR/desk/mine.wasm
    refused: policy mine is not updated by itself
    cause: version 1.0.0 is there, and this one is not higher
    state: nothing was changed
    next:  to decide on it: warded policy add, with the same component
    [5]

    $ warded policy update DIR/desk/mine.wasm
    refused: policy mine is not updated by itself
    cause: it asks for more: files.write /etc/motd (of go)
    state: nothing was changed
    next:  to decide on it: warded policy add, with the same component
    [5]
    "#);
}
