use super::*;
use proptest::prelude::*;
use std::{
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

/// How a test server answers a question for a name in lower case; `None`: it does not answer.
type Answers = fn(name: &str, kind: u16, tcp: bool) -> Option<Vec<u8>>;

/// Starts a name server on a port of its own. Also returns the names that it is asked for.
fn server(answers: Answers) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (over_udp, over_tcp) = (Arc::clone(&asked), Arc::clone(&asked));
    thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, client)) = udp.recv_from(&mut packet) {
            let answer = answer(&packet[..length], answers, false, &over_udp);
            answer.map(|answer| udp.send_to(&answer, client).unwrap());
        }
    });
    thread::spawn(move || {
        for mut stream in tcp.incoming().map_while(Result::ok) {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut question).unwrap();
            if let Some(answer) = answer(&question, answers, true, &over_tcp) {
                let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                stream.write_all(&[length.as_slice(), &answer].concat()).unwrap();
            }
        }
    });
    (address, asked)
}

fn answer(question: &[u8], answers: Answers, tcp: bool, asked: &Mutex<Vec<String>>) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = 12;
    while question[at] != 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8(question[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    let (name, kind) =
        (labels.join(".").to_ascii_lowercase(), u16::from_be_bytes([question[at + 1], question[at + 2]]));
    asked.lock().unwrap().push(format!("{name} {kind}{}", if tcp { " tcp" } else { "" }));
    let said = answers(&name, kind, tcp)?;
    // Insert the question between the header, which lacks its ID here, and the records.
    Some([&question[..2], &said[..10], &question[12..], &said[10..]].concat())
}

/// An answer's flags, code and records. Each record names its owner by the owner's offset in the message.
fn said(flags: u8, code: u8, records: &[(u16, u16, &[u8])]) -> Vec<u8> {
    let count = u8::try_from(records.len()).unwrap();
    let mut bytes = vec![0x80 | flags, code, 0, 1, 0, count, 0, 0, 0, 0];
    for (owner, kind, data) in records {
        bytes.extend((0xc000 | owner).to_be_bytes());
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 0, 60, 0, u8::try_from(data.len()).unwrap()]);
        bytes.extend(*data);
    }
    bytes
}

fn resolver(servers: &[SocketAddr], more: &str) -> Resolver {
    let hosts =
        "127.0.0.1 localhost\n10.0.0.7\tWeb1.example.org web1 # the first\n::7 web1\nnonsense web1\n".to_owned();
    Resolver { hosts, settings: Settings { servers: servers.to_vec(), ..Settings::of(more) } }
}

fn texts(found: io::Result<Vec<IpAddr>>) -> Vec<String> {
    let mut texts: Vec<String> = found.unwrap().iter().map(ToString::to_string).collect();
    // The order depends on this machine's routes.
    texts.sort();
    texts
}

#[test]
fn files_and_addresses_need_no_server() {
    let (address, asked) = server(|_, _, _| None);
    let resolver = resolver(&[address], "");
    assert_eq!(texts(resolver.addresses("192.0.2.1")), ["192.0.2.1"]);
    assert_eq!(texts(resolver.addresses("2001:db8::1")), ["2001:db8::1"]);
    assert_eq!(texts(resolver.addresses("WEB1")), ["10.0.0.7", "::7"]);
    assert_eq!(texts(resolver.addresses("web1.example.org.")), ["10.0.0.7"]);
    assert_eq!(texts(resolver.addresses("localhost")), ["127.0.0.1"]);
    assert_eq!(texts(resolver.addresses("ca.localhost")), ["127.0.0.1", "::1"]);
    assert!(asked.lock().unwrap().is_empty());
}

