//! A server's side of HTTPS, one thread per connection, with everything that can go wrong.

use super::fault::Connection;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::{
    io::{self, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// The path, without the version of the API and without the query.
    pub(super) path: String,
    pub(super) body: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The lines of the head.
    pub(super) head: Vec<String>,
    pub(super) body: Vec<u8>,
    /// How it is sent.
    pub(super) pace: Pace,
}

/// How an answer is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// Correctly.
    Whole,
    /// Half of it, and then the end.
    Cut,
    /// Byte by byte.
    Slow(Duration),
    /// With an endless body.
    Endless,
    /// With an endless head.
    EndlessHead,
    /// Not at all, while the client waits.
    Silent,
    /// Not at all; the connection is closed.
    Closed,
}

/// The function that answers requests.
pub(super) type Answers = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// Serves until the flag is set and one more connection comes.
pub(super) fn serve(
    listener: &TcpListener,
    tls: &Arc<ServerConfig>,
    fault: Option<Connection>,
    answers: &Answers,
    end: &AtomicBool,
) {
    for socket in listener.incoming() {
        if end.load(Ordering::SeqCst) {
            return;
        }
        let (socket, tls, answers) = (socket.unwrap(), Arc::clone(tls), Arc::clone(answers));
        // Clients that have had enough may end a connection anywhere.
        thread::spawn(move || drop(converse(socket, &tls, fault, &answers)));
    }
}

fn converse(
    mut socket: TcpStream,
    tls: &Arc<ServerConfig>,
    fault: Option<Connection>,
    answers: &Answers,
) -> io::Result<()> {
    match fault {
        Some(Connection::Closed) => return Ok(()),
        Some(Connection::Silent) => return wait(&mut socket),
        Some(Connection::Plain) => {
            socket.write_all(b"SSH-2.0-OpenSSH_9.2\r\n")?;
            return wait(&mut socket);
        }
        Some(Connection::OtherRoot | Connection::OtherName | Connection::Expired) | None => {}
    }
    let connection = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, socket));
    while let Some((request, again)) = receive(&mut stream)? {
        let answer = answers(&request);
        let goes_on = send(stream.get_mut(), &answer)?;
        if !goes_on || !again {
            break;
        }
    }
    let stream = stream.get_mut();
    stream.conn.send_close_notify();
    stream.flush()
}

/// Reads and drops everything until the client closes the connection.
fn wait(stream: &mut impl io::Read) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(drop)
}

/// The next request of a connection, and whether another may follow.
fn receive(stream: &mut impl io::BufRead) -> io::Result<Option<(Request, bool)>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut word = || words.next().ok_or(io::ErrorKind::InvalidData);
    let (method, target, version) = (word()?, word()?, word()?);
    let (mut length, mut again) = (0, version == "HTTP/1.1");
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().map_err(io::Error::other)?,
            "connection" => again = !value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let path = target.split('?').next().unwrap_or_default();
    let path = path.strip_prefix("/1.0").unwrap_or(path).to_owned();
    Ok(Some((Request { method, path, body }, again)))
}

/// Sends an answer. Returns whether the connection can be used again.
fn send(stream: &mut (impl io::Read + Write), answer: &Answer) -> io::Result<bool> {
    let mut head = format!("HTTP/1.1 {} Answer\r\n", answer.status);
    for line in &answer.head {
        head.push_str(line);
        head.push_str("\r\n");
    }
    let length = format!("Content-Length: {}\r\n\r\n", answer.body.len());
    let whole = [head.as_bytes(), length.as_bytes(), &answer.body].concat();
    match answer.pace {
        Pace::Whole => {
            stream.write_all(&whole)?;
            stream.flush()?;
            return Ok(true);
        }
        Pace::Cut => stream.write_all(&whole[..whole.len() - answer.body.len().div_ceil(2)])?,
        Pace::Slow(between) => {
            for byte in whole {
                stream.write_all(&[byte])?;
                stream.flush()?;
                thread::sleep(between);
            }
            return Ok(true);
        }
        Pace::Endless => {
            stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes())?;
            let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
            forever(stream, &chunk)?;
        }
        Pace::EndlessHead => {
            stream.write_all(head.as_bytes())?;
            forever(stream, &format!("X-More: {}\r\n", "more ".repeat(200)))?;
        }
        Pace::Silent => wait(stream)?,
        Pace::Closed => {}
    }
    Ok(false)
}

/// Sends the same until the client closes the connection.
fn forever(stream: &mut impl Write, what: &str) -> io::Result<()> {
    loop {
        stream.write_all(what.as_bytes())?;
    }
}
