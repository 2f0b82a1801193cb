//! Policies in an OCI registry. Uses a few calls of its protocol, each with a limit on size and time. An answer is
//! accepted only if it has the requested digest, because some registries serve a blob that was altered on their disk.

pub mod credentials;
pub mod manifest;
mod reference;

pub use reference::{Reference, Version};

use crate::{
    ca::step::http::{HeaderMap, Method, Problem, Reply, Request, Transfer, header, is_safe},
    digest::Digest,
    error::{Error, Result},
    text::neutral,
};
use credentials::{Access, Credentials};
use manifest::{Descriptor, Manifest};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use url::Url;

/// The largest manifest that is read, in bytes.
const MAX_MANIFEST: usize = 4 << 20;
/// The limit for other answers: an error, a token.
const MAX_ANSWER: usize = 64 << 10;

/// A component as it is stored in a registry.
#[derive(Debug, PartialEq, Eq)]
pub struct Artifact {
    pub component: Vec<u8>,
    /// The publisher's signed manifest, if the artifact has one.
    pub signed: Option<SignedManifest>,
}

/// What a publisher signed, with the signature; not verified yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedManifest {
    /// The manifest that names publisher, version and digests.
    pub manifest: String,
    pub signature: String,
}

/// How a registry is reached.
#[derive(Debug, Default)]
pub struct Means {
    /// Root certificates (DER) to trust in addition to the system's.
    pub roots: Vec<Vec<u8>>,
    /// Without TLS; only allowed for a loopback address.
    pub plain_http: bool,
}

/// A session with a registry about one repository.
#[derive(Debug)]
pub struct Registry {
    transfer: Transfer,
    reference: Reference,
    base: Url,
    plain_http: bool,
    credentials: Option<Credentials>,
    /// The authentication that the registry demanded, once it has demanded one.
    access: RefCell<Option<Access>>,
    /// The actions that a token has to permit: a token server grants exactly those that were requested.
    actions: &'static str,
}

