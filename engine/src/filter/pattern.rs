//! Patterns for whole paths, and lists of them in which the last match decides.
//!
//! A pattern is cleaned like a path (`.`, `..`, repeated and trailing slashes go), then compared
//! component by component. One that starts with `/` is anchored at the root, any other matches at
//! every depth. `**` stands for any number of components. A path below a match is a match.
//!
//! Invariants
//! - Malformed patterns are refused when a list is made, all of them, so matching cannot fail.
//!   (The tool that the language comes from lets a few pass and then matches nothing.)
//! - Matching allocates nothing, except for a path of more than [`INLINE_DEPTH`] components and
//!   for one that must be lowered.
//!
//! Limits kept on purpose, because users' lists were written against them: see [`Pattern::finds`].

use super::{
    FilterError, lexical, runes,
    wildcard::{Malformed, Wildcard},
};

/// Components that fit on the stack.
const INLINE_DEPTH: usize = 48;

/// Whether upper and lower case differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Case {
    /// They do.
    #[default]
    Sensitive,
    /// Both pattern and path are lowered first.
    Insensitive,
}

/// Patterns of which the last match decides.
#[derive(Clone, Debug, Default)]
pub struct PatternList {
    patterns: Vec<Pattern>,
    case: Case,
}

/// What a list says of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// The path itself, or a directory above it, matches.
    pub here: bool,
    /// Something below the path may match.
    pub below: bool,
}

/// A pattern for whole paths.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    negated: bool,
    anchored: bool,
    /// The components, without the root; at least one.
    parts: Vec<Part>,
    /// Number of `**` in `parts`.
    gaps: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<[u8]>),
    /// One component, whatever it is.
    Any,
    Wildcard(Wildcard),
    /// `**`: any number of components.
    Gap,
}

impl PatternList {
    /// Compiles a list. Empty patterns are left out; the error names every malformed one.
    pub fn parse<P: AsRef<[u8]>>(
        patterns: impl IntoIterator<Item = P>,
        case: Case,
    ) -> Result<Self, FilterError> {
        let mut list = Self { patterns: Vec::new(), case };
        let mut malformed = Vec::new();
        for text in patterns {
            let text = text.as_ref();
            if text.is_empty() {
                continue;
            }
            match Pattern::parse(text, case) {
                Ok(pattern) => list.patterns.push(pattern),
                Err(Malformed) => malformed.push(String::from_utf8_lossy(text).into_owned()),
            }
        }
        if malformed.is_empty() { Ok(list) } else { Err(FilterError::Malformed(malformed)) }
    }

    /// Whether the list matches nothing.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether the path, or a directory above it, matches.
    pub fn matches(&self, path: &[u8]) -> bool {
        !self.is_empty()
            && self.with_components(path, |components| {
                let last = self.patterns.iter().rev().find(|pattern| pattern.finds(components));
                last.is_some_and(|pattern| !pattern.negated)
            })
    }

    /// Whether the path matches, and whether something below may.
    pub fn match_with_below(&self, path: &[u8]) -> Match {
        if self.is_empty() {
            return Match::default();
        }
        self.with_components(path, |components| {
            let mut found = Match::default();
            for pattern in &self.patterns {
                let here = pattern.finds(components);
                if pattern.negated {
                    found.here &= !here;
                    found.below &= !here;
                } else {
                    found.here |= here;
                    found.below = found.below || pattern.may_find_below(components);
                }
            }
            found
        })
    }

    /// An empty path matches nothing.
    fn with_components<T: Default>(&self, path: &[u8], use_it: impl FnOnce(&Path<'_>) -> T) -> T {
        if path.is_empty() {
            return T::default();
        }
        match self.case {
            Case::Sensitive => Path::with(path, use_it),
            Case::Insensitive => Path::with(&runes::lower(path), use_it),
        }
    }
}

/// A path in components, without the root.
struct Path<'a> {
    absolute: bool,
    components: &'a [&'a [u8]],
}

impl Path<'_> {
    fn with<T>(path: &[u8], use_it: impl FnOnce(&Path<'_>) -> T) -> T {
        let (absolute, path) = match path.strip_prefix(b"/") {
            Some(path) => (true, path),
            None => (false, path),
        };
        let mut inline = [&[][..]; INLINE_DEPTH];
        let mut pieces = path.split(|byte| *byte == b'/');
        let mut depth = 0;
        for (slot, piece) in inline.iter_mut().zip(&mut pieces) {
            *slot = piece;
            depth += 1;
        }
        match pieces.next() {
            None => use_it(&Path { absolute, components: inline.get(..depth).unwrap_or_default() }),
            Some(next) => {
                let all: Vec<&[u8]> = inline.into_iter().chain([next]).chain(pieces).collect();
                use_it(&Path { absolute, components: &all })
            }
        }
    }
}

