//! Bytes on their way to Google Drive.
//!
//! Invariants: a file appears with all of its bytes or not at all; what the service says that it got
//! is compared with what was sent.

use bytes::{BufMut, Bytes, BytesMut};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, LOCATION},
};
use md5::{Digest, Md5};
use serde_json::{Value, json};
use windlass_format::id::to_hex;

use super::wire::{Ask, Call, FIELDS, File, Wire, read};
use crate::{
    entropy::name_suffix,
    store::{Failure, StoreError},
};

/// Where they go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal<'a> {
    /// A new file of this name in this folder.
    New { name: &'a str, folder: &'a str },
    /// The file of this id, whose content they replace.
    Known(&'a str),
}

/// What goes along with its description; the service takes more only in a conversation of its own.
const SMALL_BYTES: usize = 5 << 20;
const KIND: &str = "application/octet-stream";

/// One attempt to store `bytes`.
pub(super) async fn upload(
    wire: &Wire,
    call: Call<'_>,
    goal: Goal<'_>,
    bytes: &Bytes,
) -> Result<File, StoreError> {
    let (id, description) = match goal {
        Goal::New { name, folder } => {
            ("", json!({ "name": name, "mimeType": KIND, "parents": [folder] }))
        }
        Goal::Known(id) => (id, json!({ "mimeType": KIND })),
    };
    let body = match bytes.len() <= SMALL_BYTES {
        true => small(wire, call, id, &description, bytes).await?,
        false => large(wire, call, id, &description, bytes).await?,
    };
    let file: File = read(call, &body)?;
    if holds(&file, bytes) {
        return Ok(file);
    }
    if matches!(goal, Goal::New { .. }) {
        // What came out wrong must not stay under the name; where it cannot be removed, it is found
        // to be another thing by whoever reads it.
        let _or_it_stays = wire.ask(call, Ask::delete(wire.files(&file.id, &[]))).await;
    }
    let why = "the service did not get the object as it was sent";
    Err(StoreError::new(Failure::Transient, call.action, call.object, why))
}

/// Whether a file has this content, by all that the service says of it.
pub(super) fn holds(file: &File, bytes: &Bytes) -> bool {
    let size = file.size.as_deref().and_then(|size| size.parse().ok());
    let digest = to_hex(&<[u8; 16]>::from(Md5::digest(bytes)));
    size == Some(bytes.len() as u64) && file.md5_checksum.as_deref() == Some(digest.as_str())
}

/// Of a new file, or of what replaces the content of `id`.
fn begin(wire: &Wire, id: &str, kind: &str) -> Ask {
    let url = wire.uploads(id, &[("uploadType", kind), ("fields", FIELDS)]);
    if id.is_empty() { Ask::post(url) } else { Ask::patch(url) }
}

/// Description and content in one request.
async fn small(
    wire: &Wire,
    call: Call<'_>,
    id: &str,
    description: &Value,
    bytes: &Bytes,
) -> Result<Bytes, StoreError> {
    let failed = |why: String| StoreError::new(Failure::Permanent, call.action, call.object, why);
    // Nobody can put it into an object.
    let [one, two] = [name_suffix(), name_suffix()];
    let random = |half: Result<u64, _>| half.map_err(|error| failed(format!("{error}")));
    let boundary = format!("{:016x}{:016x}", random(one)?, random(two)?);
    let mut body = BytesMut::with_capacity(bytes.len() + 1024);
    let head = format!(
        "--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{description}\r\n\
         --{boundary}\r\nContent-Type: {KIND}\r\n\r\n"
    );
    body.put(head.as_bytes());
    body.put(&bytes[..]);
    body.put(format!("\r\n--{boundary}--\r\n").as_bytes());
    let kind = HeaderValue::try_from(format!("multipart/related; boundary={boundary}"));
    let kind = kind.map_err(|error| failed(error.to_string()))?;
    let ask = begin(wire, id, "multipart").with(CONTENT_TYPE, kind).sending(body.freeze());
    Ok(wire.ask(call, ask).await?.1)
}

/// The description first, which is answered with where the content goes.
async fn large(
    wire: &Wire,
    call: Call<'_>,
    id: &str,
    description: &Value,
    bytes: &Bytes,
) -> Result<Bytes, StoreError> {
    let ask = begin(wire, id, "resumable")
        .json(description)
        .with(HeaderName::from_static("x-upload-content-type"), HeaderValue::from_static(KIND))
        .with(HeaderName::from_static("x-upload-content-length"), HeaderValue::from(bytes.len()));
    let (head, _body) = wire.ask(call, ask).await?;
    let place = head.headers.get(LOCATION).and_then(|place| place.to_str().ok());
    let failed = |failure, why| StoreError::new(failure, call.action, call.object, why);
    let place = place.ok_or_else(|| {
        failed(Failure::Permanent, "the service does not say where the object goes")
    })?;
    let ask = Ask::put(place.to_owned())
        .with(CONTENT_TYPE, HeaderValue::from_static(KIND))
        .sending(bytes.clone());
    let (head, body) = wire.ask_unsigned(call, ask).await?;
    match head.status {
        StatusCode::OK | StatusCode::CREATED => Ok(body),
        _ => Err(failed(Failure::Transient, "the service did not take the whole object")),
    }
}
