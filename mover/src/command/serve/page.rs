//! A directory as a page: plain, without scripts and without anything from elsewhere.
//!
//! Invariants: whatever comes from a snapshot is escaped, in text and in links alike; names that
//! are not text are shown as well as they can be and lead to the right bytes.

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use windlass_engine::browse::{Attributes, Item, Shape};

use crate::{output::quote::quoted, units};

/// What needs no encoding in a part of a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
<meta name=\"color-scheme\" content=\"light dark\"><title>";

const STYLE: &str = "</title><style>\
:root{color-scheme:light dark;--line:#8883;--soft:#777}\
body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}\
nav{font-size:1.1rem;overflow-wrap:anywhere;padding-bottom:.5rem}\
a{text-decoration:none}a:hover{text-decoration:underline}\
table{width:100%;border-collapse:collapse}\
td{padding:.35rem .25rem;border-top:1px solid var(--line);vertical-align:top}\
td:first-child{overflow-wrap:anywhere}\
td+td{color:var(--soft);white-space:nowrap;text-align:right;\
font-variant-numeric:tabular-nums;padding-left:1rem}\
p,small{color:var(--soft)}\
@media(max-width:34rem){td:last-child{display:none}}\
</style></head><body><nav>";

/// The beginning: where one is.
pub(super) fn begin(names: &[Vec<u8>], is_stored: bool) -> String {
    let mut page = HEAD.to_owned();
    let title = names.last().map_or_else(|| "Snapshots".into(), |name| shown(name));
    page.push_str(&title);
    page.push_str(STYLE);
    page.push_str("<a href=\"/\">Snapshots</a>");
    let mut path = String::from("/");
    for name in names {
        path.push_str(&encoded(name));
        path.push('/');
        push(&mut page, format_args!(" / <a href=\"{path}\">{}</a>", shown(name)));
    }
    page.push_str("</nav>");
    if is_stored {
        page.push_str("<p>All of it as <a href=\"?zip\">zip</a> or <a href=\"?tar\">tar</a></p>");
    }
    page.push_str("<table>");
    page
}

/// A line of the list.
pub(super) fn row(page: &mut String, item: &Item, target: Option<&[u8]>) {
    let Attributes { shape, size_bytes, mtime, .. } = &item.attributes;
    let (href, name) = (encoded(&item.name), shown(&item.name));
    page.push_str("<tr><td>");
    match (shape, target) {
        (Shape::Directory, _) => push(page, format_args!("<a href=\"{href}/\">{name}/</a>")),
        (Shape::File, _) => push(page, format_args!("<a href=\"{href}\">{name}</a>")),
        // Above the snapshots links are followed, in snapshots they are shown.
        (Shape::Symlink, Some(target)) if !item.node.is_stored() => push(
            page,
            format_args!("<a href=\"{href}/\">{name}/</a> <small>→ {}</small>", shown(target)),
        ),
        (Shape::Symlink, Some(target)) => {
            push(page, format_args!("{name} <small>→ {}</small>", shown(target)));
        }
        (shape, _) => push(page, format_args!("{name} <small>{}</small>", word(*shape))),
    }
    page.push_str("</td><td>");
    if *shape == Shape::File {
        page.push_str(&units::rough_bytes(*size_bytes));
    }
    push(page, format_args!("</td><td>{}</td></tr>\n", units::local_time(mtime)));
}

/// The end.
pub(super) fn end(is_empty: bool) -> String {
    let empty = if is_empty { "<p>There is nothing here.</p>" } else { "" };
    format!("</table>{empty}</body></html>\n")
}

/// A part of a path in a link.
pub(super) fn encoded(name: &[u8]) -> String {
    percent_encode(name, PLAIN).to_string()
}

/// What something is that can be neither opened nor followed.
pub(super) fn word(shape: Shape) -> &'static str {
    match shape {
        Shape::File => "file",
        Shape::Directory => "directory",
        Shape::Symlink => "symbolic link",
        Shape::BlockDevice => "block device",
        Shape::CharDevice => "character device",
        Shape::Fifo => "named pipe",
        Shape::Socket => "socket",
    }
}

/// Text that is markup nowhere, in HTML and in XML.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML has no way to write these.
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => {
                out.push(char::REPLACEMENT_CHARACTER);
            }
            char => out.push(char),
        }
    }
    out
}

fn shown(name: &[u8]) -> String {
    escaped(&quoted(name))
}

fn push(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a text cannot fail.
    let _written = page.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_a_snapshot_is_markup() {
        let names = [b"<script>\"'&".to_vec(), b"\xff\n\x1b[31m".to_vec(), "ü\u{202e}".into()];
        let page = begin(&names, true);
        assert!(!page.contains("<script") && !page.contains('\x1b') && !page.contains('\u{202e}'));
        assert!(page.contains("&lt;script&gt;&quot;&#39;&amp;"), "{page}");
        assert!(page.contains("href=\"/%3Cscript%3E%22%27%26/%FF%0A%1B%5B31m/%C3%BC%E2%80%AE/\""));
        assert_eq!(encoded(b"a b+c%/~.-_"), "a%20b%2Bc%25%2F~.-_");
        assert_eq!(escaped("a\u{0}b\u{85}c"), "a\u{fffd}b\u{fffd}c");
    }
}
