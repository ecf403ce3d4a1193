//! Snapshots over HTTP and WebDAV, asked for by hand and by a real client.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use windlass_engine::format::restic::tree::NodeKind;
use windlass_testkit::server::rclone::Rclone;

use crate::{
    forge::{Forger, directory, node},
    place::{Place, Said, files, noise, skipped},
};

/// A running `windlass serve`.
struct Server {
    child: Child,
    address: SocketAddr,
}

/// An answer.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    /// Whether the body came to its end.
    is_whole: bool,
}

impl Server {
    fn start(place: &Place, args: &[&str]) -> Self {
        let args = [&["serve", "--listen", "0"], args].concat();
        let mut command = place.command(&args);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("serving snapshots at http://");
        let address = address.and_then(|address| address.strip_suffix('/'));
        let address = address.unwrap_or_else(|| panic!("{line}")).parse().expect("an address");
        Self { child, address }
    }

    fn stream(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
        stream
    }

    /// Sends a request as it stands and reads all that comes.
    fn raw(&self, request: &[u8]) -> Reply {
        let mut stream = self.stream();
        stream.write_all(request).expect("sent");
        let mut bytes = Vec::new();
        let _ends_as_it_ends = stream.read_to_end(&mut bytes);
        Reply::of(&bytes)
    }

    fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Reply {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"
        );
        self.raw(request.as_bytes())
    }

    fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[])
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The most memory it ever had.
    fn peak_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("told");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
        let kib = line.trim().strip_suffix("kB").expect("a unit").trim();
        kib.parse::<u64>().expect("a number") << 10
    }

    /// Ends it as a person or a system would; gives what it had to complain of.
    fn end(mut self) -> Said {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("sent");
        let began = Instant::now();
        let status = self.child.wait().expect("ends");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        let mut err = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut err).expect("UTF-8");
        Said { code: status.code(), out: String::new(), err }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_already = (self.child.kill(), self.child.wait());
    }
}

