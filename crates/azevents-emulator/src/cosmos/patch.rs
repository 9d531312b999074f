//! Conditions of patches, which Microsoft's emulator passes over.
//!
//! "Partial document update in Azure Cosmos DB": a patch may carry `"condition": "from c where …"`,
//! and is refused with 412 where the item doesn't meet it. The condition is put to the emulator as
//! a query for that one item.

use azure_core::http::{Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::{
    changes::ItemKey,
    engine::{Answer, Engine},
};

/// The parameter for the item's id in the query.
const ID: &str = "@azevents_patched_id";

/// The condition of a patch, if it has one.
pub(super) fn condition(patch: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct HasCondition {
        condition: Option<String>,
    }
    let patch: HasCondition = serde_json::from_slice(patch).ok()?;
    patch.condition.filter(|condition| !condition.trim().is_empty())
}

/// Gives the answer to a patch whose condition isn't met, or can't be understood. An item that
/// isn't there meets every condition: that it isn't there is then what is wrong.
pub(super) async fn check(engine: &Engine, items: &Url, item: &ItemKey, condition: &str) -> Result<(), Answer> {
    let Some(query) = query(condition) else {
        return Err(Answer::error(
            StatusCode::BadRequest,
            "BadRequest",
            "The condition of a patch is of the form: from c where c.property = 1",
        ));
    };
    let found = find(engine, items, item, &query).await?;
    if found || !exists(engine, items, item).await? {
        return Ok(());
    }
    Err(Answer::error(
        StatusCode::PreconditionFailed,
        "PreconditionFailed",
        "The condition of the patch is not met by the item.",
    ))
}

async fn exists(engine: &Engine, items: &Url, item: &ItemKey) -> Result<bool, Answer> {
    find(engine, items, item, &format!("SELECT * FROM c WHERE c.id = {ID}")).await
}

async fn find(engine: &Engine, items: &Url, item: &ItemKey, query: &str) -> Result<bool, Answer> {
    #[derive(Deserialize)]
    struct Page {
        #[serde(rename = "_count")]
        count: usize,
    }
    let mut request = Request::new(items.clone(), Method::Post);
    request.insert_header("x-ms-documentdb-isquery", "true");
    request.insert_header("content-type", "application/query+json");
    request.insert_header("x-ms-documentdb-partitionkey", item.partition_key.to_string());
    request.set_body(json!({ "query": query, "parameters": [{ "name": ID, "value": &*item.id }] }).to_string());
    let answer = engine.execute(&request).await;
    if !answer.status.is_success() {
        return Err(answer);
    }
    Ok(serde_json::from_slice::<Page>(&answer.body).is_ok_and(|page| page.count > 0))
}

/// `from c where c.x = 1` as a query for one item alone.
fn query(condition: &str) -> Option<String> {
    let (from, rest) = word(condition)?;
    let (alias, rest) = word(rest)?;
    let (r#where, predicate) = word(rest)?;
    let predicate = predicate.trim();
    let is_name = alias.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !from.eq_ignore_ascii_case("from") || !r#where.eq_ignore_ascii_case("where") || !is_name || predicate.is_empty()
    {
        return None;
    }
    Some(format!(
        "SELECT * FROM {alias} WHERE ({predicate}) AND {alias}.id = {ID}"
    ))
}

fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    text.split_once(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_asked_of_one_item() {
        assert_eq!(
            query("FROM  item\nWHERE item.n > 1 OR item.m = 'x'").as_deref(),
            Some("SELECT * FROM item WHERE (item.n > 1 OR item.m = 'x') AND item.id = @azevents_patched_id")
        );
        for refused in [
            "",
            "where c.n = 1",
            "from c",
            "from c join d where 1",
            "from c; where 1 = 1",
        ] {
            assert_eq!(query(refused), None, "{refused}");
        }
    }
}
