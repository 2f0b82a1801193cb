//! The steps of the demonstration. Each does what another command does.

use super::{Outcome, private_machine::PrivateMachine};
use crate::{
    broker::recording::Tape,
    cli::{progress::Progress, undo},
    components,
    context::Context,
    enrolment::{Enrolment, Enrolments},
    pipeline::{self, PlannedRun, Request, RunReport, Terms, Work},
    sandbox::granting::BoundPolicy,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    time::Instant,
};
use warded_lib::{
    audit,
    ca::Kind,
    change_set::review::{Action, Review},
    digest::Digest,
    error::{Error, Exit, Label, Result},
    guard::Risks,
    machine::{
        exec::{Program, find},
        sshd::Sshd,
    },
    policy::setting::Setting,
    text::count,
    transaction::{self, UndoScope},
};

/// The names that the demonstration's machine is certified for.
const NAMES: [&str; 2] = ["demo.test", "localhost"];
const NO_SSHD: &str = "there is no sshd here (apt install openssh-server)";
/// OpenSSH's release notes of 8.5 list this keyword as new.
const NO_KEYWORD: &str = "sshd refused the line, and nothing was changed. A roll back needs a line that only a running sshd \
    shows to be wrong: PerSourceMaxStartups, which OpenSSH has since 8.5";

type Tree = BTreeMap<PathBuf, (u32, Vec<u8>)>;
type Step<'a> = fn(&mut Demonstration<'a>) -> Result<Outcome>;

/// The state of the demonstration between two steps.
pub(super) struct Demonstration<'a> {
    machine: &'a PrivateMachine,
    context: Context,
    policies: Vec<BoundPolicy>,
    demo: BoundPolicy,
    first: Tree,
}

impl<'a> Demonstration<'a> {
    /// All steps, in order.
    pub(super) const STEPS: [(&'static str, Step<'a>); 10] = [
        ("plan", Self::plan),
        ("apply", Self::apply),
        ("handshake", Self::handshake),
        ("keys-kept", Self::keys_kept),
        ("second-apply", Self::second_apply),
        ("renew", Self::renew),
        ("rollback", Self::rollback),
        ("denial", Self::denial),
        ("undo", Self::undo),
        ("audit", Self::audit),
    ];

    pub(super) fn new(machine: &'a PrivateMachine) -> Result<Self> {
        let context = machine.context()?;
        Ok(Self { policies: context.policies()?, demo: components::demo()?, first: machine.tree()?, machine, context })
    }

    fn plan(&mut self) -> Result<Outcome> {
        let planned = self.certify()?;
        let review = planned.review();
        let name = planned.identity.procedure.to_string();
        let reload = if review.reloads.is_empty() { "" } else { " and reload sshd" };
        let mut lines = vec![format!("{name} would add {}{reload}", count(review.files.len(), "file"))];
        lines.extend(self.shown(&review));
        if self.machine.tree()? != self.first {
            return Err(Error::failed("a plan changed something"));
        }
        if review.files.is_empty() || review.files.iter().any(|file| file.action != Action::Add) {
            return Err(Error::failed("the plan is not the one expected").seen(lines.join("\n")));
        }
        Ok(Outcome::Seen(lines.join("\n")))
    }

    fn apply(&mut self) -> Result<Outcome> {
        let start = Instant::now();
        let planned = self.certify()?;
        let enrolment = planned.enrolment();
        let done = self.carry_out(planned, enrolment, Risks::default())?;
        let certified = match done.given.certificates.len() {
            0 => String::new(),
            certificates => format!(": {}", count(certificates, "certificate")),
        };
        Ok(Outcome::Seen(format!("done in {} ms{certified}", start.elapsed().as_millis())))
    }

    fn handshake(&mut self) -> Result<Outcome> {
        if self.machine.sshd().is_none() {
            return Ok(Outcome::Skipped(NO_SSHD));
        }
        let (algorithm, serial) = self.served()?;
        Ok(Outcome::Seen(format!("a client that knows only the CA connects: {algorithm}, serial {serial}")))
    }

