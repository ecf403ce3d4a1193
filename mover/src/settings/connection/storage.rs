//! The kinds of storage that kopia knows, as locations and settings of ours.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use windlass_engine::store::{
    location::{self, Bucket, Location, Login},
    settings::{AssumeRole, RcloneFiles, SecretText, StaticKeys, StoreSettings, WebIdentity},
};

use crate::{failure::Failure, units};

/// A storage and how it is reached.
pub(super) enum Storage {
    S3(S3),
    Filesystem { path: PathBuf },
    Azure(Azure),
    Gcs(Gcs),
    B2(B2),
    Sftp(Sftp),
    WebDav(WebDav),
    Rclone(Rclone),
    Drive(Drive),
}

impl std::fmt::Debug for Storage {
    // Most of it is secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::S3(_) => "s3",
            Self::Filesystem { .. } => "filesystem",
            Self::Azure(_) => "azureBlob",
            Self::Gcs(_) => "gcs",
            Self::B2(_) => "b2",
            Self::Sftp(_) => "sftp",
            Self::WebDav(_) => "webdav",
            Self::Rclone(_) => "rclone",
            Self::Drive(_) => "gdrive",
        })
    }
}

#[derive(Deserialize)]
struct Kind {
    r#type: String,
    config: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub(super) struct S3 {
    bucket: String,
    prefix: String,
    endpoint: String,
    #[serde(rename = "doNotUseTLS")]
    do_not_use_tls: bool,
    #[serde(rename = "doNotVerifyTLS")]
    do_not_verify_tls: bool,
    #[serde(rename = "rootCA")]
    root_ca: String,
    #[serde(rename = "accessKeyID")]
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    web_identity_token: String,
    web_identity_token_file: String,
    #[serde(rename = "roleARN")]
    role_arn: String,
    session_name: String,
    role_endpoint: String,
    role_region: String,
    region: String,
    point_in_time: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Filesystem {
    path: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Azure {
    container: String,
    prefix: String,
    storage_account: String,
    storage_key: String,
    sas_token: String,
    #[serde(rename = "TenantID", alias = "tenantID")]
    tenant_id: String,
    #[serde(rename = "ClientID", alias = "clientID")]
    client_id: String,
    #[serde(rename = "ClientSecret", alias = "clientSecret")]
    client_secret: String,
    client_certificate: String,
    azure_federated_token_file: String,
    storage_domain: String,
    #[serde(rename = "doNotUseTLS")]
    do_not_use_tls: bool,
    point_in_time: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Gcs {
    bucket: String,
    prefix: String,
    credentials_file: String,
    credentials: Option<Value>,
    point_in_time: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct B2 {
    bucket: String,
    prefix: String,
    #[serde(rename = "keyID")]
    key_id: String,
    key: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Sftp {
    path: String,
    host: String,
    port: u16,
    username: String,
    password: String,
    keyfile: String,
    key_data: String,
    known_hosts_file: String,
    known_hosts_data: String,
    #[serde(rename = "externalSSH")]
    external_ssh: bool,
    ssh_command: String,
    ssh_arguments: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WebDav {
    url: String,
    username: String,
    password: String,
    trusted_server_certificate_fingerprint: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Rclone {
    remote_path: String,
    rclone_exe: String,
    rclone_args: Vec<String>,
    rclone_env: Vec<String>,
    startup_timeout: String,
    embedded_config: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Drive {
    #[serde(rename = "folderID")]
    folder_id: String,
    credentials_file: String,
    credentials: Option<Value>,
}

/// What a prefix is here: a directory, and what names in it begin with.
struct Prefix<'a> {
    directory: &'a str,
    stem: &'a str,
}

impl<'a> Prefix<'a> {
    fn of(text: &'a str) -> Self {
        match text.rsplit_once('/') {
            None | Some(("", _)) => Self { directory: "", stem: text },
            Some((directory, stem)) => Self { directory, stem },
        }
    }
}

/// Text that was given, if it was.
fn given(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

fn secret(text: &str) -> Option<SecretText> {
    given(text).map(SecretText::new)
}

fn refused(what: &str, advice: &str) -> Failure {
    Failure::input(format!("the connection to the kopia repository has {what}"), advice)
}

impl Storage {
    /// Reads the part of the configuration that is about storage.
    pub(super) fn parse(
        value: Value,
        unusable: &dyn Fn(String) -> Failure,
    ) -> Result<Self, Failure> {
        fn part<T: DeserializeOwned>(
            config: Value,
            unusable: &dyn Fn(String) -> Failure,
        ) -> Result<T, Failure> {
            serde_json::from_value(config).map_err(|error| unusable(error.to_string()))
        }
        let Kind { r#type, config } = part(value, unusable)?;
        let storage = match r#type.as_str() {
            "s3" => Self::S3(part(config, unusable)?),
            "filesystem" => {
                let Filesystem { path } = part(config, unusable)?;
                Self::Filesystem { path: path.into() }
            }
            "azureBlob" => Self::Azure(part(config, unusable)?),
            "gcs" => Self::Gcs(part(config, unusable)?),
            "b2" => Self::B2(part(config, unusable)?),
            "sftp" => Self::Sftp(part(config, unusable)?),
            "webdav" => Self::WebDav(part(config, unusable)?),
            "rclone" => Self::Rclone(part(config, unusable)?),
            "gdrive" => Self::Drive(part(config, unusable)?),
            other => return Err(refused(&format!("storage of the kind {other:?}"), "")),
        };
        storage.check()?;
        Ok(storage)
    }

    /// Refuses what would be passed over.
    fn check(&self) -> Result<(), Failure> {
        let as_it_was = match self {
            Self::S3(S3 { point_in_time, .. })
            | Self::Azure(Azure { point_in_time, .. })
            | Self::Gcs(Gcs { point_in_time, .. }) => point_in_time.is_some(),
            _ => false,
        };
        if as_it_was {
            return Err(refused(
                "a point in time, and earlier versions of objects are not read",
                "connect without --point-in-time, or use kopia",
            ));
        }
        match self {
            Self::S3(s3) if !s3.web_identity_token.is_empty() => Err(refused(
                "a token of a web identity in the configuration itself, which ends and is not \
                 renewed",
                "connect with --web-identity-token-file",
            )),
            Self::S3(s3) if s3.bucket.is_empty() => Err(refused("no bucket", "connect again")),
            Self::Azure(azure) if !azure.client_certificate.is_empty() => Err(refused(
                "a client certificate, which this program cannot log in with",
                "connect with a key, a signature or a client secret",
            )),
            Self::Sftp(sftp) if !sftp.external_ssh => {
                let inside = [
                    (&sftp.password, "a password, and `ssh` takes none from a program"),
                    (&sftp.key_data, "a private key in the configuration itself"),
                    (&sftp.known_hosts_data, "known hosts in the configuration itself"),
                ];
                match inside.iter().find(|(text, _what)| !text.is_empty()) {
                    Some((_text, what)) => Err(refused(
                        what,
                        "connect with --keyfile and --known-hosts, or give the location as sftp: \
                         and let `ssh` find its key",
                    )),
                    None => Ok(()),
                }
            }
            Self::WebDav(dav) if !dav.trusted_server_certificate_fingerprint.is_empty() => {
                Err(refused(
                    "the fingerprint of a certificate",
                    "give the authority's certificate with --cacert and the location as webdav:",
                ))
            }
            Self::Rclone(rclone) if rclone.remote_path.is_empty() => {
                Err(refused("no remote", "connect again with --remote-path"))
            }
            Self::Rclone(rclone) => rclone.patience().map(drop),
            _ => Ok(()),
        }
    }

    /// Where it is.
    pub(super) fn location(&self) -> Result<Location, Failure> {
        let bucket = |name: &str, prefix: &str| Bucket {
            name: name.to_owned(),
            prefix: Prefix::of(prefix).directory.to_owned(),
        };
        Ok(match self {
            Self::S3(s3) => {
                let plain_http = s3.do_not_use_tls;
                let prefix = Prefix::of(&s3.prefix).directory.to_owned();
                let endpoint = given(&s3.endpoint).unwrap_or_else(|| "s3.amazonaws.com".to_owned());
                let bucket = s3.bucket.clone();
                Location::S3(location::S3 { endpoint, plain_http, bucket, prefix })
            }
            Self::Filesystem { path } => Location::Local(path.clone()),
            Self::Azure(azure) => Location::Azure(bucket(&azure.container, &azure.prefix)),
            Self::Gcs(gcs) => Location::Gcs(bucket(&gcs.bucket, &gcs.prefix)),
            Self::B2(b2) => Location::B2(bucket(&b2.bucket, &b2.prefix)),
            Self::Sftp(sftp) => Location::Sftp(location::Sftp {
                user: given(&sftp.username),
                host: sftp.host.clone(),
                port: Some(sftp.port).filter(|port| *port != 0),
                path: sftp.path.clone(),
            }),
            Self::WebDav(dav) => {
                let text = format!("webdav:{}", dav.url);
                crate::location::parse(&text)?
            }
            Self::Rclone(rclone) => Location::Rclone(rclone.remote_path.clone()),
            Self::Drive(drive) => {
                let text = format!("gdrive:{}", drive.folder_id);
                crate::location::parse(&text)?
            }
        })
    }

    /// Settings with what this says.
    pub(super) fn over(&self, mut settings: StoreSettings) -> StoreSettings {
        match self {
            Self::S3(s3) => s3.over(&mut settings),
            Self::Filesystem { .. } => {}
            Self::Azure(azure) => azure.over(&mut settings),
            Self::Gcs(gcs) => {
                settings.stem = Prefix::of(&gcs.prefix).stem.to_owned();
                let credentials = &mut settings.gcs.credentials;
                if let Some(key) = &gcs.credentials {
                    credentials.key = Some(SecretText::new(key.to_string()));
                } else if let Some(file) = given(&gcs.credentials_file) {
                    credentials.file = Some(file.into());
                }
            }
            Self::B2(b2) => {
                settings.stem = Prefix::of(&b2.prefix).stem.to_owned();
                settings.b2.key_id = given(&b2.key_id).or(settings.b2.key_id);
                settings.b2.key = secret(&b2.key).or(settings.b2.key);
            }
            Self::Sftp(sftp) => sftp.over(&mut settings),
            Self::WebDav(dav) => {
                if let Some(user) = given(&dav.username) {
                    let password = SecretText::new(dav.password.clone());
                    settings.webdav.login = Some(Login { user, password });
                }
            }
            Self::Rclone(rclone) => rclone.over(&mut settings),
            Self::Drive(drive) => {
                // Nothing is written into repositories of this format.
                settings.drive.read_only = true;
                let credentials = &mut settings.drive.credentials;
                if let Some(key) = &drive.credentials {
                    credentials.access_token = None;
                    credentials.key = Some(SecretText::new(key.to_string()));
                } else if let Some(file) = given(&drive.credentials_file) {
                    credentials.access_token = None;
                    credentials.file = Some(file.into());
                }
            }
        }
        settings
    }
}

impl S3 {
    fn over(&self, settings: &mut StoreSettings) {
        settings.stem = Prefix::of(&self.prefix).stem.to_owned();
        settings.http.insecure_tls |= self.do_not_verify_tls;
        if let Ok(certificate) = STANDARD.decode(&self.root_ca)
            && !certificate.is_empty()
        {
            settings.http.ca_certificates = vec![Bytes::from(certificate)];
        }
        let s3 = &mut settings.s3;
        s3.region = given(&self.region).or(s3.region.take());
        if let Some(id) = given(&self.access_key_id) {
            let secret_key = SecretText::new(self.secret_access_key.clone());
            let session_token = secret(&self.session_token);
            s3.credentials.keys = Some(StaticKeys { id, secret: secret_key, session_token });
        }
        let (Some(role), session_name) = (given(&self.role_arn), given(&self.session_name)) else {
            return;
        };
        match given(&self.web_identity_token_file) {
            Some(file) => {
                let token_file = file.into();
                s3.credentials.keys = None;
                s3.credentials.web_identity = Some(WebIdentity { token_file, role, session_name });
            }
            None => {
                s3.credentials.assume_role = Some(AssumeRole {
                    role,
                    session_name,
                    region: given(&self.role_region),
                    endpoint: given(&self.role_endpoint),
                    ..AssumeRole::default()
                });
            }
        }
    }
}

impl Azure {
    fn over(&self, settings: &mut StoreSettings) {
        settings.stem = Prefix::of(&self.prefix).stem.to_owned();
        let azure = &mut settings.azure;
        azure.account = given(&self.storage_account).or(azure.account.take());
        if !self.storage_domain.is_empty() || self.do_not_use_tls {
            let scheme = if self.do_not_use_tls { "http" } else { "https" };
            let domain =
                given(&self.storage_domain).unwrap_or_else(|| "blob.core.windows.net".to_owned());
            let account = &self.storage_account;
            azure.endpoint_suffix = Some(format!("{scheme}://{account}.{domain}"));
        }
        let credentials = &mut azure.credentials;
        credentials.key = secret(&self.storage_key).or(credentials.key.take());
        // kopia asks for one of them; a signature beside a key would not be used.
        if let Some(sas) = secret(&self.sas_token) {
            (credentials.sas, credentials.key) = (Some(sas), secret(&self.storage_key));
        }
        credentials.tenant = given(&self.tenant_id).or(credentials.tenant.take());
        credentials.client = given(&self.client_id).or(credentials.client.take());
        credentials.client_secret =
            secret(&self.client_secret).or(credentials.client_secret.take());
        if let Some(file) = given(&self.azure_federated_token_file) {
            credentials.federated_token_file = Some(file.into());
        }
    }
}

impl Sftp {
    fn over(&self, settings: &mut StoreSettings) {
        let sftp = &mut settings.sftp;
        let quoted = |text: &str| format!("\"{text}\"");
        if self.external_ssh {
            let command = given(&self.ssh_command).unwrap_or_else(|| "ssh".to_owned());
            let login = format!("{}@{}", self.username, self.host);
            let words = [command, self.ssh_arguments.clone(), quoted(&login), "-s sftp".to_owned()];
            sftp.command = Some(words.join(" "));
            return;
        }
        let mut words: Vec<String> = sftp.args.take().into_iter().collect();
        if let Some(file) = given(&self.keyfile) {
            words.push(format!("-i {}", quoted(&file)));
        }
        if let Some(file) = given(&self.known_hosts_file) {
            words.push(format!("-o {}", quoted(&format!("UserKnownHostsFile={file}"))));
        }
        sftp.args = Some(words.join(" ")).filter(|words| !words.is_empty());
    }
}

impl Rclone {
    /// How long it may take to be ready, where that is said.
    fn patience(&self) -> Result<Option<Duration>, Failure> {
        match self.startup_timeout.as_str() {
            // kopia writes what was not said, and takes it for its own default.
            "" | "0s" => Ok(None),
            text => units::parse_duration(text).map(Some),
        }
    }

    fn over(&self, settings: &mut StoreSettings) {
        let rclone = &mut settings.rclone;
        // It was read before.
        if let Ok(Some(patience)) = self.patience() {
            rclone.start_patience = patience;
        }
        let variables = self.rclone_env.iter().filter_map(|text| text.split_once('='));
        rclone.environment.extend(variables.map(|(name, value)| (name.into(), value.into())));
        rclone.files = Some(RcloneFiles {
            program: given(&self.rclone_exe).map(OsString::from),
            args: self.rclone_args.iter().map(OsString::from).collect(),
            config: secret(&self.embedded_config),
            room: std::env::temp_dir(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage(text: &str) -> Result<Storage, Failure> {
        let value = serde_json::from_str(text).expect("JSON");
        Storage::parse(value, &|why| Failure::input(why, ""))
    }

    fn read(text: &str) -> (Location, StoreSettings) {
        let storage = storage(text).expect("read");
        (storage.location().expect("a location"), storage.over(StoreSettings::default()))
    }

    #[test]
    fn a_bucket_comes_with_its_keys_and_its_authority() {
        let (location, settings) = read(
            r#"{"type":"s3","config":{"bucket":"b","prefix":"deep/er/","endpoint":"host:9000",
            "doNotUseTLS":true,"rootCA":"LS0t","accessKeyID":"id","secretAccessKey":"hush",
            "sessionToken":"","roleARN":"","sessionName":"","duration":"0s","roleEndpoint":"",
            "roleRegion":"","region":"eu"}}"#,
        );
        assert_eq!(location.to_string(), "s3:http://host:9000/b/deep/er");
        assert_eq!((settings.stem.as_str(), settings.s3.region.as_deref()), ("", Some("eu")));
        let keys = settings.s3.credentials.keys.expect("keys");
        assert_eq!((keys.id.as_str(), keys.secret.expose()), ("id", &b"hush"[..]));
        assert!(keys.session_token.is_none());
        assert_eq!(settings.http.ca_certificates, [Bytes::from_static(b"---")]);
    }

    #[test]
    fn a_prefix_without_a_slash_is_the_beginning_of_every_name() {
        for (prefix, shown, stem) in [
            ("", "b2:bucket:/", ""),
            ("dir/", "b2:bucket:/dir", ""),
            ("stem-", "b2:bucket:/", "stem-"),
            ("dir/stem-", "b2:bucket:/dir", "stem-"),
            ("/", "b2:bucket:/", "/"),
        ] {
            let text = format!(
                r#"{{"type":"b2","config":{{"bucket":"bucket","prefix":"{prefix}","keyID":"i","key":"k"}}}}"#
            );
            let (location, settings) = read(&text);
            assert_eq!((location.to_string().as_str(), settings.stem.as_str()), (shown, stem));
            assert_eq!(settings.b2.key_id.as_deref(), Some("i"));
        }
    }

    #[test]
    fn every_kind_of_storage_is_a_location_or_refused_by_name() {
        for (text, shown) in [
            (r#"{"type":"filesystem","config":{"path":"/a","dirShards":null}}"#, "/a"),
            (
                r#"{"type":"azureBlob","config":{"container":"c","storageAccount":"a"}}"#,
                "azure:c:/",
            ),
            (r#"{"type":"gcs","config":{"bucket":"g","prefix":"p/"}}"#, "gs:g:/p"),
            (
                r#"{"type":"sftp","config":{"path":"/p","host":"h","port":22,"username":"u",
                "password":"","keyfile":"/k","externalSSH":false,"dirShards":null}}"#,
                "sftp://u@h:22//p",
            ),
            (
                r#"{"type":"webdav","config":{"url":"http://h/p","atomicWrites":false}}"#,
                "webdav:http://h/p/",
            ),
            (
                r#"{"type":"rclone","config":{"remotePath":"r:p","startupTimeout":"0s"}}"#,
                "rclone:r:p",
            ),
        ] {
            assert_eq!(read(text).0.to_string(), shown);
        }
        for (text, word) in [
            (r#"{"type":"rclone","config":{"remotePath":""}}"#, "no remote"),
            (
                r#"{"type":"s3","config":{"bucket":"b","pointInTime":"2026-01-01T00:00:00Z"}}"#,
                "point in time",
            ),
            (r#"{"type":"sftp","config":{"host":"h","password":"hush"}}"#, "password"),
            (r#"{"type":"other","config":{}}"#, "other"),
        ] {
            let failure = storage(text).expect_err("refused");
            assert!(failure.message().contains(word), "{}", failure.message());
            assert!(!failure.message().contains("hush"));
        }
    }

    #[test]
    fn a_folder_in_google_drive_comes_with_its_credentials() {
        let (_, settings) = read(
            r#"{"type":"gdrive","config":{"folderID":"f","credentials":{"type":"service_account",
            "private_key":"hush"},"readOnly":false}}"#,
        );
        let key = settings.drive.credentials.key.as_ref().expect("a key");
        let key: Value = serde_json::from_slice(key.expose()).expect("JSON");
        assert_eq!(key["private_key"], "hush");
        assert!(settings.drive.read_only && !format!("{settings:?}").contains("hush"));
        let (_, settings) =
            read(r#"{"type":"gdrive","config":{"folderID":"f","credentialsFile":"/k.json"}}"#);
        assert_eq!(settings.drive.credentials.file.as_deref(), Some("/k.json".as_ref()));
        let failure = storage(r#"{"type":"gdrive","config":{"folderID":""}}"#).expect("read");
        failure.location().expect_err("no folder");
    }

    #[test]
    fn rclone_is_run_as_kopia_was_told() {
        let (_, settings) = read(
            r#"{"type":"rclone","config":{"remotePath":"r:p","rcloneExe":"/my tools/rclone",
            "rcloneArgs":["--b2-hard-delete"],"rcloneEnv":["A=b=c"],"startupTimeout":"1m30s",
            "embeddedConfig":"[r]\npass = hush\n","atomicWrites":false,"dirShards":null}}"#,
        );
        let rclone = &settings.rclone;
        assert_eq!(rclone.start_patience, Duration::from_secs(90));
        assert_eq!(rclone.environment, [("A".into(), "b=c".into())]);
        let files = rclone.files.as_ref().expect("files");
        assert_eq!(files.program.as_deref(), Some("/my tools/rclone".as_ref()));
        assert_eq!(files.args, ["--b2-hard-delete"]);
        assert!(files.config.is_some() && !format!("{settings:?}").contains("hush"));
    }

    #[test]
    fn a_key_for_ssh_is_an_argument_of_it() {
        let (_, settings) = read(
            r#"{"type":"sftp","config":{"path":"/p","host":"h","port":22,"username":"u",
            "keyfile":"/my keys/k","knownHostsFile":"/hosts"}}"#,
        );
        let args = settings.sftp.args.expect("arguments");
        assert_eq!(args, r#"-i "/my keys/k" -o "UserKnownHostsFile=/hosts""#);
    }
}
