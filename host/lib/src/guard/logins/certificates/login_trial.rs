//! Asks sshd about each user, with a certificate of a throw-away CA in place of ours.

use super::{
    Candidate, Certificates, files, has, keys,
    mapping::is_mapped,
    obstacle::{self, KEEP_ROOT_OUT, keeps_root_out},
};
use crate::{
    ca::{Kind, throw_away::ThrowAway},
    error::{Error, Result},
    guard::{
        baseline::Baseline,
        check,
        client::{
            bench::{Bench, Connection, addresses, command},
            known_hosts::line_of,
        },
        logins::{
            key_query::{runs_programs, takes},
            methods::User,
        },
    },
    handshake::{HostKeyAlgorithm, Login, Query},
    machine::{
        scratch::Scratch,
        sshd::{
            Effective,
            effective::major_minor,
            tree::{Overlay, StagedFiles},
        },
        users,
    },
    text::neutral,
};
use ssh_key::{Algorithm, EcdsaCurve, PrivateKey, PublicKey, rand_core::OsRng};

/// The first release of OpenSSH with `CASignatureAlgorithms`.
const HAS_SIGNATURE_ALGORITHMS: (u32, u32) = (7, 9);

/// At most this many users are asked about; more would take minutes.
const MAX_USERS: usize = 16;

struct LoginTrial<'a> {
    candidate: &'a Candidate,
    /// The CA key for which the throw-away CA stands in.
    authority: &'a PublicKey,
    stand_in: ThrowAway,
    key: PrivateKey,
    bench: Bench,
    /// Without PAM, since a login would run PAM's modules.
    without_pam: Bench,
    /// Accepts the CA's own key as the key of each user, unless it is revoked.
    revocation: Bench,
    /// Users whose accounts are locked: sshd lets them in only with PAM.
    locked: Vec<String>,
}

impl Candidate {
    /// Asks about each user by the query without a signature, which opens no session and runs no PAM module. Then
    /// carries out one login.
    pub(super) fn ask_for_certificates(&self, baseline: &Baseline, new: &[PublicKey]) -> Result<Certificates> {
        let mut found = Certificates::default();
        let Some(authority) = new.first() else { return Ok(found) };
        if runs_programs(&self.tree)? {
            found.not_proved.push("logins by certificate: a query would run a program that a `Match` names".to_owned());
            found.admits_root = self.admits_root()?;
            return Ok(found);
        }
        let stand_in = ThrowAway::like(&authority.algorithm())?;
        let standing_in = Self::build(&self.original, &self.with_stand_in(new, &stand_in)?)?;
        let _held = self.original.hold()?;
        let addresses = addresses(&self.original);
        let bench = |more: &[&str]| {
            let fixed = ["AuthorizedKeysCommand=none", "LogLevel=VERBOSE"];
            // Only root can change what a run stages. sshd would reject the copy only because of the directory where
            // it lies.
            let copied = standing_in.has_copied_principals().then_some("StrictModes=no");
            let options = fixed.iter().chain(more).chain(&copied).map(|option| (*option).to_owned());
            // An earlier step has checked the real list against the real key.
            let knows =
                major_minor(standing_in.sshd.version()).is_none_or(|release| release >= HAS_SIGNATURE_ALGORITHMS);
            let signs = knows.then(|| format!("CASignatureAlgorithms={}", stand_in.public().algorithm()));
            let options: Vec<String> = options.chain(signs).collect();
            Bench::new(command(&standing_in.sshd, standing_in.config(), &options), addresses.clone())
        };
        let passable = Scratch::passable()?;
        let authorized = passable.write("authorized_keys", line_of(authority.key_data())?.as_bytes(), 0o644)?;
        let authorized = format!("AuthorizedKeysFile={}", authorized.display());
        let (query, login) = (bench(&["AuthorizedKeysFile=none"]), bench(&["AuthorizedKeysFile=none", "UsePAM=no"]));
        let revocation = bench(&[&authorized, "StrictModes=no", "PubkeyAcceptedKeyTypes=*"]);
        let asking = LoginTrial {
            candidate: self,
            authority,
            stand_in,
            key: user_key(&self.view()?.effective)?,
            bench: query,
            without_pam: login,
            revocation,
            locked: users::locked().unwrap_or_default(),
        };
        let (people, more) = people(baseline, &self.mapped_logins());
        let mut taken = Vec::new();
        for user in people {
            let principal = asking.about(&user, &mut found)?;
            taken.extend(principal.map(|principal| (user, principal)));
        }
        if more > 0 {
            found.not_proved.push(format!("certificates of {more} more users: sshd was not asked about them"));
        }
        let sources = users::other_sources();
        if !sources.is_empty() {
            let sources = neutral(&sources.join(", "));
            found.not_proved.push(format!("certificates of users of {sources}: sshd was not asked about them"));
        }
        asking.log_one_in(taken, &mut found)?;
        found.admits_root = self.admits_root()?;
        Ok(found)
    }

