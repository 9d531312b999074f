//! What a request is about, by method, path and the headers that tell operations apart.

use azure_core::http::{Method, Request, headers::HeaderName};
use percent_encoding::percent_decode_str;

/// A container by the names clients use for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ContainerName {
    pub(super) database: String,
    pub(super) container: String,
}

/// The requests that are treated differently from one another here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `POST /dbs`: the database's name is in the body.
    CreateDatabase,
    /// `POST …/colls`: the container's name is in the body.
    CreateContainer { database: String },
    /// `PUT …/colls/{container}`.
    ReplaceContainer(ContainerName),
    /// `DELETE …/colls/{container}`.
    DeleteContainer(ContainerName),
    /// `DELETE /dbs/{database}`.
    DeleteDatabase(String),
    /// Reads one item or many.
    ReadItems(ContainerName),
    /// Reads the change feed.
    ReadChanges(ContainerName),
    /// Creates or upserts: the item's id is in the body.
    WriteNewItem(ContainerName),
    /// Replaces, patches or deletes the item with this id.
    WriteItem(ContainerName, String),
    /// A transactional batch.
    Batch(ContainerName),
    /// The account, databases, containers, offers, partition key ranges.
    Other,
}

impl Target {
    pub(super) fn of(request: &Request) -> Self {
        let segments: Vec<_> = request
            .url()
            .path_segments()
            .into_iter()
            .flatten()
            .filter(|s| !s.is_empty())
            .collect();
        let decoded = |segment: &str| percent_decode_str(segment).decode_utf8_lossy().into_owned();
        let name = |database: &str, container: &str| ContainerName {
            database: decoded(database),
            container: decoded(container),
        };
        match (request.method(), &segments[..]) {
            (Method::Delete, ["dbs", database]) => Self::DeleteDatabase(decoded(database)),
            (Method::Post, ["dbs"]) if !is_query(request) => Self::CreateDatabase,
            (Method::Post, ["dbs", database, "colls"]) if !is_query(request) => Self::CreateContainer {
                database: decoded(database),
            },
            (Method::Put, ["dbs", database, "colls", container]) => Self::ReplaceContainer(name(database, container)),
            (Method::Delete, ["dbs", database, "colls", container]) => Self::DeleteContainer(name(database, container)),
            (method, ["dbs", database, "colls", container, "docs"]) => {
                let container = name(database, container);
                match method {
                    Method::Get if header(request, "a-im").is_some() => Self::ReadChanges(container),
                    Method::Post if is_query(request) => Self::ReadItems(container),
                    Method::Post if is_true(request, "x-ms-cosmos-is-batch-request") => Self::Batch(container),
                    Method::Post => Self::WriteNewItem(container),
                    _ => Self::ReadItems(container),
                }
            }
            (method, ["dbs", database, "colls", container, "docs", item]) => {
                let container = name(database, container);
                match method {
                    Method::Put | Method::Patch | Method::Delete => Self::WriteItem(container, decoded(item)),
                    _ => Self::ReadItems(container),
                }
            }
            _ => Self::Other,
        }
    }

    /// Items are where a service has to cope with faults. The rest is spared, so that a client
    /// always gets through its start.
    pub(super) fn is_items(&self) -> bool {
        self.items_of().is_some()
    }

    /// The container whose items this is about.
    pub(super) fn items_of(&self) -> Option<&ContainerName> {
        match self {
            Self::ReadItems(name)
            | Self::ReadChanges(name)
            | Self::WriteNewItem(name)
            | Self::WriteItem(name, _)
            | Self::Batch(name) => Some(name),
            _ => None,
        }
    }
}

/// Whether a `POST` asks how a query is to be executed.
pub(super) fn is_query_plan(request: &Request) -> bool {
    is_true(request, "x-ms-cosmos-is-query-plan-request")
}

/// Whether a `POST` only asks: queries, and the plans clients ask for before them.
pub(super) fn is_query(request: &Request) -> bool {
    [
        "x-ms-documentdb-isquery",
        "x-ms-documentdb-query",
        "x-ms-cosmos-is-query-plan-request",
    ]
    .into_iter()
    .any(|name| is_true(request, name))
}

fn is_true(request: &Request, name: &'static str) -> bool {
    header(request, name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// A header of a request.
pub(super) fn header<'a>(request: &'a Request, name: &'static str) -> Option<&'a str> {
    request.headers().get_optional_str(&HeaderName::from_static(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(method: Method, path: &str, headers: &[(&'static str, &'static str)]) -> Target {
        let url = format!("http://127.0.0.1:1{path}").parse().unwrap();
        let mut request = Request::new(url, method);
        for (name, value) in headers {
            request.insert_header(*name, *value);
        }
        Target::of(&request)
    }

    #[test]
    fn requests_are_told_apart_by_path_method_and_headers() {
        let name = ContainerName {
            database: "d".into(),
            container: "c d".into(),
        };
        let items = "/dbs/d/colls/c%20d/docs";
        let batch = [("x-ms-cosmos-is-batch-request", "True")];
        let query = [("x-ms-documentdb-isquery", "True")];
        let cases = [
            (Method::Get, "/", &[][..], Target::Other),
            (Method::Post, "/dbs", &[], Target::CreateDatabase),
            (Method::Get, "/dbs/docs/colls", &[], Target::Other),
            (Method::Get, "/dbs/d/colls/c%20d/pkranges", &[], Target::Other),
            (Method::Delete, "/dbs/d", &[], Target::DeleteDatabase("d".into())),
            (
                Method::Post,
                "/dbs/d/colls",
                &[],
                Target::CreateContainer { database: "d".into() },
            ),
            (Method::Post, "/dbs/d/colls", &query, Target::Other),
            (
                Method::Delete,
                "/dbs/d/colls/c%20d",
                &[],
                Target::DeleteContainer(name.clone()),
            ),
            (
                Method::Put,
                "/dbs/d/colls/c%20d",
                &[],
                Target::ReplaceContainer(name.clone()),
            ),
            (Method::Get, items, &[], Target::ReadItems(name.clone())),
            (
                Method::Get,
                items,
                &[("a-im", "Incremental Feed")],
                Target::ReadChanges(name.clone()),
            ),
            (Method::Post, items, &query, Target::ReadItems(name.clone())),
            (Method::Post, items, &batch, Target::Batch(name.clone())),
            (Method::Post, items, &[], Target::WriteNewItem(name.clone())),
            (
                Method::Get,
                "/dbs/d/colls/c%20d/docs/1",
                &[],
                Target::ReadItems(name.clone()),
            ),
            (
                Method::Delete,
                "/dbs/d/colls/c%20d/docs/a%2Fb",
                &[],
                Target::WriteItem(name.clone(), "a/b".into()),
            ),
        ];
        for (method, path, headers, expected) in cases {
            assert_eq!(target(method, path, headers), expected, "{method:?} {path}");
        }
    }
}