impl Pattern {
    fn parse(text: &[u8], case: Case) -> Result<Self, Malformed> {
        let compiled = Self::compile(text)?;
        match case {
            Case::Sensitive => Ok(compiled),
            // What was refused as written stays refused, whatever lowering makes of it.
            Case::Insensitive => Self::compile(&runes::lower(text)),
        }
    }

    fn compile(text: &[u8]) -> Result<Self, Malformed> {
        let (negated, text) = match text.strip_prefix(b"!") {
            Some(text) => (true, text),
            None => (false, text),
        };
        let anchored = text.starts_with(b"/");
        let mut parts = lexical::components(text)
            .into_iter()
            .map(Part::parse)
            .collect::<Result<Vec<_>, _>>()?;
        if parts.is_empty() {
            // The root alone is everything below it; nothing at all is the current directory,
            // which no path contains.
            parts.push(if anchored { Part::Gap } else { Part::Literal(b".".as_slice().into()) });
        }
        let gaps = parts.iter().filter(|part| **part == Part::Gap).count();
        Ok(Self { negated, anchored, parts, gaps })
    }

    /// Whether the pattern describes the path or a directory above it.
    ///
    /// Of several `**` all but the last may not use up all the room: the `k`-th may end no later
    /// than if each `**` after it, but one, took one component. So `/a/**/b/**` matches `/a/x/b/c`
    /// and not `/a/x/b`. That is how the tool that this language comes from reads it.
    fn finds(&self, path: &Path<'_>) -> bool {
        let components = path.components;
        if self.anchored {
            return path.absolute && self.fits(components, self.room(components.len()));
        }
        if self.gaps == 0 {
            return match self.parts.as_slice() {
                [part] => components.iter().any(|component| part.matches(component)),
                parts => components.windows(parts.len()).any(|window| fits_run(parts, window)),
            };
        }
        // A relative path has no root that counts as a component.
        let room = self.room(components.len() + usize::from(path.absolute));
        room.is_some()
            && (0..components.len())
                .any(|start| self.fits(components.get(start..).unwrap_or_default(), room))
    }

    /// How many components the first `**` may take; `None` where not even none.
    fn room(&self, components: usize) -> Option<usize> {
        (components + 1).checked_sub(self.parts.len())
    }

    /// Whether the pattern describes a beginning of the components.
    ///
    /// Each run of parts between two gaps is put at the first place where it fits: that leaves
    /// the most room for the rest.
    fn fits(&self, mut components: &[&[u8]], room: Option<usize>) -> bool {
        let mut runs = self.parts.split(|part| *part == Part::Gap);
        let first = runs.next().unwrap_or_default();
        if !fits_run(first, components) {
            return false;
        }
        if self.gaps == 0 {
            return true;
        }
        let Some(mut room) = room else { return false };
        components = components.get(first.len()..).unwrap_or_default();
        for run in runs {
            let place = (0..=room.min(components.len())).find(|skip| {
                components.get(*skip..).is_some_and(|components| fits_run(run, components))
            });
            let Some(skipped) = place else { return false };
            components = components.get(skipped + run.len()..).unwrap_or_default();
            room = room - skipped + 1;
        }
        true
    }

    /// Whether something below the path may be described.
    fn may_find_below(&self, path: &Path<'_>) -> bool {
        if !self.anchored {
            return true;
        }
        let run = self.parts.split(|part| *part == Part::Gap).next().unwrap_or_default();
        let depth = run.len().min(path.components.len());
        path.absolute && fits_run(run.get(..depth).unwrap_or_default(), path.components)
    }
}

/// Whether the parts, among which is no gap, describe the first components.
fn fits_run(parts: &[Part], components: &[&[u8]]) -> bool {
    parts.len() <= components.len()
        && parts.iter().zip(components).all(|(part, component)| part.matches(component))
}

impl Part {
    fn parse(text: &[u8]) -> Result<Self, Malformed> {
        if text == b"**" {
            return Ok(Self::Gap);
        }
        let wildcard = Wildcard::parse(text)?;
        Ok(match wildcard.literal() {
            Some(literal) => Self::Literal(literal.into()),
            None if wildcard.matches_all() => Self::Any,
            None => Self::Wildcard(wildcard),
        })
    }

    fn matches(&self, component: &[u8]) -> bool {
        match self {
            Self::Literal(literal) => **literal == *component,
            Self::Any | Self::Gap => true,
            Self::Wildcard(wildcard) => wildcard.matches(component),
        }
    }
}

#[cfg(test)]
mod tests;
