//! The listener to which the browser comes back: on 127.0.0.1 only, for one login. Every user on this machine can
//! connect to it. So only an answer with this login's own `state` counts, and no connection can block another.
#![expect(clippy::disallowed_methods, reason = "the one listener: for the browser of a person who logs in")]

mod request;

use super::{Fault, Page};
use request::Request;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sha2::{Digest as _, Sha256};
use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    time::{Duration, Instant},
};
use url::Url;

/// More connections than a browser opens. For a new one beyond this, the oldest is closed.
const MOST: usize = 64;
/// How many new connections are accepted before the open ones are read.
const AT_ONCE: usize = 16;
/// More bytes than any legitimate request has.
const MOST_BYTES: usize = 16 * 1024;
/// How long a connection may take to send its request.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the browser has to fetch the last page.
const LAST_PAGE: Duration = Duration::from_secs(3);

/// The target for an answer that does not belong to this login: a redirect there removes the answer from the address
/// bar.
const WRONG_WINDOW: &str = "/wrong-window";
/// The corresponding target after the login.
const OVER: &str = "/over";

/// A listener, bound to its port.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    port: u16,
    /// The secret part of the URLs at which the browser starts and ends; nobody else knows it.
    secret: String,
    connections: VecDeque<Connection>,
    visits: Visits,
}

/// Counts how often the browser opened the login's address, and how many answers of other logins came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visits {
    /// Whether the login's address was opened.
    pub is_opened: bool,
    /// How often it was opened again.
    pub opened_again: usize,
    /// How many answers of other logins came.
    pub strangers: usize,
}

/// The answer that the browser brings back from the provider.
#[derive(Clone, PartialEq, Eq)]
pub struct Callback {
    /// The provider that claims to have answered (`iss`, RFC 9207).
    pub issuer: Option<String>,
    pub answered: AuthorizationResponse,
}

/// The provider's authorization response (RFC 6749, 4.1.2).
#[derive(Clone, PartialEq, Eq)]
pub enum AuthorizationResponse {
    Code(String),
    Error {
        /// The provider's error code.
        error: String,
        /// The provider's description of it.
        description: String,
    },
}

impl std::fmt::Debug for Callback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Callback(…)")
    }
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    until: Instant,
}

/// The listener's answer to a request of the browser.
enum Reply {
    Page(Page),
    Redirect(String),
    /// For a prefetch: the browser will request the page again if the person opens it.
    Later,
}

