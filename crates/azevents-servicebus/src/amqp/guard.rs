//! Decoding what may be hostile. `serde_amqp` 0.18.0 subtracts from sizes that the peer chose without looking
//! (`list8` of size 0, say): with overflow checks on, as in debug builds, that panics. A panic must end the
//! decoding and not the task that callers wait for. Nor does it look how deep it goes: see [`nesting`](super::nesting).

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::FutureExt;
use serde::de::DeserializeOwned;

use super::nesting::Nesting;
use crate::error::{Error, ErrorKind};

/// Decodes; a panic is an error like any other, and so are values nested too deep.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_amqp::Error> {
    if !Nesting::allows(bytes) {
        return Err(serde_amqp::Error::Message(
            "values that are nested too deep, or are none".to_owned(),
        ));
    }
    decode_followed(bytes)
}

/// As [`decode`], of bytes that a [`Nesting`] has followed already.
pub(crate) fn decode_followed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_amqp::Error> {
    // What a panic leaves behind is dropped unseen.
    catch_unwind(AssertUnwindSafe(|| serde_amqp::from_slice(bytes)))
        .unwrap_or_else(|_| Err(serde_amqp::Error::InvalidValue))
}

/// Waits for what is received on a link. After an error the link must not be used any more: nobody knows
/// in what state a panic left it.
pub(crate) async fn receiving<T>(received: impl Future<Output = T>) -> Result<T, Error> {
    AssertUnwindSafe(received)
        .catch_unwind()
        .await
        .map_err(|_| Error::new(ErrorKind::LinkLost, "a transfer could not be read"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fe2o3_amqp::types::primitives::Value;

    #[tokio::test]
    async fn sizes_that_cannot_be_are_errors() {
        for bytes in [
            &[0xc0, 0, 0][..],
            &[0xc1, 0, 0],
            &[0xe0, 0, 0, 0x40],
            &[0xd0, 0, 0, 0, 0, 0, 0, 0, 1],
        ] {
            let decoded = receiving(async { decode::<Value>(bytes) }).await;
            let value = decoded.unwrap();
            // Without overflow checks some are read as empty.
            if let Ok(value) = value {
                assert!(
                    matches!(value, Value::List(_) | Value::Map(_) | Value::Array(_)),
                    "{value:?}"
                );
            }
        }
    }
}
