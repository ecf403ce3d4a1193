//! What WebDAV calls the properties of a resource: which a request asks for, and the answer.
//!
//! Invariants
//! - A property that was asked for and is not there is named as missing, as RFC 4918 has it.
//! - The text of a request is bounded, and so is what is made of it; entities are never expanded.
//! - Only directories and files are resources: a client of WebDAV has no word for anything else.

use quick_xml::{NsReader, events::Event, name::ResolveResult};
use windlass_engine::browse::{Attributes, Shape};

use super::{media, moment, page::escaped};

/// Properties that one request may name.
const MOST_NAMES: usize = 64;
/// The namespace of WebDAV's own.
const DAV: &str = "DAV:";

/// Those of a directory; a file has two more.
const KNOWN: [&str; 7] = [
    "resourcetype",
    "displayname",
    "getlastmodified",
    "creationdate",
    "getetag",
    "getcontentlength",
    "getcontenttype",
];

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Everything that is known.
    All,
    /// The names of what is known.
    Names,
    /// These, by namespace and name.
    These(Vec<(String, String)>),
}

/// A file or directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resource<'a> {
    /// Its path, encoded, with a slash at the end if it is a directory.
    pub(super) href: &'a str,
    pub(super) name: &'a [u8],
    pub(super) attributes: &'a Attributes,
    pub(super) is_directory: bool,
    pub(super) tag: Option<&'a str>,
}

impl Wanted {
    /// Reads the body of a request; `None` if that is not what it should be.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        if body.trim_ascii().is_empty() {
            return Some(Self::All);
        }
        let mut reader = NsReader::from_reader(body);
        let mut path: Vec<String> = Vec::new();
        let mut wanted = None;
        loop {
            let (namespace, event) = reader.read_resolved_event().ok()?;
            let (start, is_empty) = match event {
                Event::Start(start) => (start, false),
                Event::Empty(start) => (start, true),
                Event::End(_) => {
                    path.pop();
                    continue;
                }
                Event::Eof => return wanted.filter(|_| path.is_empty()),
                _ => continue,
            };
            let namespace = match namespace {
                ResolveResult::Bound(namespace) => namespace.0.to_owned(),
                ResolveResult::Unbound => String::new(),
                ResolveResult::Unknown(_) => return None,
            };
            let name = start.local_name().into_inner().to_owned();
            if !name.chars().all(is_of_a_name) {
                return None;
            }
            let above: Vec<&str> = path.iter().map(String::as_str).collect();
            match (above.as_slice(), name.as_str()) {
                ([], "propfind") if namespace == DAV => {}
                ([], _) => return None,
                (["propfind"], "allprop") => wanted = Some(Self::All),
                (["propfind"], "propname") => wanted = Some(Self::Names),
                (["propfind"], "prop") => wanted = Some(Self::These(Vec::new())),
                (["propfind", "prop"], _) => {
                    if let Some(Self::These(names)) = &mut wanted {
                        if names.len() == MOST_NAMES {
                            return None;
                        }
                        names.push((namespace, name.clone()));
                    }
                }
                _ => {}
            }
            if !is_empty {
                if path.len() > 8 {
                    return None;
                }
                path.push(name);
            }
        }
    }
}

/// Names are given back as they came, so nothing else may be in them.
fn is_of_a_name(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '-' | '_' | '.')
}

/// The beginning of an answer.
pub(super) const BEGIN: &str =
    "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:multistatus xmlns:D=\"DAV:\">\n";
/// Its end.
pub(super) const END: &str = "</D:multistatus>\n";
/// What is said to whoever wants everything below at once.
pub(super) const NOT_ALL_AT_ONCE: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
    <D:error xmlns:D=\"DAV:\"><D:propfind-finite-depth/></D:error>\n";

