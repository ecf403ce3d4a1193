//! Entries as zip writes them: files deflated, modification times as Unix seconds beside zip's own.

use std::io::{self, Write};

use zip::{
    CompressionMethod, DateTime, ZipWriter,
    write::{FullFileOptions, StreamWriter},
};

use super::archive::{BeginError, Item, What};
use crate::model::directory::Entry;

/// The extra field with Unix times, and its mark for "modification time only".
const UNIX_TIMES: u16 = 0x5455;
const MODIFIED: u8 = 1;
/// Files from this size on need the larger fields of zip64.
const LARGE: u64 = u32::MAX as u64;

/// An archive being written.
pub(super) struct Writer<W: Write>(ZipWriter<StreamWriter<W>>);

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W) -> Self {
        Self(ZipWriter::new_stream(out))
    }

    /// Writes the header of an entry, and all of what is no file.
    pub(super) fn begin(&mut self, item: &Item<'_>) -> Result<(), BeginError> {
        let unfit = |text: &str| BeginError::Unfit(text.to_owned());
        let path = String::from_utf8_lossy(item.path);
        // What unpacks on Windows takes these for separators too.
        if path.split(['/', '\\']).any(|name| name == "..") {
            return Err(unfit("a backslash in its name leads elsewhere"));
        }
        let options = options(item.entry).unix_permissions(item.entry.mode & 0o777);
        let begun = match item.what {
            What::Directory => self.0.add_directory(path, options),
            What::Symlink { target } => {
                self.0.add_symlink(path, String::from_utf8_lossy(target), options)
            }
            What::File { size_bytes } => {
                let options = options
                    .compression_method(CompressionMethod::Deflated)
                    .large_file(size_bytes >= LARGE);
                self.0.start_file(path, options)
            }
        };
        begun.map_err(|error| match error {
            zip::result::ZipError::Io(error) => BeginError::Write(error),
            error => unfit(&error.to_string()),
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    pub(super) fn finish(self) -> io::Result<W> {
        let stream = self.0.finish().map_err(io::Error::from)?;
        Ok(stream.into_inner())
    }
}

fn options(entry: &Entry) -> FullFileOptions<'static, 'static> {
    let mut options = FullFileOptions::default();
    if let Some(time) = dos_time(entry.mtime.seconds) {
        options = options.last_modified_time(time);
    }
    if let Ok(seconds) = i32::try_from(entry.mtime.seconds) {
        let mut field = vec![MODIFIED];
        field.extend(seconds.to_le_bytes());
        // A field of five bytes always fits.
        let _fits = options.add_extra_field(UNIX_TIMES, &field, false);
    }
    options
}

/// zip's own time has no zone; UTC is what other writers use that know the zone is not kept.
fn dos_time(seconds: i64) -> Option<DateTime> {
    let time = jiff::Timestamp::from_second(seconds).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
    let part = |number: i8| u8::try_from(number).ok();
    DateTime::from_date_and_time(
        u16::try_from(time.year()).ok()?,
        part(time.month())?,
        part(time.day())?,
        part(time.hour())?,
        part(time.minute())?,
        part(time.second())?,
    )
    .ok()
}
