//! Compares who can log in before and after a change. It does so whenever something changes that decides about
//! logins: a line of the configuration, or a file that it names. A way in that is gained counts as well as one that
//! is lost.

mod bounds;
mod certificates;
mod key_query;
mod keywords;
mod methods;
mod staged;
mod system;

pub use certificates::Certificates;

use super::{
    baseline::Baseline,
    candidate::Candidate,
    check,
    client::bench::{Bench, addresses, command, login_options},
    config::{
        keywords::{MayChange, only_opens},
        structure::Difference,
    },
    risks::Risks,
};
use crate::{
    error::{Error, Result},
    machine::{
        scratch::Scratch,
        sshd::{
            Effective, Sshd,
            effective::canonical,
            host_key,
            tree::{Overlay, StagedFiles},
        },
        users,
    },
    text::neutral,
};
use key_query::{runs_programs, takes};
use keywords::{COMPARED, HARMLESS, NAMING, shut_out};
use methods::{LoginMethod, User, ways};
use sshd_config::line::Directive;
use std::{collections::BTreeMap, path::Path};

/// At most this many users of the machine are compared one by one.
const MAX_USERS: usize = 1000;
/// At most this many differences are shown.
const SHOWN: usize = 5;

/// The users whose logins are proved, and those for whom nothing is proved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logins {
    /// Users whose public keys sshd takes as before.
    pub proved: Vec<String>,
    /// Users for whom that is not known, and why.
    pub not_proved: Vec<String>,
}

impl Candidate {
    /// Checks that every user gets in by the same means as today, and by no others. Asks sshd nothing where nothing
    /// changes that decides about logins.
    ///
    /// # Errors
    /// Refused: a user would lose or gain a way in and this is not accepted, or it cannot be found out.
    pub fn keeps_logins(&self, baseline: &Baseline, may_change: MayChange<'_>) -> Result<Logins> {
        let difference = self.difference(baseline, may_change)?;
        let deciding: Vec<String> = difference
            .keywords
            .iter()
            .map(|one| canonical(one))
            .filter(|one| !HARMLESS.contains(&one.as_str()))
            .collect();
        let compared = Comparison { candidate: self, baseline, may_change };
        compared.refuse_system_files()?;
        if deciding.is_empty() && compared.stages_only_certificates() {
            return self.refuse_unasked_principals(baseline, may_change).map(|()| Logins::default());
        }
        let all: Vec<User> = users::all().into_iter().map(User::from).collect();
        compared.refuse_conditional_files(&all)?;
        self.refuse_unasked_principals(baseline, may_change)?;
        if deciding.is_empty() && !compared.touches_files(&all) {
            return Ok(Logins::default());
        }
        let after = &self.view()?.effective;
        compared.refuse_unknown(&difference, after)?;
        compared.refuse_differences(&all, after)?;
        let mut logins = compared.ask()?;
        if !logins.proved.is_empty() && after.values("usepam") == ["yes"] {
            logins.not_proved.push(PAM.to_owned());
        }
        logins.not_proved.extend(compared.by_rule(&all));
        Ok(logins)
    }
}

struct Comparison<'a> {
    candidate: &'a Candidate,
    baseline: &'a Baseline,
    may_change: MayChange<'a>,
}