    fn keys_kept(&mut self) -> Result<Outcome> {
        if self.machine.sshd().is_none() {
            return Ok(Outcome::Skipped(NO_SSHD));
        }
        let mut kept = Vec::new();
        for name in ["rsa", "ecdsa", "ed25519"] {
            let public = self.machine.ssh().join(format!("ssh_host_{name}_key.pub"));
            let line = fs::read_to_string(&public)
                .map_err(|error| Error::failed(format!("cannot read {}", public.display())).cause(error))?;
            self.client(&format!("* {line}"))?;
            kept.push(name);
        }
        Ok(Outcome::Seen(format!("clients that pinned only the {} key still connect", kept.join(", or only the "))))
    }

    fn second_apply(&mut self) -> Result<Outcome> {
        let before = self.machine.tree()?;
        let planned = self.certify()?;
        if !planned.session.changes.is_empty() || self.machine.tree()? != before {
            return Err(
                Error::failed("a second apply finds something to do").seen(self.shown(&planned.review()).join("\n"))
            );
        }
        Ok(Outcome::Seen("nothing to do".to_owned()))
    }

    fn renew(&mut self) -> Result<Outcome> {
        if self.machine.sshd().is_none() {
            return Ok(Outcome::Skipped(NO_SSHD));
        }
        let enrolments = Enrolments::load(&self.context.state)?;
        let enrolment = enrolments.of(&self.context.places.sshd_config).cloned();
        let enrolment = enrolment.ok_or_else(|| Error::failed("the machine is not enrolled"))?;
        let (_, old) = self.served()?;
        let run = transaction::next_run(&self.context.state)?;
        let granting = self.granting("unix")?;
        let Enrolment { procedure, settings, principals, .. } = enrolment;
        let request = Request {
            granting,
            procedure,
            settings,
            confirmed: principals,
            force: true,
            renewed: BTreeSet::new(),
            run: Some(run),
            accepted: None,
            tape: Tape::Off,
        };
        let planned = pipeline::plan(&self.context, request)?;
        let done = self.carry_out(planned, None, Risks::default())?;
        if done.given.certificates.len() != 3 {
            return Err(Error::failed("the certificates were not renewed"));
        }
        let (_, new) = self.served()?;
        if old == new {
            return Err(Error::failed(format!("serial {old} is still served")));
        }
        Ok(Outcome::Seen(format!("serial {old} → {new}, served")))
    }

    /// First a line that sshd refuses, which never reaches the machine; then a line that only the running sshd shows to
    /// be wrong.
    fn rollback(&mut self) -> Result<Outcome> {
        if self.machine.sshd().is_none() {
            return Ok(Outcome::Skipped(NO_SSHD));
        }
        let before = self.machine.tree()?;
        let refused = self.expect_failure("PerSourceMaxStartups many", Exit::Refused)?;
        if refused.notes_of(Label::Cause).any(|cause| cause.contains("Bad configuration option")) {
            return Ok(Outcome::Skipped(NO_KEYWORD));
        }
        let start = Instant::now();
        // This allows no more connections from the network, which sshd -t, sshd -T and a handshake over a pipe all
        // accept.
        let rolled_back = self.expect_failure("PerSourceMaxStartups 0", Exit::Failed)?;
        let took = start.elapsed().as_millis();
        if self.machine.tree()? != before {
            return Err(Error::failed("not every byte is as before").seen(rolled_back));
        }
        self.client(&self.authorities()?)?;
        let ssh = format!("{}/", self.machine.ssh().display());
        let why = |error: &Error| {
            let notes = error
                .notes()
                .filter(|(label, _)| *label != Label::Next)
                .map(|(label, text)| format!("{label}: {text}"));
            let lines: Vec<String> = std::iter::once(error.message().to_owned()).chain(notes).collect();
            lines.join("\n").replace(&ssh, "…/").replace('\n', "\n  ")
        };
        Ok(Outcome::Seen(format!(
            "a line that sshd refuses was stopped before anything was touched\n  {}\n\
             one that only the running sshd shows to be wrong was rolled back, all within {took} ms\n  {}",
            why(&refused),
            why(&rolled_back)
        )))
    }

