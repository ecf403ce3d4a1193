//! Where the password comes from.
//!
//! Invariants
//! - Options first, then `WINDLASS_…`, `RESTIC_…`, `KOPIA_…`, each as a command, a file or plain;
//!   then what kopia keeps beside its configuration, where that was named; then the terminal, or a
//!   line of standard input where there is none.
//! - An empty password is refused unless that was asked for in so many words.
//! - A password is never an argument and never printed.

use std::{
    io::{BufRead, ErrorKind, IsTerminal, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use windlass_engine::format::secret::Password;

use super::{Chosen, Settings, read_text};
use crate::failure::Failure;

/// Whose password it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It opens something.
    Open,
    /// It will open something: typed twice.
    Create,
}

/// Where a new password comes from.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewPassword {
    pub(crate) file: Option<PathBuf>,
    pub(crate) empty: bool,
}

/// Beginnings of the names of variables.
const PREFIXES: [&str; 3] = ["WINDLASS_", "RESTIC_", "KOPIA_"];
/// A line that is longer is no password.
const MOST_LINE_BYTES: u64 = 1 << 20;

impl Settings {
    /// The password of the repository.
    pub(crate) fn password(&self, purpose: Purpose) -> Result<Password, Failure> {
        let global = &self.global;
        if global.insecure_no_password {
            return match self.stated_password()? {
                Some(text) if !text.is_empty() => Err(Failure::input(
                    "--insecure-no-password and a password were both given",
                    "leave one of them out",
                )),
                _ => Ok(Password::new("")),
            };
        }
        match self.stated_password()? {
            Some(text) => accepted(text),
            None => accepted(ask(&format!("enter password for {}: ", self.whose), purpose)?),
        }
    }

    /// Whether the password comes from elsewhere than a terminal or standard input.
    pub(crate) fn has_password(&self) -> Result<bool, Failure> {
        let global = &self.global;
        let by_option = global.insecure_no_password
            || global.password_command.is_some()
            || global.password_file.is_some();
        let by_variable = PREFIXES.iter().any(|prefix| {
            ["PASSWORD", "PASSWORD_FILE", "PASSWORD_COMMAND"]
                .iter()
                .any(|name| self.variables.get(format!("{prefix}{name}")).is_some())
        });
        Ok(by_option
            || by_variable
            || match self.chosen()? {
                Chosen::Default(_) => true,
                Chosen::Connected(connection) => connection.password()?.is_some(),
                Chosen::Given(_) => false,
            })
    }

    /// A password that an option or a variable gives.
    fn stated_password(&self) -> Result<Option<String>, Failure> {
        let global = &self.global;
        let (command, file) = (global.password_command.as_deref(), global.password_file.as_deref());
        if let Some(text) = one_of("the options", command, file)? {
            return Ok(Some(text));
        }
        for prefix in PREFIXES {
            let command = self.variables.of(prefix, "PASSWORD_COMMAND")?;
            let file = self.variables.path_of(prefix, "PASSWORD_FILE");
            if let Some(text) = one_of(prefix, command.as_deref(), file.as_deref())? {
                return Ok(Some(text));
            }
            if let Some(text) = self.variables.of(prefix, "PASSWORD")? {
                return Ok(Some(text));
            }
        }
        match self.chosen()? {
            Chosen::Connected(connection) => connection.password(),
            Chosen::Given(_) | Chosen::Default(_) => Ok(None),
        }
    }
}

/// A password for a new key.
pub(crate) fn new_password(source: &NewPassword) -> Result<Password, Failure> {
    match source {
        NewPassword { empty: true, file: Some(_) } => Err(Failure::input(
            "--new-password-file and --new-insecure-no-password are mutually exclusive",
            "give one of them",
        )),
        NewPassword { empty: true, file: None } => Ok(Password::new("")),
        NewPassword { file: Some(file), .. } => accepted(read_text(file)?),
        NewPassword { file: None, .. } => accepted(ask("enter new password: ", Purpose::Create)?),
    }
}

fn accepted(text: String) -> Result<Password, Failure> {
    if text.is_empty() {
        return Err(Failure::input(
            "an empty password is not allowed by default",
            "give a password, or --insecure-no-password if it is really meant to be empty",
        ));
    }
    Ok(Password::new(text))
}

fn one_of(of: &str, command: Option<&str>, file: Option<&Path>) -> Result<Option<String>, Failure> {
    match (command, file) {
        (Some(_), Some(_)) => Err(Failure::input(
            format!(
                "a password file and a password command are mutually exclusive, {of} give both"
            ),
            "give one of them",
        )),
        (Some(command), None) => output_of(command).map(Some),
        (None, Some(file)) => read_text(file).map(Some),
        (None, None) => Ok(None),
    }
}

