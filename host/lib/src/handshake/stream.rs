//! What a session runs over, and the limits of a session.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

/// A connection whose calls can be bounded in time.
pub trait Stream: Read + Write {
    /// Sets the longest time, which is not zero, that a single read or write may take from now on.
    ///
    /// # Errors
    /// The system refuses.
    fn set_patience(&mut self, patience: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))?;
        self.set_write_timeout(Some(patience))
    }
}

impl Stream for UnixStream {
    fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))?;
        self.set_write_timeout(Some(patience))
    }
}

impl<S: Stream + ?Sized> Stream for &mut S {
    fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        (**self).set_patience(patience)
    }
}

impl<S: Stream + ?Sized> Stream for Box<S> {
    fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        (**self).set_patience(patience)
    }
}

/// The limits of a whole session.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// When the session has to be over.
    pub deadline: Instant,
    /// How many bytes may be received.
    pub bytes: usize,
}

impl Limits {
    /// Enough for the exchanges and the login of a real server, which take about 1 to 3 KiB each.
    const BYTES: usize = 512 * 1024;

    /// The usual number of bytes, and this much time from now on.
    #[must_use]
    pub fn within(time: Duration) -> Self {
        Self { deadline: Instant::now() + time, bytes: Self::BYTES }
    }
}
