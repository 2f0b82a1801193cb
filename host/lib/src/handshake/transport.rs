//! Packets (RFC 4253, section 6), and the strict key exchange of OpenSSH's `kex-strict` extension.

use super::{
    cipher::Guard,
    fault::Fault,
    stream::{Limits, Stream},
    wire::{Reader, number},
};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::{
    io,
    time::{Duration, Instant},
};

/// The longest packet, with its length field and authentication code.
pub(super) const LONGEST_PACKET: usize = 35_000;
/// The shortest part that the length field counts: the length of the padding, the padding, and a message number.
const SHORTEST: usize = 1 + LEAST_PADDING + 1;
const LEAST_PADDING: usize = 4;
const LENGTH: usize = 4;
/// At most this much of a reason is kept.
const LONGEST_REASON: usize = 512;

#[derive(Debug)]
struct Direction {
    guard: Guard,
    sequence: u32,
}

impl Direction {
    const CLEAR: Self = Self { guard: Guard::Clear, sequence: 0 };
}

/// One side of a connection.
#[derive(Debug)]
pub(super) struct Transport<S> {
    stream: S,
    limits: Limits,
    received: usize,
    pub(super) inbox: Vec<u8>,
    incoming: Direction,
    outgoing: Direction,
    /// Whether sequence numbers start again from zero with each key.
    strict: bool,
    /// Whether only the messages of the first exchange may come.
    silent: bool,
}

impl<S: Stream> Transport<S> {
    pub(super) fn new(stream: S, limits: Limits) -> Self {
        let (incoming, outgoing) = (Direction::CLEAR, Direction::CLEAR);
        Self { stream, limits, received: 0, inbox: Vec::new(), incoming, outgoing, strict: false, silent: false }
    }

    fn patience(&mut self) -> Result<(), Fault> {
        let patience = self.limits.deadline.saturating_duration_since(Instant::now());
        if patience < Duration::from_micros(1) {
            return Err(Fault::Timeout);
        }
        Ok(self.stream.set_patience(patience)?)
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            self.patience()?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(Fault::Closed { said: Vec::new() }),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits for more bytes.
    pub(super) fn fill(&mut self) -> Result<(), Fault> {
        let mut buffer = [0; 8192];
        let got = loop {
            self.patience()?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Fault::Closed { said: Vec::new() }),
                Ok(got) => break got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        };
        self.received = self.received.saturating_add(got);
        if self.received > self.limits.bytes {
            return Err(Fault::Budget { allowed: self.limits.bytes });
        }
        self.inbox.extend_from_slice(buffer.get(..got).unwrap_or_default());
        Ok(())
    }

    fn need(&mut self, length: usize) -> Result<(), Fault> {
        while self.inbox.len() < length {
            self.fill()?;
        }
        Ok(())
    }

    pub(super) fn send(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let Direction { guard, sequence } = &mut self.outgoing;
        let encrypted = !matches!(guard, Guard::Clear);
        let block = guard.block();
        let fixed = guard.padded_length_field() + 1 + payload.len();
        let padding = LEAST_PADDING + (block - (fixed + LEAST_PADDING) % block) % block;
        let length = 1 + payload.len() + padding;
        if LENGTH + length + guard.tag() > LONGEST_PACKET {
            return Err(Fault::Oversized { length: u64::try_from(length).unwrap_or(u64::MAX) });
        }
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes();
        let mut packet = Vec::with_capacity(LENGTH + length + guard.tag());
        packet.extend(number(length));
        packet.extend(number(padding).last());
        packet.extend_from_slice(payload);
        let end = packet.len();
        packet.resize(end + padding, 0);
        if encrypted {
            SystemRandom::new().fill(packet.get_mut(end..).unwrap_or_default())?;
        }
        guard.seal(*sequence, &mut packet)?;
        *sequence = sequence.wrapping_add(1);
        self.write(&packet)
    }

