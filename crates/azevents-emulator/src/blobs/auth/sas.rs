//! Shared access signatures in the query ("Create an account SAS", "Create a service SAS").

use time::{Date, OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

use super::Keys;
use crate::blobs::{
    call::Call,
    error::{self, Result},
    service::Action,
};

/// The version that the SAS made here is of.
const VERSION: &str = "2021-12-02";
/// From here on what is signed has an encryption scope.
const WITH_ENCRYPTION_SCOPE: &str = "2020-12-06";
/// From here on what is signed has a resource and a snapshot, and scopes were still missing.
const WITH_RESOURCE: &str = "2018-11-09";

pub(super) fn check(keys: &Keys, call: &Call, action: Action, now: OffsetDateTime) -> Result<()> {
    let field = |name: &str| call.query(name).unwrap_or_default();
    if call.query("skoid").is_some() {
        return Err(error::not_implemented(
            "user delegation SAS; use a SAS signed with the account's key",
        ));
    }
    if call.query("si").is_some() {
        return Err(error::not_implemented("stored access policies"));
    }
    let version = field("sv");
    if version < WITH_RESOURCE {
        return Err(error::forbidden(format!(
            "The SAS version '{version}' is older than {WITH_RESOURCE}."
        )));
    }
    let is_account_sas = call.query("ss").is_some();
    let text = if is_account_sas {
        account_text(keys, call)
    } else {
        service_text(keys, call)?
    };
    if !keys.check_signature(&text, field("sig")) {
        return Err(error::forbidden(format!(
            "Signature did not match. String to sign used was {}",
            text.replace('\n', "\\n")
        )));
    }
    if let Some(start) = call.query("st").filter(|start| !start.is_empty())
        && parse_time("st", start)? > now
    {
        return Err(error::forbidden(format!("Signature not valid before {start}.")));
    }
    if parse_time("se", field("se"))? <= now {
        return Err(error::forbidden(format!("Signature expired at {}.", field("se"))));
    }
    if is_account_sas {
        check_account_scope(call, action)?;
    }
    check_permission(field("sp"), action)
}

fn account_text(keys: &Keys, call: &Call) -> String {
    let field = |name: &str| call.query(name).unwrap_or_default();
    let fields = ["sp", "ss", "srt", "st", "se", "sip", "spr", "sv"].map(field);
    let mut text = format!("{}\n{}\n", keys.account(), fields.join("\n"));
    if field("sv") >= WITH_ENCRYPTION_SCOPE {
        text.push_str(field("ses"));
        text.push('\n');
    }
    text
}

fn service_text(keys: &Keys, call: &Call) -> Result<String> {
    let field = |name: &str| call.query(name).unwrap_or_default();
    let container = call.container()?;
    let resource = match field("sr") {
        "c" => format!("/blob/{}/{container}", keys.account()),
        "b" => format!("/blob/{}/{container}/{}", keys.account(), call.blob()?),
        other => {
            return Err(error::forbidden(format!(
                "The SAS is for the resource '{other}', not b or c."
            )));
        }
    };
    let mut fields = vec![field("sp"), field("st"), field("se"), &resource, field("si")];
    fields.extend(["sip", "spr", "sv", "sr"].map(field));
    fields.push(""); // the snapshot
    if field("sv") >= WITH_ENCRYPTION_SCOPE {
        fields.push(field("ses"));
    }
    fields.extend(["rscc", "rscd", "rsce", "rscl", "rsct"].map(field));
    Ok(fields.join("\n"))
}

fn check_account_scope(call: &Call, action: Action) -> Result<()> {
    let field = |name: &str| call.query(name).unwrap_or_default();
    let needed = match (&call.container, &call.blob) {
        (None, _) => 's',
        // A listing of blobs is about the container.
        (Some(_), None) => 'c',
        (Some(_), Some(_)) => 'o',
    };
    if field("ss").contains('b') && field("srt").contains(needed) {
        return Ok(());
    }
    Err(error::no_permission(format!(
        "{action:?} needs a SAS for the service b (it has '{}') and the resource type {needed} (it has '{}').",
        field("ss"),
        field("srt")
    )))
}

fn check_permission(given: &str, action: Action) -> Result<()> {
    // Creating what is not there yet would need `c` alone; to tell the two apart is the service's
    // business, here either opens both.
    let any_of = match action {
        Action::Read => "r",
        Action::List => "l",
        Action::Write => "wc",
        Action::Delete => "d",
    };
    if given.chars().any(|permission| any_of.contains(permission)) {
        return Ok(());
    }
    Err(error::no_permission(format!(
        "{action:?} needs one of the permissions '{any_of}'; the SAS has '{given}'."
    )))
}

/// An account SAS for all services, resources and permissions there are here.
pub(super) fn for_account(keys: &Keys, expires: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let expires = expires.format(format).unwrap_or_default();
    let (permissions, services, types, protocol) = ("rwdlc", "b", "sco", "https,http");
    let text = format!(
        "{}\n{permissions}\n{services}\n{types}\n\n{expires}\n\n{protocol}\n{VERSION}\n\n",
        keys.account()
    );
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!(
        "sv={VERSION}&ss={services}&srt={types}&sp={permissions}&se={}&spr={}&sig={}",
        encode(&expires),
        encode(protocol),
        encode(&keys.sign(&text))
    )
}

/// Seconds, minutes or the day alone, in UTC (ISO 8601, as the docs list the forms).
fn parse_time(name: &str, text: &str) -> Result<OffsetDateTime> {
    let minutes = || {
        let text = text.strip_suffix('Z')?;
        OffsetDateTime::parse(&format!("{text}:00Z"), &Rfc3339).ok()
    };
    let day = || {
        let day = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
        Some(day.midnight().assume_utc())
    };
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .or_else(minutes)
        .or_else(day)
        .ok_or_else(|| error::forbidden(format!("'{name}' of the SAS, '{text}', is not a time in UTC.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_forms_the_docs_list() {
        for text in ["2026-11-21T00:00:00Z", "2026-11-21T00:00Z", "2026-11-21"] {
            assert_eq!(
                parse_time("se", text).unwrap().unix_timestamp(),
                1_795_219_200,
                "{text}"
            );
        }
        assert!(parse_time("se", "tomorrow").is_err());
    }
}
