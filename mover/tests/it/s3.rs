//! Repositories in S3, as people meet them: what goes wrong is named with its next step, nothing
//! secret is printed, and credentials that may only add are enough for backups.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use windlass_testkit::{
    s3::{KEY_ID, Rules, S3Server, SECRET_KEY},
    toxic::{self, Dose, Poison, Toxic},
};

use crate::{
    place::{PASSWORD, Place, Said, skipped},
    restic::there_is_restic,
};

const BUCKET: &str = "bucket";

/// A place whose repository is in a bucket, behind a proxy.
struct Cloud {
    place: Place,
    server: S3Server,
    toxic: Toxic,
}

impl Cloud {
    /// With a bucket and nothing in it.
    fn new() -> Self {
        let server = S3Server::start();
        server.make(BUCKET);
        let toxic = Toxic::before(server.address());
        Self { place: Place::new(), server, toxic }
    }

    fn with_repository() -> Self {
        let cloud = Self::new();
        cloud.done(&["init"]);
        cloud
    }

    fn location(&self) -> String {
        format!("s3:http://{}/{BUCKET}/r", self.toxic.address())
    }

    fn dressed<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("RESTIC_REPOSITORY", self.location()).env("RESTIC_PASSWORD", PASSWORD);
        command.env("AWS_ACCESS_KEY_ID", KEY_ID).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command.env("AWS_EC2_METADATA_DISABLED", "true")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.place.command(args);
        self.dressed(&mut command);
        command
    }

    fn done(&self, args: &[&str]) -> Said {
        let said = Said::of(&mut self.command(args));
        assert_eq!(said.code, Some(0), "{said:?}");
        said
    }

    /// Fails at once, naming the cause and the next step.
    fn refused(&self, command: &mut Command, code: i32, words: &[&str]) {
        let began = Instant::now();
        let said = Said::of(command);
        said.refused(code, words);
        assert!(began.elapsed() < Duration::from_secs(20), "{said:?}");
        assert!(!said.err.contains(SECRET_KEY), "{said:?}");
        let causes = said.err.lines().filter(|line| line.starts_with("Fatal: ")).count();
        assert_eq!(causes, 1, "one sentence: {said:?}");
    }

    /// What restic says of the same bucket.
    fn restic(&self, args: &[&str]) -> Said {
        let mut command = Command::new("restic");
        command.env_remove("RESTIC_COMPRESSION").env("HOME", self.place.path("home"));
        command.arg("--no-cache").args(args);
        let said = Said::of(self.dressed(&mut command));
        assert_eq!(said.code, Some(0), "{said:?}");
        said
    }
}

#[test]
fn credentials_that_will_not_do_are_named() {
    let cloud = Cloud::with_repository();
    let snapshots = || cloud.command(&["snapshots"]);
    let next = "Next step:";
    cloud.refused(
        snapshots().env("AWS_ACCESS_KEY_ID", "somebody"),
        1,
        &["does not know this access key", next, "AWS_ACCESS_KEY_ID"],
    );
    cloud.refused(
        snapshots().env("AWS_SECRET_ACCESS_KEY", "wrong"),
        1,
        &["secret key does not fit", next, "AWS_SECRET_ACCESS_KEY"],
    );
    cloud.refused(
        snapshots().env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY"),
        1,
        &["no credentials", next, "AWS_ACCESS_KEY_ID"],
    );
    cloud.refused(
        snapshots().env_remove("AWS_SECRET_ACCESS_KEY"),
        1,
        &["AWS_SECRET_ACCESS_KEY is empty", next],
    );
}

#[test]
fn what_the_service_refuses_is_said_with_its_cause_and_the_next_step() {
    let cloud = Cloud::with_repository();
    for (status, code, more, words) in [
        (400, "ExpiredToken", "", &["session token has expired", "AWS_SESSION_TOKEN"]),
        (403, "RequestTimeTooSkewed", "", &["clock is wrong", "set the clock"]),
        (
            400,
            "AuthorizationHeaderMalformed",
            "<Region>eu-west-3</Region>",
            &["the bucket is in region eu-west-3", "s3.region=eu-west-3"],
        ),
        (403, "AccessDenied", "", &["may not do this", "policy"]),
        (403, "InvalidObjectState", "", &["archived", "restore it from the archive"]),
    ] {
        cloud.toxic.clear();
        let text = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code>{more}</Error>");
        let poison = Poison::Say { status, kind: "application/xml", text };
        cloud.toxic.add(Dose::always(poison));
        // A region that was set is not changed for another.
        let region = ["snapshots", "-o", "s3.region=us-east-1"];
        cloud.refused(&mut cloud.command(&region), 1, &[words[0], "Next step:", words[1]]);
    }
    cloud.toxic.clear();
    cloud.toxic.add(Dose::always(Poison::Page));
    let words = ["a web page came", "\"Welcome\"", "Next step:", "proxy"];
    cloud.refused(&mut cloud.command(&["snapshots"]), 1, &words);
}