    /// The payload of the next packet, which is never empty.
    fn packet(&mut self) -> Result<Vec<u8>, Fault> {
        let what = "a packet";
        let head = self.incoming.guard.head();
        self.need(head)?;
        let Direction { guard, sequence } = &mut self.incoming;
        let length = guard.length(*sequence, self.inbox.get_mut(..head).unwrap_or_default());
        let (block, tag) = (guard.block(), guard.tag());
        let padded = guard.padded_length_field();
        let oversized = Fault::Oversized { length: length.into() };
        let Ok(length) = usize::try_from(length) else { return Err(oversized) };
        if length > LONGEST_PACKET - LENGTH - tag {
            return Err(oversized);
        }
        if length < SHORTEST || (padded + length) % block != 0 {
            return Err(Fault::Malformed { what });
        }
        self.need(LENGTH + length + tag)?;
        let mut packet: Vec<u8> = self.inbox.drain(..LENGTH + length + tag).collect();
        let Direction { guard, sequence } = &mut self.incoming;
        guard.open(*sequence, &mut packet)?;
        *sequence = sequence.wrapping_add(1);
        let padding = packet.first().copied().map_or(0, usize::from);
        let end = packet.len().checked_sub(padding).filter(|end| padding >= LEAST_PADDING && *end > 1);
        packet.truncate(end.ok_or(Fault::Malformed { what })?);
        packet.remove(0);
        Ok(packet)
    }

    /// The next message that does not concern the connection itself. It is never empty.
    pub(super) fn receive(&mut self) -> Result<Vec<u8>, Fault> {
        loop {
            let payload = self.packet()?;
            match message(&payload) {
                number::DISCONNECT => return Err(disconnected(&payload)?),
                number::IGNORE | number::DEBUG if !self.silent => {}
                _ => return Ok(payload),
            }
        }
    }

    /// The next message, which has to have this number.
    pub(super) fn expect(&mut self, number: u8, awaited: &'static str) -> Result<Vec<u8>, Fault> {
        let payload = self.receive()?;
        if message(&payload) == number { Ok(payload) } else { Err(unexpected(&payload, awaited)) }
    }

    /// Turns on the strict order on both sides. The other side's KEXINIT has been received already, and must have
    /// been its first packet.
    pub(super) fn be_strict(&mut self) -> Result<(), Fault> {
        (self.strict, self.silent) = (true, true);
        if self.incoming.sequence == 1 { Ok(()) } else { Err(Fault::Malformed { what: "the order of messages" }) }
    }

    /// Sends NEWKEYS. Packets sent after it are protected by `guard`.
    pub(super) fn change_outgoing(&mut self, guard: Guard) -> Result<(), Fault> {
        self.send(&[number::NEWKEYS])?;
        let sequence = if self.strict { 0 } else { self.outgoing.sequence };
        self.outgoing = Direction { guard, sequence };
        Ok(())
    }

    /// Waits for NEWKEYS. Packets received after it are protected by `guard`.
    pub(super) fn change_incoming(&mut self, guard: Guard) -> Result<(), Fault> {
        let payload = self.expect(number::NEWKEYS, "NEWKEYS")?;
        Reader::after_number(&payload, "NEWKEYS").finish()?;
        let sequence = if self.strict { 0 } else { self.incoming.sequence };
        self.incoming = Direction { guard, sequence };
        self.silent = false;
        Ok(())
    }
}

/// The number of a message.
pub(super) fn message(payload: &[u8]) -> u8 {
    payload.first().copied().unwrap_or_default()
}

pub(super) fn unexpected(payload: &[u8], awaited: &'static str) -> Fault {
    Fault::Unexpected { number: message(payload), awaited }
}

fn disconnected(payload: &[u8]) -> Result<Fault, Fault> {
    let mut reader = Reader::after_number(payload, "DISCONNECT");
    let (code, reason) = (reader.u32()?, reader.string()?);
    let reason = reason.get(..LONGEST_REASON).unwrap_or(reason).to_vec();
    Ok(Fault::Disconnected { code, reason })
}