#[test]
fn a_server_is_asked_for_both_kinds() {
    let (address, _) = server(|name, kind, _| match (name, kind) {
        ("ca.test", 1) => Some(said(1, 0, &[(12, 1, &[192, 0, 2, 9]), (12, 1, &[192, 0, 2, 10])])),
        // An alias (CNAME): the name at offset 12, then the name in that alias's record (at 12 + 9 + 4 + 12).
        ("ca.test", 28) => Some(said(1, 0, &[(12, 5, b"\x02c1\xc0\x0f"), (37, 28, &[7; 16]), (15, 28, &[8; 16])])),
        _ => Some(said(1, 3, &[])),
    });
    let resolver = resolver(&[address], "search example.org");
    let expected = ["192.0.2.10", "192.0.2.9", "707:707:707:707:707:707:707:707"];
    assert_eq!(texts(resolver.addresses("Ca.test")), expected);
    let error = resolver.addresses("gone.test").unwrap_err();
    assert_eq!(error.to_string(), "the name has no address (asked: 127.0.0.1)");
}

#[test]
fn a_short_name_is_looked_for_in_the_domains() {
    let (address, asked) = server(|name, kind, _| {
        let found: &[(u16, u16, &[u8])] = &[(12, 1, &[192, 0, 2, 9])];
        Some(if name == "ca.b.test" && kind == 1 { said(1, 0, found) } else { said(1, 3, &[]) })
    });
    assert_eq!(texts(resolver(&[address], "search a.test b.test").addresses("ca")), ["192.0.2.9"]);
    let names = |asked: &Mutex<Vec<String>>| mem::take(&mut *asked.lock().unwrap());
    assert_eq!(names(&asked), ["ca.a.test 28", "ca.a.test 1", "ca.b.test 28", "ca.b.test 1"]);
    resolver(&[address], "search a.test").addresses("x.y").unwrap_err();
    assert_eq!(names(&asked), ["x.y 28", "x.y 1", "x.y.a.test 28", "x.y.a.test 1"]);
    resolver(&[address], "search a.test\noptions ndots:2").addresses("x.y").unwrap_err();
    assert_eq!(names(&asked), ["x.y.a.test 28", "x.y.a.test 1", "x.y 28", "x.y 1"]);
    resolver(&[address], "search a.test").addresses("ca.").unwrap_err();
    assert_eq!(names(&asked), ["ca. 28", "ca. 1"].map(|name| name.replace(". ", " ")));
    resolver(&[address], "search . a.test.").addresses("ca").unwrap_err();
    assert_eq!(names(&asked), ["ca.a.test 28", "ca.a.test 1", "ca 28", "ca 1"]);
}

#[test]
fn a_domain_that_fails_does_not_end_the_search() {
    let (address, _) = server(|name, kind, _| {
        let found: &[(u16, u16, &[u8])] = &[(12, 1, &[9; 4])];
        Some(match (name, kind) {
            ("ca.a.test", _) => said(1, 2, &[]),
            ("ca.b.test", 1) => said(1, 0, found),
            _ => said(1, 3, &[]),
        })
    });
    // One byte more than the 63 that a label may have.
    let long = "a".repeat(64);
    let resolver = resolver(&[address], &format!("search a.test {long} b.test"));
    assert_eq!(texts(resolver.addresses("ca")), ["9.9.9.9"]);
    let error = resolver.addresses("ca.a.test").unwrap_err();
    assert_eq!(error.to_string(), "the name server 127.0.0.1 answers with error 2");
}

