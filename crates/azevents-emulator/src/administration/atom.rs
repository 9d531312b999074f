//! Answers as Atom feeds and entries (RFC 4287), as the service's management API has them.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};

use super::{fields::instant, namespace};
use crate::{
    clock::Timestamp,
    servicebus::Times,
    xml::{element, escape},
};

pub(super) type Reply = Response<Full<Bytes>>;

const ATOM: &str = "http://www.w3.org/2005/Atom";
const SERVICE_BUS: &str = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect";
const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// A thing that can be administered: its name, and its description without the outer element.
pub(super) struct Entry {
    pub(super) title: String,
    /// `QueueDescription` and so on.
    pub(super) kind: &'static str,
    pub(super) fields: String,
    /// When it was created and changed, if that is known.
    pub(super) times: Option<Times>,
}

impl Entry {
    fn write(&self, out: &mut String, address: &str, now: Timestamp) {
        element(out, "id", address);
        out.push_str("<title type=\"text\">");
        out.push_str(&escape(&self.title));
        out.push_str("</title>");
        // Clients insist on both.
        let times = self
            .times
            .map_or((now, now), |times| (times.created(), times.updated()));
        element(out, "published", &instant(times.0));
        element(out, "updated", &instant(times.1));
        out.push_str(&["<author><name>", namespace::NAME, "</name></author>"].concat());
        let (address, kind, fields) = (escape(address), self.kind, &self.fields);
        out.push_str(
            &[
                "<link rel=\"self\" href=\"",
                &address,
                "\"/><content type=\"application/xml\"><",
                kind,
                " xmlns=\"",
                SERVICE_BUS,
                "\" xmlns:i=\"",
                INSTANCE,
                "\">",
                fields,
                "</",
                kind,
                "></content>",
            ]
            .concat(),
        );
    }
}

pub(super) fn entry(status: StatusCode, address: &str, entry: &Entry, now: Timestamp) -> Reply {
    let mut out = format!("<entry xmlns=\"{ATOM}\">");
    entry.write(&mut out, address, now);
    out.push_str("</entry>");
    reply(status, out)
}

/// A page of entries; `next` is where the one after it is. What isn't there is an empty feed too:
/// that is how the service answers.
pub(super) fn feed(title: &str, address: &str, entries: &[Entry], next: Option<&str>, now: Timestamp) -> Reply {
    let mut out = format!("<feed xmlns=\"{ATOM}\"><title type=\"text\">{}</title>", escape(title));
    element(&mut out, "id", address);
    element(&mut out, "updated", &instant(now));
    for (rel, href) in [("self", Some(address)), ("next", next)] {
        if let Some(href) = href {
            out.push_str(&["<link rel=\"", rel, "\" href=\"", &escape(href), "\"/>"].concat());
        }
    }
    let base = address.split('?').next().unwrap_or(address).trim_end_matches('/');
    // A queue's address is its own, not that of the list it stands in: clients read its name from it.
    let base = base.find("/$Resources").map_or(base, |list| &base[..list]);
    for entry in entries {
        out.push_str("<entry>");
        entry.write(&mut out, &format!("{base}/{}", entry.title), now);
        out.push_str("</entry>");
    }
    out.push_str("</feed>");
    reply(StatusCode::OK, out)
}

pub(super) fn failed(status: StatusCode, detail: &str) -> Reply {
    let mut out = String::from("<Error>");
    element(&mut out, "Code", &status.as_u16().to_string());
    element(&mut out, "Detail", detail);
    out.push_str("</Error>");
    reply(status, out)
}

pub(super) fn done() -> Reply {
    reply(StatusCode::OK, String::new())
}

fn reply(status: StatusCode, body: String) -> Reply {
    let mut reply = Response::new(Full::from(body));
    *reply.status_mut() = status;
    let kind = HeaderValue::from_static("application/atom+xml;type=entry;charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}
