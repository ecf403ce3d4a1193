//! A storage by the words that `kopia repository connect` takes for it.
//!
//! Invariants
//! - A flag becomes what kopia would write into its configuration for it, and so does a variable that
//!   kopia reads where the flag is missing.
//! - A flag that is not known is refused by its name; no value is ever shown.
//!
//! Not here: what the configuration means (`storage`).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use crate::{
    failure::Failure,
    settings::{environment::Variables, password::split_words, read, read_text},
};

/// What a flag becomes.
#[derive(Clone, Copy)]
enum Becomes {
    Text,
    Number,
    Yes,
    /// One of several; may be given again.
    Words,
    /// What is in the file of this name.
    Content,
    /// The same, encoded.
    Encoded,
    /// Nothing: it is about writing, or about how kopia goes about it. `true` if it has a value.
    Nothing(bool),
}
use Becomes::{Content, Encoded, Nothing, Number, Text, Words, Yes};

/// A flag, what it is called in the configuration, what it becomes there, and the variable that
/// stands for it.
struct Flag(&'static str, &'static str, Becomes, Option<&'static str>);

/// A kind of storage.
struct Kind {
    word: &'static str,
    r#type: &'static str,
    /// What it cannot be without.
    required: &'static [&'static str],
    flags: &'static [Flag],
}

const POINT_IN_TIME: Flag = Flag("point-in-time", "pointInTime", Text, None);
const CREDENTIALS_FILE: Flag = Flag("credentials-file", "credentialsFile", Text, None);
const PREFIX: Flag = Flag("prefix", "prefix", Text, None);
const BUCKET: Flag = Flag("bucket", "bucket", Text, None);
const PATH: Flag = Flag("path", "path", Text, None);
const EMBED: Flag = Flag("embed-credentials", "", Nothing(false), None);
const READ_ONLY: Flag = Flag("read-only", "", Nothing(false), None);
// How names are cut into directories is written down in the storage itself.
const FLAT: Flag = Flag("flat", "", Nothing(false), None);
const LISTS: Flag = Flag("list-parallelism", "", Nothing(true), None);
const ATOMIC: Flag = Flag("atomic-writes", "", Nothing(false), None);

