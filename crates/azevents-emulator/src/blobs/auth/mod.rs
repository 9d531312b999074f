//! Who may do what: signatures are checked against the account's key, tokens for being tokens.

mod sas;
mod shared_key;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use time::OffsetDateTime;

use super::{
    call::Call,
    error::{self, BlobError, Result},
    service::Action,
};
use crate::token::Tokens;

/// The account every storage emulator has, and its key: public, and known to official clients by
/// `UseDevelopmentStorage=true` ("Use the Azurite emulator" in Microsoft's docs).
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The account's name and key, and the tokens that open it too.
pub(super) struct Keys {
    account: String,
    key: Vec<u8>,
    tokens: Tokens,
}

impl Keys {
    pub(super) fn well_known(tokens: Tokens) -> Self {
        Self {
            account: ACCOUNT.to_owned(),
            key: STANDARD.decode(KEY).unwrap_or_default(),
            tokens,
        }
    }

    pub(super) fn account(&self) -> &str {
        &self.account
    }

    /// In base64, as clients are given it.
    pub(super) fn key(&self) -> String {
        STANDARD.encode(&self.key)
    }

    /// Lets a request through or says why not.
    pub(super) fn authorize(&self, call: &Call, action: Action, now: OffsetDateTime) -> Result<()> {
        let Some(authorization) = call.header("authorization") else {
            return if call.query("sig").is_some() {
                sas::check(self, call, action, now)
            } else {
                Err(BlobError::new(
                    hyper::StatusCode::UNAUTHORIZED,
                    "NoAuthenticationInformation",
                    "Server failed to authenticate the request. Please refer to the information in the \
                     www-authenticate header.",
                ))
            };
        };
        match authorization.split_once(' ') {
            Some(("SharedKey", signed)) => shared_key::check(self, call, signed, now),
            Some(("Bearer", token)) => match self.tokens.check(token.trim(), now) {
                Ok(_) => Ok(()),
                Err(refused) => Err(BlobError::new(
                    hyper::StatusCode::UNAUTHORIZED,
                    "InvalidAuthenticationInfo",
                    refused.to_string(),
                )),
            },
            Some(("SharedKeyLite", _)) => Err(error::not_implemented("SharedKeyLite; sign with SharedKey")),
            _ => Err(error::forbidden(
                "The Authorization header is neither SharedKey nor Bearer.",
            )),
        }
    }

    /// An account SAS for everything, for clients that take no key. Ends in a year.
    pub(super) fn account_sas(&self, now: OffsetDateTime) -> String {
        sas::for_account(self, now + time::Duration::days(365))
    }

    fn sign(&self, text: &str) -> String {
        STANDARD.encode(self.mac(text).finalize().into_bytes())
    }

    fn check_signature(&self, text: &str, signature: &str) -> bool {
        let signature = STANDARD.decode(signature).unwrap_or_default();
        self.mac(text).verify_slice(&signature).is_ok()
    }

    fn mac(&self, text: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(text.as_bytes());
        mac
    }
}

// A key in a log is a key lost.
impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.account)
    }
}
