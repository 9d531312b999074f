//! `comp=lease`: acquire, renew, change, release and break the lease of a blob or a container.

use bytes::Bytes;
use hyper::StatusCode;
use uuid::Uuid;

use super::{
    account::State,
    call::Call,
    conditions::Conditions,
    error::{self, BlobError, Result},
    lease::{self, Lease, Of, Term},
    model::{Change, Stamp},
    reply::{self, Reply},
};

/// What is leased: the container of a call, or its blob.
fn leased<'a>(state: &'a State, call: &Call) -> Result<(&'a Stamp, Option<&'a Lease>)> {
    let container = state.container(call.container()?)?;
    Ok(match &call.blob {
        None => (&container.about.stamp, container.lease.as_ref()),
        Some(name) => {
            let blob = container.blobs.get(name).ok_or_else(|| error::no_blob(name))?;
            (&blob.about.stamp, blob.lease.as_ref())
        }
    })
}

/// Does what `x-ms-lease-action` says. Etag and time of change stay as they are.
pub(super) fn act(state: &mut State, call: &Call) -> Result<Reply> {
    let now = state.now();
    let (stamp, current) = leased(state, call)?;
    Conditions::of(call)?.check_write(Some(stamp))?;
    let named = || id(call, "x-ms-lease-id")?.ok_or_else(|| missing("x-ms-lease-id"));
    let mut status = StatusCode::OK;
    let mut seconds_left = None;
    let lease = match call.header("x-ms-lease-action").unwrap_or_default() {
        "acquire" => {
            status = StatusCode::CREATED;
            let id = id(call, "x-ms-proposed-lease-id")?.unwrap_or_else(|| Uuid::new_v4().to_string());
            Some(lease::acquire(current, id, term(call)?, now)?)
        }
        "renew" => Some(lease::renew(current, &named()?, now)?),
        "change" => {
            let proposed = id(call, "x-ms-proposed-lease-id")?.ok_or_else(|| missing("x-ms-proposed-lease-id"))?;
            Some(lease::change(current, &named()?, proposed, now)?)
        }
        "release" => {
            lease::release(current, &named()?)?;
            None
        }
        "break" => {
            status = StatusCode::ACCEPTED;
            let (lease, seconds) = lease::break_off(current, number(call, "x-ms-lease-break-period", 0..=60)?, now)?;
            seconds_left = Some(seconds);
            Some(lease)
        }
        _ => {
            return Err(error::invalid_header(
                "x-ms-lease-action",
                "must be acquire, renew, change, release or break",
            ));
        }
    };
    let mut reply = reply::empty(status);
    reply::stamp(&mut reply, stamp);
    match (&lease, seconds_left) {
        (_, Some(seconds)) => reply::set(&mut reply, "x-ms-lease-time", &seconds.to_string()),
        (Some(lease), None) => reply::set(&mut reply, "x-ms-lease-id", &lease.id),
        (None, None) => {}
    }
    put(state, call, lease)?;
    Ok(reply)
}

/// Refuses a write or a deletion by who doesn't hold the lease there is. What is written when its lease is over has none
/// from then on, so that the one who had it can't renew it.
pub(super) fn guard_write(state: &mut State, call: &Call) -> Result<()> {
    let of = of(call);
    let current = match leased(state, call) {
        Ok((_, current)) => current,
        // A blob that comes to be has no lease that could be named.
        Err(error) if error.code == "BlobNotFound" => None,
        Err(error) => return Err(error),
    };
    let named = id(call, "x-ms-lease-id")?;
    lease::allow_write(current, named.as_deref(), of, state.now())?;
    if named.is_none() && current.is_some() {
        put(state, call, None)?;
    }
    Ok(())
}

/// Refuses who names another lease than there is.
pub(super) fn guard_read(state: &State, call: &Call) -> Result<()> {
    let Some(named) = id(call, "x-ms-lease-id")? else {
        return Ok(());
    };
    lease::allow_read(leased(state, call)?.1, Some(&named), of(call), state.now())
}

fn of(call: &Call) -> Of {
    if call.blob.is_some() { Of::Blob } else { Of::Container }
}

fn put(state: &mut State, call: &Call, lease: Option<Lease>) -> Result<()> {
    let change = Change::Lease {
        container: call.container()?.to_owned(),
        blob: call.blob.clone(),
        lease,
    };
    state.change(change, Bytes::new());
    Ok(())
}

fn id(call: &Call, header: &str) -> Result<Option<String>> {
    let parse = |id: &str| Uuid::parse_str(id).map_err(|_| error::invalid_header(header, "must be a GUID"));
    let id = call.header(header).map(parse).transpose()?;
    Ok(id.map(|id| id.to_string()))
}

fn term(call: &Call) -> Result<Term> {
    if call.header("x-ms-lease-duration") == Some("-1") {
        return Ok(Term::Infinite);
    }
    number(call, "x-ms-lease-duration", 15..=60)?
        .map(Term::Seconds)
        .ok_or_else(|| missing("x-ms-lease-duration"))
}

fn number(call: &Call, header: &str, range: std::ops::RangeInclusive<u32>) -> Result<Option<u32>> {
    let Some(text) = call.header(header) else {
        return Ok(None);
    };
    let number = text.parse().ok().filter(|number| range.contains(number));
    let wrong = || {
        let (least, most) = (range.start(), range.end());
        error::invalid_header(header, &format!("must be a number of seconds from {least} to {most}"))
    };
    number.map(Some).ok_or_else(wrong)
}

fn missing(header: &str) -> BlobError {
    BlobError::new(
        StatusCode::BAD_REQUEST,
        "MissingRequiredHeader",
        format!("The header {header} is missing."),
    )
}