const KINDS: [Kind; 9] = [
    Kind {
        word: "s3",
        r#type: "s3",
        required: &["bucket"],
        // Keys are in variables that count for every bucket.
        flags: &[
            BUCKET,
            PREFIX,
            POINT_IN_TIME,
            Flag("endpoint", "endpoint", Text, None),
            Flag("region", "region", Text, None),
            Flag("access-key", "accessKeyID", Text, None),
            Flag("secret-access-key", "secretAccessKey", Text, None),
            Flag("session-token", "sessionToken", Text, None),
            Flag("disable-tls", "doNotUseTLS", Yes, None),
            Flag("disable-tls-verification", "doNotVerifyTLS", Yes, None),
            Flag("root-ca-pem-base64", "rootCA", Text, Some("ROOT_CA_PEM_BASE64")),
            Flag("root-ca-pem-path", "rootCA", Encoded, None),
        ],
    },
    Kind {
        word: "filesystem",
        r#type: "filesystem",
        required: &["path"],
        flags: &[
            PATH,
            FLAT,
            LISTS,
            Flag("owner-uid", "", Nothing(true), None),
            Flag("owner-gid", "", Nothing(true), None),
            Flag("file-mode", "", Nothing(true), None),
            Flag("dir-mode", "", Nothing(true), None),
        ],
    },
    Kind {
        word: "azure",
        r#type: "azureBlob",
        required: &["container"],
        flags: &[
            PREFIX,
            POINT_IN_TIME,
            Flag("container", "container", Text, None),
            Flag("storage-account", "storageAccount", Text, Some("AZURE_STORAGE_ACCOUNT")),
            Flag("storage-key", "storageKey", Text, Some("AZURE_STORAGE_KEY")),
            Flag("storage-domain", "storageDomain", Text, Some("AZURE_STORAGE_DOMAIN")),
            Flag("sas-token", "sasToken", Text, Some("AZURE_STORAGE_SAS_TOKEN")),
            Flag("tenant-id", "tenantID", Text, Some("AZURE_TENANT_ID")),
            Flag("client-id", "clientID", Text, Some("AZURE_CLIENT_ID")),
            Flag("client-secret", "clientSecret", Text, Some("AZURE_CLIENT_SECRET")),
            Flag("client-cert", "clientCertificate", Text, Some("AZURE_CLIENT_CERTIFICATE")),
            Flag(
                "azure-federated-token-file",
                "azureFederatedTokenFile",
                Text,
                Some("AZURE_FEDERATED_TOKEN_FILE"),
            ),
        ],
    },
    Kind {
        word: "gcs",
        r#type: "gcs",
        required: &["bucket"],
        flags: &[BUCKET, PREFIX, POINT_IN_TIME, CREDENTIALS_FILE, EMBED, READ_ONLY],
    },
    Kind {
        word: "b2",
        r#type: "b2",
        required: &["bucket"],
        flags: &[
            BUCKET,
            PREFIX,
            Flag("key-id", "keyID", Text, Some("B2_KEY_ID")),
            Flag("key", "key", Text, Some("B2_KEY")),
        ],
    },
    Kind {
        word: "sftp",
        r#type: "sftp",
        required: &["path", "host", "username"],
        flags: &[
            PATH,
            FLAT,
            LISTS,
            EMBED,
            Flag("host", "host", Text, None),
            Flag("port", "port", Number, None),
            Flag("username", "username", Text, None),
            Flag("sftp-password", "password", Text, None),
            Flag("keyfile", "keyfile", Text, None),
            Flag("key-data", "keyData", Text, None),
            Flag("known-hosts", "knownHostsFile", Text, None),
            Flag("known-hosts-data", "knownHostsData", Text, None),
            Flag("external", "externalSSH", Yes, None),
            Flag("ssh-command", "sshCommand", Text, None),
            Flag("ssh-args", "sshArguments", Text, None),
        ],
    },
    Kind {
        word: "webdav",
        r#type: "webdav",
        required: &["url"],
        flags: &[
            FLAT,
            LISTS,
            ATOMIC,
            Flag("url", "url", Text, None),
            Flag("webdav-username", "username", Text, Some("KOPIA_WEBDAV_USERNAME")),
            Flag("webdav-password", "password", Text, Some("KOPIA_WEBDAV_PASSWORD")),
        ],
    },
    Kind {
        word: "rclone",
        r#type: "rclone",
        required: &["remote-path"],
        flags: &[
            FLAT,
            LISTS,
            ATOMIC,
            Flag("remote-path", "remotePath", Text, None),
            Flag("rclone-exe", "rcloneExe", Text, None),
            Flag("rclone-args", "rcloneArgs", Words, None),
            Flag("rclone-env", "rcloneEnv", Words, None),
            Flag("embed-rclone-config", "embeddedConfig", Content, None),
            Flag("rclone-startup-timeout", "startupTimeout", Text, None),
            Flag("rclone-debug", "", Nothing(false), None),
            Flag("rclone-nowait-for-transfers", "", Nothing(false), None),
        ],
    },
    Kind {
        word: "gdrive",
        r#type: "gdrive",
        required: &["folder-id"],
        flags: &[CREDENTIALS_FILE, EMBED, READ_ONLY, Flag("folder-id", "folderID", Text, None)],
    },
];

/// The kind of storage that `text` begins with, and its flags. Names of files have none.
fn kind_of(text: &str) -> Option<(&'static Kind, &str)> {
    let (word, rest) = text.trim_start().split_once(char::is_whitespace)?;
    let kind = KINDS.iter().find(|kind| kind.word == word)?;
    rest.trim_start().starts_with("--").then_some((kind, rest))
}

