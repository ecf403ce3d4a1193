//! The part of the service's queries that is used: conditions that all hold, one of them perhaps a
//! choice of folders in parentheses.

/// What files have to be like.
#[derive(Debug, Default)]
pub(super) struct Query {
    parents: Vec<String>,
    name: Option<String>,
    kind: Option<String>,
    is_trashed: Option<bool>,
}

impl Query {
    /// `None` for what is not known.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut query = Self::default();
        let mut rest = text;
        loop {
            rest = query.condition(rest.trim_start())?.trim_start();
            match rest.strip_prefix("and ") {
                Some(more) => rest = more,
                None => return rest.is_empty().then_some(query),
            }
        }
    }

    /// Takes a condition from the front of a text, and gives what is left.
    fn condition<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        if let Some(choice) = text.strip_prefix('(') {
            let mut rest = choice;
            loop {
                rest = self.condition(rest.trim_start())?.trim_start();
                match rest.strip_prefix("or ") {
                    Some(more) => rest = more,
                    None => return rest.strip_prefix(')'),
                }
            }
        }
        if let Some(rest) = text.strip_prefix("trashed = ") {
            let (value, is_so) =
                if rest.starts_with("true") { ("true", true) } else { ("false", false) };
            self.is_trashed = Some(is_so);
            return rest.strip_prefix(value);
        }
        for (field, place) in [("name = ", &mut self.name), ("mimeType = ", &mut self.kind)] {
            if let Some(rest) = text.strip_prefix(field) {
                let (value, rest) = quoted(rest)?;
                *place = Some(value);
                return Some(rest);
            }
        }
        let (parent, rest) = quoted(text)?;
        self.parents.push(parent);
        rest.strip_prefix(" in parents")
    }

    pub(super) fn parents(&self) -> impl Iterator<Item = &str> {
        self.parents.iter().map(String::as_str)
    }

    /// Names have no case here, as the service has it.
    pub(super) fn fits(&self, parent: &str, name: &str, kind: &str, is_trashed: bool) -> bool {
        self.parents().any(|wanted| wanted == parent)
            && self.name.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(name))
            && self.kind.as_deref().is_none_or(|wanted| wanted == kind)
            && self.is_trashed.is_none_or(|wanted| wanted == is_trashed)
    }
}

/// Text in quotes from the front, and what is left.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.strip_prefix('\'')?.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\'' => return Some((value, text.get(at + 2..)?)),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_known_or_refused() {
        let text = r"name = 'it\'s \\' and ('a' in parents or 'b' in parents) and trashed = false";
        let query = Query::parse(text).expect("known");
        assert!(query.fits("b", r"it's \", "any", false));
        assert!(!query.fits("c", r"it's \", "any", false));
        assert!(!query.fits("a", r"it's \", "any", true));
        assert!(!query.fits("a", "other", "any", false));
        for text in ["", "name = x", "name contains 'x'", "('a' in parents", "'a' in parents or"] {
            assert!(Query::parse(text).is_none(), "{text}");
        }
    }
}
