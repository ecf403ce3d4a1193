//! A command in one string, split into its words as the original tool does.
//!
//! Invariants: words end at spaces and backslashes outside quotes; single and double quotes hold a
//! word together and are left out; a quote behind a backslash is none.

use std::ffi::OsString;

/// Why a command cannot be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::store) enum SplitError {
    /// A quote without its end.
    #[error("the command has a quote that does not end")]
    OpenQuote,
    /// Nothing but spaces.
    #[error("the command is empty")]
    Empty,
}

/// The words of `command`.
pub(in crate::store) fn split(command: &str) -> Result<Vec<OsString>, SplitError> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let (mut quote, mut before) = (None, ' ');
    let mut end = |word: &mut String| {
        if !word.is_empty() {
            words.push(OsString::from(std::mem::take(word)));
        }
    };
    for letter in command.chars() {
        let is_mark = before != '\\' && matches!(letter, '"' | '\'');
        match quote {
            Some(open) if is_mark && open == letter => {
                quote = None;
                end(&mut word);
                continue;
            }
            None if is_mark => {
                quote = Some(letter);
                end(&mut word);
                continue;
            }
            None if letter == '\\' || letter.is_whitespace() => end(&mut word),
            _ => word.push(letter),
        }
        before = letter;
    }
    end(&mut word);
    match (quote, words.is_empty()) {
        (Some(_open), _) => Err(SplitError::OpenQuote),
        (None, true) => Err(SplitError::Empty),
        (None, false) => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_the_original_tool_splits_them() {
        for (command, words) in [
            ("program", &["program"][..]),
            (" program  -a\tb ", &["program", "-a", "b"]),
            ("ssh -i 'my key' host", &["ssh", "-i", "my key", "host"]),
            ("ssh \"it's\" 'a \"b\"'", &["ssh", "it's", "a \"b\""]),
            ("a'b'c", &["a", "b", "c"]),
            ("foo\\bar", &["foo", "bar"]),
            ("foo \\\"bar baz", &["foo", "\"bar", "baz"]),
            ("'C:\\ssh' x", &["C:\\ssh", "x"]),
        ] {
            let split = split(command).expect(command);
            assert_eq!(split, words.iter().map(OsString::from).collect::<Vec<_>>(), "{command}");
        }
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for command in ["", "  ", "''"] {
            assert_eq!(split(command), Err(SplitError::Empty), "{command:?}");
        }
        for command in ["ssh 'x", "ssh \"", "'a\\'"] {
            assert_eq!(split(command), Err(SplitError::OpenQuote), "{command:?}");
        }
    }
}
