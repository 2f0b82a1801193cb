//! Checks whether the CA can be asked, before a person is asked and before anything is used up.

use super::{
    super::{
        Work, issued,
        vouch::{HostKeyRecords, Voucher, certified::CertifiedKeys},
    },
    wanted,
};
use crate::context::Context;
use warded_lib::{
    ca::{CaError, IssueRequest},
    change_set::{Request, RequestId},
    error::{Error, Result},
};

/// Makes sure that the CA can be asked for what the work needs: finds the password, the key or the tokens, and asks a
/// person if there is one. Nothing is used up. In a renewal, a key that was made anew needs none of these if another
/// key can vouch for it. If it needs a password or a token that is not available, it is put off. Returns the reasons,
/// one sentence for each such key.
///
/// # Errors
/// Something is missing, or the CA will not accept it.
pub fn ready(context: &Context, work: &mut Work) -> Result<Vec<String>> {
    look(context, work).map_err(Error::or_unchanged)
}

fn look(context: &Context, work: &mut Work) -> Result<Vec<String>> {
    let requests = work.requests();
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let authority = context.authority.open()?;
    let (mut new, mut put_off, mut words) = (Vec::new(), Vec::new(), Vec::new());
    for (id, request) in requests.iter().filter(|(_, request)| request.current.is_none()) {
        let roots = authority.roots(request.kind)?;
        if let Some(certificate) = issued::find(context, &wanted(request), None, &roots)? {
            words.push(Voucher::of(request, certificate));
            continue;
        }
        match work.renewal.as_ref().map(|vouching| vouching.vouchers_for(request, &roots)) {
            Some(Ok(vouchers)) => {
                work.vouched.insert(*id, vouchers);
            }
            Some(Err(why)) => {
                put_off.push((*id, needs(request, why)));
                new.push((*id, request));
            }
            None => new.push((*id, request)),
        }
    }
    let needed = if authority.goes_by_word() {
        TokenRequests::by_word(&new, &words, &CertifiedKeys::load(&context.state))
    } else {
        TokenRequests { requests: new.iter().map(|(_, request)| wanted(request)).collect(), own: Vec::new() }
    };
    let Err(error) = authority.ready(&needed.requests()) else { return Ok(Vec::new()) };
    // Renewals need no password and no token, so they continue.
    let goes_on = requests.len() > new.len() || work.renewal.as_ref().is_some_and(HostKeyRecords::has_any);
    if let CaError::Credential { .. } = &error
        && work.renewal.is_some()
    {
        if !needed.own.is_empty() && !needed.requests.is_empty() && authority.ready(&needed.requests).is_ok() {
            put_off.retain(|(id, _)| needed.own.iter().any(|(own, _)| own == id));
        } else if !goes_on {
            return Err(needed.told(error));
        }
        let (ids, why): (Vec<_>, Vec<_>) = put_off.into_iter().unzip();
        work.withdraw(&ids);
        return Ok(why);
    }
    Err(needed.told(error))
}

/// The requests that need tokens.
struct TokenRequests<'a> {
    requests: Vec<IssueRequest>,
    /// Requests for keys that no other key may vouch for, because they may have had a certificate before.
    own: Vec<(RequestId, &'a Request)>,
}

impl<'a> TokenRequests<'a> {
    /// Of these requests, one for each group of keys that get the same names, and one for each key that may have had a
    /// certificate.
    fn by_word(new: &[(RequestId, &'a Request)], words: &[Voucher], certified: &CertifiedKeys) -> Self {
        let (own, others): (Vec<_>, Vec<_>) = new.iter().partition(|(_, request)| certified.had(&request.public));
        let mut requests: Vec<IssueRequest> = Vec::new();
        for (_, request) in others {
            let is_spoken_for = words.iter().any(|word| word.has_names(&request.principals))
                || requests.iter().any(|asked| asked.principals == request.principals);
            if !is_spoken_for {
                requests.push(wanted(request));
            }
        }
        Self { requests, own }
    }

    fn requests(&self) -> Vec<IssueRequest> {
        let own = self.own.iter().map(|(_, request)| wanted(request));
        self.requests.iter().cloned().chain(own).collect()
    }

    /// The error, with the keys that need a token of their own.
    fn told(&self, error: CaError) -> Error {
        self.own.iter().fold(Error::from(error), |error, (_, Request { key, .. })| {
            error.seen(format!(
                "{key} needs a separate token: it had a certificate before, which the CA may have revoked"
            ))
        })
    }
}

/// What a person does about a key that needs a certificate for which this renewal cannot ask.
fn needs(request: &Request, why: &str) -> String {
    let mut names = request.principals.iter().map(ToString::to_string);
    let first = names.next().unwrap_or_default();
    let others: String = names.map(|name| format!(" -n {name}")).collect();
    let names = if others.is_empty() { first } else { format!("{first} -n {first}{others}") };
    format!(
        "{} needs a new certificate, but this renewal cannot request one: {why}. Make a token on the admin's machine \
         (warded token {names} --host), and run here: warded renew --token-file FILE",
        request.key
    )
}
