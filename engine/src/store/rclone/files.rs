//! The files of a remote of rclone, which is run as a WebDAV server on loopback. To be read only.
//!
//! Invariants
//! - It listens on loopback alone, at a port that it chose itself, and lets in nobody but us: user
//!   and password are random, and it gets them in its environment, which no other user can read.
//! - It ends with its handle; where this process is killed it ends by itself, at the next figures
//!   that it cannot tell any more.
//! - What it remembers of directories counts for no listing, and for nothing after a failure.
//!
//! Not here: what WebDAV is (`webdav`), how rclone reaches the remote, writing.

use std::{
    ffi::OsString,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{
    HeaderValue, Request,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::Full;
use tokio::{
    sync::{Mutex, mpsc},
    time::timeout,
};
use url::Url;

use super::{
    super::{
        Failure, Range, StoreError,
        child::{self, Child, Handed, Pipes},
        http::{Transport, Tuning, authorization},
        limit::Limiter,
        location::{self, Login},
        remote::{Page, PutRules, Remote, Stat, Traits},
        settings::{Proxies, RcloneFiles as Settings, SecretText, StoreSettings},
        trace::Observer,
        webdav::WebDav,
    },
    CONNECTIONS, INSTALL, LOOK, does_not_serve, not_ready,
};
use crate::entropy::name_suffix;

/// A remote and, once something was asked, the rclone that serves it.
#[derive(Debug)]
pub struct RcloneFiles {
    name: String,
    /// The program, what it does with which remote, and what was added to that.
    command: Vec<OsString>,
    settings: StoreSettings,
    files: Settings,
    limiter: Arc<Limiter>,
    observer: Observer,
    session: Mutex<Option<Arc<Session>>>,
    was_connected: AtomicBool,
}

#[derive(Debug)]
struct Session {
    dav: WebDav,
    control: Control,
    child: Mutex<Child>,
    _open: Pipes,
    _config: Option<Handed>,
}

/// Where rclone is told what to do.
#[derive(Debug)]
struct Control {
    transport: Transport,
    address: Url,
    login: HeaderValue,
}

/// What comes last and counts most. Figures every second are how it finds out that nobody listens.
const ARGUMENTS: [&str; 19] = [
    "--read-only",
    "--addr=127.0.0.1:0",
    "--baseurl=",
    "--cert=",
    "--key=",
    "--client-ca=",
    "--htpasswd=",
    "--rc",
    "--rc-addr=127.0.0.1:0",
    "--rc-baseurl=",
    "--rc-cert=",
    "--rc-key=",
    "--rc-client-ca=",
    "--rc-htpasswd=",
    "--rc-no-auth=false",
    "--stats=1s",
    "--stats-log-level=NOTICE",
    "--stats-one-line",
    "--stats-one-line-date-format=FIGURES:",
];
const FIGURES: &str = "FIGURES:";
/// What it says where it is ready: to serve, and to be told what to do.
const READY: [&str; 2] = ["WebDav Server started on ", "Serving remote control on "];
/// It answers with a list of what it forgot, or with a complaint.
const MAX_ANSWER_BYTES: usize = 64 << 20;

impl RcloneFiles {
    /// The files of `remote`, which is what rclone calls it: `name:path`. Nothing is run yet.
    pub fn new(
        remote: &str,
        settings: &StoreSettings,
        limiter: &Arc<Limiter>,
        observer: &Observer,
    ) -> Result<Self, StoreError> {
        let name = format!("rclone:{remote}");
        let refused = |why: String| StoreError::new(Failure::Permanent, "open", name.as_str(), why);
        let Some(files) = settings.rclone.files.clone() else {
            return Err(refused("nobody said that rclone is to serve files".to_owned()));
        };
        let mut command = match &files.program {
            Some(program) => vec![program.clone()],
            None => child::split(&settings.rclone.program)
                .map_err(|why| refused(format!("the option rclone.program: {why}")))?,
        };
        command.extend(["serve".into(), "webdav".into(), remote.into()]);
        command.extend(files.args.iter().cloned());
        let mut settings = settings.clone();
        // Nobody is between us and this machine.
        settings.http.proxies = Proxies::default();
        Ok(Self {
            name,
            command,
            settings,
            files,
            limiter: Arc::clone(limiter),
            observer: observer.clone(),
            session: Mutex::default(),
            was_connected: AtomicBool::new(false),
        })
    }

    /// The rclone that serves, which is started where there is none.
    async fn session(&self, action: &'static str) -> Result<Arc<Session>, StoreError> {
        let mut current = self.session.lock().await;
        if let Some(session) = &*current {
            if !session.child.lock().await.has_ended() {
                return Ok(Arc::clone(session));
            }
            *current = None;
        }
        let session = self.start(action).await?;
        self.was_connected.store(true, Ordering::Relaxed);
        Ok(Arc::clone(current.insert(Arc::new(session))))
    }

    async fn start(&self, action: &'static str) -> Result<Session, StoreError> {
        // The first start fails for good; a later one did work before.
        let failure = match self.was_connected.load(Ordering::Relaxed) {
            true => Failure::Transient,
            false => Failure::Permanent,
        };
        let refused = |why: String| StoreError::new(failure, action, self.name.as_str(), why);
        let login = login().map_err(refused)?;
        let mut command = self.command.clone();
        let config = match &self.files.config {
            None => None,
            Some(text) => {
                let config = Handed::new(&self.files.room, "rclone.conf", text.expose());
                let config = config.map_err(|error| {
                    refused(format!("no file can be made for rclone's configuration: {error}"))
                })?;
                command.extend(["--config".into(), config.path().into()]);
                Some(config)
            }
        };
        command.extend(ARGUMENTS.map(OsString::from));
        let mut environment = self.settings.rclone.environment.clone();
        let password = String::from_utf8_lossy(login.password.expose()).into_owned();
        for prefix in ["RCLONE_", "RCLONE_RC_"] {
            environment.push((format!("{prefix}USER").into(), login.user.as_str().into()));
            environment.push((format!("{prefix}PASS").into(), password.as_str().into()));
        }
        let (tell, mut told) = mpsc::unbounded_channel();
        let is_complaint = move |line: &str| {
            for (which, sign) in READY.into_iter().enumerate() {
                if let Some((_before, address)) = line.split_once(sign) {
                    let _nobody_waits_any_more = tell.send((which, address.to_owned()));
                    return false;
                }
            }
            !line.contains(FIGURES)
        };
        let (mut child, open) = Child::start_overheard(&command, &environment, is_complaint)
            .map_err(|error| refused(error.to_string()).advising(INSTALL))?;
        let ready = async {
            let mut addresses = [None, None];
            while let Some((which, said)) = told.recv().await {
                addresses[which] = address(&said);
                if let [Some(files), Some(control)] = &addresses {
                    return Some((files.clone(), control.clone()));
                }
            }
            None
        };
        let (files, control) = match timeout(self.settings.rclone.start_patience, ready).await {
            Ok(Some(addresses)) => addresses,
            Ok(None) => return Err(refused(does_not_serve(&mut child).await).advising(LOOK)),
            Err(_elapsed) => {
                let why = not_ready(&child, self.settings.rclone.start_patience);
                return Err(refused(why).advising(LOOK));
            }
        };
        child.is_ready();
        let (settings, limiter, observer) = (&self.settings, &self.limiter, &self.observer);
        let tuning = Tuning { http1_only: true, ..Tuning::default() };
        let transport = Transport::new(&settings.http, &tuning, limiter, observer)
            .map_err(|error| error.on(action, self.name.as_str()))?;
        let signed = authorization(&login).map_err(|why| refused(why.to_owned()))?;
        let control = Control { transport, address: control, login: signed };
        let location = location::WebDav { url: files, login: Some(login) };
        let dav = WebDav::new(&location, settings, limiter, observer)?;
        Ok(Session { dav, control, child: Mutex::new(child), _open: open, _config: config })
    }

    /// An answer of the session. After a failure nothing counts that rclone remembers.
    async fn answer<T>(
        &self,
        session: &Session,
        answer: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if error.object == session.dav.location() {
            error.object.clone_from(&self.name);
        }
        let mut child = session.child.lock().await;
        if child.has_ended() {
            let why = child.epitaph().await;
            return Err(StoreError::new(Failure::Transient, error.action, error.object, why));
        }
        drop(child);
        // Where it cannot be told to forget, the failure stays what it is.
        let _told = session.control.forget(error.action, &self.name).await;
        Err(error)
    }

    fn read_only(&self, action: &'static str) -> StoreError {
        let why = "what rclone serves as files is only read";
        StoreError::new(Failure::Permanent, action, self.name.as_str(), why)
    }
}

impl Control {
    /// Makes rclone forget what it knows of directories.
    async fn forget(&self, action: &'static str, name: &str) -> Result<(), StoreError> {
        let refused = |why: String| StoreError::new(Failure::Permanent, action, name, why);
        let url = self.address.join("vfs/forget").map_err(|error| refused(error.to_string()))?;
        let request = Request::post(url.as_str())
            .header(AUTHORIZATION, self.login.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from_static(b"{}")))
            .map_err(|error| refused(error.to_string()))?;
        let answer = self.transport.send(request).await.map_err(|error| error.on(action, name))?;
        let (head, body) = answer.into_parts();
        let body = body.collect(MAX_ANSWER_BYTES).await.map_err(|error| error.on(action, name))?;
        match head.status.is_success() {
            true => Ok(()),
            false => {
                let said = String::from_utf8_lossy(&body);
                let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
                Err(refused(format!("rclone keeps old lists of directories: {said}")))
            }
        }
    }
}

/// A user and a password that nobody can guess.
fn login() -> Result<Login, String> {
    let random = || name_suffix().map_err(|error| error.to_string());
    let user = format!("{:016x}", random()?);
    let password = format!("{:016x}{:016x}", random()?, random()?);
    Ok(Login { user, password: SecretText::new(password) })
}

/// The URL in what rclone said of itself: bare, in brackets, or within JSON.
fn address(said: &str) -> Option<Url> {
    let said = said.trim_start_matches('[');
    let end = said.find([']', '"', ' ', '\\']).unwrap_or(said.len());
    Url::parse(said.get(..end)?).ok().filter(|url| url.scheme() == "http")
}

#[async_trait]
impl Remote for RcloneFiles {
    fn location(&self) -> String {
        self.name.clone()
    }

    fn traits(&self) -> Traits {
        // It reports some failures to reach the remote as absence.
        Traits { connections: CONNECTIONS, flaky: true, limits_itself: true }
    }

    async fn create(&self, _directories: &[String]) -> Result<(), StoreError> {
        Err(self.read_only("create"))
    }

    async fn page(&self, prefix: &str, next: Option<String>) -> Result<Page, StoreError> {
        let session = self.session("list").await?;
        let fresh = session.control.forget("list", &self.name).await;
        let page = match fresh {
            Ok(()) => session.dav.page(prefix, next).await,
            Err(error) => Err(error),
        };
        self.answer(&session, page).await
    }

    async fn stat(&self, name: &str) -> Result<Stat, StoreError> {
        let session = self.session("stat").await?;
        let stat = session.dav.stat(name).await;
        self.answer(&session, stat).await
    }

    async fn read(&self, name: &str, range: Range) -> Result<Bytes, StoreError> {
        let session = self.session("read").await?;
        let read = session.dav.read(name, range).await;
        self.answer(&session, read).await
    }

    async fn put(&self, _name: &str, _bytes: Bytes, _rules: PutRules) -> Result<(), StoreError> {
        Err(self.read_only("write"))
    }

    async fn delete(&self, _name: &str) -> Result<(), StoreError> {
        Err(self.read_only("delete"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_all_that_versions_of_it_say() {
        for said in [
            "http://127.0.0.1:4/",
            "[http://127.0.0.1:4/]",
            "[http://127.0.0.1:4/ http://[::1]:5/]",
            "http://127.0.0.1:4/\",\"source\":\"webdav.go:3\"}",
            "[http://127.0.0.1:4/]\\n\",\"object\":\"Local\"}",
        ] {
            let found = address(said).expect(said);
            assert_eq!((found.host_str(), found.port()), (Some("127.0.0.1"), Some(4)), "{said}");
        }
        assert_eq!(address("https://127.0.0.1:4/"), None);
        assert_eq!(address("somewhere"), None);
    }

    #[test]
    fn nobody_guesses_who_is_let_in() {
        let (one, other) = (login().expect("random"), login().expect("random"));
        assert_ne!(one.password, other.password);
        assert_ne!(one.user, other.user);
        assert_eq!(one.password.expose().len(), 32);
        assert!(!format!("{one:?}").contains(&String::from_utf8_lossy(one.password.expose())[..]));
    }
}