impl Reply {
    fn of(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("{}", bytes.escape_ascii()));
        let head = String::from_utf8(bytes[..end].to_vec()).expect("ASCII");
        let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
        let headers: BTreeMap<String, String> = head
            .lines()
            .skip(1)
            .map(|line| line.split_once(": ").expect("a header"))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let mut rest = &bytes[end + 4..];
        if headers.get("transfer-encoding").is_none_or(|coding| coding != "chunked") {
            let length = headers.get("content-length").and_then(|length| length.parse().ok());
            let is_whole = length.is_none_or(|length: usize| length == rest.len());
            return Self { status, headers, body: rest.to_vec(), is_whole };
        }
        let mut body = Vec::new();
        loop {
            let line = rest.windows(2).position(|two| two == b"\r\n");
            let Some(line) = line else {
                return Self { status, headers, body, is_whole: false };
            };
            let size = std::str::from_utf8(&rest[..line]).expect("ASCII");
            let size = usize::from_str_radix(size, 16).expect("hex");
            if size == 0 {
                return Self { status, headers, body, is_whole: true };
            }
            let piece = &rest[line + 2..];
            if piece.len() < size + 2 {
                return Self { status, headers, body, is_whole: false };
            }
            body.extend_from_slice(&piece[..size]);
            rest = &piece[size + 2..];
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// What every answer has.
    fn checked(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {}", self.headers, self.text());
        assert!(self.is_whole, "{:?}", self.headers);
        assert!(self.header("content-security-policy").starts_with("default-src 'none'"));
        assert_eq!(self.header("x-content-type-options"), "nosniff");
        self
    }
}

/// The source in the newest snapshot.
const SOURCE: &str = "/snapshots/latest/src";

#[test]
fn files_and_parts_of_files_are_given_byte_for_byte() {
    let place = Place::with_repository();
    let large = noise(3, 3_000_000);
    place.write("src/large.bin", &large);
    place.write("src/empty", b"");
    place.write("src/a b%2f&<i>\u{fc}.txt", b"odd");
    place.write("src/page.html", b"<script>alert(1)</script>");
    place.done(&["backup", "src"]);
    let server = Server::start(&place, &[]);
    assert_eq!(files(&place.path("repo/locks")).len(), 1, "others can see it");
    let path = |name: &str| format!("{SOURCE}/{name}");

    let whole = server.get(&path("large.bin")).checked(200);
    assert!(whole.body == large);
    assert_eq!(whole.header("content-length"), "3000000");
    assert_eq!(whole.header("content-type"), "application/octet-stream");
    assert!(whole.header("content-disposition").starts_with("attachment"));
    let tag = whole.header("etag").to_owned();
    for (range, status, expected) in [
        ("bytes=0-0", 206, &large[..1]),
        ("bytes=1000000-2000000", 206, &large[1_000_000..=2_000_000]),
        ("bytes=2999990-", 206, &large[2_999_990..]),
        ("bytes=-7", 206, &large[2_999_993..]),
        ("bytes=0-1,5-6", 200, &large[..]),
    ] {
        let part = server.ask("GET", &path("large.bin"), &[&format!("Range: {range}")]);
        assert!(part.checked(status).body == expected, "{range}");
    }
    let part = server.ask("GET", &path("large.bin"), &["Range: bytes=5-9"]).checked(206);
    assert_eq!(part.header("content-range"), "bytes 5-9/3000000");
    let beyond = server.ask("GET", &path("large.bin"), &["Range: bytes=3000000-"]).checked(416);
    assert_eq!(beyond.header("content-range"), "bytes */3000000");
    let same = ["Range: bytes=5-9".to_owned(), format!("If-Range: {tag}")];
    let same: Vec<&str> = same.iter().map(String::as_str).collect();
    assert_eq!(server.ask("GET", &path("large.bin"), &same).checked(206).body, large[5..10]);
    let other = ["Range: bytes=5-9", "If-Range: \"other\""];
    assert_eq!(server.ask("GET", &path("large.bin"), &other).checked(200).body.len(), 3_000_000);
    let known = server.ask("GET", &path("large.bin"), &[&format!("If-None-Match: \"x\", {tag}")]);
    assert!(known.checked(304).body.is_empty());
    let since = format!("If-Modified-Since: {}", whole.header("last-modified"));
    server.ask("GET", &path("large.bin"), &[&since]).checked(304);

    let head = server.ask("HEAD", &path("large.bin"), &[]);
    assert_eq!((head.status, head.header("content-length")), (200, "3000000"));
    assert!(head.body.is_empty());
    assert!(server.get(&path("empty")).checked(200).body.is_empty());
    let odd = server.get(&path("a%20b%252f%26%3Ci%3E%C3%BC.txt")).checked(200);
    assert_eq!(
        (odd.text().as_str(), odd.header("content-type")),
        ("odd", "text/plain; charset=utf-8")
    );
    let page = server.get(&path("page.html")).checked(200);
    assert_eq!(page.header("content-type"), "application/octet-stream");
    assert!(page.header("content-disposition").starts_with("attachment"));

    let listed = server.get(&path("")).checked(200);
    assert_eq!(listed.header("content-type"), "text/html; charset=utf-8");
    let listed = listed.text();
    assert!(
        listed.contains("href=\"a%20b%252f%26%3Ci%3E%C3%BC.txt\">a b%2f&amp;&lt;i&gt;\u{fc}.txt<")
    );
    assert!(listed.contains("href=\"d/\">d/<") && listed.contains("</html>"), "{listed}");
    assert_eq!(server.get(SOURCE).checked(301).header("location"), path(""));
    for missing in ["nothing", "a/b", "d/..", "%2e%2e", "d%2Fb", "%00"] {
        server.get(&path(missing)).checked(404);
    }
    let said = server.end();
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert!(files(&place.path("repo/locks")).is_empty());
}

#[test]
fn a_directory_comes_as_an_archive() {
    let place = Place::with_repository();
    std::os::unix::fs::symlink("a", place.path("src/link")).expect("a link");
    place.done(&["backup", "src"]);
    let server = Server::start(&place, &["--no-lock"]);
    assert!(files(&place.path("repo/locks")).is_empty());
    let answer = server.get(&format!("{SOURCE}/?tar")).checked(200);
    assert_eq!(answer.header("content-type"), "application/x-tar");
    assert!(answer.header("content-disposition").ends_with("src.tar"));
    let mut archive = tar::Archive::new(&answer.body[..]);
    archive.unpack(place.path("out")).expect("unpacked");
    for name in ["a", "d/b"] {
        let (was, is) = (place.path("src").join(name), place.path("out/src").join(name));
        assert_eq!(fs::read(was).expect("read"), fs::read(is).expect("read"));
    }
    assert_eq!(fs::read_link(place.path("out/src/link")).expect("a link"), Path::new("a"));
    let answer = server.get(&format!("{SOURCE}/d/?zip")).checked(200);
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(answer.body)).expect("a zip");
    let mut content = Vec::new();
    zip.by_name("d/b").expect("there").read_to_end(&mut content).expect("read");
    assert_eq!(content, [7; 100_000]);
    // Above the snapshots there is nothing to make one of.
    server.get("/snapshots/?tar").checked(404);
}