impl Comparison<'_> {
    fn overlay(&self) -> Overlay<'_> {
        Overlay(&self.candidate.staged)
    }

    fn risks(&self) -> Risks {
        self.candidate.risks
    }

    fn refuse_system_files(&self) -> Result<()> {
        let hostbased = self.has_hostbased();
        match self.candidate.staged.keys().find(|path| system::decides(path, hostbased)) {
            Some(path) => self.refuse_uncompared(path),
            None => Ok(()),
        }
    }

    /// Whether sshd takes a known host's word for its users (`HostbasedAuthentication`), by a line for any
    /// connections. An undo does not count, since it restores the hosts that were known before.
    fn has_hostbased(&self) -> bool {
        let (trees, any) = ([&self.baseline.tree, &self.candidate.tree], matches!(self.may_change, MayChange::Any));
        let switches_on = |directive: &Directive| {
            directive.keyword == "hostbasedauthentication"
                && directive.arguments.iter().any(|argument| argument.text.eq_ignore_ascii_case("yes"))
        };
        let by_line = || trees.iter().any(|tree| tree.directives().any(|(_, _, directive)| switches_on(&directive)));
        !any && (self.baseline.view.effective.values("hostbasedauthentication") == ["yes"] || by_line())
    }

    /// Refuses a change of a file whose effect on logins is not known, unless both risks are accepted.
    fn refuse_uncompared(&self, path: &Path) -> Result<()> {
        if self.risks().lose && self.risks().admit {
            return Ok(());
        }
        Err(Error::refused(format!("{} decides who gets in", path.display()))
            .cause("Warded cannot find out beforehand how a change of it affects logins")
            .next("if that is what you want, run it again with --accept-risk=lose-ssh --accept-risk=admit-logins"))
    }

    /// Refuses a change of a file that only some connections read (a `Match` names it, or switches the method on):
    /// the ways in are compared only by the settings that hold for everybody.
    fn refuse_conditional_files(&self, all: &[User]) -> Result<()> {
        if self.candidate.staged.is_empty() {
            return Ok(());
        }
        let nothing = StagedFiles::new();
        let effective = &self.baseline.view.effective;
        let mut named: Vec<(&str, Vec<String>)> =
            NAMING.iter().map(|keyword| (*keyword, effective.values(keyword).to_vec())).collect();
        for (_, _, directive) in self.baseline.tree.directives() {
            let keyword = canonical(&directive.keyword);
            if let Some(keyword) = NAMING.iter().find(|known| **known == keyword) {
                named.push((keyword, directive.arguments.into_iter().map(|argument| argument.text).collect()));
            }
        }
        for user in self.one_by_one(all) {
            let read = ways(&user, effective, Overlay(&nothing)).files;
            let files = named.iter().flat_map(|(keyword, values)| methods::files(&user, keyword, values));
            let is_own = |path: &Path| certificates::is_own(path) || certificates::is_own_file(path);
            for path in files.filter(|path| !read.contains(path) && !is_own(path)) {
                if let Some((staged, _)) = self.overlay().staged(&path) {
                    self.refuse_uncompared(staged)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a file is staged that gives some user a way in.
    fn touches_files(&self, all: &[User]) -> bool {
        if self.candidate.staged.is_empty() {
            return false;
        }
        let nothing = StagedFiles::new();
        let users = self.one_by_one(all).into_iter();
        let mut files = users.flat_map(|user| ways(&user, &self.baseline.view.effective, Overlay(&nothing)).files);
        files.any(|path| self.overlay().staged(&path).is_some())
    }

    /// The users to compare one by one: those who must get in, the first ones of passwd(5), and those for whom a file
    /// is staged.
    fn one_by_one(&self, all: &[User]) -> Vec<User> {
        let effective = &self.baseline.view.effective;
        let has_staged_file = |user: &&User| {
            let mut files = NAMING.iter().flat_map(|keyword| methods::files(user, keyword, effective.values(keyword)));
            files.any(|path| self.overlay().staged(&path).is_some())
        };
        let (first, rest) = all.split_at(all.len().min(MAX_USERS));
        let kept = self.baseline.users.iter().map(|name| User::named(name, all));
        kept.chain(first.iter().cloned()).chain(rest.iter().filter(has_staged_file).cloned()).collect()
    }

    /// Messages about the users who are compared only by the lines that hold for everybody.
    fn by_rule(&self, all: &[User]) -> Vec<String> {
        let rule = "compared by the lines that hold for everybody, not one by one";
        let mut told = Vec::new();
        if all.len() > MAX_USERS {
            told.push(format!("{} users beyond the first {MAX_USERS} of /etc/passwd: {rule}", all.len() - MAX_USERS));
        }
        let sources = users::other_sources();
        if !sources.is_empty() {
            told.push(format!("users of {} (nsswitch.conf): {rule}", neutral(&sources.join(", "))));
        }
        if self.baseline.more_users > 0 {
            told.push(format!(
                "{} more users who are logged in: sshd was not asked about them",
                self.baseline.more_users
            ));
        }
        told
    }

    /// Refuses a change of a keyword whose effect on logins is not known, unless the operator accepts the risk.
    fn refuse_unknown(&self, difference: &Difference, after: &Effective) -> Result<()> {
        // An undo brings back what was there; `ask` has sshd itself answer for it.
        if self.risks().lose || matches!(self.may_change, MayChange::Any) {
            return Ok(());
        }
        let before = &self.baseline.view.effective;
        for keyword in difference.keywords.iter().map(|one| canonical(one)) {
            let known = HARMLESS.contains(&keyword.as_str()) || COMPARED.contains(&keyword.as_str());
            let values = (before.values(&keyword), after.values(&keyword));
            if known || values.0 == values.1 || only_opens(&keyword, before, after) {
                continue;
            }
            if let Some(why) = bounds::problem(&keyword, values.0, values.1) {
                return Err(Error::refused(format!(
                    "{keyword} decides who gets in, and would be {}",
                    values.1.join(", ")
                ))
                .cause(why)
                .seen(format!("now: {}", values.0.join(", ")))
                .next(LOSE));
            }
        }
        Ok(())
    }

    fn refuse_differences(&self, all: &[User], after: &Effective) -> Result<()> {
        let mut lost = Vec::new();
        let mut gained = Vec::new();
        let before = &self.baseline.view.effective;
        let sshd = &self.candidate.original;
        for name in &self.baseline.users {
            let connection = check::login(name);
            let own = sshd.effective(sshd.config.as_path(), &connection)?;
            self.compare(
                &User::named(name, all),
                (&own, &self.candidate.effective(&connection)?),
                &mut lost,
                &mut gained,
            );
        }
        for user in self.one_by_one(all).iter().filter(|user| !self.baseline.users.contains(&user.name)) {
            self.compare(user, (before, after), &mut lost, &mut gained);
        }
        lost.extend(shut_out(before, after));
        gained.extend(shut_out(after, before).into_iter().map(|what| format!("no more {what}")));
        if !lost.is_empty() && !self.risks().lose {
            return Err(told("a way to log in would be gone", lost)
                .cause("a user who has no other way in could not log in any more")
                .next(LOSE));
        }
        // An undo only lets in users whom the machine let in before.
        let intended = self.risks().admit || matches!(self.may_change, MayChange::Any);
        if !gained.is_empty() && !intended {
            return Err(told("a way to log in would be new", gained)
                .cause("the policy does not grant the keyword that opens it")
                .next("if that is what you want, run it again with --accept-risk=admit-logins"));
        }
        Ok(())
    }

    fn compare(
        &self,
        user: &User,
        (before, after): (&Effective, &Effective),
        lost: &mut Vec<String>,
        gained: &mut Vec<String>,
    ) {
        let nothing = StagedFiles::new();
        let (old, new) = (ways(user, before, Overlay(&nothing)).all, ways(user, after, self.overlay()).all);
        let named = |what: &str| format!("{}: {}", neutral(&user.name), neutral(what));
        let gone = old.iter().filter(|(way, _)| !new.contains_key(*way)).map(|(_, way)| way);
        lost.extend(gone.filter(|way| !self.is_given_up(user, way, &new)).map(|way| named(&way.what)));
        let unasked = new.iter().filter(|(way, _)| !old.contains_key(*way));
        gained.extend(unasked.filter(|(_, way)| !self.may_change.has(way.keyword)).map(|(_, way)| named(&way.what)));
        let bound = |keyword: &&&str| bounds::problem(keyword, before.values(keyword), after.values(keyword)).is_some();
        if self.baseline.users.contains(&user.name) {
            let tight = bounds::AFTER_LOGIN.iter().filter(bound);
            lost.extend(tight.map(|keyword| named(&format!("{keyword} {}", after.values(keyword).join(" ")))));
        }
    }

    /// Whether a way in by certificate ends as intended: the CA dropped its key and the user still gets in by another
    /// key of that CA, or an undo removes the CA and those who have to get in keep another way in.
    fn is_given_up(&self, user: &User, way: &LoginMethod, left: &BTreeMap<String, LoginMethod>) -> bool {
        let Some(signed) = way.certificate.as_ref().filter(|signed| certificates::is_own(&signed.file)) else {
            return false;
        };
        let contents = Overlay(&StagedFiles::new()).read(&signed.file).unwrap_or_default();
        let real = std::fs::canonicalize(&signed.file).unwrap_or_else(|_| signed.file.clone());
        if self.candidate.authorship.is_edited(&real, &contents) {
            return false;
        }
        match self.may_change {
            MayChange::Any => !self.baseline.users.contains(&user.name) || !left.is_empty(),
            MayChange::Only(_) => {
                left.values().any(|other| other.certificate.as_ref() == Some(signed)) || self.is_mapped_away(user, left)
            }
        }
    }

    /// Whether the operator named other principals, and those who have to get in can do so without a certificate.
    fn is_mapped_away(&self, user: &User, left: &BTreeMap<String, LoginMethod>) -> bool {
        let is_kept = self.baseline.users.contains(&user.name);
        (!is_kept || left.values().any(|other| other.certificate.is_none()))
            && self.candidate.is_mapped_by_operator(self.baseline).unwrap_or(false)
    }

    /// Asks sshd itself, with today's configuration and with the candidate, whether it would accept a key of each
    /// user. The query without a signature (RFC 4252, section 7) runs no PAM module and no program, and opens no
    /// session.
    fn ask(&self) -> Result<Logins> {
        let mut logins = Logins::default();
        if runs_programs(&self.baseline.tree)? || runs_programs(&self.candidate.tree)? {
            let told = |user: &String| format!("{user}: a login would run a program that a `Match` names");
            logins.not_proved.extend(self.baseline.users.iter().map(told));
            return Ok(logins);
        }
        let _held = self.candidate.original.hold()?;
        let passable = Scratch::passable()?;
        let (key, _) = host_key::throw_away()?;
        let line = super::client::known_hosts::line_of(key.public_key().key_data())?;
        let authorized = passable.write("authorized_keys", line.as_bytes(), 0o644)?;
        let options = login_options(&authorized);
        let addresses = addresses(&self.candidate.original);
        let bench = |sshd: &Sshd, config: &Path| Bench::new(command(sshd, config, &options), addresses.clone());
        let after = bench(&self.candidate.sshd, self.candidate.config());
        let today = bench(&self.candidate.original, self.candidate.original.config.as_path());
        for user in &self.baseline.users {
            match (takes(&after, user, key.public_key())?, takes(&today, user, key.public_key())?) {
                (Ok(true), _) => logins.proved.push(user.clone()),
                (Ok(false) | Err(_), Ok(true)) if !self.risks().lose => {
                    return Err(Error::refused(format!("{} could not log in with a key any more", neutral(user)))
                        .cause("sshd takes a key of that user with the present configuration, but not with the new one")
                        .next(LOSE));
                }
                (_, Ok(true)) => logins.not_proved.push(format!("{user}: accepted by --accept-risk=lose-ssh")),
                (_, Ok(false)) => {
                    logins
                        .not_proved
                        .push(format!("{user}: sshd takes no key of that user from this machine today either"));
                }
                (_, Err(why)) => logins.not_proved.push(format!("{user}: {why}")),
            }
        }
        Ok(logins)
    }
}

/// After accepting a key, sshd asks PAM about the account, and a proof runs no PAM module.
const PAM: &str = "what PAM would say of these users (an account that is locked or has expired, a rule of pam_access)";
const LOSE: &str = "if that is what you want, run it again with --accept-risk=lose-ssh";

fn told(message: &str, mut differences: Vec<String>) -> Error {
    differences.dedup();
    let more = differences.len().saturating_sub(SHOWN);
    differences.truncate(SHOWN);
    if more > 0 {
        differences.push(format!("and {more} more"));
    }
    Error::refused(message).seen(differences.join("\n"))
}

#[cfg(test)]
mod tests;
