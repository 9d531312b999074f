//! What a client needs to reach the emulator: the line that is printed, and the file of variables.

use std::{fmt::Write, io, net::SocketAddr, path::Path};

use serde::Serialize;

/// Everything a client needs. Its JSON is the line the program prints when all ports answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Ready {
    event: &'static str,
    /// Cosmos DB; absent without the feature `cosmos`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cosmos: Option<CosmosAddress>,
    /// Service Bus.
    pub servicebus: NamespaceAddress,
    /// Event Hubs.
    pub eventhubs: NamespaceAddress,
    /// Blob Storage.
    pub blobs: BlobAddress,
    /// Service Bus' administration API. Official clients reach it over TLS only.
    pub administration: NamespaceAddress,
    /// The emulator's own HTTP endpoint.
    pub management: ManagementAddress,
    /// What is kept on disk; absent where everything is in memory alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<DataAddress>,
    /// For clients that want TLS; absent unless it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsAddress>,
}

/// How to reach the Cosmos DB account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CosmosAddress {
    /// `http://127.0.0.1:PORT/`.
    pub endpoint: String,
    /// Fixed and public; requests must be signed with it all the same.
    pub key: String,
}

/// How to reach a Service Bus or Event Hubs namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NamespaceAddress {
    /// With `UseDevelopmentEmulator=true`, which makes official clients speak plain TCP.
    pub connection_string: String,
}

/// How to reach the storage account. Its name and key are those every storage emulator has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BlobAddress {
    /// `http://127.0.0.1:PORT/devstoreaccount1`, without a slash at the end.
    pub endpoint: String,
    /// With account name, key and endpoint, as official clients take it.
    pub connection_string: String,
    /// A shared access signature for everything, valid for a year, for clients that take no key:
    /// the query of a URL, without the question mark.
    pub sas: String,
}

/// Where state is kept, and whose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DataAddress {
    /// The folder.
    pub path: std::path::PathBuf,
    /// The services whose state is in it, by their names in the ready line. Others begin empty.
    pub kept: &'static [&'static str],
}

/// How to reach the management endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ManagementAddress {
    /// `http://127.0.0.1:PORT/`.
    pub endpoint: String,
}

/// What clients that want TLS need. They use the same ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TlsAddress {
    /// The certificate to trust, as PEM.
    pub ca_pem: String,
}

impl Ready {
    #[expect(clippy::too_many_arguments, reason = "one for each field")]
    pub(crate) fn new(
        cosmos: Option<CosmosAddress>,
        servicebus: NamespaceAddress,
        eventhubs: NamespaceAddress,
        blobs: BlobAddress,
        administration: NamespaceAddress,
        management: ManagementAddress,
        tls: Option<TlsAddress>,
        data: Option<DataAddress>,
    ) -> Self {
        Self {
            event: "ready",
            cosmos,
            servicebus,
            eventhubs,
            blobs,
            administration,
            management,
            data,
            tls,
        }
    }

    /// One line of JSON, without the line feed.
    ///
    /// `{"event":"ready","cosmos":{"endpoint","key"},"servicebus":{"connection_string"},
    /// "eventhubs":{"connection_string"},"blobs":{"endpoint","connection_string","sas"},
    /// "administration":{"connection_string"},"management":{"endpoint"},"data":{"path","kept"},"tls":{"ca_pem"}}`
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings serialise")
    }

    /// The same as `NAME=value` lines, which a shell (`set -a; . FILE`) and the usual dotenv
    /// readers take alike.
    pub fn to_env(&self) -> String {
        let mut env = String::new();
        let mut line = |name: &str, value: &str| {
            // Double quotes, because a semicolon ends a command in a shell. No value has a
            // character that means something inside them.
            writeln!(env, "{name}=\"{value}\"").expect("a string takes what is written to it");
        };
        if let Some(cosmos) = &self.cosmos {
            line("COSMOS_ENDPOINT", &cosmos.endpoint);
            line("COSMOS_KEY", &cosmos.key);
        }
        line("SERVICEBUS_CONNECTION_STRING", &self.servicebus.connection_string);
        line("EVENTHUBS_CONNECTION_STRING", &self.eventhubs.connection_string);
        line("BLOBS_CONNECTION_STRING", &self.blobs.connection_string);
        line("BLOBS_ENDPOINT", &self.blobs.endpoint);
        line("BLOBS_SAS", &self.blobs.sas);
        line(
            "SERVICEBUS_ADMINISTRATION_CONNECTION_STRING",
            &self.administration.connection_string,
        );
        line("AZEVENTS_EMULATOR_MANAGEMENT", &self.management.endpoint);
        env
    }

    /// Writes [`to_env`](Self::to_env) to a file that is either absent, old or complete, never
    /// half written: a script may wait for it to appear.
    pub fn write_env_file(&self, path: &Path) -> io::Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let unfinished = path.with_file_name(name);
        std::fs::write(&unfinished, self.to_env())?;
        std::fs::rename(&unfinished, path).inspect_err(|_| {
            // What is reported is why the rename failed; the leftover is a nuisance at most.
            let _ = std::fs::remove_file(&unfinished);
        })
    }
}

