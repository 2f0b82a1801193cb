//! The change set: the changes that a procedure wants, as plain data. None of them has been made yet.

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

/// A certificate request, by its position among the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct RequestId(usize);

/// A certificate that the CA will be asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The private key's path.
    pub key: AbsolutePath,
    /// The socket of the agent that holds the key; none: the key is in its file.
    pub agent: Option<PathBuf>,
    /// The public half of the key.
    pub public: PublicKey,
    /// Host or user.
    pub kind: Kind,
    pub principals: Principals,
    /// The certificate that the new one succeeds, if any.
    pub current: Option<Certificate>,
}

impl Request {
    /// Whether the request succeeds a certificate of another key.
    #[must_use]
    pub fn is_rekey(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.key().key_data() != self.public.key_data())
    }
}

/// A query that was asked, and its answer.
#[derive(Debug)]
pub struct QueryRecord {
    pub query: Invocation,
    /// What was staged at that time in the directories of which the query gets copies.
    pub overlay: Overlay,
    /// The answer.
    pub shown: QueryAnswer,
}

impl QueryRecord {
    /// Asks the query again: on the machine as it is now, with what was staged the first time.
    ///
    /// # Errors
    /// The query cannot be answered.
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
    /// One place in each directory that is held open. Places read or staged in that directory share its descriptor.
    directories: Vec<Place>,
}

impl ChangeSet {
    /// Reads what is at a place as the staged changes would leave it, and notes that the run depends on it.
    ///
    /// # Errors
    /// What is there cannot be read as a file, or is a staged key or certificate whose contents are not known yet.
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

    /// The public half of the private key that is staged at a place, and that of the key which is there now.
    #[must_use]
    pub fn staged_key(&self, place: &Place) -> Option<(PublicKey, Option<PublicKey>)> {
        self.staged.iter().find_map(|staged| match &staged.after {
            After::PrivateKey { public, .. } if staged.place.key() == place.key() => {
                Some((public.clone(), staged.replaced().map(|replaced| replaced.old)))
            }
            After::PrivateKey { .. } | After::Removed | After::Bytes { .. } | After::Certificate { .. } => None,
        })
    }

    /// The private keys that staged changes replace.
    pub fn replaced(&self) -> impl Iterator<Item = KeyReplacement> + '_ {
        self.staged.iter().filter_map(StagedChange::replaced)
    }

    /// Reads what is on the machine at a place, ignoring staged changes, and notes that the run depends on it.
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

    /// Whether the file at a place is another one than when the run first looked there.
    ///
    /// # Errors
    /// What is there cannot be read as a file.
    pub fn has_changed(&mut self, place: &Place) -> Result<bool, FileError> {
        let now = self.look(place)?.map(|snapshot| (snapshot.digest, snapshot.inode));
        Ok(self.reads.get(&place.key()).is_some_and(|(_, first)| *first != now))
    }

    /// The place to hold until the run ends, sharing the descriptor of a directory that is already open where
    /// possible: a guest may ask for thousands of names.
    fn kept(&mut self, place: Place) -> Place {
        if let Some(shared) = self.directories.iter().find_map(|open| place.by_way_of(open)) {
            return shared;
        }
        self.directories.push(place.clone());
        place
    }

    /// Stages one change, which replaces an earlier one at the same place. A change that makes no difference to the
    /// machine is dropped. Returns whether it makes one.
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

    /// Adds a request, or returns the earlier one that asks for exactly the same.
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

    /// Queues a reload or a restart, unless it is queued already.
    pub fn tell(&mut self, operation: ServiceOperation, service: Name) {
        let queued = (operation, service);
        if !self.services.contains(&queued) {
            self.services.push(queued);
        }
    }

    /// Asks a query once, and answers it from the record after that. The answer becomes a precondition of the run.
    ///
    /// # Errors
    /// The query cannot be answered.
    pub fn ask(&mut self, query: &Invocation, runner: &dyn Runner, root: &Root) -> Result<QueryAnswer, Fault> {
        let overlay = self.overlay(query, root)?;
        if let Some(known) = self.asked.iter().find(|known| known.query == *query && known.overlay == overlay) {
            return Ok(known.shown.clone());
        }
        let shown = answer(query, &overlay, runner, root)?;
        self.asked.push(QueryRecord { query: query.clone(), overlay, shown: shown.clone() });
        Ok(shown)
    }

    /// Whether anything is staged in the directories of which a query gets copies.
    ///
    /// # Errors
    /// A key or a certificate is staged there.
    pub fn is_copied_from(&self, query: &Invocation, root: &Root) -> Result<bool, Fault> {
        self.overlay(query, root).map(|overlay| !overlay.is_empty())
    }

    /// What is staged in the directories of which a query gets copies.
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

    /// The queries that were asked, with their answers.
    #[must_use]
    pub fn asked(&self) -> &[QueryRecord] {
        &self.asked
    }

    /// Queues a program, to be run after the reloads queued so far. It replaces a queued program about the same
    /// state. Returns whether the program would make a difference.
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

    /// Queues that the init system takes up these parts of the schedule once their files are in place.
    pub fn reconcile(&mut self, started: Vec<Started>) {
        self.schedule = started;
    }

    /// The parts of the schedule that the init system is to take up from their files.
    #[must_use]
    pub fn schedule(&self) -> &[Started] {
        &self.schedule
    }

    /// The names staged in a directory (true), and the names removed from it (false).
    pub fn names_in(&self, directory: &Place) -> impl Iterator<Item = (&str, bool)> {
        let of = directory.key();
        self.staged.iter().filter_map(move |staged| {
            let key = staged.place.key();
            key.is_beside(&of).then(|| (staged.place.name(), !matches!(staged.after, After::Removed)))
        })
    }

    /// Whether there is nothing to do. Requests whose certificates are not staged, and reloads without a change, do
    /// not count.
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

    /// The requests whose certificates are staged.
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

    /// Has a certificate renewed, instead of asking for a new one with the same key and names.
    pub fn succeed(&mut self, id: RequestId, current: Certificate) {
        if let Some(request) = self.requests.get_mut(id.0) {
            request.current = Some(current);
        }
    }

    /// The certificates that are now in the files to which a request's certificate will be written.
    pub fn present(&self, id: RequestId) -> impl Iterator<Item = Certificate> + '_ {
        self.answered_by(id)
            .filter_map(|staged| staged.before.as_ref().and_then(|before| certificate::parse(&before.contents).ok()))
    }

    /// Drops the staged changes that wait for these requests, so that those files stay as they are. Returns their
    /// paths.
    pub fn withdraw(&mut self, ids: &[RequestId]) -> Vec<AbsolutePath> {
        let waits = |staged: &mut StagedChange| matches!(&staged.after, After::Certificate { request } if ids.contains(request));
        self.staged.extract_if(.., waits).map(|staged| staged.path).collect()
    }

    fn answered_by(&self, id: RequestId) -> impl Iterator<Item = &StagedChange> {
        self.staged
            .iter()
            .filter(move |staged| matches!(&staged.after, After::Certificate { request } if *request == id))
    }

    /// The services to reload or restart, in order.
    #[must_use]
    pub fn services(&self) -> &[(ServiceOperation, Name)] {
        &self.services
    }

    /// The places that were read, each with the digest and inode found there.
    pub fn reads(&self) -> impl Iterator<Item = &(Place, Option<(Digest, u64)>)> {
        self.reads.values()
    }
}
