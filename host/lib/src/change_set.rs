//! The change set: what a procedure wants changed, as plain data. Nothing in it has happened.

pub mod review;
pub mod staged;

use crate::{
    ca::{Certificate, Kind, Principals, certificate},
    digest::Digest,
    machine::{
        action::{Code, Fault, Invocation, Overlay, QueryAnswer, Runner, Step, inside},
        files::{FileError, FileErrorKind, Place, PlaceKey, Root, Snapshot},
        keys::replaced::KeyReplacement,
        path::AbsolutePath,
        schedule::Started,
        service::ServiceOperation,
    },
    name::Name,
};
use ssh_key::PublicKey;
use staged::{After, StagedChange};
use std::{collections::BTreeMap, path::PathBuf};

/// Which certificate request, in the order asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct RequestId(usize);

/// A certificate that the CA will be asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The private key's path.
    pub key: AbsolutePath,
    /// The socket of the agent that has it; none: it is in its file.
    pub agent: Option<PathBuf>,
    /// Its public half.
    pub public: PublicKey,
    /// Host or user.
    pub kind: Kind,
    pub principals: Principals,
    /// What it succeeds, if anything.
    pub current: Option<Certificate>,
}

impl Request {
    /// Whether it succeeds a certificate of another key.
    #[must_use]
    pub fn is_rekey(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.key().key_data() != self.public.key_data())
    }
}

/// A query that was asked.
#[derive(Debug)]
pub struct QueryRecord {
    pub query: Invocation,
    /// What was staged then in the directories that it works on copies of.
    pub overlay: Overlay,
    /// The answer.
    pub shown: QueryAnswer,
}

impl QueryRecord {
    /// Asks it again: what is there now counts, with what was staged then.
    ///
    /// # Errors
    /// It cannot be answered.
    pub fn again(&self, runner: &dyn Runner, root: &Root) -> Result<QueryAnswer, Fault> {
        answer(&self.query, &self.overlay, runner, root)
    }
}

fn answer(query: &Invocation, overlay: &Overlay, runner: &dyn Runner, root: &Root) -> Result<QueryAnswer, Fault> {
    if query.action.scratch.is_empty() { query.ask(runner) } else { query.ask_on_copies(runner, root, overlay) }
}

/// Everything a procedure staged, and everything it looked at.
#[derive(Debug, Default)]
pub struct ChangeSet {
    staged: Vec<StagedChange>,
    requests: Vec<Request>,
    services: Vec<(ServiceOperation, Name)>,
    schedule: Vec<Started>,
    steps: Vec<Step>,
    asked: Vec<QueryRecord>,
    reads: BTreeMap<PlaceKey, (Place, Option<(Digest, u64)>)>,
    /// A place in each directory that is held open: those read and staged there share its descriptor.
    directories: Vec<Place>,
}

impl ChangeSet {
    /// What is at a place, staged changes seen; and notes that the run depends on it.
    ///
    /// # Errors
    /// What is there cannot be read as a file, or is a certificate still to be issued.
    pub fn read(&mut self, place: &Place) -> Result<Option<Vec<u8>>, FileError> {
        if let Some(staged) = self.staged.iter().find(|staged| staged.place.key() == place.key()) {
            return match &staged.after {
                After::Removed => Ok(None),
                After::Bytes { contents, .. } => Ok(Some(contents.clone())),
                After::Certificate { .. } | After::PrivateKey { .. } => Err(FileError::new(
                    FileErrorKind::Pending,
                    staged.path.as_path(),
                    "its contents are not known before the review",
                )),
            };
        }
        Ok(self.look(place)?.map(|snapshot| snapshot.contents.to_vec()))
    }

    /// The public half of the key that is staged at a place to be made there, and that of the key
    /// which is there now.
    #[must_use]
    pub fn staged_key(&self, place: &Place) -> Option<(PublicKey, Option<PublicKey>)> {
        self.staged.iter().find_map(|staged| match &staged.after {
            After::PrivateKey { public, .. } if staged.place.key() == place.key() => {
                Some((public.clone(), staged.replaced().map(|replaced| replaced.old)))
            }
            After::PrivateKey { .. } | After::Removed | After::Bytes { .. } | After::Certificate { .. } => None,
        })
    }

