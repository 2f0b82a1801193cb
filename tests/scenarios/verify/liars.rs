//! Servers that lie: all on one port, each on its own address.

use super::{address, sign};
use crate::support::{Machine, machine::keygen};
use ssh_key::PrivateKey;
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};
use warded_lib::handshake::{Identity, Limits, serve};

pub(super) const PORT: u16 = 4000;

/// A lie, or another fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    OtherName,
    OtherCa,
    UserCertificate,
    Expired,
    NotYetValid,
    NoPrincipals,
    CriticalOption,
    PlainKey,
    AnotherProtocol,
    StolenCertificate,
    Silent,
    Floods,
}

/// A server that shows this lie.
pub(super) struct Liar {
    pub(super) lie: Lie,
    pub(super) address: IpAddr,
}

impl Lie {
    const ALL: [Self; 12] = [
        Self::OtherName,
        Self::OtherCa,
        Self::UserCertificate,
        Self::Expired,
        Self::NotYetValid,
        Self::NoPrincipals,
        Self::CriticalOption,
        Self::PlainKey,
        Self::AnotherProtocol,
        Self::StolenCertificate,
        Self::Silent,
        Self::Floods,
    ];

    /// The expected state, and words of the cause.
    pub(super) fn expected(self) -> (&'static str, &'static str) {
        match self {
            Self::OtherName => ("wrong", "not for this name, but for elsewhere.lab.test"),
            Self::OtherCa => ("wrong", "not a key of this CA"),
            Self::UserCertificate => ("wrong", "it is a user certificate"),
            Self::Expired => ("wrong", "it expired at 2020-01-0"),
            Self::NotYetValid => ("wrong", "it holds only from"),
            Self::NoPrincipals => ("wrong", "it names no principal"),
            Self::CriticalOption => ("wrong", "critical option"),
            Self::PlainKey => ("no-certificate", "no certificate"),
            Self::StolenCertificate => ("wrong", "does not hold the key that it presented"),
            Self::Silent => ("unknown", "did not answer in time"),
            Self::AnotherProtocol => ("unknown", ""),
            Self::Floods => ("wrong", "before the version line is malformed"),
        }
    }

    /// Whether it shows a certificate that expires. The others' certificates are valid forever, or are not shown.
    pub(super) fn shows_an_end(self) -> bool {
        matches!(self, Self::Expired | Self::NotYetValid)
    }

    fn options(self, name: &str) -> Vec<String> {
        let words = match self {
            Self::OtherName => "-h -n elsewhere.lab.test".to_owned(),
            Self::UserCertificate => format!("-n {name}"),
            Self::Expired => format!("-h -n {name} -V 20200101:20200102"),
            Self::NotYetValid => format!("-h -n {name} -V +1d:+2d"),
            Self::NoPrincipals => "-h".to_owned(),
            Self::CriticalOption => format!("-h -n {name} -O critical:odd@lab.test=1"),
            _ => format!("-h -n {name}"),
        };
        words.split(' ').map(str::to_owned).collect()
    }
}

impl Liar {
    /// Starts all of them on a machine's network.
    pub(super) fn all(machine: &Machine) -> Vec<Self> {
        let liar = |(index, lie): (usize, Lie)| {
            let liar = Self { lie, address: address(200, u16::try_from(index + 1).unwrap()) };
            liar.start(machine);
            liar
        };
        Lie::ALL.into_iter().enumerate().map(liar).collect()
    }

    /// The name by which it is asked.
    pub(super) fn name(&self) -> String {
        format!("{:?}.lab.test", self.lie).to_lowercase()
    }

    fn start(&self, machine: &Machine) {
        let key = machine.path(&format!("liar-{:?}", self.lie));
        keygen(&["-q", "-t", "ed25519", "-N", "", "-f"], &key);
        // The user CA serves as another CA.
        let authority = if self.lie == Lie::OtherCa { "user_ca" } else { "host_ca" };
        let options = self.lie.options(&self.name());
        sign(machine, authority, &key, &options.iter().map(String::as_str).collect::<Vec<_>>());
        let mut private = PrivateKey::read_openssh_file(&key).unwrap();
        let line = fs::read_to_string(format!("{}-cert.pub", key.display())).unwrap();
        let certificate = warded_lib::ca::certificate::parse(line.as_bytes()).unwrap();
        if self.lie == Lie::StolenCertificate {
            let other = key.with_extension("other");
            keygen(&["-q", "-t", "ed25519", "-N", "", "-f"], &other);
            private = PrivateKey::read_openssh_file(&other).unwrap();
        }
        let (lie, address) = (self.lie, self.address);
        let listener = machine.network().on(move || TcpListener::bind((address, PORT)).unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (key, certificate) = (private.clone(), certificate.bytes().to_vec());
                thread::spawn(move || answer(lie, stream.unwrap(), &key, certificate));
            }
        });
    }
}

fn answer(lie: Lie, mut stream: TcpStream, key: &PrivateKey, certificate: Vec<u8>) {
    match lie {
        Lie::Silent => thread::sleep(Duration::from_secs(3600)),
        Lie::Floods => while stream.write_all(&[b'x'; 4096]).is_ok() {},
        Lie::AnotherProtocol => {
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
            drop(stream.read(&mut [0; 64]));
        }
        _ => {
            let certificate = (lie != Lie::PlainKey).then_some(certificate);
            let identity = Identity { key: key.clone(), certificate };
            drop(serve(stream, &[identity], &Limits::within(Duration::from_secs(10))));
        }
    }
}
