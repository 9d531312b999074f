//! Which request does what.

use std::sync::Arc;

use hyper::{Method, Request, StatusCode, body::Incoming, header::IF_MATCH};
use percent_encoding::percent_decode_str;

use super::{
    atom::{self, Reply},
    call::Call,
    namespace, queue, rules, subscription, topic,
};
use crate::{
    amqp::{Credential, Right, SharedAccessKey, error},
    http_server::{Unread, read_body},
    servicebus::{BrokerError, Forwarding, Namespace, Node, Topic, path_of},
};

/// A description is far smaller.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// What requests read and change.
pub(super) struct Administration {
    pub(super) namespace: Arc<Namespace>,
    pub(super) key: SharedAccessKey,
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
    let condition = header(IF_MATCH.as_str());
    if let Some(other) = condition.filter(|condition| *condition != "*") {
        let why = format!("SubCode=41200. If-Match is '{other}'; entities have no versions, so an update says '*'.");
        return atom::failed(StatusCode::PRECONDITION_FAILED, &why);
    }
    let body = match read_body(body, MAX_BODY_BYTES).await {
        Ok(body) => body,
        Err(unread @ Unread::TooLarge(_)) => {
            return atom::failed(StatusCode::PAYLOAD_TOO_LARGE, &unread.to_string());
        }
        Err(unread) => return atom::failed(StatusCode::REQUEST_TIMEOUT, &unread.to_string()),
    };
    let path = percent_decode_str(head.uri.path().trim_matches('/'))
        .decode_utf8_lossy()
        .into_owned();
    let query = url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes());
    let call = Call {
        update: condition.is_some(),
        method: head.method.clone(),
        path,
        address,
        query: query.into_owned().collect(),
        body,
        now: administration.namespace.now(),
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
        let key_on = |path: &str, name: &str| self.namespace.key_on(path, name);
        let grant = self.key.verify_among(&credential, &key_on);
        let grant = grant.map_err(|error| error.description.unwrap_or_default())?;
        if grant.rights.has(Right::Manage) {
            Ok(())
        } else {
            Err(error::lacking(Right::Manage, &grant.scope))
        }
    }

    fn perform(&self, call: &Call) -> Result<Reply, BrokerError> {
        let segments: Vec<&str> = call.path.split('/').collect();
        if let [resources, kind] = segments[..]
            && resources.eq_ignore_ascii_case("$Resources")
        {
            return match kind.to_lowercase().as_str() {
                "queues" => {
                    let queues = self.namespace.queues();
                    call.page(
                        "Queues",
                        queues.iter().map(|(queue, config)| queue::write(queue, config)),
                    )
                }
                "topics" => {
                    let topics = self.namespace.topics();
                    call.page("Topics", topics.iter().map(|topic| topic::write(topic)))
                }
                other => Err(BrokerError::EntityNotFound(other.to_owned())),
            };
        }
        if call.path.eq_ignore_ascii_case("$namespaceinfo") {
            return Ok(call.found(&namespace::write(&self.namespace)));
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
                        let entries = all.iter().map(|(queue, config)| subscription::write(queue, config));
                        call.page("Subscriptions", entries)
                    }
                    [name] => self.subscription(call, &topic, name),
                    [name, below] if same(below, "rules") => {
                        let all = topic.rules(name)?;
                        call.page("Rules", all.iter().map(rules::rule))
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
                Some((queue, config)) => Some(queue::write(&queue, &config)),
                None => topic().map(|topic| topic::write(&topic)),
            }
        };
        match call.method {
            Method::GET => Ok(find().map_or_else(|| call.nothing(), |entry| call.found(&entry))),
            Method::DELETE => self.namespace.delete(name).map(|()| atom::done()),
            Method::PUT => {
                call.check_exists(find().is_some(), name)?;
                let (document, tier) = (call.document()?, self.namespace.config().tier());
                if let Some(description) = document.find("QueueDescription") {
                    let config = queue::read(name, description, tier)?;
                    self.check_forwarding(&config.forwarding)?;
                    if call.update {
                        self.namespace.update_queue(&config)?;
                    } else {
                        self.namespace.create_queue(&config)?;
                    }
                } else {
                    let description = document.description("TopicDescription", "queue or topic")?;
                    let config = topic::read(name, description, tier)?;
                    if call.update {
                        self.namespace.update_topic(&config)?;
                    } else {
                        self.namespace.create_topic(&config)?;
                    }
                }
                Ok(call.written(find()))
            }
            _ => Err(call.no_such_method()),
        }
    }

    /// What is forwarded to has to be there before ("Service Bus Resource Manager exceptions").
    fn check_forwarding(&self, forwarding: &Forwarding) -> Result<(), BrokerError> {
        for to in forwarding.to.iter().chain(&forwarding.dead_letters_to) {
            let node = self.namespace.resolve(path_of(to));
            if !matches!(node, Ok(Node::Queue(_) | Node::Topic(_))) {
                return Err(BrokerError::Malformed(format!(
                    "The auto forwarding destination entity '{to}' does not exist."
                )));
            }
        }
        Ok(())
    }

    fn subscription(&self, call: &Call, topic: &Topic, name: &str) -> Result<Reply, BrokerError> {
        let find = || {
            let all = topic.subscriptions();
            let found = all.iter().find(|(_, config)| same(&config.name, name));
            found.map(|(queue, config)| subscription::write(queue, config))
        };
        match call.method {
            Method::GET => Ok(find().map_or_else(|| call.nothing(), |entry| call.found(&entry))),
            Method::DELETE => topic.unsubscribe(name).map(|()| atom::done()),
            Method::PUT => {
                call.check_exists(find().is_some(), name)?;
                let document = call.document()?;
                let description = document.description("SubscriptionDescription", "subscription")?;
                let config = subscription::read(name, description, self.namespace.config().tier())?;
                self.check_forwarding(&config.forwarding)?;
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
            let description = document.description("RuleDescription", "rule")?;
            let rule = rules::read_rule(name, description)?;
            if call.update {
                topic.replace_rule(subscription, rule)?;
            } else {
                topic.add_rule(subscription, rule)?;
            }
            Ok(call.written(find()?))
        }
        _ => Err(call.no_such_method()),
    }
}

fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}