#[test]
fn what_is_missing_is_no_repository() {
    let cloud = Cloud::new();
    let location = format!("s3:http://{}/nowhere/r", cloud.toxic.address());
    cloud.refused(
        cloud.command(&["snapshots"]).env("RESTIC_REPOSITORY", &location),
        10,
        &["repository does not exist", "the bucket does not exist", &location],
    );
    cloud.refused(&mut cloud.command(&["snapshots"]), 10, &["repository does not exist"]);
    assert!(cloud.server.keys(BUCKET).is_empty());
}

/// A TLS server of OpenSSL whose certificate is its own authority, for one name.
struct Tls {
    child: Child,
    address: SocketAddr,
}

impl Tls {
    fn start(place: &Place, name: &str) -> Option<Self> {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-days", "2", "-subj", "/CN=test", "-keyout", "key.pem"])
            .args(["-out", "ca.pem", "-addext", &format!("subjectAltName={name}")])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .current_dir(place.dir.path())
            .stderr(Stdio::null())
            .status();
        if !made.is_ok_and(|status| status.success()) {
            skipped("there is no openssl for a TLS server");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = port.local_addr().expect("bound");
        drop(port);
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", "-www", "-accept", &address.to_string()])
            .args(["-cert", "ca.pem", "-key", "key.pem"])
            .current_dir(place.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "openssl listens");
            thread::sleep(Duration::from_millis(20));
        }
        Some(Self { child, address })
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

#[test]
fn certificates_that_will_not_do_are_named() {
    let cloud = Cloud::new();
    let Some(tls) = Tls::start(&cloud.place, "DNS:somewhere.example") else { return };
    let location = format!("s3:https://{}/{BUCKET}/r", tls.address);
    let snapshots = |args: &[&str]| {
        let mut command = cloud.command(&[&["snapshots"], args].concat());
        command.env("RESTIC_REPOSITORY", &location);
        command
    };
    cloud.refused(&mut snapshots(&[]), 1, &["authority that is not trusted", "--cacert"]);
    cloud.refused(
        &mut snapshots(&["--cacert=ca.pem"]),
        1,
        &["certificate is for another name", "Next step:", "the name that the certificate is for"],
    );
    // With any certificate, OpenSSL's page is all there is.
    cloud.refused(&mut snapshots(&["--insecure-tls"]), 1, &["a web page came"]);
    let plain = format!("s3:https://{}/{BUCKET}/r", cloud.server.address());
    let mut command = cloud.command(&["snapshots"]);
    cloud.refused(command.env("RESTIC_REPOSITORY", &plain), 1, &["no TLS", "http://"]);
}

#[test]
fn backups_need_no_right_to_delete_or_overwrite() {
    let cloud = Cloud::with_repository();
    cloud.server.set_rules(Rules { no_delete: true, no_overwrite: true, no_bucket: true });
    for args in [&["backup", "src"][..], &["backup", "src"], &["restore", "latest", "--target=out"]]
    {
        let said = cloud.done(args);
        assert!(said.err.contains("the lock stays"), "{said:?}");
        assert!(said.err.contains("may not do this"), "{said:?}");
    }
    let locks = || cloud.server.keys(BUCKET).iter().filter(|key| key.contains("/locks/")).count();
    assert_eq!(locks(), 3);
    let forget = ["forget", "--keep-last=1"];
    let words = ["these credentials may not do this", "Next step:", "policy"];
    cloud.refused(&mut cloud.command(&forget), 1, &words);
    // Those who clean up have other credentials, and see that nobody is at work any more.
    cloud.server.set_rules(Rules::default());
    cloud.done(&["unlock", "--remove-all"]);
    assert_eq!(locks(), 0);
    cloud.done(&["forget", "--keep-last=1", "--prune"]);
    if there_is_restic() {
        cloud.restic(&["check", "--read-data"]);
    }
}

#[test]
fn every_request_can_be_seen_and_no_secret() {
    const TOKEN: &str = "session-token-that-is-secret";
    let cloud = Cloud::with_repository();
    let mut command = cloud.command(&["backup", "src", "-vvv"]);
    let said = Said::of(command.env("AWS_SESSION_TOKEN", TOKEN));
    assert_eq!(said.code, Some(0), "{said:?}");
    for words in ["PUT 127.0.0.1", "/bucket/r/snapshots/", "GET 127.0.0.1", ": 200, "] {
        assert!(said.err.contains(words), "{words}: {said:?}");
    }
    for secret in [SECRET_KEY, TOKEN, PASSWORD, "Signature", "Credential="] {
        assert!(!said.err.contains(secret) && !said.out.contains(secret), "{secret}: {said:?}");
    }
    let quiet = cloud.done(&["backup", "src", "-vv"]);
    assert!(!quiet.err.contains("PUT 127.0.0.1"), "{quiet:?}");
}

#[test]
fn limits_hold_on_the_way_to_a_server() {
    let cloud = Cloud::with_repository();
    let mut noise = Vec::new();
    let mut state = 1_u64;
    while noise.len() < 600_000 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.extend_from_slice(&state.to_le_bytes()[4..]);
    }
    cloud.place.write("src/noise", &noise);
    let timed = |args: &[&str]| {
        let began = Instant::now();
        cloud.done(args);
        began.elapsed()
    };
    // 600 kB at 200 KiB/s is 3 s, less what may go at once.
    let slow = timed(&["backup", "src", "--limit-upload=200"]);
    assert!(slow > Duration::from_millis(1500), "{slow:?}");
    let slow = timed(&["restore", "latest", "--target=out", "--limit-download=200"]);
    assert!(slow > Duration::from_millis(1500), "{slow:?}");
}

#[test]
fn connections_are_no_more_than_was_said() {
    let cloud = Cloud::with_repository();
    for number in 0..6 {
        let content = crate::place::noise(number, 5 << 20);
        cloud.place.write(&format!("src/{number}"), &content);
    }
    let slow = Poison::Latency(Duration::from_millis(80));
    cloud.toxic.add(Dose::of("PUT", "/data/", 0, 99, slow));
    for (connections, most) in [("s3.connections=1", 1), ("s3.connections=2", 2)] {
        let host = format!("host-{most}");
        drop(cloud.toxic.take_seen());
        let args = ["backup", "src", "--pack-size=4", "--force", "--host", &host];
        let options = ["-o", connections, "-o", "local.connections=9"];
        // Something new for each.
        cloud.place.write("src/more", &crate::place::noise(90 + most as u64, 9 << 20));
        cloud.done(&[&args[..], &options[..]].concat());
        let mut seen = cloud.toxic.take_seen();
        seen.retain(|seen| seen.method == "PUT" && seen.target.contains("/data/"));
        assert!(seen.len() >= 2, "{seen:?}");
        assert_eq!(toxic::at_once(&seen), most, "{seen:?}");
    }
}

#[test]
fn an_address_where_nobody_is_is_told_within_seconds() {
    let place = Place::new();
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("bound")
    };
    let began = Instant::now();
    let locations = [
        format!("s3:http://{nobody}/{BUCKET}/r"),
        format!("s3:https://there-is-no-such-host.invalid/{BUCKET}/r"),
        format!("rest:http://{nobody}/r/"),
        format!("webdav:http://{nobody}/r"),
        "azure:container:/r".to_owned(),
    ];
    // At once, so that the test takes no longer than one of them.
    let said: Vec<Said> = thread::scope(|scope| {
        let ask = |location: String| {
            let mut command = place.bare();
            command.args(["snapshots", "-r", &location]).env("RESTIC_PASSWORD", PASSWORD);
            command.env("AWS_ACCESS_KEY_ID", KEY_ID).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
            command.env("AZURE_ACCOUNT_NAME", "account").env("AZURE_ACCOUNT_KEY", "a2V5");
            command.env("AZURE_ENDPOINT_SUFFIX", format!("http://{nobody}/account"));
            scope.spawn(move || Said::of(&mut command))
        };
        let asking: Vec<_> = locations.into_iter().map(ask).collect();
        asking.into_iter().map(|said| said.join().expect("no panic")).collect()
    });
    for said in said {
        said.refused(1, &["cannot connect", "Next step:", "host and port"]);
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn what_could_be_deleted_is_told_and_kept_when_asked_to() {
    let cloud = Cloud::with_repository();
    cloud.done(&["backup", "src"]);
    let lock = ["-o", "s3.object-lock=governance", "-o", "s3.object-lock-days=30"];
    let check = |more: &[&str]| {
        let args = [&["check", "--immutability"], more].concat();
        Said::of(&mut cloud.command(&args))
    };
    let open = check(&[]);
    open.refused(1, &["can be deleted by whoever may delete", "--renew"]);
    for name in ["config can be deleted", "keys/", "snapshots/", "data/", "index/"] {
        assert!(open.out.contains(name), "{name}: {open:?}");
    }
    check(&["--renew"]).refused(1, &["for how long", "s3.object-lock-days"]);
    let renewed = check(&[&["--renew"], &lock[..]].concat());
    assert_eq!(renewed.code, Some(0), "{renewed:?}");
    assert!(renewed.out.contains("are kept longer than before"), "{renewed:?}");
    assert!(renewed.out.contains("cannot be deleted before"), "{renewed:?}");
    // Backups with the same options leave nothing open.
    cloud.place.write("src/new", b"new");
    cloud.done(&[&["backup", "src"], &lock[..]].concat());
    let json = check(&["--json"]).message("summary");
    assert_eq!(json["unprotected"].as_array().map(Vec::len), Some(0), "{json}");
    let objects = cloud.server.keys(BUCKET).len() as u64;
    assert_eq!((json["kept"].as_u64(), json["renewed"].as_u64()), (Some(objects), Some(0)));
    assert!(json["kept_until"].as_str().is_some_and(|until| until.starts_with("20")), "{json}");
    let here = Said::of(&mut cloud.place.command(&["init"]));
    assert_eq!(here.code, Some(0), "{here:?}");
    let local = Said::of(&mut cloud.place.command(&["check", "--immutability"]));
    local.refused(1, &["does not say what it keeps", "object lock"]);
}