#[test]
fn a_real_webdav_client_copies_everything() {
    let Some(rclone) = Rclone::find() else { return };
    let place = Place::with_repository();
    let odd = "src/d/a b+c%41&\u{e9} #?;.txt";
    place.write(odd, b"odd");
    fs::create_dir_all(place.path("src/d/e/empty")).expect("made");
    place.write("src/d/e/large", &noise(8, 5_000_000));
    for number in 0..700 {
        place.write(&format!("src/d/e/{number:03}"), &[number as u8]);
    }
    std::os::unix::fs::symlink("a", place.path("src/link")).expect("a link");
    place.done(&["backup", "src"]);
    place.write("password", b"open sesame\n");
    let login = ["--user", "alice", "--user-password-file", "password"];
    let server = Server::start(&place, &login);
    let run = |args: &[&str]| {
        let mut command = Command::new(rclone.program());
        command.env("RCLONE_CONFIG", place.path("rclone.conf")).current_dir(place.dir.path());
        command.args(["--webdav-url", &server.url(), "--webdav-user", "alice", "--retries", "1"]);
        Said::of(command.args(args))
    };
    let obscured = Command::new(rclone.program()).args(["obscure", "open sesame"]).output();
    let obscured = String::from_utf8(obscured.expect("runs").stdout).expect("ASCII");
    let password = ["--webdav-pass", obscured.trim()];
    let with = |args: &[&str]| {
        let said = run(&[&password, args].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
        said.out
    };
    let top = with(&["lsf", ":webdav:"]);
    assert_eq!(top.lines().collect::<Vec<_>>(), ["hosts/", "ids/", "snapshots/", "tags/"]);
    let remote = format!(":webdav:{SOURCE}");
    with(&["copy", "--create-empty-src-dirs", &remote, "out"]);
    fs::remove_file(place.path("src/link")).expect("removed: WebDAV has no links");
    let mut differing = windlass_testkit::compare::compare(&place.path("src"), &place.path("out"))
        .expect("compared");
    use windlass_testkit::compare::Aspect;
    differing
        .retain(|found| matches!(found.aspect, Aspect::Presence | Aspect::Content | Aspect::Kind));
    assert_eq!(differing, []);
    // What is there already, by size and time, is not copied again.
    let again =
        run(&[&password[..], &["copy", "-v", &remote, "out", "--modify-window", "1s"]].concat());
    assert!(!again.err.contains("Copied"), "{again:?}");
    let refused = run(&[&password[..], &["copy", "src/a", ":webdav:ids/"]].concat());
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert_ne!(run(&["lsf", ":webdav:"]).code, Some(0), "without the password");
    let said = server.end();
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
}

#[test]
fn only_what_reads_is_answered_and_only_to_whom_it_may_concern() {
    let place = Place::with_repository();
    place.done(&["backup", "src"]);
    let server = Server::start(&place, &[]);
    let options = server.ask("OPTIONS", "/", &[]).checked(200);
    assert_eq!(
        (options.header("dav"), options.header("allow")),
        ("1", "OPTIONS, GET, HEAD, PROPFIND")
    );
    for method in ["PUT", "POST", "DELETE", "MKCOL", "MOVE", "COPY", "PROPPATCH", "LOCK", "PATCH"] {
        let answer = server.ask(method, "/ids/", &["Content-Length: 0"]).checked(405);
        assert_eq!(answer.header("allow"), "OPTIONS, GET, HEAD, PROPFIND");
    }
    for depth in ["Depth: infinity", "X: no depth at all"] {
        let answer = server.ask("PROPFIND", "/", &[depth]).checked(403);
        assert!(answer.text().contains("propfind-finite-depth"));
    }
    let body =
        "<propfind xmlns='DAV:'><prop><getcontentlength/><x xmlns='urn:y'/></prop></propfind>";
    let asked = |path: &str, depth: u8| {
        let length = format!("Content-Length: {}", body.len());
        let request = format!(
            "PROPFIND {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nDepth: {depth}\r\n\
             {length}\r\n\r\n{body}"
        );
        server.raw(request.as_bytes()).checked(207).text()
    };
    let file = asked(&format!("{SOURCE}/a"), 1);
    assert!(file.contains("<D:getcontentlength>5</D:getcontentlength>"), "{file}");
    assert!(file.contains("<x:x xmlns:x=\"urn:y\"/></D:prop><D:status>HTTP/1.1 404"), "{file}");
    assert_eq!(file.matches("<D:response>").count(), 1);
    assert_eq!(asked("/", 0).matches("<D:response>").count(), 1);
    assert_eq!(asked("/", 1).matches("<D:response>").count(), 5);
    let long = "x".repeat(100_000);
    let request = format!(
        "PROPFIND / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nDepth: 0\r\n\
         Content-Length: 100000\r\n\r\n{long}"
    );
    assert_eq!(server.raw(request.as_bytes()).status, 400);

    for host in ["evil.example", "evil.example:80", ""] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        server.raw(request.as_bytes()).checked(421);
    }
    server.raw(b"GET / HTTP/1.0\r\n\r\n").checked(421);
    server
        .raw(b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .checked(421);
    if rustix::process::geteuid().is_root()
        && let Some(rclone) = Rclone::find()
    {
        let mut command = Command::new(rclone.program());
        command.args(["lsf", ":webdav:", "--retries", "1", "--webdav-url", &server.url()]);
        let said = Said::of(place.as_nobody(command.env("HOME", "/nonexistent")));
        assert!(said.code != Some(0) && said.err.contains("403"), "{said:?}");
    } else {
        skipped("another user needs root and rclone");
    }
    assert_eq!(server.end().code, Some(0));

    for (args, word) in [
        (&["--listen", "0.0.0.0:0"][..], "--allow-remote"),
        (&["--listen", "0.0.0.0:0", "--allow-remote"], "--user"),
        (&["--listen", "nowhere"], "127.0.0.1"),
        (&["--time-template", "/"], "time template"),
    ] {
        place.run(&[&["serve"], args].concat()).refused(1, &[word]);
    }
}

#[test]
fn what_snapshots_made_to_do_harm_hold_does_none() {
    let place = Place::with_repository();
    let mut forger = Forger::new(&place);
    let file = |forger: &mut Forger<'_>, name: &str, size| forger.file(name, b"harmless", size);
    let nodes = vec![
        file(&mut forger, "..", 8),
        file(&mut forger, "<img src=x onerror=alert(1)>", 8),
        file(&mut forger, "a/b", 8),
        file(&mut forger, "good", 8),
        file(&mut forger, "huge", 1 << 60),
        node("socket", NodeKind::Socket),
    ];
    let mut nodes = nodes;
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    let tree = forger.tree(nodes);
    let top = forger.tree(vec![directory("d", tree)]);
    forger.snapshot(top);
    let server = Server::start(&place, &[]);
    let page = server.get("/snapshots/latest/d/").checked(200).text();
    assert!(page.contains("good") && !page.contains("a/b") && !page.contains("<img"), "{page}");
    assert_eq!(server.get("/snapshots/latest/d/good").checked(200).text(), "harmless");
    server.get("/snapshots/latest/d/huge").checked(500);
    server.get("/snapshots/latest/d/socket").checked(404);
    server.get("/snapshots/latest/d/..").checked(404);
    let tar = server.get("/snapshots/latest/d/?tar");
    assert!(!tar.is_whole, "what cannot be read cannot be taken for the end");
    let said = server.end();
    assert!(said.code == Some(0) && !said.err.contains("panicked"), "{said:?}");
    assert!(said.err.contains("huge"), "{said:?}");
}

#[test]
fn slow_clients_hold_no_memory() {
    const MOST_BYTES: u64 = 220 << 20;
    let place = Place::with_repository();
    let large = noise(5, 160 << 20);
    place.write("src/large", &large);
    place.done(&["backup", "src", "--compression", "off"]);
    let server = Server::start(&place, &[]);
    let request =
        format!("GET {SOURCE}/large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut slow = Vec::new();
    for client in 0..24_usize {
        let mut stream = server.stream();
        let from = client * (6 << 20);
        let part = request.replace("Connection", &format!("Range: bytes={from}-\r\nConnection"));
        stream.write_all(part.as_bytes()).expect("sent");
        stream.read_exact(&mut [0; 1000]).expect("it begins");
        slow.push(stream);
    }
    thread::scope(|scope| {
        for _client in 0..2 {
            scope.spawn(|| assert!(server.raw(request.as_bytes()).body == large));
        }
    });
    // Those who were slow get the rest all the same.
    let mut last = slow.pop().expect("a client");
    let mut rest = Vec::new();
    last.read_to_end(&mut rest).expect("read");
    assert!(large.ends_with(&rest[rest.len() - (1 << 20)..]));
    drop(slow);
    let peak = server.peak_bytes();
    assert!(peak < MOST_BYTES, "{} MiB", peak >> 20);
    let said = server.end();
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
}
