//! A certificate that only is due can be renewed on its own word, so nobody has to be there with a password or a token.

use super::super::Work;
use crate::context::Context;
use warded_lib::{
    ca::{Certificate, Kind, now, verify},
    change_set::Request,
    error::{Error, Result},
};

/// Turns requests for new host certificates into renewals where the machine has a valid one of this CA for the same key
/// and the same names. For a run without a password and without a token: an operator who gives one wants it to be used.
///
/// # Errors
/// The CA cannot be reached.
pub fn renew_where_possible(context: &Context, work: &mut Work) -> Result<()> {
    // A local CA needs neither.
    if !context.authority.is_step() {
        return Ok(());
    }
    for (id, request) in work.requests().into_iter().filter(|(_, request)| request.current.is_none()) {
        let Some(present) = work.present(id).into_iter().find(|present| says_the_same(present, &request)) else {
            continue;
        };
        let roots = context.authority.open().and_then(|authority| authority.roots(request.kind));
        let roots = roots.map_err(|error| Error::from(error).unchanged())?;
        if roots.iter().any(|root| root.key_data() == present.signer().key_data()) {
            work.succeed(id, present);
        }
    }
    Ok(())
}

/// Whether a certificate is valid for the key and exactly the names that are asked for.
fn says_the_same(present: &Certificate, request: &Request) -> bool {
    let names = present.principals();
    request.kind == Kind::Host
        && verify::problem(present, Kind::Host, std::slice::from_ref(&request.public), now()).is_none()
        && names.len() == request.principals.iter().count()
        && names.iter().all(|name| request.principals.contains(name))
}
