//! Containers: create, look at, describe, delete.

use bytes::Bytes;
use hyper::StatusCode;

use super::{
    account::State,
    call::Call,
    conditions::Conditions,
    error::{self, BlobError, Result},
    lease_ops,
    model::{Change, Container, ContainerProperties},
    reply::{self, Reply},
};

pub(super) fn create(state: &mut State, call: &Call) -> Result<Reply> {
    let name = call.container()?;
    check_name(name)?;
    if state.containers.contains_key(name) {
        return Err(BlobError::new(
            StatusCode::CONFLICT,
            "ContainerAlreadyExists",
            format!("The container '{name}' already exists."),
        ));
    }
    describe(state, call, StatusCode::CREATED)
}

pub(super) fn set_metadata(state: &mut State, call: &Call) -> Result<Reply> {
    let about = &state.container(call.container()?)?.about;
    Conditions::of(call)?.check_write(Some(&about.stamp))?;
    lease_ops::guard_read(state, call)?;
    describe(state, call, StatusCode::OK)
}

fn describe(state: &mut State, call: &Call, status: StatusCode) -> Result<Reply> {
    let about = ContainerProperties {
        metadata: call.metadata()?,
        stamp: state.stamp(),
    };
    let mut reply = reply::empty(status);
    reply::stamp(&mut reply, &about.stamp);
    let container = call.container()?.to_owned();
    state.change(Change::Container { container, about }, Bytes::new());
    Ok(reply)
}

pub(super) fn properties(state: &State, call: &Call) -> Result<Reply> {
    let Container { about, lease, .. } = state.container(call.container()?)?;
    lease_ops::guard_read(state, call)?;
    let mut reply = reply::empty(StatusCode::OK);
    reply::stamp(&mut reply, &about.stamp);
    reply::metadata(&mut reply, &about.metadata);
    reply::lease(&mut reply, lease.as_ref(), state.now());
    for (name, value) in [
        ("x-ms-has-immutability-policy", "false"),
        ("x-ms-has-legal-hold", "false"),
        ("x-ms-default-encryption-scope", "$account-encryption-key"),
        ("x-ms-deny-encryption-scope-override", "false"),
    ] {
        reply::set(&mut reply, name, value);
    }
    Ok(reply)
}

pub(super) fn delete(state: &mut State, call: &Call) -> Result<Reply> {
    let container = call.container()?.to_owned();
    let about = &state.container(&container)?.about;
    Conditions::of(call)?.check_write(Some(&about.stamp))?;
    lease_ops::guard_write(state, call)?;
    state.change(Change::DropContainer { container }, Bytes::new());
    Ok(reply::empty(StatusCode::ACCEPTED))
}

/// "Naming and referencing containers, blobs, and metadata".
pub(super) fn check_name(name: &str) -> Result<()> {
    let ordinary = (3..=63).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--");
    if ordinary || matches!(name, "$root" | "$logs" | "$web") {
        return Ok(());
    }
    let mut error = error::invalid_input(format!(
        "'{name}' can't be the name of a container: 3 to 63 lower-case letters, digits and single hyphens inside."
    ));
    error.code = "InvalidResourceName";
    Err(error)
}