    fn denial(&mut self) -> Result<Outcome> {
        let before = self.machine.tree()?;
        let Err(error) = self.demo_plan("/etc/shadow", "root::0:0:99999:7:::", false, None) else {
            return Err(Error::failed("a guest was granted what its policy does not grant"));
        };
        if error.exit() != Exit::Refused || self.machine.tree()? != before {
            return Err(error);
        }
        Ok(Outcome::Seen("a guest asked to write /etc/shadow: denied, recorded, nothing changed".to_owned()))
    }

    fn undo(&mut self) -> Result<Outcome> {
        let mut undone = 0;
        while let Some(undo) = transaction::undo_changes(&self.context.state, &self.context.root, UndoScope::Newest)
            .map_err(Error::from)?
        {
            undone += undo.count;
            undo::carry_out(&self.context, undo, Terms::default(), &Progress::hidden())?;
        }
        if self.machine.tree()? != self.first {
            return Err(Error::failed("not every byte is as before"));
        }
        Ok(Outcome::Seen(format!("{} undone: every byte as before", count(undone, "run"))))
    }

    fn audit(&mut self) -> Result<Outcome> {
        match audit::verify(self.context.log.directory())? {
            Ok(verified) => Ok(Outcome::Seen(verified.to_string())),
            Err(broken) => Err(Error::failed(format!("record {}: {}", broken.record, broken.what))),
        }
    }

