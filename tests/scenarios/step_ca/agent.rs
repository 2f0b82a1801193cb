//! Host keys in the agent of `HostKeyAgent`: a step-ca renews a certificate if the key signs the request, which the
//! agent does.

use crate::support::{
    ClientKnowledge, Machine, Member, Run,
    agent::Agent,
    machine::{KEYS, keygen},
    step_ca::StepCa,
};
use std::{fs, path::PathBuf};

fn key_file(machine: &Machine, name: &str) -> PathBuf {
    machine.path(&format!("ssh/ssh_host_{name}_key"))
}

fn ssh_add(machine: &Machine, agent: &Agent, arguments: &[&str]) {
    let mut command = machine.command("ssh-add");
    Run::of(command.env("SSH_AUTH_SOCK", &agent.socket).arg("-q").args(arguments)).ends(0);
}

/// A machine whose host keys are all in an agent, and in no file.
fn machine() -> (Machine, Agent) {
    let mut machine = Machine::stopped();
    let agent = Agent::openssh(&machine, "host-agent");
    for name in KEYS {
        let key = key_file(&machine, name);
        ssh_add(&machine, &agent, &[key.to_str().unwrap()]);
        fs::remove_file(key).unwrap();
    }
    let config = fs::read_to_string(machine.config()).unwrap();
    fs::write(machine.config(), format!("HostKeyAgent {}\n{config}", agent.socket.display())).unwrap();
    machine.serve();
    (machine, agent)
}

fn certificates(member: &Member) -> Vec<String> {
    KEYS.iter().map(|name| member.certificate(name)).collect()
}

#[test]
fn keys_in_an_agent_are_certified_renewed_and_revoked() {
    let (machine, agent) = machine();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    let strict = || member.machine.client(&ClientKnowledge::Authority(ca.authority("host"))).connects();
    strict();
    let before = certificates(&member);
    member.warded(&["renew", "--force"]).ends(0).prints(&["3 certificates served"]);
    strict();
    let after = certificates(&member);
    assert!(before.iter().zip(&after).all(|(before, after)| before != after));
    let log = fs::read_to_string(ca.path("log")).unwrap();
    assert_eq!(log.matches("\"/ssh/renew\"").count(), 3, "one request for each key");
    member.warded(&["status"]).ends(0).prints(&["problems     none"]);
    let holds = format!("ok      agent        {} holds 3 host keys for sshd\n", agent.socket.display());
    member.warded(&["doctor"]).prints(&[&holds]);

    let file = member.certificate_file("rsa");
    member.warded(&["revoke", "--yes", file.to_str().unwrap()]).ends(0);
    let run = member.warded(&["renew", "--force"]).ends(4);
    run.prints(&["Not renewed", "ssh_host_rsa_key"]);
    assert_eq!(member.certificate("rsa"), after[0]);
    assert_ne!(member.certificate("ecdsa"), after[1]);
    member.machine.audit();
}

/// A new key in a file replaces one that the agent holds.
#[test]
fn a_key_in_an_agent_speaks_for_one_that_was_made_anew() {
    let (machine, _agent) = machine();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    let key = key_file(&member.machine, "ed25519");
    fs::remove_file(key.with_extension("pub")).unwrap();
    keygen(&["-q", "-t", "ed25519", "-N", "", "-f"], &key);
    let pid = fs::read_to_string(member.machine.path("sshd.pid")).unwrap();
    Run::of(member.machine.command("kill").args(["-HUP", pid.trim()])).ends(0);
    let renewed = member.warded(&["renew"]).ends(0);
    renewed.prints(&["ssh_host_ed25519_key was replaced, and is certified on the word of"]);
    let client = member.machine.client(&ClientKnowledge::Authority(ca.authority("host")));
    client.connects();
}
