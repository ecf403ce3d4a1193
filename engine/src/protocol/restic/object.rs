//! Objects outside packs, opened for looking at.

use sha2::{Digest, Sha256};
use windlass_format::{
    id::to_hex,
    restic::path::{FileKind, FileName},
};

use super::{Protocol, key_of, read_document};
use crate::{
    fault::Fault,
    protocol::object::{ObjectError, ObjectKind, RawObject, one, read},
};

/// Digits of a whole name.
const WHOLE: usize = 64;

impl Protocol {
    pub(in crate::protocol) async fn object(
        &self,
        kind: ObjectKind,
        prefix: &str,
    ) -> Result<RawObject, ObjectError> {
        let kind = match kind {
            ObjectKind::Config => {
                let bytes = read_document(&self.store, &self.codec, FileName::Config).await?;
                return Ok(RawObject { bytes, differs: None });
            }
            ObjectKind::MasterKey => {
                let bytes = self.codec.key().to_json().to_vec();
                return Ok(RawObject { bytes, differs: None });
            }
            ObjectKind::Index => FileKind::Index,
            ObjectKind::Root => FileKind::Snapshot,
            ObjectKind::Key => FileKind::Key,
            ObjectKind::Lock => FileKind::Lock,
            ObjectKind::Pack => FileKind::Data,
        };
        let name = self.name(kind, &prefix.to_ascii_lowercase()).await?;
        // Packs are shown sealed, keys are not sealed; both are shown whatever they hold.
        if matches!(kind, FileKind::Data | FileKind::Key) {
            let bytes = read(&self.store, &key_of(name)).await?;
            let hash: [u8; 32] = Sha256::digest(&bytes).into();
            let differs = (name.id() != Some(&hash)).then(|| to_hex(&hash));
            return Ok(RawObject { bytes, differs });
        }
        let bytes = read_document(&self.store, &self.codec, name).await?;
        Ok(RawObject { bytes, differs: None })
    }

    pub(in crate::protocol) async fn list_objects(
        &self,
        kind: ObjectKind,
    ) -> Result<Vec<String>, ObjectError> {
        let kind = match kind {
            ObjectKind::Index => FileKind::Index,
            ObjectKind::Root => FileKind::Snapshot,
            ObjectKind::Key => FileKind::Key,
            ObjectKind::Lock => FileKind::Lock,
            ObjectKind::Pack => FileKind::Data,
            ObjectKind::Config | ObjectKind::MasterKey => {
                return Err(ObjectError::NoSuchKind("there is only one"));
            }
        };
        let listed = self.store.listing(kind.directory()).await.map_err(Fault::from)?;
        let names = listed.iter().filter_map(|row| FileName::parse(row.key.as_str()));
        Ok(names.filter_map(|name| Some(to_hex(name.id()?))).collect())
    }

    /// The one name that begins so. A whole name is not looked for: packs are many.
    async fn name(&self, kind: FileKind, prefix: &str) -> Result<FileName, ObjectError> {
        let not_found = || ObjectError::NotFound { prefix: prefix.to_owned() };
        let directory = kind.directory();
        if prefix.len() == WHOLE {
            return FileName::parse(&format!("{directory}/{prefix}")).ok_or_else(not_found);
        }
        let key = one(&self.store, directory, prefix).await?;
        FileName::parse(key.as_str()).ok_or_else(not_found)
    }
}
