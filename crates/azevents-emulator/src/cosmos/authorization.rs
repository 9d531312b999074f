//! Who may send requests: clients that sign with the account's key, or that bring a token of Entra.
//!
//! "Access control in the Azure Cosmos DB SQL API" in Microsoft's docs: the header is the
//! URL-encoded form of `type={master|resource|aad}&ver=1.0&sig={signature or token}`, a signature
//! is the base64 of HMAC-SHA256 over `verb\nresource type\nresource link\ndate\n\n`, where verb,
//! type and date are in lower case.

use azure_core::http::{Request, StatusCode};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use percent_encoding::percent_decode_str;
use sha2::Sha256;
use time::OffsetDateTime;

use super::{engine::Answer, target::header};
use crate::token::Tokens;

/// The key of the account, and the tokens that open it too.
#[derive(Clone)]
pub(super) struct AccountKey {
    key: Vec<u8>,
    tokens: Tokens,
}

impl AccountKey {
    /// A key in base64, as clients are given it. `None` if it is not.
    pub(super) fn new(base64: &str, tokens: Tokens) -> Option<Self> {
        let key = STANDARD.decode(base64).ok()?;
        Some(Self { key, tokens })
    }

    /// Lets a request through, or gives the answer it gets instead.
    pub(super) fn check(&self, request: &Request) -> Result<(), Answer> {
        let Some(authorization) = header(request, "authorization") else {
            return Err(unauthorized(
                "Required Header authorization is missing. Ensure a valid Authorization token is passed.",
            ));
        };
        let authorization = percent_decode_str(authorization).decode_utf8_lossy();
        let field = |name: &str| {
            authorization.split('&').find_map(|pair| {
                let (key, value) = pair.split_once('=')?;
                key.trim().eq_ignore_ascii_case(name).then_some(value)
            })
        };
        let token = field("sig").unwrap_or_default();
        match field("type") {
            Some("master") if self.has_signed(request, token) => Ok(()),
            Some("master") => Err(unauthorized(&format!(
                "The input authorization token can't serve the request. The wrong key is being used or the \
                 expected payload is not built as per the protocol. Server used the following payload to sign: '{}'",
                payloads(request)
                    .first()
                    .map(|payload| payload.replace('\n', "\\n"))
                    .unwrap_or_default()
            ))),
            Some("aad") => match self.tokens.check(token, OffsetDateTime::now_utc()) {
                Ok(_) => Ok(()),
                Err(refused) => Err(unauthorized(&refused.to_string())),
            },
            Some("resource") => Err(unauthorized(
                "Resource tokens are not supported by this emulator; use the account's key or a token of Entra.",
            )),
            _ => Err(unauthorized(
                "The input authorization token is not of the form type=…&ver=1.0&sig=….",
            )),
        }
    }

    fn has_signed(&self, request: &Request, signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature) else {
            return false;
        };
        payloads(request).iter().any(|payload| {
            Hmac::<Sha256>::new_from_slice(&self.key)
                .is_ok_and(|mac| mac.chain_update(payload).verify_slice(&signature).is_ok())
        })
    }
}

impl std::fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccountKey")
    }
}

/// What a client may have signed. Names with characters that are escaped in a path are signed as
/// they are by some and escaped by others; offers are signed by their id alone.
fn payloads(request: &Request) -> Vec<String> {
    let verb = request.method().as_ref().to_lowercase();
    let date = header(request, "x-ms-date").or_else(|| header(request, "date"));
    let date = date.unwrap_or_default().to_lowercase();
    let escaped = request.url().path().trim_matches('/').to_owned();
    let plain = percent_decode_str(&escaped).decode_utf8_lossy().into_owned();
    let mut payloads = Vec::new();
    let mut add = |kind: &str, link: &str| payloads.push(format!("{verb}\n{kind}\n{link}\n{date}\n\n"));
    for path in [&plain, &escaped] {
        // Escaped slashes belong to names, so types and names are told apart in the escaped path.
        let segments = escaped.split('/').filter(|segment| !segment.is_empty()).count();
        match path.rsplit_once('/') {
            _ if segments == 0 => {
                add("", "");
                add("databaseaccount", "");
            }
            Some((link, kind)) if segments % 2 == 1 => add(kind, link),
            None => add(path, ""),
            Some(_) => {
                let kind = escaped.split('/').nth(segments - 2).unwrap_or_default();
                add(kind, path);
                if kind == "offers" {
                    let id = path.split_once('/').map_or("", |(_, id)| id);
                    add(kind, &id.to_lowercase());
                }
            }
        }
    }
    payloads.dedup();
    payloads
}