/// What is known of one resource.
pub(super) fn push(out: &mut String, wanted: &Wanted, resource: &Resource<'_>) {
    let mut found = String::new();
    let mut missing = String::new();
    match wanted {
        Wanted::All => {
            let values = KNOWN.iter().filter_map(|name| Some((*name, value(name, resource)?)));
            values.for_each(|(name, value)| element(&mut found, name, &value));
        }
        Wanted::Names => {
            let names = KNOWN.iter().filter(|name| value(name, resource).is_some());
            names.for_each(|name| element(&mut found, name, ""));
        }
        Wanted::These(names) => {
            for (namespace, name) in names {
                match value(name, resource).filter(|_| namespace == DAV) {
                    Some(value) => element(&mut found, name, &value),
                    None if namespace == DAV => element(&mut missing, name, ""),
                    None => {
                        missing.push_str(&format!("<x:{name} xmlns:x=\"{}\"/>", escaped(namespace)))
                    }
                }
            }
        }
    }
    out.push_str(&format!("<D:response><D:href>{}</D:href>", resource.href));
    for (properties, status) in [(found, "200 OK"), (missing, "404 Not Found")] {
        if !properties.is_empty() {
            out.push_str(&format!(
                "<D:propstat><D:prop>{properties}</D:prop>\
                 <D:status>HTTP/1.1 {status}</D:status></D:propstat>"
            ));
        }
    }
    out.push_str("</D:response>\n");
}

fn element(out: &mut String, name: &str, value: &str) {
    match value {
        "" => out.push_str(&format!("<D:{name}/>")),
        value => out.push_str(&format!("<D:{name}>{value}</D:{name}>")),
    }
}

/// The value of a property, as it stands in the answer.
fn value(name: &str, resource: &Resource<'_>) -> Option<String> {
    let Resource { attributes, is_directory, .. } = resource;
    let of_file = |value: String| (!is_directory).then_some(value);
    match name {
        "resourcetype" if *is_directory => Some("<D:collection/>".into()),
        "resourcetype" => Some(String::new()),
        "displayname" => Some(escaped(&String::from_utf8_lossy(resource.name))),
        "getlastmodified" => moment::http(&attributes.mtime),
        "creationdate" => moment::iso(&attributes.mtime),
        "getetag" => resource.tag.map(escaped),
        "getcontentlength" => of_file(attributes.size_bytes.to_string()),
        "getcontenttype" => of_file(media::of(resource.name).name.into()),
        _ => None,
    }
}

/// What something is a resource as: a directory or not, or not at all.
pub(super) fn is_directory(shape: Shape, is_stored: bool) -> Option<bool> {
    match shape {
        Shape::File => Some(false),
        Shape::Directory => Some(true),
        // Links above the snapshots are followed.
        Shape::Symlink if !is_stored => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn these(names: &[(&str, &str)]) -> Option<Wanted> {
        let owned = |(namespace, name): &(&str, &str)| ((*namespace).into(), (*name).into());
        Some(Wanted::These(names.iter().map(owned).collect()))
    }

    #[test]
    fn what_is_asked_for_is_read() {
        for (body, expected) in [
            ("", Some(Wanted::All)),
            ("<propfind xmlns='DAV:'><allprop/></propfind>", Some(Wanted::All)),
            ("<D:propfind xmlns:D='DAV:'><D:propname/></D:propfind>", Some(Wanted::Names)),
            (
                "<?xml version='1.0'?><d:propfind xmlns:d='DAV:' xmlns:o='urn:o'><d:prop>\
                 <d:getetag/><o:size></o:size></d:prop></d:propfind>",
                these(&[("DAV:", "getetag"), ("urn:o", "size")]),
            ),
            ("<propfind xmlns='DAV:'/>", None),
            ("<propfind/>", None),
            ("<html xmlns='DAV:'><allprop/></html>", None),
            ("<propfind xmlns='DAV:'><allprop/>", None),
            ("<x:propfind><allprop/></x:propfind>", None),
            ("nonsense", None),
            ("<propfind xmlns='DAV:'><prop><a&b\"/></prop></propfind>", None),
        ] {
            assert_eq!(Wanted::read(body.as_bytes()), expected, "{body}");
        }
        let many = "<a/>".repeat(MOST_NAMES + 1);
        let many = format!("<propfind xmlns='DAV:'><prop>{many}</prop></propfind>");
        assert_eq!(Wanted::read(many.as_bytes()), None);
        let deep = "<a>".repeat(1000);
        let deep = format!("<propfind xmlns='DAV:'><prop>{deep}");
        assert_eq!(Wanted::read(deep.as_bytes()), None);
    }
}
