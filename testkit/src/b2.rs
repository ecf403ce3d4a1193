//! Backblaze B2 in this process: what its own protocol is asked about an account, answered as its
//! documentation says, and an S3 server for the rest, behind one address.

use crate::{
    s3::S3Server,
    toxic::{Dose, Poison, Toxic},
};

/// The one question of its own protocol.
pub const ACCOUNT: &str = "/b2api/v3/b2_authorize_account";

/// An account and its buckets.
#[derive(Debug)]
pub struct B2Server {
    front: Toxic,
    s3: S3Server,
}

impl B2Server {
    /// A service that works. Keys are those of the S3 server.
    #[must_use]
    pub fn start() -> Self {
        let server = Self::silent();
        let text = format!(
            r#"{{"accountId":"4f2a00000001","authorizationToken":"4_token","apiInfo":{{"storageApi":
            {{"apiUrl":"https://api004.example","downloadUrl":"https://f004.example",
            "capabilities":["listFiles","readFiles","writeFiles"],"bucketId":null,
            "s3ApiUrl":"{}"}}}},"applicationKeyExpirationTimestamp":null}}"#,
            server.address()
        );
        server.answer(200, "application/json", text);
        server
    }

    /// One that says this of every account.
    #[must_use]
    pub fn answering(status: u16, kind: &'static str, text: &str) -> Self {
        let server = Self::silent();
        server.answer(status, kind, text.to_owned());
        server
    }

    /// One that knows of no account.
    #[must_use]
    pub fn silent() -> Self {
        let s3 = S3Server::start();
        Self { front: Toxic::before(s3.address()), s3 }
    }

    fn answer(&self, status: u16, kind: &'static str, text: String) {
        self.front.add(Dose::of("GET", ACCOUNT, 0, 9, Poison::Say { status, kind, text }));
    }

    /// Where accounts are asked about, as a URL.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://{}", self.front.address())
    }

    /// What goes wrong on the way to both.
    #[must_use]
    pub fn front(&self) -> &Toxic {
        &self.front
    }

    /// The buckets.
    #[must_use]
    pub fn s3(&self) -> &S3Server {
        &self.s3
    }

    /// How often an account was asked about since the last time.
    #[must_use]
    pub fn questions(&self) -> usize {
        self.front.take_seen().iter().filter(|seen| seen.target.starts_with(ACCOUNT)).count()
    }
}
