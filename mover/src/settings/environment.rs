//! The variables of the process.
//!
//! Invariants: read once and here only; an empty variable is not set.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fmt,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
};

use crate::failure::Failure;

/// Beginnings of names, the strongest first. kopia has none but for its password.
pub(crate) const PREFIXES: [&str; 2] = ["WINDLASS_", "RESTIC_"];

/// Variables by name.
#[derive(Clone)]
pub(crate) struct Variables(HashMap<OsString, OsString>);

impl Variables {
    /// Those of this process.
    pub(crate) fn of_process() -> Self {
        Self(std::env::vars_os().filter(|(_name, value)| !value.is_empty()).collect())
    }

    /// Sets a variable that is not set.
    pub(crate) fn set_default(&mut self, name: &str, value: &str) {
        self.0.entry(name.into()).or_insert_with(|| value.into());
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.0.get(name.as_ref()).map(OsString::as_os_str)
    }

    /// The value of a variable, for patterns, whose bytes need not be UTF-8.
    pub(crate) fn bytes(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.get(OsStr::from_bytes(name)).map(|value| value.as_bytes().to_vec())
    }

    /// The text of `prefix` and `name`.
    pub(crate) fn of(&self, prefix: &str, name: &str) -> Result<Option<String>, Failure> {
        self.plain(&format!("{prefix}{name}"))
    }

    /// The text of a variable that is not ours.
    pub(crate) fn plain(&self, name: &str) -> Result<Option<String>, Failure> {
        let not_text = |_bytes| {
            Failure::input(format!("{name} is not valid UTF-8"), "set it to text, or unset it")
        };
        self.get(name).map(|value| value.to_owned().into_string().map_err(not_text)).transpose()
    }

    /// The path in `prefix` and `name`.
    pub(crate) fn path_of(&self, prefix: &str, name: &str) -> Option<PathBuf> {
        self.get(format!("{prefix}{name}")).map(PathBuf::from)
    }

    /// The text of the strongest variable of this name, and what it is called in full.
    pub(crate) fn text(&self, name: &str) -> Result<Option<(String, String)>, Failure> {
        for prefix in PREFIXES {
            if let Some(text) = self.of(prefix, name)? {
                return Ok(Some((format!("{prefix}{name}"), text)));
            }
        }
        Ok(None)
    }

    /// The number in the strongest variable of this name, and what that is called in full.
    pub(crate) fn named_number(&self, name: &str) -> Result<Option<(String, u64)>, Failure> {
        let Some((name, text)) = self.text(name)? else { return Ok(None) };
        let number = text.parse().map_err(|_not_a_number| {
            let advice = "set it to a whole number, or unset it";
            Failure::input(format!("invalid value for {name}: {text:?}"), advice)
        })?;
        Ok(Some((name, number)))
    }

    /// Whether the strongest variable of this name says yes.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Failure> {
        let Some((name, text)) = self.text(name)? else { return Ok(false) };
        parse_bool(&text).ok_or_else(|| {
            let advice = "set it to true or false, or unset it";
            Failure::input(format!("invalid value for {name}: {text:?}"), advice)
        })
    }

    /// Those of a second repository under the names of the first: `RESTIC_FROM_PASSWORD` becomes
    /// `RESTIC_PASSWORD`, and what there was of that name is gone.
    pub(crate) fn of_source(&self) -> Self {
        const OF_ONE: [&str; 6] = [
            "REPOSITORY",
            "REPOSITORY_FILE",
            "PASSWORD",
            "PASSWORD_FILE",
            "PASSWORD_COMMAND",
            "KEY_HINT",
        ];
        let mut variables = self.0.clone();
        for name in OF_ONE {
            variables.remove(OsStr::new(&format!("KOPIA_{name}")));
            for prefix in PREFIXES {
                let plain = OsString::from(format!("{prefix}{name}"));
                match self.get(format!("{prefix}FROM_{name}")) {
                    Some(value) => variables.insert(plain, value.to_owned()),
                    None => variables.remove(&plain),
                };
            }
        }
        Self(variables)
    }

    #[cfg(test)]
    pub(crate) fn fixed(variables: &[(&str, &str)]) -> Self {
        Self(variables.iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// Yes and no as Go reads them.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Passwords are among them: names only.
impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