impl Listener {
    /// Listens on the provisioner's port (`:10000`, `HOST:PORT`), or on any free port; always on the loopback address.
    ///
    /// # Errors
    /// The port is taken, or the provisioner's address has no port.
    pub fn bind(listen_address: &str) -> Result<Self, Fault> {
        let port = match listen_address.rsplit_once(':') {
            None if listen_address.is_empty() => Some(0),
            None => listen_address.parse().ok(),
            Some((_, port)) => port.parse().ok(),
        };
        let port = port.ok_or_else(|| Fault::NoAddress(listen_address.to_owned()))?;
        let failed = |error: io::Error| Fault::Listen {
            port,
            is_taken: error.kind() == ErrorKind::AddrInUse,
            error: error.to_string(),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let secret = super::provider::random();
        Ok(Self { listener, port, secret, connections: VecDeque::new(), visits: Visits::default() })
    }

    /// The redirect URI, exactly as it has to be registered with the provider.
    #[must_use]
    pub fn redirect_uri(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The URL that a person opens first. It redirects to the provider, once. So the provider's URL, which contains
    /// this login's `state`, does not appear on any command line.
    #[must_use]
    pub fn start(&self) -> String {
        format!("http://127.0.0.1:{}/go/{}", self.port, self.secret)
    }

    /// Waits for the provider's answer to the login with this `state`. Calls `remind` once, when `after` has passed.
    ///
    /// # Errors
    /// No answer came in time.
    pub fn wait(
        &mut self,
        provider: &Url,
        state: &str,
        patience: Duration,
        (after, remind): (Duration, &dyn Fn()),
    ) -> Result<Callback, Fault> {
        let begun = Instant::now();
        let (go, done) = (format!("/go/{}", self.secret), format!("/done/{}", self.secret));
        let mut visits = self.visits;
        let host = format!("127.0.0.1:{}", self.port);
        let mut returned = None;
        let mut reply = |request: &Request| {
            if !request.is_of(&host) {
                return (Reply::Page(Page::Nothing), false);
            }
            if request.path == go {
                if request.is_prefetch {
                    return (Reply::Later, false);
                }
                if visits.is_opened {
                    visits.opened_again += 1;
                    return (Reply::Page(Page::OpenedBefore), false);
                }
                visits.is_opened = true;
                return (Reply::Redirect(provider.to_string()), false);
            }
            if request.path == WRONG_WINDOW {
                return (Reply::Page(Page::WrongWindow), false);
            }
            if request.path != "/" || request.query.is_empty() {
                return (Reply::Page(Page::Nothing), false);
            }
            match answer(&request.query, state) {
                Some(answer) => {
                    returned = Some(answer);
                    (Reply::Redirect(done.clone()), true)
                }
                None => {
                    visits.strangers += 1;
                    // The redirect also removes another login's code from the address bar.
                    (Reply::Redirect(WRONG_WINDOW.to_owned()), false)
                }
            }
        };
        let served = self.serve(begun + patience.min(after), &mut reply).and_then(|has_ended| {
            if has_ended || after >= patience {
                return Ok(has_ended);
            }
            remind();
            self.serve(begun + patience, &mut reply)
        });
        self.visits = visits;
        served.map_err(|error| Fault::Listen { port: self.port, is_taken: false, error: error.to_string() })?;
        let redirect_uri = self.redirect_uri();
        returned.ok_or(Fault::NoAnswer { patience, redirect_uri, visits, knows_client: None })
    }

    /// Shows the browser the result. If the browser does not fetch the page, that is no error.
    pub fn show(mut self, page: Page) {
        let (done, host) = (format!("/done/{}", self.secret), format!("127.0.0.1:{}", self.port));
        let served = self.serve(Instant::now() + LAST_PAGE, |request| {
            let is_last = request.is_of(&host) && request.path == done;
            let reply = if is_last {
                Reply::Page(page)
            } else if request.query.is_empty() {
                Reply::Page(Page::Over)
            } else {
                Reply::Redirect(OVER.to_owned())
            };
            (reply, is_last)
        });
        drop(served);
    }

    /// Answers requests until `reply` marks one as the last, or until the deadline. Returns whether there was a last
    /// one.
    fn serve(&mut self, until: Instant, mut reply: impl FnMut(&Request) -> (Reply, bool)) -> io::Result<bool> {
        loop {
            let now = Instant::now();
            self.connections.retain(|one| one.until > now);
            let Some(left) = until.checked_duration_since(now).filter(|left| !left.is_zero()) else { return Ok(false) };
            let wait = left.min(Duration::from_secs(1));
            let mut sockets: Vec<PollFd<'_>> = vec![PollFd::new(&self.listener, PollFlags::IN)];
            sockets.extend(self.connections.iter().map(|one| PollFd::new(&one.stream, PollFlags::IN)));
            let wait = Timespec::try_from(wait).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            match poll(&mut sockets, Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            self.accept()?;
            let mut is_last = false;
            self.connections.retain_mut(|connection| {
                if is_last {
                    return true;
                }
                match connection.request() {
                    RequestProgress::More => true,
                    RequestProgress::Broken => false,
                    RequestProgress::Whole(request) => {
                        let (answer, last) = reply(&request);
                        connection.answer(&answer);
                        is_last = last;
                        false
                    }
                }
            });
            if is_last {
                return Ok(true);
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..AT_ONCE {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    if self.connections.len() >= MOST {
                        drop(self.connections.pop_front());
                    }
                    self.connections.push_back(Connection {
                        stream,
                        read: Vec::new(),
                        until: Instant::now() + PATIENCE,
                    });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// How much of a request a connection has sent.
enum RequestProgress {
    More,
    Broken,
    Whole(Request),
}

impl Connection {
    fn request(&mut self) -> RequestProgress {
        let mut piece = [0; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return RequestProgress::Broken,
                Ok(read) => self.read.extend_from_slice(piece.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return RequestProgress::More,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return RequestProgress::Broken,
            }
            if self.read.windows(4).any(|end| end == b"\r\n\r\n") {
                return Request::parse(&self.read).map_or(RequestProgress::Broken, RequestProgress::Whole);
            }
            if self.read.len() > MOST_BYTES {
                return RequestProgress::Broken;
            }
        }
    }

    /// Sends the reply without waiting: it fits into the socket's buffer. If the browser has gone, the reply is lost.
    fn answer(&mut self, reply: &Reply) {
        let (status, more, body) = match reply {
            Reply::Page(page) => {
                let more = format!(
                    "Content-Type: text/html; charset=utf-8\r\nContent-Security-Policy: {}\r\n",
                    Page::content_security_policy()
                );
                (page.status(), more, page.html())
            }
            Reply::Redirect(to) => ("303 See Other", format!("Location: {to}\r\n"), String::new()),
            Reply::Later => ("503 Service Unavailable", String::new(), String::new()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\n{more}Content-Length: {}\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n\
             X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let sent = self.stream.write_all(head.as_bytes()).and_then(|()| self.stream.write_all(body.as_bytes()));
        drop(sent.and_then(|()| self.stream.shutdown(Shutdown::Write)));
    }
}

/// Parses the provider's answer from a query; `None` if it does not belong to the login with this `state`.
fn answer(query: &[(String, String)], state: &str) -> Option<Callback> {
    let only = |name: &str| {
        let mut found = query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        found.next().filter(|_| found.next().is_none())
    };
    // Compared by digest, so that the duration does not reveal how many characters are right.
    if Sha256::digest(only("state")?) != Sha256::digest(state) {
        return None;
    }
    let answered = if let Some(error) = only("error") {
        let description = only("error_description").unwrap_or_default().to_owned();
        AuthorizationResponse::Error { error: error.to_owned(), description }
    } else {
        AuthorizationResponse::Code(only("code")?.to_owned())
    };
    Some(Callback { issuer: only("iss").map(str::to_owned), answered })
}

#[cfg(test)]
mod tests;