impl Registry {
    /// A session with the registry. Nothing is sent yet.
    ///
    /// # Errors
    /// The registry cannot be contacted in this way.
    pub fn new(reference: &Reference, means: Means, credentials: Option<Credentials>) -> Result<Self> {
        let scheme = if means.plain_http { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{}/v2/{}/", reference.authority, reference.name))
            .map_err(|error| Error::usage(format!("{reference} is no address")).cause(error))?;
        if !is_safe(&base) {
            return Err(Error::usage(format!("{} is not contacted without TLS", reference.authority))
                .cause("--plain-http is for a loopback address such as 127.0.0.1:5000"));
        }
        let transfer = Transfer::new(means.roots)
            .map_err(|problem| Error::failed("cannot make a connection to a registry").cause(problem))?;
        let (reference, plain_http) = (reference.clone(), means.plain_http);
        Ok(Self { transfer, reference, base, plain_http, credentials, access: RefCell::new(None), actions: "pull" })
    }

    /// Fetches an artifact whose component has at most `limit` bytes. Also returns the digest of its manifest.
    ///
    /// # Errors
    /// Refused: the registry sends something else than was requested.
    pub fn pull(self, limit: u64) -> Result<(Artifact, Digest)> {
        let bytes = self.manifest()?.ok_or_else(|| {
            Error::failed(format!("there is no {}", self.reference))
                .cause("the registry answers that it has none (404)")
        })?;
        let manifest = Manifest::parse(&bytes)?;
        let layer = manifest.component().ok_or_else(|| Error::refused("the manifest names no component"))?;
        if layer.size > limit {
            return Err(Error::refused("the component is larger than one may be")
                .cause(format!("the manifest says {} bytes, and the limit is {limit}", layer.size)));
        }
        Ok((Artifact { component: self.blob(layer)?, signed: manifest.signed() }, Digest::of(&bytes)))
    }

    /// Stores an artifact. Returns its digest, and whether the artifact is new.
    ///
    /// # Errors
    /// The registry rejects it.
    pub fn push(mut self, artifact: &Artifact) -> Result<(Digest, bool)> {
        self.actions = "pull,push";
        let config = manifest::config(&artifact.component);
        let bytes = Manifest::of(artifact, &config).to_bytes()?;
        let digest = Digest::of(&bytes);
        if self.manifest()?.is_some_and(|there| there == bytes) {
            return Ok((digest, false));
        }
        self.store(&config)?;
        self.store(&artifact.component)?;
        let headers = one_header(header::CONTENT_TYPE, manifest::MANIFEST);
        let reply = self.ask(Method::PUT, self.at(&format!("manifests/{}", self.version()))?, headers, &bytes)?;
        self.expect(&reply, 201, "does not take the manifest")?;
        Ok((digest, true))
    }

    /// The manifest; `None`: the registry has none of this name.
    fn manifest(&self) -> Result<Option<Vec<u8>>> {
        let url = self.at(&format!("manifests/{}", self.version()))?;
        let mut reply = self.send(&get(url, one_header(header::ACCEPT, manifest::MANIFEST)), MAX_MANIFEST)?;
        if reply.status == 404 {
            return Ok(None);
        }
        self.expect(&reply, 200, "does not send the manifest")?;
        match &self.reference.version {
            Version::Pinned(digest) if *digest != Digest::of(&reply.body) => {
                Err(altered("manifest", digest, &reply.body))
            }
            Version::Pinned(_) | Version::Tag(_) => Ok(Some(std::mem::take(&mut *reply.body))),
        }
    }

    fn blob(&self, blob: &Descriptor) -> Result<Vec<u8>> {
        let limit = usize::try_from(blob.size).unwrap_or(usize::MAX);
        let mut reply = self.send(&get(self.at(&format!("blobs/{}", blob.digest))?, HeaderMap::new()), limit)?;
        if (300..400).contains(&reply.status) {
            // Registries on object storage redirect to it. The storage gets no credentials, and a further redirect is
            // not followed.
            let url = self.elsewhere(&reply)?;
            let request = get(url, HeaderMap::new());
            reply = self.transfer.send(request, limit).map_err(|problem| self.failed(&problem))?;
        }
        self.expect(&reply, 200, "does not send the component")?;
        if Digest::of(&reply.body) != blob.digest {
            return Err(altered("component", &blob.digest, &reply.body));
        }
        if reply.body.len() != limit {
            return Err(Error::refused("the registry's manifest lies about the size of the component")
                .cause(format!("it says {limit} bytes, and there are {}", reply.body.len())));
        }
        Ok(std::mem::take(&mut *reply.body))
    }

    /// The target of a redirect, which has to be another server, reached by TLS.
    fn elsewhere(&self, reply: &Reply) -> Result<Url> {
        let refused =
            |why: &str| Error::refused("the registry redirects to another address, which is not contacted").cause(why);
        let location = location(reply).ok_or_else(|| refused("it does not say to which"))?;
        let url = self.base.join(location).map_err(|_| refused("it is no address"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("it has a user or a password in it"));
        }
        if !self.is_allowed(&url) {
            return Err(refused("it is not https"));
        }
        if url.origin() == self.base.origin() {
            return Err(refused("it is at the registry itself, which could have answered"));
        }
        Ok(url)
    }

    fn is_allowed(&self, url: &Url) -> bool {
        url.scheme() == "https" || (self.plain_http && is_safe(url))
    }

    /// Uploads a blob, unless the registry has it.
    fn store(&self, bytes: &[u8]) -> Result<()> {
        let digest = Digest::of(bytes);
        let there = self.ask(Method::HEAD, self.at(&format!("blobs/{digest}"))?, HeaderMap::new(), &[])?;
        if there.status == 200 {
            return Ok(());
        }
        let begun = self.ask(Method::POST, self.at("blobs/uploads/")?, HeaderMap::new(), &[])?;
        self.expect(&begun, 202, "does not take a blob")?;
        let place = location(&begun).and_then(|location| self.base.join(location).ok());
        let mut place = place.filter(|place| place.origin() == self.base.origin()).ok_or_else(|| {
            Error::refused("the registry wants a blob sent to another server")
                .cause("only the registry gets what is pushed")
        })?;
        place.query_pairs_mut().append_pair("digest", &digest.to_string());
        let headers = one_header(header::CONTENT_TYPE, "application/octet-stream");
        let stored = self.ask(Method::PUT, place, headers, bytes)?;
        self.expect(&stored, 201, "does not take a blob")
    }

    fn version(&self) -> String {
        match &self.reference.version {
            Version::Tag(tag) => tag.clone(),
            Version::Pinned(digest) => digest.to_string(),
        }
    }

    fn at(&self, path: &str) -> Result<Url> {
        // Not `Url::join`: a digest contains a colon, so the beginning of the relative URL would be parsed as a scheme.
        let whole = format!("{}{path}", self.base);
        Url::parse(&whole).map_err(|error| Error::failed("cannot make an address at the registry").cause(error))
    }

    fn ask(&self, method: Method, url: Url, headers: HeaderMap, body: &[u8]) -> Result<Reply> {
        self.send(&Request { method, url, headers, body: body.to_vec().into() }, MAX_ANSWER)
    }

    /// Sends a request. If the registry demands authentication, sends the request once more with credentials.
    fn send(&self, request: &Request, limit: usize) -> Result<Reply> {
        let send = |access: Option<&Access>| {
            let mut request = request.clone();
            if let Some(access) = access {
                request.headers.insert(header::AUTHORIZATION, access.header()?);
            }
            self.transfer.send(request, limit).map_err(|problem| self.failed(&problem))
        };
        let reply = send(self.access.borrow().as_ref())?;
        if reply.status != 401 || self.access.borrow().is_some() {
            return Ok(reply);
        }
        let access = self.access(&reply)?;
        let reply = send(Some(&access));
        *self.access.borrow_mut() = Some(access);
        reply
    }

    /// The authentication that the registry demands (RFC 6750, and the token flow of the distribution specification).
    fn access(&self, reply: &Reply) -> Result<Access> {
        let challenge = reply.headers.get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let challenge = challenge.unwrap_or_default();
        let Some(bearer) = credentials::bearer(challenge) else {
            let known = self.credentials.as_ref().ok_or_else(|| self.no_credentials())?;
            return Ok(Access::Basic(known.clone()));
        };
        let mut realm = Url::parse(&bearer.realm)
            .ok()
            .filter(|realm| self.is_allowed(realm) && realm.username().is_empty() && realm.password().is_none())
            .ok_or_else(|| {
                Error::refused("the registry names a token server that is not contacted")
                    .cause("its address is not https, or has a user or a password in it")
            })?;
        if let Some(service) = &bearer.service {
            realm.query_pairs_mut().append_pair("service", service);
        }
        let scope = format!("repository:{}:{}", self.reference.name, self.actions);
        realm.query_pairs_mut().append_pair("scope", &scope);
        let mut headers = HeaderMap::new();
        if let Some(known) = &self.credentials {
            headers.insert(header::AUTHORIZATION, known.header()?);
        }
        let reply = self.transfer.send(get(realm, headers), MAX_ANSWER).map_err(|problem| self.failed(&problem))?;
        self.expect(&reply, 200, "names a token server that gives no token")?;
        credentials::token(&reply.body)
    }

    fn no_credentials(&self) -> Error {
        Error::failed(format!("{} asks for credentials", self.reference.authority))
            .cause("there are no credentials for it in $REGISTRY_AUTH_FILE, nor in podman's or docker's file")
            .next(format!("podman login {}", self.reference.authority))
    }

    fn expect(&self, reply: &Reply, status: u16, what: &str) -> Result<()> {
        match reply.status {
            found if found == status => Ok(()),
            401 | 403 if self.credentials.is_none() => Err(self.no_credentials()),
            300..=399 => Err(Error::refused(format!("{} {what}", self.reference.authority)).cause(Problem::Redirect)),
            found => Err(Error::failed(format!("{} {what}", self.reference.authority))
                .cause(format!("HTTP status {found}: {}", shown(&reply.body)))),
        }
    }

    fn failed(&self, problem: &Problem) -> Error {
        let what = format!("{} gives no whole answer", self.reference.authority);
        let error = if matches!(problem, Problem::TooLong(_)) { Error::refused(what) } else { Error::failed(what) };
        error.cause(problem)
    }
}

fn altered(what: &str, expected: &Digest, bytes: &[u8]) -> Error {
    Error::refused(format!("the registry sends another {what} than the one that was asked for"))
        .cause(format!("asked for: {expected}\nsent: {}", Digest::of(bytes)))
}

fn get(url: Url, headers: HeaderMap) -> Request {
    Request { method: Method::GET, url, headers, body: Vec::new().into() }
}

fn location(reply: &Reply) -> Option<&str> {
    reply.headers.get(header::LOCATION)?.to_str().ok()
}

fn one_header(name: header::HeaderName, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(name, header::HeaderValue::from_static(value))])
}

/// The beginning of a registry's error text.
fn shown(body: &[u8]) -> String {
    neutral(&String::from_utf8_lossy(body).chars().take(200).collect::<String>())
}
