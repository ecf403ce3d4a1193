//! S3, with a real server on loopback: the suite of conformance, restic beside Windlass, and what a
//! refusal is made of.

mod bad_day;
mod kept;
mod renewed;
mod warm;

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Output, Stdio},
    sync::Arc,
    time::Instant,
};

use windlass_engine::{
    clock::{Clock, SystemClock},
    entropy::Entropy,
    protocol::restic::layout,
    repository::Place,
    store::{
        Existing, Failure, Key, Range, StoreError,
        layout::Layout,
        limit::Limiter,
        location::Location,
        s3::S3Remote,
        settings::{SecretText, StaticKeys, StoreSettings},
        steady::{Line, Steady},
        trace::Observer,
    },
};
use windlass_format::restic::config::Version;
use windlass_testkit::{
    conformance::{self, Naming, absent_location, conformance},
    s3::{KEY_ID, S3Server, SECRET_KEY},
    toxic::{Dose, Poison, Toxic},
};

use super::{
    peer::Restic,
    scene::{Scene, check_within, noise, runtime},
};

/// A server without buckets.
struct Cloud {
    server: S3Server,
}

impl Cloud {
    fn new() -> Self {
        Self { server: S3Server::start() }
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

fn location(address: SocketAddr, path: &str) -> String {
    format!("s3:http://{address}/{path}")
}

fn settings() -> StoreSettings {
    let mut settings = StoreSettings::default();
    settings.s3.credentials.keys = Some(StaticKeys {
        id: KEY_ID.to_owned(),
        secret: SecretText::new(SECRET_KEY),
        session_token: None,
    });
    settings.s3.credentials.no_machine = true;
    settings
}

fn place(location: &str, settings: &StoreSettings) -> Place {
    let location = Location::parse(location).expect("a location");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Place::open(&location, settings, &Observer::default(), &clock, &Entropy::system())
        .expect("a place")
}

fn store(location: &str, settings: &StoreSettings, layout: Layout) -> Steady {
    let Location::S3(location) = Location::parse(location).expect("a location") else {
        panic!("not S3")
    };
    let (limiter, observer) = (Arc::new(Limiter::new(settings.limits)), Observer::default());
    let remote = S3Remote::new(&location, settings, &limiter, &observer, Arc::new(SystemClock))
        .expect("made");
    Line::new(remote, settings, &limiter, &observer, &Entropy::system()).store(layout)
}

/// restic on a repository behind S3.
fn restic(location: &str, arguments: &[&str]) -> Output {
    Command::new("restic")
        .args(["--no-cache", "-r", location])
        .args(arguments)
        .env("RESTIC_PASSWORD", "secret")
        .env("AWS_ACCESS_KEY_ID", KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env_remove("RESTIC_COMPRESSION")
        .stdin(Stdio::null())
        .output()
        .expect("restic runs")
}

fn good_restic(location: &str, arguments: &[&str]) -> String {
    let output = restic(location, arguments);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "restic {arguments:?}: {complained}\n{told}");
    told
}

#[test]
fn a_bucket_conforms_in_every_layout_and_by_either_list() {
    let cloud = Cloud::new();
    for (path, layout, naming, list_v1) in [
        ("bucket", layout(), Naming::Typed, false),
        ("bucket/deep/prefix", layout(), Naming::Typed, true),
        ("flat/p", Layout::Plain, Naming::Flat, false),
    ] {
        let mut settings = settings();
        settings.s3.list_v1 = list_v1;
        let store = store(&location(cloud.address(), path), &settings, layout);
        runtime().block_on(async {
            use windlass_engine::store::Backend;
            store.create().await.expect("created");
            conformance(&store, naming).await;
        });
    }
}

#[test]
fn a_hash_that_is_known_is_signed_and_the_server_proves_it() {
    use sha2::{Digest, Sha256};
    use windlass_engine::store::Backend;

    let cloud = Cloud::new();
    let spool = tempfile::tempdir().expect("a temporary directory");
    let mut settings = settings();
    settings.patience.tries = Some(1);
    settings.spool = Some(spool.path().to_owned());
    let store = store(&location(cloud.address(), "bucket"), &settings, layout());
    let bytes = noise(1, 3 << 20);
    let put = async |name: &str, sum: [u8; 32]| {
        let mut draft = store.draft(16 << 20).expect("a draft");
        bytes.chunks(1 << 20).for_each(|part| draft.append(part).expect("gathered"));
        draft.will_hash_to(sum);
        draft.commit(&Key::new(format!("data/{}", name.repeat(32))), Existing::Keep).await
    };
    runtime().block_on(async {
        store.create().await.expect("created");
        put("4f", Sha256::digest(&bytes).into()).await.expect("stored");
        let key = Key::new(format!("data/{}", "4f".repeat(32)));
        assert_eq!(store.read(&key, Range::All).await.expect("read"), bytes);
        put("5f", [0; 32]).await.expect_err("a hash of something else");
        let key = Key::new(format!("data/{}", "5f".repeat(32)));
        assert_eq!(store.stat(&key).await.expect_err("not there").failure, Failure::NotFound);
    });
    assert_eq!(std::fs::read_dir(spool.path()).expect("listed").count(), 0);
}

#[test]
fn a_bucket_that_is_not_there_is_absence_until_it_is_created() {
    let cloud = Cloud::new();
    let store = store(&location(cloud.address(), "missing"), &settings(), layout());
    let began = Instant::now();
    runtime().block_on(absent_location(&store, Naming::Typed));
    check_within(20, began);
}

#[test]
fn a_prefix_hides_its_neighbours() {
    let cloud = Cloud::new();
    let one = store(&location(cloud.address(), "bucket/one"), &settings(), layout());
    let other = store(&location(cloud.address(), "bucket/one-more"), &settings(), layout());
    runtime().block_on(async {
        use windlass_engine::store::Backend;
        one.create().await.expect("created");
        let key = Key::new(format!("keys/{}", "4f".repeat(32)));
        conformance::put(&other, &key, b"x", Existing::Keep).await.expect("put");
        assert_eq!(conformance::listed(&one, "").await.expect("listed"), []);
        assert_eq!(conformance::listed(&other, "").await.expect("listed").len(), 1);
    });
}

#[test]
fn both_programs_work_in_one_bucket() {
    if Restic::at(Path::new("none")).is_none() {
        return;
    }
    let cloud = Cloud::new();
    let location = location(cloud.address(), "bucket/repository");
    let scene = Scene::new();
    scene.write("small", "text");
    scene.write("deep/er/empty", "");
    scene.write("large", noise(1, 9 << 20));
    good_restic(&location, &["init"]);
    good_restic(&location, &["backup", scene.source().to_str().expect("UTF-8")]);
    let repository = scene.try_open_at(&place(&location, &settings())).expect("opened");
    let [(_id, root)] = &scene.roots(&repository)[..] else { panic!("one snapshot") };
    scene.check_restore(&repository, root, "theirs");

    scene.write("large", noise(2, 9 << 20));
    scene.write("more", noise(3, 1 << 20));
    let report = scene.back_up(&repository);
    let root = scene.root(&repository, &report);
    scene.check_restore(&repository, &root, "ours");
    scene.check_whole(&repository);
    good_restic(&location, &["check", "--read-data"]);
    let target = scene.path("restored by restic");
    good_restic(&location, &["restore", "latest", "--target", target.to_str().expect("UTF-8")]);
    let source = scene.source();
    let restored = target.join(source.strip_prefix("/").expect("absolute"));
    assert_eq!(super::scene::differences(&source, &restored), []);
}

#[test]
fn restic_accepts_what_was_created_here() {
    let cloud = Cloud::new();
    let location = location(cloud.address(), "fresh/repository");
    let scene = Scene::new();
    scene.write("file", noise(4, 100_000));
    let place = place(&location, &settings());
    let missing = scene.try_open_at(&place).expect_err("nothing there yet").to_string();
    assert!(missing.contains("does not exist"), "{missing}");
    super::scene::init(&place, Version::V2);
    let repository = scene.try_open_at(&place).expect("opened");
    scene.back_up(&repository);
    if Restic::at(Path::new("none")).is_some() {
        good_restic(&location, &["check", "--read-data"]);
    }
}

/// The failure of a first read.
fn refused(location: &str, settings: &StoreSettings) -> StoreError {
    let store = store(location, settings, layout());
    let began = Instant::now();
    let result = runtime().block_on(async {
        use windlass_engine::store::Backend;
        store.read(&Key::new("config"), Range::All).await
    });
    check_within(10, began);
    result.expect_err("refused")
}

#[test]
fn refusals_say_what_is_wrong_and_what_to_do() {
    let cloud = Cloud::new();
    let here = location(cloud.address(), "bucket");
    runtime().block_on(async {
        use windlass_engine::store::Backend;
        store(&here, &settings(), layout()).create().await.expect("created");
    });
    let check = |error: StoreError, failure, why: &str, advice: &str| {
        assert_eq!(error.failure, failure, "{error}");
        assert!(error.to_string().contains(why), "{error}");
        assert!(error.advice().unwrap_or_default().contains(advice), "{error:?}");
    };
    let error = refused(&here, &settings());
    check(error, Failure::NotFound, "no such object", "");
    let error = refused(&location(cloud.address(), "missing"), &settings());
    check(error, Failure::NotFound, "the bucket does not exist", "init");

    let mut wrong = settings();
    wrong.s3.credentials.keys.as_mut().expect("keys").secret = SecretText::new("wrong");
    check(
        refused(&here, &wrong),
        Failure::Denied,
        "secret key does not fit",
        "AWS_SECRET_ACCESS_KEY",
    );
    let mut anonymous = settings();
    anonymous.s3.credentials.anonymous = true;
    assert_eq!(refused(&here, &anonymous).failure, Failure::Denied);
    let mut nobody = settings();
    nobody.s3.credentials.keys = None;
    check(refused(&here, &nobody), Failure::Denied, "no credentials", "AWS_ACCESS_KEY_ID");

    let toxic = Toxic::before(cloud.address());
    toxic.add(Dose::always(Poison::Page));
    let error = refused(&location(toxic.address(), "bucket"), &settings());
    check(error, Failure::Permanent, "web page", "proxy");

    // There is no TLS at this port.
    let tls = format!("s3:https://{}/bucket", cloud.address());
    check(refused(&tls, &settings()), Failure::Permanent, "TLS", "http://");
}

#[test]
fn an_address_where_nobody_listens_is_not_absence() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let mut settings = settings();
    settings.patience.nobody = std::time::Duration::from_secs(1);
    let error = refused(&location(address, "bucket"), &settings);
    assert_eq!(error.failure, Failure::Unreachable);
    assert!(error.to_string().contains("cannot connect"), "{error}");
    assert!(error.advice().expect("advice").contains("host and port"));
}
