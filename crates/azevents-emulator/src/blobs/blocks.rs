//! Blobs too large for one request: blocks are put one by one, in any order, and committed together.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use hyper::StatusCode;

use super::{
    account::State,
    blob_ops,
    call::Call,
    conditions::Conditions,
    error::{self, BlobError, Result},
    lease_ops,
    model::Change,
    reply::{self, Reply},
};
use crate::xml;

/// "Put Block List": the most a blob can have.
const MAX_BLOCKS: usize = 50_000;

pub(super) fn put(state: &mut State, call: &Call) -> Result<Reply> {
    let id = call.query("blockid").unwrap_or_default().to_owned();
    let decoded = STANDARD.decode(&id).unwrap_or_default();
    if !(1..=64).contains(&decoded.len()) {
        return Err(error::invalid_query("blockid", "must be base64 of 1 to 64 bytes"));
    }
    blob_ops::check_content(call)?;
    let (container, blob) = (call.container()?.to_owned(), call.blob()?.to_owned());
    let staged = state.container(&container)?.staged.get(&blob);
    // The service insists on ids of one length, so that it can tell them from each other's ends.
    if staged
        .and_then(|blocks| blocks.keys().next())
        .is_some_and(|other| other.len() != id.len())
    {
        return Err(BlobError::new(
            StatusCode::BAD_REQUEST,
            "InvalidBlobOrBlock",
            "All ids of a blob's blocks must have the same length.",
        ));
    }
    lease_ops::guard_write(state, call)?;
    state.change(Change::Block { container, blob, id }, call.body.clone());
    let mut reply = reply::empty(StatusCode::CREATED);
    reply::set(&mut reply, "x-ms-request-server-encrypted", "true");
    Ok(reply)
}

/// Makes a blob of blocks put before, of blocks it has already, or of both.
pub(super) fn commit(state: &mut State, call: &Call) -> Result<Reply> {
    blob_ops::check_content(call)?;
    let document = std::str::from_utf8(&call.body).ok().and_then(xml::leaves);
    let list = document.ok_or_else(|| {
        BlobError::new(
            StatusCode::BAD_REQUEST,
            "InvalidXmlDocument",
            "The list of blocks is not XML.",
        )
    })?;
    if list.len() > MAX_BLOCKS {
        return Err(BlobError::new(
            StatusCode::BAD_REQUEST,
            "BlockListTooLong",
            format!("A blob has at most {MAX_BLOCKS} blocks."),
        ));
    }
    let (content, blocks) = assemble(state, call, &list)?;
    blob_ops::write(state, call, content, blocks, None)
}

fn assemble(state: &State, call: &Call, list: &[(&str, &str)]) -> Result<(Bytes, Vec<(String, u64)>)> {
    let container = state.container(call.container()?)?;
    let staged = container.staged.get(call.blob()?);
    let current = container.blobs.get(call.blob()?);
    let uncommitted = |id: &str| staged.and_then(|blocks| blocks.get(id)).cloned();
    let committed = |id: &str| {
        let blob = current?;
        let mut start = 0;
        for (block, length) in &blob.about.blocks {
            let end = start + usize::try_from(*length).ok()?;
            if block == id {
                return Some(blob.content.slice(start..end));
            }
            start = end;
        }
        None
    };
    let mut content = BytesMut::new();
    let mut blocks = Vec::with_capacity(list.len());
    for (place, id) in list {
        let block = match *place {
            "Latest" => uncommitted(id).or_else(|| committed(id)),
            "Uncommitted" => uncommitted(id),
            "Committed" => committed(id),
            _ => None,
        };
        let block = block.ok_or_else(|| {
            BlobError::new(
                StatusCode::BAD_REQUEST,
                "InvalidBlockList",
                format!("There is no block '{id}' ({place})."),
            )
        })?;
        blocks.push(((*id).to_owned(), block.len() as u64));
        content.extend_from_slice(&block);
    }
    Ok((content.freeze(), blocks))
}

pub(super) fn list(state: &State, call: &Call) -> Result<Reply> {
    let (container, name) = (state.container(call.container()?)?, call.blob()?);
    let (blob, staged) = (container.blobs.get(name), container.staged.get(name));
    if blob.is_none() && staged.is_none() {
        return Err(error::no_blob(name));
    }
    if let Some(blob) = blob {
        Conditions::of(call)?.check_read(&blob.about.stamp)?;
        lease_ops::guard_read(state, call)?;
    }
    let wanted = call.query("blocklisttype").unwrap_or("committed");
    let mut inner = String::from("<BlockList>");
    let mut blocks = |group: &str, blocks: &mut dyn Iterator<Item = (&str, u64)>| {
        let _ = write!(inner, "<{group}>");
        for (id, length) in blocks {
            inner.push_str("<Block>");
            xml::element(&mut inner, "Name", id);
            xml::element(&mut inner, "Size", &length.to_string());
            inner.push_str("</Block>");
        }
        let _ = write!(inner, "</{group}>");
    };
    if matches!(wanted, "committed" | "all") {
        let committed = blob.into_iter().flat_map(|blob| &blob.about.blocks);
        blocks(
            "CommittedBlocks",
            &mut committed.map(|(id, length)| (id.as_str(), *length)),
        );
    }
    if matches!(wanted, "uncommitted" | "all") {
        let staged = staged.into_iter().flatten();
        blocks(
            "UncommittedBlocks",
            &mut staged.map(|(id, block)| (id.as_str(), block.len() as u64)),
        );
    }
    inner.push_str("</BlockList>");
    let mut reply = reply::document(&inner);
    if let Some(blob) = blob {
        reply::stamp(&mut reply, &blob.about.stamp);
        reply::set(&mut reply, "x-ms-blob-content-length", &blob.content.len().to_string());
    }
    Ok(reply)
}