impl NamespaceAddress {
    pub(crate) fn new(address: SocketAddr, key_name: &str, key: &str) -> Self {
        Self {
            connection_string: format!(
                "Endpoint=sb://{address};SharedAccessKeyName={key_name};\
                 SharedAccessKey={key};UseDevelopmentEmulator=true;"
            ),
        }
    }
}

impl BlobAddress {
    pub(crate) fn new(address: SocketAddr, account: &str, key: &str, sas: &str) -> Self {
        let endpoint = format!("http://{address}/{account}");
        Self {
            connection_string: format!(
                "DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};BlobEndpoint={endpoint};"
            ),
            endpoint,
            sas: sas.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> Ready {
        Ready::new(
            Some(CosmosAddress {
                endpoint: "http://127.0.0.1:1/".into(),
                key: "k==".into(),
            }),
            NamespaceAddress::new(([127, 0, 0, 1], 2).into(), "Root", "s="),
            NamespaceAddress::new(([127, 0, 0, 1], 3).into(), "Root", "s="),
            BlobAddress::new(([127, 0, 0, 1], 5).into(), "dev", "k=", "sv=1&sig=2"),
            NamespaceAddress::new(([127, 0, 0, 1], 6).into(), "Root", "s="),
            ManagementAddress {
                endpoint: "http://127.0.0.1:4/".into(),
            },
            None,
            None,
        )
    }

    #[test]
    fn the_ready_line_has_exactly_these_keys_in_this_order() {
        let line = |port: u16| {
            format!(
                "Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=Root;SharedAccessKey=s=;\
                 UseDevelopmentEmulator=true;"
            )
        };
        assert_eq!(
            ready().to_json(),
            format!(
                "{{\"event\":\"ready\",\"cosmos\":{{\"endpoint\":\"http://127.0.0.1:1/\",\
                 \"key\":\"k==\"}},\"servicebus\":{{\"connection_string\":\"{}\"}},\
                 \"eventhubs\":{{\"connection_string\":\"{}\"}},\
                 \"blobs\":{{\"endpoint\":\"http://127.0.0.1:5/dev\",\"connection_string\":\
                 \"DefaultEndpointsProtocol=http;AccountName=dev;AccountKey=k=;\
                 BlobEndpoint=http://127.0.0.1:5/dev;\",\"sas\":\"sv=1&sig=2\"}},\
                 \"administration\":{{\"connection_string\":\"{}\"}},\
                 \"management\":{{\"endpoint\":\"http://127.0.0.1:4/\"}}}}",
                line(2),
                line(3),
                line(6)
            )
        );
    }

    #[test]
    fn the_variables_are_quoted_for_shells_and_dotenv_readers() {
        let env = ready().to_env();
        assert!(env.starts_with("COSMOS_ENDPOINT=\"http://127.0.0.1:1/\"\nCOSMOS_KEY=\"k==\"\n"));
        assert!(env.contains("\nSERVICEBUS_CONNECTION_STRING=\"Endpoint=sb://127.0.0.1:2;"));
        assert!(env.ends_with("AZEVENTS_EMULATOR_MANAGEMENT=\"http://127.0.0.1:4/\"\n"));
        assert!(!env.contains(['$', '`', '\\', '\'']));
    }
}
