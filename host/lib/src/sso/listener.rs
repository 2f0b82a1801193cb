//! The listener that the browser comes back to: on 127.0.0.1 alone, for one login. Everybody on this machine can connect
//! to it, so nothing that comes counts but an answer with the login's own `state`; and no connection keeps another out.
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

/// More connections than a browser opens; the oldest makes room for a new one.
const MOST: usize = 64;
/// So many new connections are taken before those that are open are read.
const AT_ONCE: usize = 16;
/// Longer than the address of any answer.
const MOST_BYTES: usize = 16 * 1024;
/// How long a connection may take to send its request.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the browser has to fetch the last page.
const LAST_PAGE: Duration = Duration::from_secs(3);

/// Where an answer leads that belongs to no login here: to an address without it.
const WRONG_WINDOW: &str = "/wrong-window";
/// The same after the login.
const OVER: &str = "/over";

/// A listener, bound to its port.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    port: u16,
    /// Where the browser begins, and where it ends: known to it alone.
    secret: String,
    connections: VecDeque<Connection>,
    visits: Visits,
}

/// How often the browser opened the login's address, and answers of other logins came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visits {
    /// Whether the login's address was opened.
    pub is_opened: bool,
    /// How often it was opened again.
    pub opened_again: usize,
    /// How many answers of other logins came.
    pub strangers: usize,
}

/// The redirect that the browser brings back from the provider.
#[derive(Clone, PartialEq, Eq)]
pub struct Callback {
    /// The provider that says it answered (RFC 9207).
    pub issuer: Option<String>,
    pub answered: AuthorizationResponse,
}

/// The provider's authorization response (RFC 6749, 4.1.2).
#[derive(Clone, PartialEq, Eq)]
pub enum AuthorizationResponse {
    Code(String),
    Error {
        /// The provider's word for it.
        error: String,
        /// The provider's sentence for it.
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

/// The answer to one request of the browser.
enum Reply {
    Page(Page),
    Redirect(String),
    /// A browser's guess at what will be wanted: it comes again.
    Later,
}

impl Listener {
    /// Listens where the provisioner says (`:10000`, `HOST:PORT`), else at any free port; never for other machines.
    ///
    /// # Errors
    /// The port is taken, or none is named.
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

    /// What the provider has to know, letter by letter.
    #[must_use]
    pub fn redirect_uri(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where a person begins: it leads to the provider, once. So the address of the provider, which has this login's
    /// `state` in it, is on no command line.
    #[must_use]
    pub fn start(&self) -> String {
        format!("http://127.0.0.1:{}/go/{}", self.port, self.secret)
    }

    /// Waits for the provider's answer to the login with this `state`. After so long a person is reminded, once.
    ///
    /// # Errors
    /// None came in time.
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
                    // Nor does another login's code stay in the address bar.
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

    /// Shows the browser how it ended. That it does not ask is no fault.
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

    /// Answers requests until one is the last, or the time is over; whether one was.
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

    /// What it gets fits into the socket's buffer. A browser that went away misses it.
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

/// The provider's answer in a query; none where it is not the login's with this `state`.
fn answer(query: &[(String, String)], state: &str) -> Option<Callback> {
    let only = |name: &str| {
        let mut found = query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        found.next().filter(|_| found.next().is_none())
    };
    // By their digests: how long it takes says nothing of how much of it is right.
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
