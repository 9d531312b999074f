//! Shared access signatures and bearer tokens, as the service checks them.
//!
//! Format: "Service Bus access control with Shared Access Signatures" in Microsoft's docs:
//! `SharedAccessSignature sr=<url-encoded resource>&sig=<url-encoded base64 of
//! HMAC-SHA256(key, "<sr>\n<se>")>&se=<unix seconds>&skn=<key name>`.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use percent_encoding::percent_decode_str;
use sha2::Sha256;
use time::OffsetDateTime;

use crate::token::Tokens;

use super::{
    Credential, Grant, Rights,
    address::entity_path,
    error::{self, Error},
};

/// The keys of one rule on an entity, and what they are good for.
pub(crate) struct EntityKey {
    /// One as good as the other.
    pub(crate) keys: [String; 2],
    pub(crate) rights: Rights,
}

/// The one key of a whole namespace, and the check of credentials against it and those of its entities.
#[derive(Clone)]
pub(crate) struct SharedAccessKey {
    name: String,
    key: String,
    tokens: Tokens,
}

impl SharedAccessKey {
    /// A key by name, as in a connection string. The key is used as text, not decoded.
    pub(crate) fn new(name: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            key: key.into(),
            tokens: Tokens::default(),
        }
    }

    /// With bearer tokens beside it, those that `tokens` takes. All well-formed ones unless set.
    pub(crate) fn with_tokens(self, tokens: Tokens) -> Self {
        Self { tokens, ..self }
    }

    /// What a credential opens at this moment: a signature must be ours and not expired, a bearer
    /// token must be one that is taken, a SASL PLAIN login must name the key.
    pub(crate) fn verify(&self, credential: &Credential) -> Result<Grant, Error> {
        self.verify_among(credential, &|_, _| None)
    }

    /// The same in a namespace whose entities have keys of their own: `key_on` finds the one by name that is good for a
    /// path, which is in lower case and without slashes at either end.
    pub(crate) fn verify_among(
        &self,
        credential: &Credential,
        key_on: &dyn Fn(&str, &str) -> Option<EntityKey>,
    ) -> Result<Grant, Error> {
        self.verify_at(credential, key_on, OffsetDateTime::now_utc())
    }

    fn verify_at(
        &self,
        credential: &Credential,
        key_on: &dyn Fn(&str, &str) -> Option<EntityKey>,
        now: OffsetDateTime,
    ) -> Result<Grant, Error> {
        let grant = match credential {
            Credential::Sas { audience, token } => self.verify_signature(audience, token, key_on)?,
            Credential::Jwt { audience, token } => Grant {
                scope: scope(audience),
                rights: Rights::ALL,
                expires: self
                    .tokens
                    .check(token, now)
                    .map_err(|refused| error::unauthorized(format!("InvalidToken: {refused}")))?,
            },
            Credential::Plain { name, key } => {
                if *name != self.name || !equal(key.as_bytes(), self.key.as_bytes()) {
                    return Err(error::unauthorized("Unknown key name or wrong key."));
                }
                Grant {
                    scope: String::new(),
                    rights: Rights::ALL,
                    expires: None,
                }
            }
        };
        match grant.expires {
            Some(expires) if expires <= now => Err(error::unauthorized(format!(
                "ExpiredToken: the token ended at {expires}."
            ))),
            _ => Ok(grant),
        }
    }

    fn verify_signature(
        &self,
        audience: &str,
        token: &str,
        key_on: &dyn Fn(&str, &str) -> Option<EntityKey>,
    ) -> Result<Grant, Error> {
        let malformed = |what: &str| error::unauthorized(format!("MalformedToken: {what} in SharedAccessSignature."));
        let fields = token
            .trim()
            .strip_prefix("SharedAccessSignature ")
            .ok_or_else(|| error::unauthorized("MalformedToken: not a SharedAccessSignature."))?;
        let field = |name: &str| {
            fields
                .split('&')
                .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
                .map(|(_, value)| value)
                .ok_or_else(|| malformed(&format!("no '{name}'")))
        };
        let decoded = |name: &str| {
            percent_decode_str(field(name)?)
                .decode_utf8()
                .map_err(|_| malformed(&format!("'{name}' is not UTF-8")))
        };
        let (resource, end) = (field("sr")?, field("se")?);
        let (name, signed) = (decoded("skn")?, scope(&decoded("sr")?));
        let (keys, rights) = if name == self.name {
            (vec![self.key.clone()], Rights::ALL)
        } else {
            let key = key_on(&signed, &name);
            let none = || format!("InvalidSignature: there is no key named '{name}' for '{signed}'.");
            let EntityKey { keys, rights } = key.ok_or_else(|| error::unauthorized(none()))?;
            (Vec::from(keys), rights)
        };
        let signature = STANDARD
            .decode(decoded("sig")?.as_bytes())
            .map_err(|_| malformed("'sig' is not base64"))?;
        let text = format!("{resource}\n{end}");
        if !keys.iter().any(|key| is_signed(key, &text, &signature)) {
            return Err(error::unauthorized(
                "InvalidSignature: the token has an invalid signature.",
            ));
        }
        let expires = end
            .parse()
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .ok_or_else(|| malformed("'se' is not a time in unix seconds"))?;
        let wanted = scope(audience);
        if !covers(&signed, &wanted) {
            return Err(error::unauthorized(format!(
                "InvalidAudience: the token is for '{signed}', not for '{wanted}'."
            )));
        }
        Ok(Grant {
            scope: wanted,
            rights,
            expires: Some(expires),
        })
    }
}

