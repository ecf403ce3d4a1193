//! Where a repository is or will be, before it is known which format it has.

use std::{fmt, path::PathBuf, sync::Arc};

use super::{Store, layout::Layout, local::LocalStore};

/// A location that gives a store for every layout.
#[derive(Clone)]
pub struct Place {
    with_layout: Arc<dyn Fn(Layout) -> Store + Send + Sync>,
    has_layouts: bool,
}

impl Place {
    /// A directory.
    #[must_use]
    pub fn local(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let open = move |layout| Store::new(LocalStore::new(path.clone(), layout));
        Self { with_layout: Arc::new(open), has_layouts: true }
    }

    /// A store that needs no layout, or has its own.
    #[must_use]
    pub fn store(store: Store) -> Self {
        Self { with_layout: Arc::new(move |_layout| store.clone()), has_layouts: false }
    }

    /// Its store, with objects where `layout` puts them.
    pub(crate) fn with_layout(&self, layout: Layout) -> Store {
        (self.with_layout)(layout)
    }

    /// Whether layouts make a difference here.
    pub(crate) fn has_layouts(&self) -> bool {
        self.has_layouts
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.with_layout(Layout::Plain).location())
    }
}
