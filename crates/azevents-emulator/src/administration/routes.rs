//! Which request does what.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{Method, Request, StatusCode, body::Incoming};
use percent_encoding::percent_decode_str;

use super::{
    atom::{self, Entry, Reply},
    describe,
    document::Element,
    rules,
};
use crate::{
    amqp::{Credential, SharedAccessKey},
    servicebus::{BrokerError, Namespace, Topic},
};

/// A description is far smaller.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// What requests read and change.
pub(super) struct Administration {
    pub(super) namespace: Arc<Namespace>,
    pub(super) key: SharedAccessKey,
}

/// A request, read to its end.
struct Call {
    method: Method,
    /// Decoded, without slashes at either end.
    path: String,
    /// Where the client finds the same again.
    address: String,
    query: Vec<(String, String)>,
    /// An update, not a creation: `If-Match: *`.
    update: bool,
    body: Bytes,
}

pub(super) async fn answer(administration: Arc<Administration>, request: Request<Incoming>, tls: bool) -> Reply {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let authority = header("host").or(head.uri.authority().map(hyper::http::uri::Authority::as_str));
    let scheme = if tls { "https" } else { "http" };
    let address = format!("{scheme}://{}{}", authority.unwrap_or("127.0.0.1"), head.uri.path());
    if let Err(why) = administration.authorize(&address, header("authorization")) {
        return atom::failed(StatusCode::UNAUTHORIZED, &why);
    }
    let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await else {
        return atom::failed(
            StatusCode::PAYLOAD_TOO_LARGE,
            "The request is too large or ended early.",
        );
    };
    let path = percent_decode_str(head.uri.path().trim_matches('/'))
        .decode_utf8_lossy()
        .into_owned();
    let query = url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes());
    let call = Call {
        update: header("if-match").is_some(),
        method: head.method.clone(),
        path,
        address,
        query: query.into_owned().collect(),
        body: body.to_bytes(),
    };
    let reply = administration.perform(&call).unwrap_or_else(|error| refused(&error));
    match administration.namespace.written().await {
        Ok(()) => reply,
        Err(error) => refused(&error),
    }
}

fn refused(error: &BrokerError) -> Reply {
    let code = error.status_code();
    let status = u16::try_from(code)
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    atom::failed(status, &format!("SubCode={code}00. {error}"))
}

impl Administration {
    fn authorize(&self, address: &str, token: Option<&str>) -> Result<(), String> {
        let token = token.ok_or("MissingToken: The authorization header was not found.")?;
        let (audience, plain) = (address.to_owned(), token.trim());
        let credential = match plain.strip_prefix("Bearer ") {
            Some(token) => Credential::Jwt {
                audience,
                token: token.to_owned(),
            },
            None => Credential::Sas {
                audience,
                token: plain.to_owned(),
            },
        };
        let verified = self.key.verify(&credential);
        verified
            .map(drop)
            .map_err(|error| error.description.unwrap_or_default())
    }

    fn perform(&self, call: &Call) -> Result<Reply, BrokerError> {
        let segments: Vec<&str> = call.path.split('/').collect();
        if let [resources, kind] = segments[..]
            && resources.eq_ignore_ascii_case("$Resources")
        {
            return match kind.to_lowercase().as_str() {
                "queues" => {
                    let queues = self.namespace.queues();
                    Ok(call.page(
                        "Queues",
                        queues.iter().map(|(queue, config)| describe::queue(queue, config)),
                    ))
                }
                "topics" => Ok(call.page(
                    "Topics",
                    self.namespace.topics().iter().map(|topic| describe::topic(topic)),
                )),
                other => Err(BrokerError::EntityNotFound(other.to_owned())),
            };
        }
        if call.path.eq_ignore_ascii_case("$namespaceinfo") {
            return Ok(call.found(&namespace_info()));
        }
        // The name of a topic may have slashes too.
        let below = segments
            .iter()
            .rposition(|segment| segment.eq_ignore_ascii_case("subscriptions"));
        match below.filter(|at| *at > 0) {
            None => self.entity(call, &call.path),
            Some(at) => {
                let topic = segments[..at].join("/");
                let topic = self
                    .namespace
                    .topics()
                    .into_iter()
                    .find(|other| same(&other.config().name, &topic));
                let topic = topic.ok_or_else(|| BrokerError::EntityNotFound(call.path.clone()))?;
                match segments[at + 1..] {
                    [] => {
                        let all = topic.subscriptions();
                        let entries = all.iter().map(|(queue, config)| describe::subscription(queue, config));
                        Ok(call.page("Subscriptions", entries))
                    }
                    [name] => self.subscription(call, &topic, name),
                    [name, below] if same(below, "rules") => {
                        let all = topic.rules(name)?;
                        Ok(call.page("Rules", all.iter().map(rules::rule)))
                    }
                    [name, below, rule] if same(below, "rules") => rule_of(call, &topic, name, rule),
                    _ => Err(BrokerError::EntityNotFound(call.path.clone())),
                }
            }
        }
    }

