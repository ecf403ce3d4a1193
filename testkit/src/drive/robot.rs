//! A service account, and whether what is said in its name is its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::SystemTime,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::server::{Availability, find};

/// A service account.
#[derive(Debug)]
pub(super) struct Robot {
    openssl: PathBuf,
    directory: PathBuf,
}

const EMAIL: &str = "robot@project.iam.gserviceaccount.com";
const KEY_ID: &str = "key-1";
const SCOPES: [&str; 2] =
    ["https://www.googleapis.com/auth/drive", "https://www.googleapis.com/auth/drive.readonly"];

impl Robot {
    /// With a key of its own; `None` where there is no OpenSSL.
    pub(super) fn new(directory: &Path) -> Option<Self> {
        let openssl = find("openssl", &[], Availability::Always)?;
        let robot = Self { openssl, directory: directory.to_owned() };
        let made = robot.run(&[
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-out",
            "robot.key",
        ]);
        let shown = robot.run(&["pkey", "-in", "robot.key", "-pubout", "-out", "robot.pub"]);
        assert!(made && shown, "OpenSSL makes a key");
        Some(robot)
    }

    /// What the service hands out once.
    pub(super) fn file(&self, token_uri: &str) -> String {
        let key = fs::read_to_string(self.directory.join("robot.key")).expect("a key");
        json!({
            "type": "service_account",
            "project_id": "project",
            "private_key_id": KEY_ID,
            "private_key": key,
            "client_email": EMAIL,
            "client_id": "1",
            "token_uri": token_uri,
        })
        .to_string()
    }

    /// Why an assertion is not taken.
    pub(super) fn doubt(&self, assertion: &str, audience: &str) -> Option<String> {
        let Some((message, signature)) = assertion.rsplit_once('.') else {
            return Some("Invalid JWT".to_owned());
        };
        let part = |text: &str| -> Option<Value> {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
        };
        let parts = message.split_once('.');
        let parts = parts.and_then(|(header, claims)| Some((part(header)?, part(claims)?)));
        let (Some((header, claims)), Ok(signature)) = (parts, URL_SAFE_NO_PAD.decode(signature))
        else {
            return Some("Invalid JWT".to_owned());
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = i64::try_from(now.expect("after 1970").as_secs()).expect("small");
        let moment = |name: &str| claims[name].as_i64().unwrap_or(0);
        let is_now = (moment("iat") - now).abs() < 300 && moment("exp") > now;
        if !is_now || moment("exp") - moment("iat") > 3600 {
            return Some("Invalid JWT: Token must be a short-lived token".to_owned());
        }
        let is_ours = header["alg"] == "RS256"
            && header["kid"] == KEY_ID
            && claims["iss"] == EMAIL
            && claims["aud"] == audience
            && SCOPES.iter().any(|scope| claims["scope"] == *scope);
        fs::write(self.directory.join("message"), message).expect("written");
        fs::write(self.directory.join("signature"), signature).expect("written");
        let is_signed = self.run(&[
            "dgst",
            "-sha256",
            "-verify",
            "robot.pub",
            "-signature",
            "signature",
            "message",
        ]);
        (!is_ours || !is_signed).then(|| "Invalid JWT Signature.".to_owned())
    }

    fn run(&self, arguments: &[&str]) -> bool {
        let mut command = Command::new(&self.openssl);
        command.args(arguments).current_dir(&self.directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().expect("openssl runs").success()
    }
}