/// Runs a command (no shell) and takes what it prints.
fn output_of(command: &str) -> Result<String, Failure> {
    let words = split_words(command)?;
    let (program, words) = words.split_first().ok_or_else(|| {
        Failure::input("the password command is empty", "give a program and its arguments")
    })?;
    let output = Command::new(program).args(words).stderr(Stdio::inherit()).output();
    let output = output
        .map_err(|error| Failure::io(format!("running password command {program}"), error))?;
    if !output.status.success() {
        return Err(Failure::input(
            format!("password command {program} failed: {}", output.status),
            "run it by hand; its messages are above",
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Splits at white space outside of quotes; a backslash takes the next character as it is, but not
/// between single quotes.
pub(crate) fn split_words(text: &str) -> Result<Vec<String>, Failure> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (Some(open), _) if char == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                word.get_or_insert_default().push(chars.next().unwrap_or('\\'));
            }
            (None, _) if char.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(char),
        }
    }
    if quote.is_some() {
        return Err(Failure::input(
            format!("a quote in the command {text:?} is not closed"),
            "close it, or write a backslash before it",
        ));
    }
    words.extend(word);
    Ok(words)
}

fn ask(prompt: &str, purpose: Purpose) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return read_line();
    }
    let typed = |prompt: &str| {
        rpassword::prompt_password(prompt).map_err(|error| match error.kind() {
            // Control-C comes as a key while the echo is off, not as a signal.
            ErrorKind::Interrupted => Failure::Interrupted,
            _ => Failure::io("reading a password", error),
        })
    };
    let first = typed(prompt)?;
    if purpose == Purpose::Create && typed("enter password again: ")? != first {
        return Err(Failure::input("passwords do not match", "try again"));
    }
    Ok(first)
}

fn read_line() -> Result<String, Failure> {
    let mut line = String::new();
    let mut input = std::io::stdin().lock().take(MOST_LINE_BYTES);
    let read = input.read_line(&mut line);
    match read.map_err(|error| Failure::io("reading the password from standard input", error))? {
        0 => Err(Failure::input(
            "no password was given and there is no terminal to ask for it",
            "set RESTIC_PASSWORD, RESTIC_PASSWORD_FILE or RESTIC_PASSWORD_COMMAND, \
             or use --password-file",
        )),
        _ => Ok(line.trim_end_matches(['\n', '\r']).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{args::GlobalArgs, settings::environment::Variables};

    fn stated(global: GlobalArgs, variables: &[(&str, &str)]) -> Result<Option<String>, Failure> {
        Settings::new(global, Variables::fixed(variables)).expect("settings").stated_password()
    }

    #[test]
    fn options_beat_variables_and_windlass_beats_restic_beats_kopia() {
        let all = [
            ("KOPIA_PASSWORD", "kopia"),
            ("RESTIC_PASSWORD", "restic"),
            ("WINDLASS_PASSWORD", "windlass"),
        ];
        let option = GlobalArgs { password_command: Some("echo option".into()), ..<_>::default() };
        let given = |global, variables| stated(global, variables).expect("no clash");
        assert_eq!(given(option, &all).as_deref(), Some("option"));
        assert_eq!(given(<_>::default(), &all).as_deref(), Some("windlass"));
        assert_eq!(given(<_>::default(), &all[..2]).as_deref(), Some("restic"));
        assert_eq!(given(<_>::default(), &all[..1]).as_deref(), Some("kopia"));
        assert_eq!(given(<_>::default(), &[("RESTIC_REPOSITORY", "/repository")]), None);
        let command = [("RESTIC_PASSWORD", "plain"), ("RESTIC_PASSWORD_COMMAND", "echo command")];
        assert_eq!(given(<_>::default(), &command).as_deref(), Some("command"));
    }

    #[test]
    fn a_file_and_a_command_clash() {
        let clash = [("RESTIC_PASSWORD_FILE", "/x"), ("RESTIC_PASSWORD_COMMAND", "echo x")];
        let failure = stated(GlobalArgs::default(), &clash).expect_err("a clash");
        assert!(failure.message().contains("mutually exclusive"), "{failure}");
    }

    #[test]
    fn a_failing_command_is_no_empty_password() {
        let failure = stated(<_>::default(), &[("RESTIC_PASSWORD_COMMAND", "false")]);
        assert!(failure.expect_err("fails").message().contains("failed"));
        assert_eq!(accepted(String::new()).expect_err("empty").exit_code(), 1);
    }

    #[test]
    fn commands_are_split_like_a_shell_does() {
        let split = |text| split_words(text).expect("words");
        assert_eq!(split("pass show a"), ["pass", "show", "a"]);
        assert_eq!(
            split(r#"a 'b "c' "d 'e" '' f\ g "\"""#),
            ["a", "b \"c", "d 'e", "", "f g", "\""]
        );
        assert!(split("  ").is_empty());
        split_words("a 'b").expect_err("open quote");
    }
}