    /// The private keys in whose place others come.
    pub fn replaced(&self) -> impl Iterator<Item = KeyReplacement> + '_ {
        self.staged.iter().filter_map(StagedChange::replaced)
    }

    /// What is on the machine at a place, staged changes not seen; noted as read.
    ///
    /// # Errors
    /// What is there cannot be read as a file.
    pub fn look(&mut self, place: &Place) -> Result<Option<Snapshot>, FileError> {
        let snapshot = place.snapshot()?;
        let seen = snapshot.as_ref().map(|snapshot| (snapshot.digest, snapshot.inode));
        let kept = self.kept(place.clone());
        self.reads.entry(place.key()).or_insert((kept, seen));
        Ok(snapshot)
    }

    /// Whether another file is at a place than when the run looked there first.
    ///
    /// # Errors
    /// What is there cannot be read as a file.
    pub fn has_changed(&mut self, place: &Place) -> Result<bool, FileError> {
        let now = self.look(place)?.map(|snapshot| (snapshot.digest, snapshot.inode));
        Ok(self.reads.get(&place.key()).is_some_and(|(_, first)| *first != now))
    }

    /// A place that is kept until the run ends: in a directory that is open already, if it can be. A
    /// guest may ask for thousands of names.
    fn kept(&mut self, place: Place) -> Place {
        if let Some(shared) = self.directories.iter().find_map(|open| place.by_way_of(open)) {
            return shared;
        }
        self.directories.push(place.clone());
        place
    }

    /// Stages one change. A later one at the same place replaces an earlier one; one that makes no
    /// difference to the machine is dropped. True where the machine will differ.
    ///
    /// # Errors
    /// What is there now cannot be read as a file.
    pub fn stage(&mut self, path: AbsolutePath, place: Place, after: After, grant: String) -> Result<bool, FileError> {
        let before = self.look(&place)?;
        let differs = after.differs_from(before.as_ref());
        self.staged.retain(|staged| staged.place.key() != place.key());
        if differs {
            let place = self.kept(place);
            self.staged.push(StagedChange { path, place, before, after, grant });
        }
        Ok(differs)
    }

    /// Adds a request, or gives the one that asks for just the same.
    pub fn request(&mut self, request: Request) -> RequestId {
        let same = |other: &Request| {
            other.public.key_data() == request.public.key_data()
                && other.kind == request.kind
                && other.principals == request.principals
                && other.current.as_ref().map(Certificate::serial) == request.current.as_ref().map(Certificate::serial)
        };
        let id = self.requests.iter().position(same).unwrap_or(self.requests.len());
        if id == self.requests.len() {
            self.requests.push(request);
        }
        RequestId(id)
    }

    /// Queues a reload or a restart, once.
    pub fn tell(&mut self, operation: ServiceOperation, service: Name) {
        let queued = (operation, service);
        if !self.services.contains(&queued) {
            self.services.push(queued);
        }
    }

    /// Asks a query, once; its answer is a precondition.
    ///
    /// # Errors
    /// It cannot be answered.
    pub fn ask(&mut self, query: &Invocation, runner: &dyn Runner, root: &Root) -> Result<QueryAnswer, Fault> {
        let overlay = self.overlay(query, root)?;
        if let Some(known) = self.asked.iter().find(|known| known.query == *query && known.overlay == overlay) {
            return Ok(known.shown.clone());
        }
        let shown = answer(query, &overlay, runner, root)?;
        self.asked.push(QueryRecord { query: query.clone(), overlay, shown: shown.clone() });
        Ok(shown)
    }

    /// Whether anything is staged in the directories that a query works on copies of.
    ///
    /// # Errors
    /// A key or a certificate is.
    pub fn is_copied_from(&self, query: &Invocation, root: &Root) -> Result<bool, Fault> {
        self.overlay(query, root).map(|overlay| !overlay.is_empty())
    }

    /// What is staged in the directories that a query works on copies of.
    fn overlay(&self, query: &Invocation, root: &Root) -> Result<Overlay, Fault> {
        let mut overlay = Overlay::new();
        for directory in query.action.copied() {
            let place = inside(root, directory).map_err(|error| Fault::new(Code::UntrustedProgram, error.message))?;
            let Some(place) = place else { continue };
            for staged in self.staged.iter().filter(|staged| staged.place.key().is_beside(&place.key())) {
                let contents = match &staged.after {
                    After::Removed => None,
                    After::Bytes { contents, .. } => Some(contents.clone()),
                    After::Certificate { .. } | After::PrivateKey { .. } => {
                        let what = format!(
                            "{} works on a copy of {directory}, where a key or a certificate is to be",
                            query.name
                        );
                        return Err(Fault::new(Code::UntrustedProgram, what));
                    }
                };
                overlay.insert((directory.clone(), staged.place.name().to_owned()), contents);
            }
        }
        Ok(overlay)
    }

    /// What was asked, and what the answers were.
    #[must_use]
    pub fn asked(&self) -> &[QueryRecord] {
        &self.asked
    }

    /// Queues a program, after the reloads that are queued already. It replaces one that is about the same. True where
    /// it makes a difference.
    pub fn queue(&mut self, step: Step) -> bool {
        self.steps.retain(|known| !known.is_about_same(&step));
        let differs = step.differs();
        if differs {
            self.steps.push(Step { after_reloads: self.services.len(), ..step });
        }
        differs
    }

    /// The queued programs, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Queues that the init has these as their files say, once they are in place.
    pub fn reconcile(&mut self, started: Vec<Started>) {
        self.schedule = started;
    }

    /// What of the schedule the init is to have as its files say.
    #[must_use]
    pub fn schedule(&self) -> &[Started] {
        &self.schedule
    }

    /// Names staged in a directory, and names removed from it.
    pub fn names_in(&self, directory: &Place) -> impl Iterator<Item = (&str, bool)> {
        let of = directory.key();
        self.staged.iter().filter_map(move |staged| {
            let key = staged.place.key();
            key.is_beside(&of).then(|| (staged.place.name(), !matches!(staged.after, After::Removed)))
        })
    }

    /// Whether there is nothing to do. Requests that nothing writes, and reloads of what has not
    /// changed, are nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.staged.is_empty() && self.steps.is_empty()
    }

    /// How many directories are held open.
    #[must_use]
    pub fn directories(&self) -> usize {
        self.directories.len()
    }

    /// How many bytes are staged, with those that they replace or remove.
    #[must_use]
    pub fn staged_bytes(&self) -> usize {
        let bytes = |staged: &StagedChange| {
            let before = staged.before.as_ref().map_or(0, |before| before.contents.len());
            let after = match &staged.after {
                After::Bytes { contents, .. } => contents.len(),
                After::Removed | After::Certificate { .. } | After::PrivateKey { .. } => 0,
            };
            before.saturating_add(after)
        };
        self.staged.iter().map(bytes).sum()
    }

    /// The staged changes, in the order in which they were first asked for.
    #[must_use]
    pub fn staged(&self) -> &[StagedChange] {
        &self.staged
    }

    /// The requests that a staged certificate waits for.
    pub fn requests(&self) -> impl Iterator<Item = (RequestId, &Request)> {
        self.requests
            .iter()
            .enumerate()
            .map(|(index, request)| (RequestId(index), request))
            .filter(|(id, _)| self.answered_by(*id).next().is_some())
    }

    #[must_use]
    pub fn request_of(&self, id: RequestId) -> Option<&Request> {
        self.requests.get(id.0)
    }

    /// The certificates that lie where a request's answer will be written.
    pub fn present(&self, id: RequestId) -> impl Iterator<Item = Certificate> + '_ {
        self.answered_by(id)
            .filter_map(|staged| staged.before.as_ref().and_then(|before| certificate::parse(&before.contents).ok()))
    }

    /// Leaves what waits for these requests as it is on the machine, and returns its paths.
    pub fn withdraw(&mut self, ids: &[RequestId]) -> Vec<AbsolutePath> {
        let waits = |staged: &mut StagedChange| matches!(&staged.after, After::Certificate { request } if ids.contains(request));
        self.staged.extract_if(.., waits).map(|staged| staged.path).collect()
    }

    fn answered_by(&self, id: RequestId) -> impl Iterator<Item = &StagedChange> {
        self.staged
            .iter()
            .filter(move |staged| matches!(&staged.after, After::Certificate { request } if *request == id))
    }

    /// The services to tell, in order.
    #[must_use]
    pub fn services(&self) -> &[(ServiceOperation, Name)] {
        &self.services
    }

    /// What was read, and as what.
    pub fn reads(&self) -> impl Iterator<Item = &(Place, Option<(Digest, u64)>)> {
        self.reads.values()
    }
}