    /// The plan for certifying this machine; without an sshd, a plan for writing a file.
    fn certify(&self) -> Result<PlannedRun<'_>> {
        let run = Some(transaction::next_run(&self.context.state)?);
        if self.machine.sshd().is_none() {
            let path = self.drop_in();
            return self.demo_plan(&path, "# written by a sandboxed procedure", false, run);
        }
        let settings = NAMES.iter().map(|name| setting("principal", name)).collect::<Result<_>>()?;
        let procedure = name("certify-host")?;
        let confirmed = BTreeSet::new();
        let granting = self.granting("unix")?;
        pipeline::plan(
            &self.context,
            Request {
                granting,
                procedure,
                settings,
                confirmed,
                force: false,
                renewed: BTreeSet::new(),
                run,
                accepted: None,
                tape: Tape::Off,
            },
        )
    }

    fn demo_plan(&self, path: &str, text: &str, reload: bool, run: Option<u64>) -> Result<PlannedRun<'_>> {
        let reload = if reload { "yes" } else { "no" };
        let settings = vec![setting("path", path)?, setting("text", text)?, setting("reload", reload)?];
        let procedure = name("write-file")?;
        let confirmed = BTreeSet::new();
        pipeline::plan(
            &self.context,
            Request {
                granting: &self.demo,
                procedure,
                settings,
                confirmed,
                force: false,
                renewed: BTreeSet::new(),
                run,
                accepted: None,
                tape: Tape::Off,
            },
        )
    }

    /// Applies a line of configuration that must be refused or rolled back.
    fn expect_failure(&self, line: &str, exit: Exit) -> Result<Error> {
        let run = Some(transaction::next_run(&self.context.state)?);
        let planned = self.demo_plan(&self.drop_in(), line, true, run)?;
        // The demonstration shows what a proof finds even if the operator has accepted the risk.
        match self.carry_out(planned, None, Risks { lose: true, ..Risks::default() }) {
            Err(error) if error.exit() == exit => Ok(error),
            Err(other) => Err(other),
            Ok(_) => Err(Error::failed(format!("this was applied: {line}"))),
        }
    }

    fn carry_out(&self, planned: PlannedRun<'_>, enrolment: Option<Enrolment>, risks: Risks) -> Result<RunReport> {
        let identity = planned.identity.clone();
        let mut work = Work::of(planned, Terms { logins: risks, ..Terms::default() });
        let with = |enrolment| Enrolments::load(&self.context.state)?.with(enrolment).with_run();
        work.own = enrolment.map(with).transpose()?;
        pipeline::carry_out(&self.context, &identity, work, &Progress::hidden())
    }

    fn granting(&self, policy: &str) -> Result<&BoundPolicy> {
        let found = self.policies.iter().find(|granting| granting.policy.name.as_str() == policy);
        found.ok_or_else(|| Error::failed(format!("there is no policy {policy}")))
    }

    fn drop_in(&self) -> String {
        self.machine.ssh().join("sshd_config.d/60-demo.conf").display().to_string()
    }

    fn shown(&self, review: &Review) -> Vec<String> {
        let ssh = format!("{}/", self.machine.ssh().display());
        let mut lines = Vec::new();
        for file in &review.files {
            lines.push(format!("+ {:32} {}", file.path.replace(&ssh, ""), file.what).trim_end().to_owned());
            lines.extend(file.diff.iter().map(|line| format!("    {}", line.replace(&ssh, "…/"))));
        }
        lines
    }

    /// The certificate that a client gets: its algorithm, which depends on the release of ssh, and its serial number.
    fn served(&self) -> Result<(String, String)> {
        let said = self.client(&self.authorities()?)?;
        let served = said.lines().find_map(|line| line.split_once("Server host certificate: ")).map(|(_, rest)| rest);
        let served = served.ok_or_else(|| Error::failed("no certificate was served").seen(&said))?;
        let algorithm = served.split(' ').next().unwrap_or_default();
        let serial = served.split("serial ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        Ok((algorithm.to_owned(), serial.to_owned()))
    }

    /// The known_hosts line of a client that knows only the CA.
    fn authorities(&self) -> Result<String> {
        let roots = self.context.authority.open()?.roots(Kind::Host)?;
        let line = roots.first().and_then(|root| root.to_openssh().ok());
        line.map(|line| format!("@cert-authority * {line}")).ok_or_else(|| Error::failed("the CA has no host key"))
    }

    /// Connects as an ordinary client that knows only the CA and accepts nothing else. Returns its output.
    fn client(&self, known: &str) -> Result<String> {
        let sshd = Sshd::find(&self.context.places.sshd_config, self.machine.sshd())?;
        let listener = sshd.as_ref().and_then(|sshd| sshd.listener.as_ref());
        if listener.is_none() {
            return Err(Error::failed("sshd has stopped"));
        }
        let ssh = find("ssh").ok_or_else(|| Error::failed("there is no ssh client"))?;
        let file = self.machine.directory().join("known_hosts");
        fs::write(&file, format!("{}\n", known.trim_end()))
            .map_err(|error| Error::failed("cannot write known_hosts").cause(error))?;
        let known_hosts = format!("UserKnownHostsFile={}", file.display());
        let alias = format!("HostKeyAlias={}", NAMES.first().unwrap_or(&"localhost"));
        let mut client = Program::new(ssh).args(["-F", "none", "-v", "-p"]).arg(self.machine.port().to_string());
        for option in [
            known_hosts.as_str(),
            alias.as_str(),
            "GlobalKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=yes",
            "BatchMode=yes",
            "PreferredAuthentications=none",
        ] {
            client = client.args(["-o", option]);
        }
        // An existing user, and a separate source address: sshd delays clients that look like attackers.
        let source = format!("127.{}.{}.1", std::process::id() % 200 + 1, self.machine.next_client() % 250 + 1);
        let said = client.args(["-b", &source, "-l", "nobody", "127.0.0.1", "true"]).run()?.stderr;
        // After the host key is accepted, there is nothing to log in with. The test should get this far and no farther.
        if said.contains("Permission denied (") {
            return Ok(said);
        }
        let digest = Digest::of(known.as_bytes());
        Err(Error::failed(format!("a client that knows only the key of {digest} cannot connect")).seen(said))
    }
}

fn setting(name: &str, value: &str) -> Result<Setting> {
    Ok(Setting { name: self::name(name)?, value: value.to_owned() })
}

fn name(text: &str) -> Result<warded_lib::name::Name> {
    text.parse().map_err(Error::failed)
}
