//! `warded enrol`: from a code to a certified machine, in one run.

mod reading;

use super::{
    apply::{Apply, FirstDay, ProcedureArgs},
    confirm::ConfirmWithin,
    output::Output,
    plan::Plan,
    risk::AcceptRisk,
    trust::{CurrentConfig, Trust, TrustRequest},
};
use crate::context::{Context, Options};
use clap::Args;
use std::{path::PathBuf, rc::Rc};
use warded_lib::{
    ca::{
        configured::Authority,
        now,
        step::{CaUrl, Fingerprint, Identification, code::Code, foreign_token::TokenClaims, x509::day},
    },
    error::{Error, Exit, Result},
    name::Name,
    policy::setting::Setting,
};

const PROCEDURE: &str = "certify-host";
const PRINCIPAL: &str = "principal";

#[derive(Debug, Args)]
pub(super) struct Enrol {
    /// File with the code; `-` reads standard input. Default: Warded asks for the code, and does not show what you
    /// type
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
    /// A setting of certify-host; may be given more than once
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::apply::parse_setting)]
    set: Vec<Setting>,
    /// The policy, if more than one has the procedure
    #[arg(long, value_name = "NAME")]
    policy: Option<Name>,
    /// Show what would change, and change nothing; the code stays valid
    #[arg(long, conflicts_with_all = ["yes", "confirm_within"])]
    plan: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    confirm: ConfirmWithin,
    #[command(flatten)]
    risk: AcceptRisk,
    /// A code that was given where others can see it
    #[arg(hide = true)]
    shown: Option<String>,
}

/// The contents of a code.
struct Invitation {
    code: Code,
    given: TokenClaims,
    url: CaUrl,
    root: Fingerprint,
}

impl Enrol {
    pub(super) fn run(&self, options: &Options, mut context: Context, output: Output) -> Result<Exit> {
        if self.shown.is_some() {
            return Err(Error::usage("a code is never given on the command line")
                .cause("ps, sudo's log and the shell's history show it: whoever reads it there can use it")
                .unchanged()
                .next("make another one (warded invite), run `sudo warded enrol`, and paste it when it asks"));
        }
        if !self.plan {
            context.may_change("enrol")?;
        }
        if options.ca.is_some() {
            return Err(Error::usage("a code says which CA it is for, and --ca names another one")
                .unchanged()
                .next("leave --ca and WARDED_CA out"));
        }
        let configured = CurrentConfig::read(options, None)?;
        let code = reading::read(self.code_file.as_deref())?;
        let Invitation { code, given, url, root } = Invitation::of(code)?;
        let mut trust = configured.trust(url, root, TrustRequest::Enrol)?;
        let step = trust.authority()?;
        trust.name_renewer(&step)?;
        let step = trust.authority()?.with_tokens(code.tokens);
        context.authority = Rc::new(Authority::of_step(trust.settings.clone(), Identification::default(), step));

        let names = given.principals();
        self.introduce(output, &trust, &names)?;
        let set = names.iter().map(|name| Ok(Setting { name: PRINCIPAL.parse()?, value: name.clone() }));
        let set: std::result::Result<Vec<_>, String> = set.chain(self.set.iter().cloned().map(Ok)).collect();
        let invalid = |error: String| Error::usage("the code's names cannot be used").cause(error);
        let procedure = ProcedureArgs {
            procedure: PROCEDURE.parse().map_err(invalid)?,
            set: set.map_err(invalid)?,
            settings_file: None,
            policy: self.policy.clone(),
            force: false,
            record: None,
        };
        let files = trust.staged()?;
        if self.plan {
            if let Some(ago) = given.expired(now()) {
                return Err(expired(&ago.to_string()));
            }
            return Plan { procedure, risk: self.risk.clone() }.with_files(&context, output, &files);
        }
        let apply = Apply {
            procedure,
            yes: self.yes,
            confirm: self.confirm.clone(),
            risk: self.risk.clone(),
            identification: super::identification::Identification::default(),
        };
        apply.carry_out(&context, output, Some(&FirstDay { files, told: &|error| told(error, &given) }))
    }

    /// Shows which CA the machine would trust, and under which names the machine would be certified.
    fn introduce(&self, output: Output, trust: &Trust, names: &[String]) -> Result<()> {
        let Trust { root, settings, .. } = trust;
        output.line(format!("CA    {} · {} ({}, until {})", settings.url, root.subject, root.key, day(root.until)))?;
        output.line(format!("root  {}", settings.fingerprint))?;
        output.line(format!("names {}", names.join(" ")))
    }
}

impl Invitation {
    fn of(code: Code) -> Result<Self> {
        let wrong = |cause: String| Error::usage("this code cannot be used").cause(cause).next(reading::ANOTHER);
        let mut all = code.tokens.iter().map(TokenClaims::read);
        let given = all.next().ok_or_else(|| wrong("there is no token in it".to_owned()))?.map_err(wrong)?;
        let (url, root) =
            given.bootstrap().ok_or_else(|| wrong("it does not name both a CA and its root".to_owned()))?;
        for other in all {
            let other = other.map_err(wrong)?;
            if other.bootstrap() != Some((url.clone(), root)) || other.principals() != given.principals() {
                return Err(wrong("its tokens are for several CAs, or for several machines".to_owned()));
            }
        }
        Ok(Self { code, given, url, root })
    }
}

/// Rewords an error from before the CA was asked, for a person who has a code.
fn told(error: Error, given: &TokenClaims) -> Error {
    match given.expired(now()) {
        Some(ago) if error.exit() == Exit::Usage => expired(&ago.to_string()),
        Some(_) | None => error,
    }
}

fn expired(ago: &str) -> Error {
    Error::usage(format!("the code expired {ago} ago")).unchanged().next(reading::ANOTHER)
}
