//! The parts of a connection string that matter here: where an emulator listens, and whether it is one.

use azevents_core::{Error, ErrorKind, Result};

const OPERATION: &str = "read connection string";
/// AMQP without TLS (IANA); what an emulator listens on unless its string says otherwise.
const PLAIN_PORT: u16 = 5672;

/// An emulator's address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EmulatorAddress {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Reads an emulator's connection string:
/// `Endpoint=sb://127.0.0.1:PORT;SharedAccessKeyName=N;SharedAccessKey=K;UseDevelopmentEmulator=true;`.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a namespace in Azure: the SDK presents every token as a JWT (`put-token`
/// with type `jwt`), so the service would refuse one signed with a shared access key.
/// [`ErrorKind::InvalidInput`] for what cannot be read. Neither repeats the key.
pub(crate) fn parse(text: &str) -> Result<EmulatorAddress> {
    let invalid = |what: &str| Error::new(ErrorKind::InvalidInput, OPERATION, "event hubs").with_message(what);
    let mut endpoint = None;
    let mut emulator = false;
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        // Keys end in `=`: only the first one separates.
        let (name, value) = part
            .split_once('=')
            .ok_or_else(|| invalid("expected `Name=Value` parts joined by `;`"))?;
        match name.trim().to_ascii_lowercase().as_str() {
            "endpoint" => endpoint = Some(value.trim()),
            "usedevelopmentemulator" => emulator = value.trim().eq_ignore_ascii_case("true"),
            _ => {}
        }
    }
    let endpoint = endpoint.ok_or_else(|| invalid("there is no Endpoint"))?;
    if !emulator {
        return Err(Error::new(ErrorKind::Unsupported, OPERATION, endpoint).with_message(
            "shared access keys work with an emulator only, for the Event Hubs SDK takes token credentials; \
             use EventHubs::new with the namespace's host name and a credential",
        ));
    }
    let address = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest)
        .trim_end_matches('/');
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) => (
            host,
            port.parse()
                .map_err(|_| invalid("the Endpoint's port is not a number"))?,
        ),
        None => (address, PLAIN_PORT),
    };
    if host.is_empty() {
        return Err(invalid("the Endpoint has no host"));
    }
    Ok(EmulatorAddress {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_is_reached_at_its_port() {
        let address = parse(
            "Endpoint=sb://127.0.0.1:40123/;SharedAccessKeyName=R;SharedAccessKey=a+b/c==;UseDevelopmentEmulator=true;",
        );
        assert_eq!(
            address.unwrap(),
            EmulatorAddress {
                host: "127.0.0.1".into(),
                port: 40123
            }
        );
        let address = parse("endpoint=sb://localhost;usedevelopmentemulator=true");
        assert_eq!(
            address.unwrap(),
            EmulatorAddress {
                host: "localhost".into(),
                port: 5672
            }
        );
    }

    #[test]
    fn a_shared_access_key_for_azure_is_refused_without_repeating_it() {
        let error = parse("Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=topsecret")
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("credential"), "{error}");
        assert!(!format!("{error} {error:?}").contains("topsecret"));
    }

    #[test]
    fn errors_say_what_is_missing() {
        for (text, part) in [
            ("SharedAccessKeyName=n;UseDevelopmentEmulator=true", "no Endpoint"),
            ("Endpoint=sb://;UseDevelopmentEmulator=true", "no host"),
            ("Endpoint=sb://h:x;UseDevelopmentEmulator=true", "port"),
            ("nonsense", "Name=Value"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
