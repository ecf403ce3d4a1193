//! Lists of objects: one for each type, in the newer form with sizes or the older without.
//!
//! Invariants: an object that vanishes while it is asked for its size is left out.

use std::{borrow::Cow, sync::atomic::Ordering, time::SystemTime};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use http::{
    Method, StatusCode,
    header::{CONTENT_TYPE, SERVER},
};
use serde::Deserialize;

use super::{
    super::{
        Failure, StoreError,
        http::is_page,
        remote::{Page, Row, could_hold},
    },
    Call, Server, VERSION_2,
    answer::refusal,
};

/// Types of objects, and the one object that has none.
const TYPES: [&str; 5] = ["keys", "locks", "snapshots", "index", "data"];
const TOP_OBJECT: &str = "config";
/// More than the names of any repository take.
const MAX_LIST_BYTES: usize = 1 << 30;
/// Sizes that are asked for at once.
const SIZES_AT_ONCE: usize = 8;

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    size: u64,
}

/// The objects of one type; `next` is the type.
pub(super) async fn page(
    server: &Server,
    prefix: &str,
    next: Option<String>,
) -> Result<Page, StoreError> {
    let mut types = TYPES.into_iter().filter(|kind| could_hold(kind, prefix));
    let Some(next) = next else {
        let mut page = Page { rows: Vec::new(), next: types.next().map(str::to_owned) };
        if TOP_OBJECT.starts_with(prefix) {
            page.rows.extend(one(server, TOP_OBJECT.to_owned()).await?);
        }
        return Ok(page);
    };
    types.by_ref().find(|kind| *kind == next);
    Ok(Page { rows: of_type(server, &next).await?, next: types.next().map(str::to_owned) })
}

/// The row of an object that may be there.
async fn one(server: &Server, name: String) -> Result<Option<Row>, StoreError> {
    match server.size("list", &name).await {
        Ok(stored_bytes) => Ok(Some(row(name, stored_bytes))),
        Err(error) if error.failure == Failure::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn of_type(server: &Server, kind: &str) -> Result<Vec<Row>, StoreError> {
    let call = Call { action: "list", object: kind };
    let url = server.object(call, &format!("{kind}/"))?;
    let request = server.request(call, Method::GET, &url, &[], Bytes::new())?;
    let answer = server.ask(call, request, MAX_LIST_BYTES).await?;
    let refused = || refusal(call, &Method::GET, &answer, server.login.is_some());
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    match answer.status() {
        StatusCode::OK if !is_page(answer.headers()) => {}
        StatusCode::NOT_FOUND if header(SERVER).is_some_and(|name| name.starts_with("rclone/")) => {
            // It lists what is not there as empty, and says this when it has failed.
            let why = "rclone could not list the directory";
            return Err(StoreError::new(Failure::Transient, "list", kind, why));
        }
        StatusCode::NOT_FOUND if !is_page(answer.headers()) => {
            return if is_there(server).await? { Ok(Vec::new()) } else { Err(absent(server)) };
        }
        _ => return Err(refused()),
    }
    let damaged = |error| {
        let why = format!("the list is not what the protocol says: {error}");
        StoreError::new(Failure::Permanent, "list", kind, why)
    };
    let has_sizes = header(CONTENT_TYPE).is_some_and(|kind| kind.trim().starts_with(VERSION_2));
    if has_sizes {
        let items: Vec<Item<'_>> = serde_json::from_slice(answer.body()).map_err(damaged)?;
        let rows = items.into_iter().map(|item| row(name_of(kind, &item.name), item.size));
        return Ok(rows.collect());
    }
    let names: Vec<Cow<'_, str>> = serde_json::from_slice(answer.body()).map_err(damaged)?;
    let mut names = names.iter().map(|name| name_of(kind, name));
    let mut asked = FuturesUnordered::new();
    let mut rows = Vec::with_capacity(names.len());
    loop {
        while asked.len() < SIZES_AT_ONCE
            && let Some(name) = names.next()
        {
            asked.push(one(server, name));
        }
        match asked.next().await {
            Some(row) => rows.extend(row?),
            None => return Ok(rows),
        }
    }
}

/// Whether there is a repository, or room for one that was asked for.
async fn is_there(server: &Server) -> Result<bool, StoreError> {
    Ok(server.created.load(Ordering::Relaxed)
        || one(server, TOP_OBJECT.to_owned()).await?.is_some())
}

fn absent(server: &Server) -> StoreError {
    let why = "the server has no repository there";
    StoreError::new(Failure::NotFound, "list", server.name.as_str(), why)
}

/// The object `name` of a type, where a directory would have it.
fn name_of(kind: &str, name: &str) -> String {
    match name.get(..2) {
        Some(shard) if kind == "data" => format!("{kind}/{shard}/{name}"),
        _ => format!("{kind}/{name}"),
    }
}

fn row(name: String, stored_bytes: u64) -> Row {
    Row { name, stored_bytes, modified: SystemTime::UNIX_EPOCH }
}