/// The storage that `text` names by kopia's words, as kopia's configuration has it; `None` where it
/// names none.
pub(super) fn storage(text: &str, variables: &Variables) -> Option<Result<Value, Failure>> {
    kind_of(text).map(|(kind, rest)| {
        let mut config = kind.given(rest)?;
        for Flag(_, key, _, variable) in kind.flags {
            if let (Some(variable), false) = (variable, config.contains_key(*key))
                && let Some(text) = variables.plain(variable)?
            {
                config.insert((*key).to_owned(), text.into());
            }
        }
        Ok(serde_json::json!({"type": kind.r#type, "config": config}))
    })
}

impl Kind {
    /// What the flags say.
    fn given(&self, text: &str) -> Result<Map<String, Value>, Failure> {
        let words = split_words(text).map_err(|_secrets_are_in_it| {
            self.failure("a quote is not closed", "close it, or write a backslash before it")
        })?;
        let mut config = Map::new();
        let mut given = Vec::new();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            let name = name.strip_prefix("--").ok_or_else(|| {
                self.failure("there is a word that is no flag", "put quotes around values")
            })?;
            let (flag, is_on) = self.flag(name)?;
            let Flag(flag, key, becomes, _) = flag;
            let value = match becomes {
                Yes | Nothing(false) if value.is_some() => {
                    let what = format!("--{flag} takes no value");
                    return Err(self.failure(&what, &format!("write --{flag} or --no-{flag}")));
                }
                Yes => Value::Bool(is_on),
                Nothing(false) => continue,
                _ => {
                    let value = value.or_else(|| words.next()).ok_or_else(|| {
                        self.failure(&format!("--{flag} has no value"), "write one behind it")
                    })?;
                    given.push(*flag);
                    match becomes {
                        Nothing(_) => continue,
                        Number => Value::Number(value.parse().map_err(|_error| {
                            self.failure(&format!("--{flag} is no number"), "write one behind it")
                        })?),
                        Content => read_text(value.as_ref())?.into(),
                        Encoded => STANDARD.encode(read(value.as_ref())?).into(),
                        Words => {
                            let words = config.entry(*key).or_insert_with(|| Value::Array(vec![]));
                            if let Some(words) = words.as_array_mut() {
                                words.push(value.into());
                            }
                            continue;
                        }
                        _ => value.into(),
                    }
                }
            };
            config.insert((*key).to_owned(), value);
        }
        match self.required.iter().find(|required| !given.contains(required)) {
            Some(missing) => Err(self.failure(&format!("--{missing} is missing"), "add it")),
            None => Ok(config),
        }
    }

    /// The flag of this name; whether it is switched on.
    fn flag(&self, name: &str) -> Result<(&Flag, bool), Failure> {
        let find = |name: &str| self.flags.iter().find(|flag| flag.0 == name);
        if let Some(flag) = find(name) {
            return Ok((flag, true));
        }
        let off = name.strip_prefix("no-").and_then(find);
        match off.filter(|flag| matches!(flag.2, Yes | Nothing(false))) {
            Some(flag) => Ok((flag, false)),
            None => Err(self.failure(
                &format!("--{name} is no flag of it"),
                "give the flags that are about the storage, and none of the repository's",
            )),
        }
    }

    fn failure(&self, what: &str, advice: &str) -> Failure {
        Failure::input(format!("kopia:{} cannot be followed: {what}", self.word), advice)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn config(text: &str) -> Result<Value, Failure> {
        let variables = Variables::fixed(&[("B2_KEY", "theirs"), ("AZURE_STORAGE_KEY", "hush")]);
        storage(text, &variables).expect("a storage")
    }

    #[test]
    fn flags_become_what_kopia_writes() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("the file");
        fs::write(&file, "---").expect("written");
        let file = file.display();
        for (text, expected) in [
            (
                format!(
                    "s3 --bucket=b --prefix 'deep er/' --disable-tls --no-disable-tls-verification \
                     --root-ca-pem-path '{file}'"
                ),
                r#"{"type":"s3","config":{"bucket":"b","prefix":"deep er/","doNotUseTLS":true,
                "doNotVerifyTLS":false,"rootCA":"LS0t"}}"#,
            ),
            (
                "b2  --bucket b --key-id=i".to_owned(),
                r#"{"type":"b2","config":{"bucket":"b","keyID":"i","key":"theirs"}}"#,
            ),
            (
                "azure --container c --storage-account a --storage-key k=".to_owned(),
                r#"{"type":"azureBlob","config":{"container":"c","storageAccount":"a",
                "storageKey":"k="}}"#,
            ),
            (
                format!(
                    "rclone --remote-path r:p --rclone-args=--fast --rclone-args --slow --flat \
                     --embed-rclone-config '{file}'"
                ),
                r#"{"type":"rclone","config":{"remotePath":"r:p","rcloneArgs":["--fast","--slow"],
                "embeddedConfig":"---"}}"#,
            ),
            (
                "sftp --path /p --host h --port 2222 --username u --list-parallelism 3".to_owned(),
                r#"{"type":"sftp","config":{"path":"/p","host":"h","port":2222,"username":"u"}}"#,
            ),
        ] {
            let expected: Value = serde_json::from_str(expected).expect("JSON");
            assert_eq!(config(&text).expect("followed"), expected);
        }
    }

    #[test]
    fn what_is_no_storage_is_a_file() {
        let variables = Variables::fixed(&[]);
        for text in ["/s3 --bucket", "s3", "s3 config", "repository.config", "other --bucket=b", ""]
        {
            assert!(storage(text, &variables).is_none(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_followed_is_named_and_no_value_shown() {
        for (text, word) in [
            ("s3 --prefix=hush", "--bucket is missing"),
            ("s3 --bucket=b --secret hush", "--secret is no flag"),
            ("s3 --bucket=b --no-region", "--no-region is no flag"),
            ("s3 --bucket b --secret-access-key 'hush", "quote"),
            ("s3 --bucket b hush", "no flag"),
            ("sftp --path p --host h --username u --port hush", "--port is no number"),
            ("webdav --url", "--url has no value"),
            ("s3 --bucket b --disable-tls=hush", "--disable-tls takes no value"),
        ] {
            let failure = config(text).expect_err("refused");
            assert!(failure.message().contains(word), "{}", failure.message());
            assert!(!failure.message().contains("hush"), "{}", failure.message());
        }
    }
}