fn unauthorized(message: &str) -> Answer {
    Answer::error(StatusCode::Unauthorized, "Unauthorized", message)
}

#[cfg(test)]
mod tests {
    use azure_core::http::Method;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    /// The example of "Access control in the Azure Cosmos DB SQL API".
    const KEY: &str = "dsZQi3KtZmCv1ljt3VNWNm7sQUF1y5rJfC6kv5JiwvW0EndXdDku/dkKBp8/ufDToSxLzR4y+O/0H/t4bQtVNw==";
    const SIGNED: &str = "type%3dmaster%26ver%3d1.0%26sig%3dc09PEVJrgp2uQRkr934kFbTqhByc7TVr3OHyqlu%2bc%2bc%3d";
    const DATE: &str = "Thu, 27 Apr 2017 00:51:12 GMT";

    fn check(method: Method, path: &str, authorization: Option<&str>) -> Option<u16> {
        let url = format!("http://127.0.0.1:1{path}").parse().unwrap();
        let mut request = Request::new(url, method);
        request.insert_header("x-ms-date", DATE);
        if let Some(authorization) = authorization {
            request.insert_header("authorization", authorization.to_owned());
        }
        let refused = AccountKey::new(KEY, Tokens::default()).unwrap().check(&request).err();
        refused.map(|answer| answer.status.into())
    }

    fn signed(method: &str, kind: &str, link: &str) -> String {
        let payload = format!("{method}\n{kind}\n{link}\n{}\n\n", DATE.to_lowercase());
        let mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(KEY).unwrap()).unwrap();
        let signature = STANDARD.encode(mac.chain_update(payload).finalize().into_bytes());
        format!("type=master&ver=1.0&sig={signature}")
    }

    #[test]
    fn the_example_of_the_documentation_is_let_through() {
        assert_eq!(check(Method::Get, "/dbs/ToDoList", Some(SIGNED)), None);
        assert_eq!(check(Method::Get, "/dbs/Other", Some(SIGNED)), Some(401));
        assert_eq!(check(Method::Delete, "/dbs/ToDoList", Some(SIGNED)), Some(401));
        assert_eq!(check(Method::Get, "/dbs/ToDoList", None), Some(401));
    }

    #[test]
    fn every_kind_of_resource_is_signed_as_clients_do_it() {
        let cases = [
            ("get", "/", "", ""),
            ("get", "/", "databaseaccount", ""),
            ("post", "/dbs", "dbs", ""),
            ("get", "/dbs/d/colls", "colls", "dbs/d"),
            ("post", "/dbs/d/colls/c%20d/docs", "docs", "dbs/d/colls/c d"),
            ("post", "/dbs/d/colls/c%20d/docs", "docs", "dbs/d/colls/c%20d"),
            ("get", "/dbs/d/colls/c/docs/a%2Fb", "docs", "dbs/d/colls/c/docs/a/b"),
            ("get", "/dbs/d/colls/c/pkranges", "pkranges", "dbs/d/colls/c"),
            ("get", "/offers/ABC", "offers", "abc"),
        ];
        for (method, path, kind, link) in cases {
            let signature = signed(method, kind, link);
            let method = if method == "get" { Method::Get } else { Method::Post };
            assert_eq!(check(method, path, Some(&signature)), None, "{path}");
        }
    }

    #[test]
    fn a_token_of_entra_is_taken_until_it_expires_and_nothing_else_is() {
        let token = |claims: &str| {
            let claims = URL_SAFE_NO_PAD.encode(claims);
            format!("type=aad&ver=1.0&sig=e30.{claims}.c2ln")
        };
        let get = |authorization: &str| check(Method::Get, "/dbs/d", Some(authorization));
        assert_eq!(get(&token(r#"{"exp":99999999999}"#)), None);
        assert_eq!(get(&token(r#"{"exp":1}"#)), Some(401));
        for refused in [
            "type=aad&ver=1.0&sig=opaque",
            "type=resource&ver=1.0&sig=x",
            "Bearer x",
            "",
        ] {
            assert_eq!(get(refused), Some(401), "{refused}");
        }
    }
}