fn is_signed(key: &str, text: &str, signature: &[u8]) -> bool {
    Hmac::<Sha256>::new_from_slice(key.as_bytes()).is_ok_and(|mut mac| {
        mac.update(text.as_bytes());
        mac.verify_slice(signature).is_ok()
    })
}

/// Does access to `scope` include `entity`? Both lower case without slashes at either end.
pub(super) fn covers(scope: &str, entity: &str) -> bool {
    scope.is_empty()
        || entity
            .strip_prefix(scope)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn scope(audience: &str) -> String {
    entity_path(audience).to_lowercase()
}

/// Compares without telling by the time taken where the difference is.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

// A key in a log is a key lost.
impl std::fmt::Debug for SharedAccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SharedAccessKey({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::{super::Right, *};

    const NOW: i64 = 1_700_000_000;

    fn key() -> SharedAccessKey {
        SharedAccessKey::new("RootManageSharedAccessKey", "c2VjcmV0")
    }

    // Signature computed with Python: base64(hmac.new(b"c2VjcmV0", b"sb%3A%2F%2Fhost%2Fq1\n1700003600", sha256)).
    fn sas(sig: &str, se: i64) -> Credential {
        Credential::Sas {
            audience: "amqps://host:5671/Q1/".into(),
            token: format!(
                "SharedAccessSignature sr=sb%3A%2F%2Fhost%2Fq1&sig={sig}&se={se}&skn=RootManageSharedAccessKey"
            ),
        }
    }

    fn sign(resource: &str, se: i64) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"c2VjcmV0").unwrap();
        mac.update(format!("{resource}\n{se}").as_bytes());
        percent_encoding::utf8_percent_encode(
            &STANDARD.encode(mac.finalize().into_bytes()),
            percent_encoding::NON_ALPHANUMERIC,
        )
        .to_string()
    }

    fn no_others(_: &str, _: &str) -> Option<EntityKey> {
        None
    }

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(seconds).unwrap()
    }

    #[test]
    fn our_signature_opens_the_entity_it_names_until_it_ends() {
        let token = sas(&sign("sb%3A%2F%2Fhost%2Fq1", NOW + 3600), NOW + 3600);
        let grant = key().verify_at(&token, &no_others, at(NOW)).unwrap();
        assert_eq!(grant.scope, "q1");
        assert_eq!(grant.expires, Some(at(NOW + 3600)));
        assert!(key().verify_at(&token, &no_others, at(NOW + 3600)).is_err());
    }

    #[test]
    fn a_signature_made_elsewhere_is_known_by_its_value() {
        let token = sas("4ZZx0eeMdqxGliPet1vwRADhACbeK9EYryWmStH5SuE%3D", NOW + 3600);
        key().verify_at(&token, &no_others, at(NOW)).unwrap();
    }

    #[test]
    fn a_wrong_signature_an_unknown_key_and_another_entity_are_refused() {
        let forged = sas(&sign("sb%3A%2F%2Fhost%2Fq1", NOW), NOW + 3600);
        assert!(key().verify_at(&forged, &no_others, at(NOW)).is_err());
        let unknown = SharedAccessKey::new("other", "c2VjcmV0");
        let good = sas(&sign("sb%3A%2F%2Fhost%2Fq1", NOW + 3600), NOW + 3600);
        assert!(unknown.verify_at(&good, &no_others, at(NOW)).is_err());
        let Credential::Sas { token, .. } = good else {
            unreachable!()
        };
        let elsewhere = Credential::Sas {
            audience: "sb://host/q10".into(),
            token,
        };
        assert!(key().verify_at(&elsewhere, &no_others, at(NOW)).is_err());
    }

    #[test]
    fn a_key_of_an_entity_opens_it_for_what_it_is_good_for() {
        let of_q1 = |path: &str, name: &str| {
            (path == "q1" && name == "sender").then(|| EntityKey {
                keys: ["c2VjcmV0".into(), "other".into()],
                rights: [Right::Send].into_iter().collect(),
            })
        };
        let signed = |resource: &str, key_name: &str| Credential::Sas {
            audience: "sb://host/q1".into(),
            token: format!(
                "SharedAccessSignature sr={resource}&sig={}&se={NOW}&skn={key_name}",
                sign(resource, NOW)
            ),
        };
        let opened = key().verify_at(&signed("sb%3A%2F%2Fhost%2Fq1", "sender"), &of_q1, at(NOW - 1));
        let rights = opened.unwrap().rights;
        assert!(rights.has(Right::Send) && !rights.has(Right::Listen));
        for (resource, name) in [("sb%3A%2F%2Fhost%2F", "sender"), ("sb%3A%2F%2Fhost%2Fq1", "reader")] {
            let refused = key()
                .verify_at(&signed(resource, name), &of_q1, at(NOW - 1))
                .unwrap_err();
            assert!(refused.to_string().contains("there is no key named"), "{refused}");
        }
    }

    #[test]
    fn any_well_formed_bearer_token_opens_its_audience_until_exp() {
        let token = |claims: &str| Credential::Jwt {
            audience: "amqps://host/hub".into(),
            token: format!(
                "{}.{}.",
                URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
                URL_SAFE_NO_PAD.encode(claims)
            ),
        };
        let open = key().verify_at(&token("{}"), &no_others, at(NOW)).unwrap();
        assert_eq!((open.scope.as_str(), open.expires), ("hub", None));
        let ending = token(r#"{"exp":1700000001}"#);
        assert!(key().verify_at(&ending, &no_others, at(NOW)).is_ok());
        assert!(key().verify_at(&ending, &no_others, at(NOW + 1)).is_err());
        let text = Credential::Jwt {
            audience: "amqps://host/hub".into(),
            token: "secret".into(),
        };
        assert!(key().verify_at(&text, &no_others, at(NOW)).is_err());
    }

    #[test]
    fn a_scope_covers_what_is_below_it_and_not_what_starts_alike() {
        assert!(covers("", "q1"));
        assert!(covers("q1", "q1/$management"));
        assert!(!covers("q1", "q10"));
    }
}
