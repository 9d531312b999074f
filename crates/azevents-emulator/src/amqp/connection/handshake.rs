//! Protocol headers and SASL (AMQP 1.0 sections 2.2 and 5.3), before the first frame.

use std::io;

use bytes::{Buf, BytesMut};
use fe2o3_amqp_types::sasl::{SaslCode, SaslInit, SaslMechanisms, SaslOutcome};
use serde_amqp::primitives::{Array, Symbol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Connection;
use crate::{
    amqp::{
        Credential,
        codec::{Encoder, FrameKind, from_slice, next_frame},
        error::Error,
    },
    transport::{ReadHalf, WriteHalf, acknowledge_now},
};

const AMQP: [u8; 8] = *b"AMQP\x00\x01\x00\x00";
const SASL: [u8; 8] = *b"AMQP\x03\x01\x00\x00";

/// What Service Bus and Event Hubs offer. All but PLAIN prove nothing; a token has to follow.
const MECHANISMS: [&str; 4] = ["MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"];

/// SASL frames are at most this large (section 5.3.1).
const MAX_SASL_FRAME: u32 = 512;

impl Connection {
    /// Agrees on AMQP, with or without SASL before it. Returns what was read beyond.
    pub(super) async fn handshake(&self, read: &mut ReadHalf, write: &mut WriteHalf) -> io::Result<BytesMut> {
        let mut buffer = BytesMut::with_capacity(8 * 1024);
        let mut header = protocol_header(read, &mut buffer).await?;
        if header == SASL {
            write.write_all(&SASL).await?;
            write.flush().await?;
            self.sasl(read, write, &mut buffer).await?;
            header = protocol_header(read, &mut buffer).await?;
        }
        // Anything else is answered with what we speak, and the connection ends (section 2.2).
        write.write_all(&AMQP).await?;
        write.flush().await?;
        if header == AMQP {
            Ok(buffer)
        } else {
            Err(invalid(format!("protocol header {header:02x?}")))
        }
    }

    async fn sasl(&self, read: &mut ReadHalf, write: &mut WriteHalf, buffer: &mut BytesMut) -> io::Result<()> {
        let mechanisms = MECHANISMS.map(Symbol::from).to_vec();
        send(
            write,
            &SaslMechanisms {
                sasl_server_mechanisms: Array::from(mechanisms),
            },
        )
        .await?;
        let frame = loop {
            match next_frame(buffer, MAX_SASL_FRAME) {
                Ok(Some(frame)) => break frame,
                Ok(None) => fill(read, buffer).await?,
                Err(error) => return Err(invalid(Error::from(error).to_string())),
            }
        };
        if frame.kind != FrameKind::Sasl {
            return Err(invalid("a frame that is not SASL"));
        }
        let init: SaslInit = from_slice(&frame.body).map_err(|error| invalid(error.to_string()))?;
        let refused = self.login(&init).err();
        let code = match refused {
            None => SaslCode::Ok,
            Some(_) => SaslCode::Auth,
        };
        send(
            write,
            &SaslOutcome {
                code,
                additional_data: None,
            },
        )
        .await?;
        refused.map_or(Ok(()), |why| Err(invalid(why)))
    }

    fn login(&self, init: &SaslInit) -> Result<(), String> {
        let mechanism = init.mechanism.as_str();
        if !MECHANISMS.contains(&mechanism) {
            return Err(format!("SASL mechanism {mechanism}"));
        }
        if mechanism != "PLAIN" {
            return Ok(());
        }
        // RFC 4616: authorization identity, NUL, authentication identity, NUL, password.
        let response = init.initial_response.as_deref().map(Vec::as_slice);
        let text = response.and_then(|bytes| std::str::from_utf8(bytes).ok());
        let mut parts = text.unwrap_or_default().split('\0').skip(1);
        let (Some(name), Some(key), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err("malformed SASL PLAIN response".to_owned());
        };
        let credential = Credential::Plain {
            name: name.to_owned(),
            key: key.to_owned(),
        };
        let grant = self.service.authorize(&credential);
        let granted = grant.and_then(|grant| self.grant(grant));
        granted.map_err(|error| error.to_string())
    }
}

async fn protocol_header(read: &mut ReadHalf, buffer: &mut BytesMut) -> io::Result<[u8; 8]> {
    while buffer.len() < AMQP.len() {
        fill(read, buffer).await?;
    }
    let mut header = [0; 8];
    buffer.copy_to_slice(&mut header);
    Ok(header)
}

async fn fill(read: &mut ReadHalf, buffer: &mut BytesMut) -> io::Result<()> {
    if read.read_buf(buffer).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    acknowledge_now(read);
    Ok(())
}

async fn send<T: serde::Serialize>(write: &mut WriteHalf, body: &T) -> io::Result<()> {
    let mut frame = Encoder::default();
    frame.sasl(body);
    for chunk in frame.take() {
        write.write_all(&chunk).await?;
    }
    write.flush().await
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
