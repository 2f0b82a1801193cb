//! A CA that lies. The shipped binary's local CA cannot, since it runs in the same process. So this test's own program
//! runs the pipeline, as the binary does, on the machine of the matrix.

use super::condition::Lie;
use crate::support::Run;
use ssh_key::PublicKey;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    rc::Rc,
    sync::OnceLock,
};
use tempfile::TempDir;
use warded::{
    broker::recording::Tape,
    cli::progress::Progress,
    components,
    context::{Context, Options},
    enrolment::Enrolments,
    pipeline::{self, Request, Terms, Work},
};
use warded_lib::{
    ca::{CaError, Certificate, CertificateAuthority, HeldKey, IssueRequest, Kind, certificate, configured::Authority},
    name::Name,
    policy::setting::Setting,
    transaction,
};

/// The environment variables that name the lie and the procedure.
pub(super) const LIE: &str = "WARDED_TEST_LIE";
pub(super) const PROCEDURE: &str = "WARDED_TEST_PROCEDURE";
/// The name of the test below.
pub(super) const TEST: &str = "scenarios::lockout::liar::what_a_lying_ca_says_is_refused";

const CA: &str = "/root/ca";

#[test]
#[ignore = "the lock-out matrix runs it, on a machine that it may change"]
fn what_a_lying_ca_says_is_refused() {
    let Ok(word) = env::var(LIE) else { panic!("only the lock-out matrix runs this") };
    let lie = Lie::ALL.into_iter().find(|lie| lie.word() == word).unwrap();
    let procedure: Name = env::var(PROCEDURE).unwrap().parse().unwrap();
    let mut context = Context::open(&Options { ca: Some(CA.into()), ..Options::default() }).unwrap();
    context.authority = Rc::new(Authority::of(Box::new(Liar(lie))));
    let policies = context.policies().unwrap();
    let granting = components::choose(&policies, procedure.as_str(), None, &context).unwrap();
    let (settings, confirmed) = match Enrolments::load(&context.state).unwrap().of(&context.places.sshd_config).cloned()
    {
        Some(enrolment) => (enrolment.settings, enrolment.principals),
        None => {
            let name = Setting { name: "principal".parse().unwrap(), value: "web1.example.org".to_owned() };
            (vec![name], std::collections::BTreeSet::new())
        }
    };
    let run = Some(transaction::next_run(&context.state).unwrap());
    let request = Request {
        granting,
        procedure,
        settings,
        confirmed,
        force: true,
        renewed: [].into(),
        run,
        accepted: None,
        tape: Tape::Off,
    };
    let planned = pipeline::plan(&context, request).unwrap();
    let identity = planned.identity.clone();
    let error =
        pipeline::carry_out(&context, &identity, Work::of(planned, Terms::default()), &Progress::hidden()).unwrap_err();
    let notes: Vec<&str> = error.notes().map(|(_, note)| note).collect();
    let said = format!("{}: {}; {}", error.heading(), error.message(), notes.join("; "));
    let is_told = ["nothing was changed", "the present certificates stay"].iter().any(|state| said.contains(state));
    assert!(said.contains(lie.says()) && is_told, "{said}");
}

/// The key with which the CA signs from now on.
fn new_signer() -> PathBuf {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let directory = MADE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("new_ca");
        Run::of(Command::new("ssh-keygen").args(["-q", "-N", "", "-t", "ed25519", "-f"]).arg(key)).ends(0);
        directory
    });
    directory.path().join("new_ca")
}

struct Liar(Lie);

impl Liar {
    fn answers(&self, key: &PublicKey) -> Result<Certificate, CaError> {
        if self.0 == Lie::Silent {
            let (cause, next) = ("it does not answer".to_owned(), "start it".to_owned());
            return Err(CaError::Unreachable { ca: self.describe(), answered: false, cause, next });
        }
        Ok(self.lies(key))
    }

    /// A certificate for that key with one fault.
    fn lies(&self, key: &PublicKey) -> Certificate {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let keygen = |arguments: &[&str], file: &Path| {
            drop(Run::of(Command::new("ssh-keygen").args(arguments).arg(file)).ends(0));
        };
        let new_key = |name: &str| keygen(&["-q", "-N", "", "-t", "ed25519", "-f"], &at(name));
        fs::write(at("key.pub"), key.to_openssh().unwrap()).unwrap();
        let mut signer = Path::new(CA).join("host_ca");
        let (mut options, name) = (vec!["-h", "-V", "-1m:+1h"], "web1.example.org");
        match self.0 {
            Lie::OtherKey => {
                new_key("other");
                fs::copy(at("other.pub"), at("key.pub")).unwrap();
                options.extend(["-n", name]);
            }
            Lie::User => options = vec!["-V", "-1m:+1h", "-n", name],
            Lie::Nameless => {}
            Lie::OtherName => options.extend(["-n", "db9.example.org"]),
            Lie::NewSigner => {
                signer = new_signer();
                options.extend(["-n", name]);
            }
            Lie::OtherSigner => {
                new_key("another");
                signer = at("another");
                options.extend(["-n", name]);
            }
            Lie::Expired => options = vec!["-h", "-V", "20200101:20200102", "-n", name],
            Lie::Early => options = vec!["-h", "-V", "20990101:20990102", "-n", name],
            Lie::Altered | Lie::Silent => options.extend(["-n", name]),
        }
        let signer = signer.to_str().unwrap().to_owned();
        keygen(&[&["-q", "-s", &signer, "-I", "a lie"], options.as_slice()].concat(), &at("key.pub"));
        let made = certificate::parse(&fs::read(at("key-cert.pub")).unwrap()).unwrap();
        if self.0 != Lie::Altered {
            return made;
        }
        let mut bytes = made.bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        Certificate::from_bytes(&bytes).unwrap()
    }
}

impl CertificateAuthority for Liar {
    fn describe(&self) -> String {
        format!("the local CA in {CA}")
    }

    fn roots(&self, kind: Kind) -> Result<Vec<PublicKey>, CaError> {
        let text = fs::read_to_string(Path::new(CA).join(format!("{kind}_ca.pub"))).unwrap();
        let mut roots = vec![PublicKey::from_openssh(&text).unwrap()];
        if self.0 == Lie::NewSigner && kind == Kind::Host {
            let text = fs::read_to_string(new_signer().with_extension("pub")).unwrap();
            roots.insert(0, PublicKey::from_openssh(&text).unwrap());
        }
        Ok(roots)
    }

    fn ready(&self, _requests: &[IssueRequest]) -> Result<(), CaError> {
        Ok(())
    }

    fn renews_expired(&self) -> Result<bool, CaError> {
        Ok(false)
    }

    fn issue(&self, request: &IssueRequest) -> Result<Certificate, CaError> {
        self.answers(&request.key)
    }

    fn rekey(&self, _current: &Certificate, _key: HeldKey<'_>, new: &PublicKey) -> Result<Certificate, CaError> {
        self.answers(new)
    }

    fn renew(&self, current: &Certificate, _key: HeldKey<'_>) -> Result<Certificate, CaError> {
        self.answers(current.key())
    }
}