    /// Whether a certificate may let root in under the name of one of root's accounts. The lines decide, not the
    /// query: the query comes from this machine, and a `Match` may say something else for other addresses.
    fn admits_root(&self) -> Result<bool> {
        let mut names: Vec<String> =
            users::all().into_iter().filter(|user| user.id == 0).map(|user| user.name).collect();
        names.push("root".to_owned());
        for name in names {
            let own = self.effective(&check::login(&name))?;
            let is_out = keeps_root_out(&own).is_some() && !self.has_conditional("permitrootlogin", &KEEP_ROOT_OUT)?;
            let is_mapped = is_mapped(&own) && !self.has_conditional("authorizedprincipalsfile", &[])?;
            if !is_out && !is_mapped {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a line within a `Match` gives the keyword a value other than these.
    fn has_conditional(&self, keyword: &str, values: &[&str]) -> Result<bool> {
        Ok(self.tree.lines()?.iter().filter(|line| line.directive.keyword == keyword && !line.within.is_empty()).any(
            |line| {
                let value = line.directive.arguments.first().map(|argument| argument.text.to_lowercase());
                !value.is_some_and(|value| values.contains(&value.as_str()))
            },
        ))
    }

    /// The files as they would be, with the key of a throw-away CA in place of each new one.
    fn with_stand_in(&self, new: &[PublicKey], stand_in: &ThrowAway) -> Result<StagedFiles> {
        let mut staged = self.staged.clone();
        let overlay = Overlay(&self.staged);
        let line = line_of(stand_in.public().key_data())?;
        for path in files(&self.view()?.effective, &self.tree) {
            let has_new = keys(std::slice::from_ref(&path), overlay).iter().any(|key| has(new, key.key_data()));
            if has_new {
                let real = overlay.staged(&path).map(|(real, _)| real.to_owned());
                let real = real.or_else(|| std::fs::canonicalize(&path).ok()).unwrap_or(path);
                staged.insert(real, Some(format!("{line}\n").into_bytes()));
            }
        }
        Ok(staged)
    }
}

/// How a login ended, or why it did not.
type Outcome = std::result::Result<(), String>;

impl LoginTrial<'_> {
    /// Returns the principal that lets the user in.
    fn about(&self, user: &User, found: &mut Certificates) -> Result<Option<String>> {
        let name = neutral(&user.name);
        let own = self.candidate.effective(&check::login(&user.name))?;
        let command = own.values("authorizedprincipalscommand").first().filter(|command| *command != "none");
        if command.is_some() {
            found
                .not_proved
                .push(format!("certificates of {name}: AuthorizedPrincipalsCommand decides, and is not run"));
            return Ok(None);
        }
        match self.ask(user, &own)? {
            Ok(principals) => {
                let shown = neutral(&principals.join(", "));
                found.taken.push(match principals.as_slice() {
                    [only] if *only == user.name => name,
                    [_] => format!("{name} (principal {shown})"),
                    _ => format!("{name} (principals {shown})"),
                });
                Ok(principals.into_iter().next())
            }
            Err(why) => {
                match obstacle::by_address(&own) {
                    Some(list) => found.not_proved.push(format!(
                        "certificates of {name}: {list} decides by the client's address, and refuses this machine's"
                    )),
                    None => found.refused.push(format!("{name}: {why}")),
                }
                Ok(None)
            }
        }
    }

    /// The principals by which sshd would let a user in, or why there are none.
    fn ask(&self, user: &User, own: &Effective) -> Result<std::result::Result<Vec<String>, String>> {
        if let Some(why) = keeps_root_out(own).filter(|_| user.is_root()) {
            return Ok(Err(why));
        }
        // The stand-in may be of another type than the CA's key.
        if let Some(why) = obstacle::algorithms(own, self.authority) {
            return Ok(Err(why));
        }
        let mut why = match obstacle::names(user, own, Overlay(&self.candidate.staged)) {
            Err(why) => return Ok(Err(why)),
            Ok(principals) => {
                let (mut taken, mut why) = (Vec::new(), String::new());
                for principal in principals {
                    match self.query(user, &principal)? {
                        Ok(()) => taken.push(principal),
                        Err(said) => why = said,
                    }
                }
                if !taken.is_empty() {
                    return Ok(self.refuse_revoked(user, own)?.map(|()| taken));
                }
                why
            }
        };
        if let Some(obstacle) = obstacle::of(own) {
            why = obstacle;
        }
        Ok(Err(why))
    }

    /// Checks whether a list of revoked keys names the CA's own key: then sshd accepts none of the CA's certificates.
    /// To find out, it asks sshd about that key itself, which is in an authorized_keys file of the proof.
    fn refuse_revoked(&self, user: &User, own: &Effective) -> Result<Outcome> {
        let lists: Vec<&str> =
            own.values("revokedkeys").iter().map(String::as_str).filter(|path| *path != "none").collect();
        if lists.is_empty() {
            return Ok(Ok(()));
        }
        Ok(match takes(&self.revocation, &user.name, self.authority)? {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("RevokedKeys {} has the CA's own key", neutral(&lists.join(" ")))),
            Err(why) => Err(why),
        })
    }

    fn query(&self, user: &User, principal: &str) -> Result<Outcome> {
        let certificate = self.stand_in.certify(self.key.public_key(), Kind::User, principal)?;
        let Connection { mut session, service } = match self.bench.open()? {
            Ok(connection) => connection,
            Err((fault, said)) => return Ok(Err(format!("{fault} {}", neutral(said.trim())))),
        };
        let Some(algorithm) = HostKeyAlgorithm::all().find(|one| session.server().offers(*one)) else {
            return Ok(Err("sshd has no host key that can be asked for".to_owned()));
        };
        let asked =
            session.exchange(algorithm).and_then(|_| session.query_certificate(&user.name, certificate.bytes()));
        drop(session);
        let said = service.end();
        Ok(match asked {
            Ok(Query::Acceptable) => Ok(()),
            Ok(Query::Refused(_)) => Err(reason(&said)),
            Err(fault) => Err(format!("{fault}; {}", reason(&said))),
        })
    }

    /// Carries out one login, with the first user who is let in. Root comes last.
    fn log_one_in(&self, taken: Vec<(User, String)>, found: &mut Certificates) -> Result<()> {
        let (root, others): (Vec<_>, Vec<_>) = taken.into_iter().partition(|(user, _)| user.is_root());
        let mut last = None;
        for (user, principal) in others.into_iter().chain(root) {
            if self.locked.contains(&user.name) {
                let name = neutral(&user.name);
                last = Some(format!(
                    "a login by certificate, of {name}: the account is locked in shadow(5), so that sshd asks PAM, and \
                     a proof runs no PAM module"
                ));
                continue;
            }
            match self.log_in(&user, &principal, &self.stand_in)? {
                Ok(()) => {
                    self.refuse_another(&user, &principal)?;
                    found.logged_in = Some(neutral(&user.name));
                    return Ok(());
                }
                Err(why) => last = Some(format!("a login by certificate, of {}: {why}", neutral(&user.name))),
            }
        }
        found.not_proved.extend(last);
        Ok(())
    }

    /// sshd has to refuse another CA's certificate, otherwise the login proves nothing.
    fn refuse_another(&self, user: &User, principal: &str) -> Result<()> {
        let another = ThrowAway::like(&self.authority.algorithm())?;
        match self.log_in(user, principal, &another)? {
            Err(_) => Ok(()),
            Ok(()) => Err(Error::refused("sshd would take certificates of any CA").cause(format!(
                "it let {} in by a certificate of a CA that its configuration does not name",
                neutral(&user.name)
            ))),
        }
    }

    fn log_in(&self, user: &User, principal: &str, authority: &ThrowAway) -> Result<Outcome> {
        let certificate = authority.certify(self.key.public_key(), Kind::User, principal)?;
        let Connection { mut session, service } = match self.without_pam.open()? {
            Ok(connection) => connection,
            Err((fault, said)) => return Ok(Err(format!("{fault} {}", neutral(said.trim())))),
        };
        let Some(algorithm) = HostKeyAlgorithm::all().find(|one| session.server().offers(*one)) else {
            return Ok(Err("sshd has no host key that can be asked for".to_owned()));
        };
        let tried = session
            .exchange(algorithm)
            .and_then(|_| session.authenticate_by_certificate(&user.name, certificate.bytes(), &self.key));
        drop(session);
        let said = service.end();
        Ok(match tried {
            Ok(Login::Accepted) => Ok(()),
            Ok(Login::Refused(refusal)) if refusal.partial => Err("sshd requires another method as well".to_owned()),
            Ok(Login::Refused(_)) => Err(reason(&said)),
            Err(fault) => Err(format!("{fault}; {}", reason(&said))),
        })
    }
}

/// The users to ask about: those who must get in, those whom the run maps, root, and the people in passwd(5). Also
/// returns how many had to be left out.
fn people(baseline: &Baseline, mapped: &[String]) -> (Vec<User>, usize) {
    let accounts = users::all();
    let all: Vec<User> = accounts.iter().cloned().map(User::from).collect();
    let mut names = baseline.users.clone();
    // Names without an account are left out: fail2ban looks for `Invalid user` in sshd's log.
    names.extend(mapped.iter().filter(|name| all.iter().any(|user| user.name == **name)).cloned());
    names.extend(accounts.into_iter().filter(|user| user.id == 0 || user.is_person()).map(|user| user.name));
    let mut people: Vec<User> = Vec::new();
    for name in names {
        if !people.iter().any(|known| known.name == name) {
            people.push(User::named(&name, &all));
        }
    }
    let more = people.len().saturating_sub(MAX_USERS);
    people.truncate(MAX_USERS);
    (people, more)
}

/// What sshd said last about the user, without what it says of every connection.
fn reason(said: &str) -> String {
    let of_all = [
        "Connection ",
        "Postponed ",
        "Failed ",
        "Accepted ",
        "Received disconnect",
        "Disconnected",
        "Disconnecting",
        "Closing ",
    ];
    let mut telling = said.lines().map(str::trim).filter(|line| !of_all.iter().any(|start| line.starts_with(start)));
    telling
        .next_back()
        .map_or_else(|| "sshd does not say why".to_owned(), |line| format!("sshd says: {}", neutral(line)))
}

/// A key of a type for which sshd accepts certificates.
fn user_key(effective: &Effective) -> Result<PrivateKey> {
    let accepted: Vec<&str> =
        effective.values("pubkeyacceptedalgorithms").iter().flat_map(|list| list.split(',')).collect();
    let is_plain = accepted.is_empty() || accepted.iter().any(|name| name.starts_with("ssh-ed25519-cert"));
    let kind = if is_plain { Algorithm::Ed25519 } else { Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 } };
    PrivateKey::random(&mut OsRng, kind).map_err(|error| Error::failed("cannot make a throw-away key").cause(error))
}