    fn entity(&self, call: &Call, name: &str) -> Result<Reply, BrokerError> {
        let find = || {
            let queue = self
                .namespace
                .queues()
                .into_iter()
                .find(|(_, config)| same(&config.name, name));
            let topic = || {
                self.namespace
                    .topics()
                    .into_iter()
                    .find(|topic| same(&topic.config().name, name))
            };
            match queue {
                Some((queue, config)) => Some(describe::queue(&queue, &config)),
                None => topic().map(|topic| describe::topic(&topic)),
            }
        };
        match call.method {
            Method::GET => Ok(find().map_or_else(|| call.nothing(), |entry| call.found(&entry))),
            Method::DELETE => self.namespace.delete(name).map(|()| atom::done()),
            Method::PUT => {
                call.check_exists(find().is_some(), name)?;
                let document = call.document()?;
                if let Some(description) = document.find("QueueDescription") {
                    let config = describe::read_queue(name, description)?;
                    if call.update {
                        self.namespace.update_queue(&config)?;
                    } else {
                        self.namespace.create_queue(&config)?;
                    }
                } else if let Some(description) = document.find("TopicDescription") {
                    let config = describe::read_topic(name, description)?;
                    let topic = self.namespace.create_topic(&config)?;
                    topic.update(&config)?;
                } else {
                    return Err(BrokerError::Malformed(
                        "There is no description of a queue or topic.".into(),
                    ));
                }
                Ok(call.written(find()))
            }
            _ => Err(call.no_such_method()),
        }
    }

    fn subscription(&self, call: &Call, topic: &Topic, name: &str) -> Result<Reply, BrokerError> {
        let find = || {
            let all = topic.subscriptions();
            let found = all.iter().find(|(_, config)| same(&config.name, name));
            found.map(|(queue, config)| describe::subscription(queue, config))
        };
        match call.method {
            Method::GET => Ok(find().map_or_else(|| call.nothing(), |entry| call.found(&entry))),
            Method::DELETE => topic.unsubscribe(name).map(|()| atom::done()),
            Method::PUT => {
                call.check_exists(find().is_some(), name)?;
                let document = call.document()?;
                let description = document.find("SubscriptionDescription");
                let description = description
                    .ok_or_else(|| BrokerError::Malformed("There is no description of a subscription.".into()))?;
                let config = describe::read_subscription(name, description)?;
                if call.update {
                    topic.update_subscription(&config)?;
                } else {
                    self.namespace.create_subscription(&topic.config().name, &config)?;
                }
                Ok(call.written(find()))
            }
            _ => Err(call.no_such_method()),
        }
    }
}

fn rule_of(call: &Call, topic: &Topic, subscription: &str, name: &str) -> Result<Reply, BrokerError> {
    let find = || {
        let all = topic.rules(subscription)?;
        Ok::<_, BrokerError>(all.iter().find(|rule| same(&rule.name, name)).map(rules::rule))
    };
    match call.method {
        Method::GET => Ok(find()?.map_or_else(|| call.nothing(), |entry| call.found(&entry))),
        Method::DELETE => topic.remove_rule(subscription, name).map(|()| atom::done()),
        Method::PUT => {
            call.check_exists(find()?.is_some(), name)?;
            let document = call.document()?;
            let description = document.find("RuleDescription");
            let description =
                description.ok_or_else(|| BrokerError::Malformed("There is no description of a rule.".into()))?;
            let rule = rules::read_rule(name, description)?;
            if call.update {
                topic.remove_rule(subscription, name)?;
            }
            topic.add_rule(subscription, rule)?;
            Ok(call.written(find()?))
        }
        _ => Err(call.no_such_method()),
    }
}

fn namespace_info() -> Entry {
    let mut fields = String::new();
    for (name, text) in [
        ("CreatedTime", "2020-01-01T00:00:00Z"),
        ("MessagingSKU", "Standard"),
        ("ModifiedTime", "2020-01-01T00:00:00Z"),
        ("Name", "azevents-emulator"),
        ("NamespaceType", "Messaging"),
    ] {
        crate::xml::element(&mut fields, name, text);
    }
    Entry {
        title: "azevents-emulator".to_owned(),
        kind: "NamespaceInfo",
        fields,
    }
}

fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

impl Call {
    fn document(&self) -> Result<Element, BrokerError> {
        let document = std::str::from_utf8(&self.body).ok().and_then(Element::parse);
        document.ok_or_else(|| BrokerError::Malformed("The request's body is not XML.".into()))
    }

    fn check_exists(&self, exists: bool, name: &str) -> Result<(), BrokerError> {
        match (exists, self.update) {
            (true, false) => Err(BrokerError::AlreadyExists(name.to_owned())),
            (false, true) => Err(BrokerError::EntityNotFound(name.to_owned())),
            _ => Ok(()),
        }
    }

    fn found(&self, entry: &Entry) -> Reply {
        atom::entry(StatusCode::OK, &self.address, entry)
    }

    fn nothing(&self) -> Reply {
        atom::feed("Publicly Listed Services", &self.address, &[], None)
    }

    fn written(&self, entry: Option<Entry>) -> Reply {
        let status = if self.update {
            StatusCode::OK
        } else {
            StatusCode::CREATED
        };
        entry.map_or_else(|| self.nothing(), |entry| atom::entry(status, &self.address, &entry))
    }

    fn page(&self, title: &str, entries: impl Iterator<Item = Entry>) -> Reply {
        let number = |name: &str, default: usize| {
            let found = self.query.iter().find(|(key, _)| same(key, name));
            found.and_then(|(_, value)| value.parse().ok()).unwrap_or(default)
        };
        let (skip, top) = (number("$skip", 0), number("$top", 100));
        let mut entries: Vec<Entry> = entries.skip(skip).take(top.saturating_add(1)).collect();
        let more = entries.len() > top;
        entries.truncate(top);
        let next = format!("{}?$skip={}&$top={top}", self.address, skip + top);
        atom::feed(title, &self.address, &entries, more.then_some(&next))
    }

    fn no_such_method(&self) -> BrokerError {
        BrokerError::NotSupported(format!("{} of {}", self.method, self.path))
    }
}