#[test]
fn a_look_up_ends_in_time() {
    let (silent, _) = server(|_, _, _| None);
    let began = Instant::now();
    let resolver = resolver(&[silent; 3], "search a.test b.test\noptions timeout:30 attempts:5");
    resolver.ask_servers("ca", began + Duration::from_millis(200)).unwrap_err();
    // The server sends single bytes, and never completes an answer.
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    thread::spawn(move || {
        let mut stream = tcp.accept().unwrap().0;
        while stream.write_all(&[255]).is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let question = message::question([1, 2], "ca.test", Kind::V4).unwrap();
    over_tcp(address, &question, Instant::now() + Duration::from_millis(200)).unwrap_err();
    // Without the two time limits, both would take many minutes.
    assert!(began.elapsed() < Duration::from_secs(120));
}

#[test]
fn another_server_is_asked_where_one_fails() {
    let (broken, asked) = server(|_, _, _| Some(said(1, 2, &[])));
    let (silent, _) = server(|_, _, _| None);
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (good, _) =
        server(|_, kind, _| Some(if kind == 1 { said(1, 0, &[(12, 1, &[9; 4])]) } else { said(1, 0, &[]) }));
    let options = "options timeout:1 attempts:1";
    assert_eq!(texts(resolver(&[broken, gone, silent, good], options).addresses("ca.test")), ["9.9.9.9"]);
    assert_eq!(asked.lock().unwrap().len(), 2);
    let error = resolver(&[broken], options).addresses("ca.test").unwrap_err();
    assert_eq!(error.to_string(), "the name server 127.0.0.1 answers with error 2");
    let error = resolver(&[silent], options).addresses("ca.test").unwrap_err();
    assert_eq!(error.to_string(), "the name server 127.0.0.1 does not answer");
    let error = resolver(&[good], options).addresses(&"a".repeat(64)).unwrap_err();
    assert_eq!(error.to_string(), "this cannot be a name in the DNS");
}

/// The server answers only for IPv4: the resolver uses that answer, and soon stops waiting for the other one.
#[test]
fn one_kind_is_enough() {
    let (address, _) = server(|_, kind, _| (kind == 1).then(|| said(1, 0, &[(12, 1, &[9; 4])])));
    let began = Instant::now();
    assert_eq!(texts(resolver(&[address], "options timeout:30 attempts:5").addresses("ca.test")), ["9.9.9.9"]);
    // All attempts for the other address family together would take 150 s.
    assert!(began.elapsed() < Duration::from_secs(120));
}

/// The server closes the connection without an answer.
#[test]
fn one_kind_is_enough_where_the_other_does_not_fit() {
    let (address, asked) = server(|_, kind, tcp| match (kind, tcp) {
        (1, false) => Some(said(3, 0, &[])),
        (1, true) => None,
        _ => Some(said(1, 0, &[(12, 28, &[7; 16])])),
    });
    let found = texts(resolver(&[address], "options attempts:1").addresses("ca.test"));
    assert_eq!(found, ["707:707:707:707:707:707:707:707"]);
    assert!(asked.lock().unwrap().contains(&"ca.test 1 tcp".to_owned()));
}

#[test]
fn a_long_answer_comes_by_tcp() {
    let (address, asked) = server(|_, kind, tcp| {
        Some(match (kind, tcp) {
            (1, true) => said(1, 0, &[(12, 1, &[9; 4])]),
            (1, false) => said(3, 0, &[]),
            _ => said(1, 0, &[]),
        })
    });
    assert_eq!(texts(resolver(&[address], "").addresses("ca.test")), ["9.9.9.9"]);
    assert!(asked.lock().unwrap().contains(&"ca.test 1 tcp".to_owned()));
}

#[test]
fn the_settings_are_those_of_the_manual() {
    let text = "# nameserver 1.1.1.1\n; nameserver 1.1.1.2\nnameserver 192.0.2.1\nnameserver  2001:db8::1\nnameserver x\n\
                nameserver 192.0.2.2\nnameserver 192.0.2.3\nsearch a.test\ndomain b.test\n\
                options rotate ndots:99 timeout:0 attempts:9 edns0\nlookup file bind\n";
    let expected = Settings {
        servers: ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.2:53"].map(|server| server.parse().unwrap()).to_vec(),
        search: vec!["b.test".to_owned()],
        dots: 15,
        timeout: Duration::from_secs(1),
        attempts: 5,
    };
    assert_eq!(Settings::of(text), expected);
    assert_eq!(Settings::of("").servers, ["127.0.0.1:53".parse().unwrap()]);
    // The loopback interface has the number 1 everywhere.
    let text = "nameserver fe80::1%7\nnameserver fe80::2%lo\nnameserver fe80::3%none\nnameserver 192.0.2.1%lo\n";
    assert_eq!(Settings::of(text).servers, ["[fe80::1%7]:53", "[fe80::2%1]:53"].map(|server| server.parse().unwrap()));
}

#[test]
fn what_answers_another_question_is_passed_over() {
    let question = message::question([1, 2], "ca.test", Kind::V4).unwrap();
    let good = [&[1, 2], &said(1, 0, &[])[..10], &question[12..]].concat();
    assert_eq!(message::read(&question, &good), Some(Reply::Addresses(Vec::new())));
    for (place, value) in [(0, 9), (2, 1), (2, 0x90), (5, 0), (5, 2), (13, b'x'), (good.len() - 3, 28)] {
        let mut other = good.clone();
        other[place] = value;
        assert_eq!(message::read(&question, &other), None, "{place}");
    }
    // Names that contain a loop: of a label, of one pointer, and of two pointers.
    for circle in [&[1, b'a', 0xc0, 25][..], &[0xc0, 25], &[0xc0, 27, 0xc0, 25]] {
        let mut other = [&good, circle, &[0; 20]].concat();
        other[7] = 1;
        assert_eq!(message::read(&question, &other), None, "{circle:?}");
    }
}

#[test]
fn an_answer_costs_little_to_read() {
    let question = message::question([1, 2], "ca.test", Kind::V4).unwrap();
    let with = |records: &[(u16, u16, &[u8])]| {
        let said = said(1, 0, records);
        message::read(&question, &[&[1, 2], &said[..10], &question[12..], &said[10..]].concat())
    };
    let alias = (12, 5, &[0xc0, 12][..]);
    let address = (12, 1, &[9; 4][..]);
    assert_eq!(with(&[vec![alias; 15], vec![address]].concat()), Some(Reply::Addresses(vec![[9; 4].into()])));
    assert_eq!(with(&[vec![alias; 16], vec![address]].concat()), None);
    // Pointers that each lead to the one before. They are in the data of the first record, after the 12 bytes of its
    // header.
    let record = |owner: u16, kind: u16, data: &[u8]| {
        let length = u16::try_from(data.len()).unwrap().to_be_bytes();
        let head = [(0xc000 | owner).to_be_bytes(), kind.to_be_bytes(), [0, 1], [0, 0], [0, 60], length];
        [&head.concat(), data].concat()
    };
    let place = |index: u16| u16::try_from(question.len()).unwrap() + 12 + 2 * index;
    for (count, is_read) in [(127, true), (128, false)] {
        let leads_to = |index: u16| index.checked_sub(1).map_or(12, place);
        let chain: Vec<u8> = (0..count).flat_map(|index| (0xc000 | leads_to(index)).to_be_bytes()).collect();
        let header = &[1, 2, 0x81, 0, 0, 1, 0, 2, 0, 0, 0, 0];
        let records = [record(12, 16, &chain), record(place(count - 1), 1, &[9; 4])].concat();
        let read = message::read(&question, &[header, &question[12..], &records].concat());
        assert_eq!(read, is_read.then(|| Reply::Addresses(vec![[9; 4].into()])), "{count}");
    }
}

proptest! {
    #[test]
    fn no_answer_ends_the_program(tail: Vec<u8>, records: u8, changed in 2usize..30, value: u8) {
        let question = message::question([1, 2], "ca.test", Kind::V6).unwrap();
        let mut answer = [&[1, 2], &said(1, 0, &[])[..10], &question[12..], &tail].concat();
        answer[7] = records;
        message::read(&question, &answer);
        if let Some(byte) = answer.get_mut(changed) {
            *byte = value;
        }
        message::read(&question, &answer);
    }
}
