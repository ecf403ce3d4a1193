//! A proxy in front of an object server that makes it far away, and counts what goes through it.
//!
//! Invariants
//! - Every request waits as long as every other; bytes are handed on as they come.
//! - Requests are told by when they began and ended at the proxy, so that those which had to wait
//!   for each other can be told from those side by side.
//!
//! Not here: TLS, and anything but HTTP/1.1.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A running proxy; it stops taking connections when it is dropped.
pub(super) struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    upstream: SocketAddr,
    delay: Duration,
    requests: Mutex<Vec<Request>>,
    is_over: AtomicBool,
}

/// One request and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    /// Bytes of its body.
    pub(super) sent: u64,
    /// Bytes of the answer's body.
    pub(super) received: u64,
}

const BUFFER_BYTES: usize = 256 << 10;
const MOST_HEAD_BYTES: usize = 64 << 10;

impl Proxy {
    pub(super) fn before(upstream: SocketAddr, delay: Duration) -> Result<Self, String> {
        let failed = |error: io::Error| format!("the proxy has no port: {error}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let requests = Mutex::default();
        let state = Arc::new(State { upstream, delay, requests, is_over: AtomicBool::new(false) });
        let serving = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if serving.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let state = Arc::clone(&serving);
                // A connection that breaks is the tool's to notice.
                thread::spawn(move || drop(state.serve(client)));
            }
        });
        Ok(Self { address, state })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests that have ended; they are forgotten.
    pub(super) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *self.state.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        // It looks only after the next connection.
        drop(TcpStream::connect(self.address));
    }
}

impl State {
    fn serve(&self, client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let server = TcpStream::connect(self.upstream)?;
        server.set_nodelay(true)?;
        let (mut to_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        let mut from_client = BufReader::with_capacity(BUFFER_BYTES, client);
        let mut from_server = BufReader::with_capacity(BUFFER_BYTES, server);
        while let Some(mut head) = Head::read(&mut from_client)? {
            let began = Instant::now();
            thread::sleep(self.delay);
            if head.take("expect").is_some() {
                to_client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            to_server.write_all(&head.bytes())?;
            let sent = copy(&mut from_client, &mut to_server, head.body(false))?;
            let mut answer = Head::read(&mut from_server)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            while answer.status() < 200 {
                answer = Head::read(&mut from_server)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            }
            to_client.write_all(&answer.bytes())?;
            let method = head.method();
            let has_body = method != "HEAD" && !matches!(answer.status(), 204 | 304);
            let body = if has_body { answer.body(true) } else { Body::Bytes(0) };
            let received = copy(&mut from_server, &mut to_client, body)?;
            let request = Request { method, began, ended: Instant::now(), sent, received };
            self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            if body == Body::ToTheEnd || head.closes() || answer.closes() {
                break;
            }
        }
        Ok(())
    }
}

/// The lines before a body.
struct Head {
    lines: Vec<String>,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Bytes(u64),
    Chunks,
    ToTheEnd,
}

impl Head {
    /// `None` where the connection ends instead.
    fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        loop {
            let mut line = Vec::new();
            bytes += from.read_until(b'\n', &mut line)?;
            if bytes > MOST_HEAD_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_string();
            match (line.is_empty(), lines.is_empty()) {
                (true, true) => return Ok(None),
                (true, false) => return Ok(Some(Self { lines })),
                (false, _) => lines.push(line),
            }
        }
    }

    fn bytes(&self) -> Vec<u8> {
        (self.lines.join("\r\n") + "\r\n\r\n").into_bytes()
    }

    fn method(&self) -> String {
        self.lines[0].split(' ').next().unwrap_or_default().to_string()
    }

    fn status(&self) -> u16 {
        self.lines[0].split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.lines.iter().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// Removes a header that is for the next hop only.
    fn take(&mut self, name: &str) -> Option<String> {
        let value = self.value(name)?.to_string();
        let is_it = |line: &String| {
            line.split_once(':').is_some_and(|(found, _)| found.eq_ignore_ascii_case(name))
        };
        self.lines.retain(|line| !is_it(line));
        Some(value)
    }

    fn body(&self, is_answer: bool) -> Body {
        let chunks = self.value("transfer-encoding").is_some_and(|value| value.contains("chunked"));
        let bytes = self.value("content-length").and_then(|value| value.parse().ok());
        match bytes {
            _ if chunks => Body::Chunks,
            Some(bytes) => Body::Bytes(bytes),
            None if is_answer => Body::ToTheEnd,
            None => Body::Bytes(0),
        }
    }

    fn closes(&self) -> bool {
        self.value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Hands a body on and tells its bytes.
fn copy(from: &mut impl BufRead, to: &mut impl Write, body: Body) -> io::Result<u64> {
    match body {
        Body::Bytes(bytes) => copy_bytes(from, to, bytes),
        Body::ToTheEnd => copy_up_to(from, to, u64::MAX),
        Body::Chunks => {
            let mut copied = 0;
            loop {
                let mut line = String::new();
                from.read_line(&mut line)?;
                to.write_all(line.as_bytes())?;
                let digits = line.trim().split(';').next().unwrap_or_default();
                let bytes = u64::from_str_radix(digits, 16);
                let bytes = bytes.map_err(|_not_a_length| io::ErrorKind::InvalidData)?;
                // Its own end of line, or the one after all chunks.
                copy_bytes(from, to, bytes + 2)?;
                copied += bytes;
                if bytes == 0 {
                    return Ok(copied);
                }
            }
        }
    }
}

fn copy_bytes(from: &mut impl BufRead, to: &mut impl Write, bytes: u64) -> io::Result<u64> {
    match copy_up_to(from, to, bytes)? {
        copied if copied == bytes => Ok(copied),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn copy_up_to(from: &mut impl BufRead, to: &mut impl Write, most: u64) -> io::Result<u64> {
    let mut copied = 0;
    while copied < most {
        let bytes = from.fill_buf()?;
        if bytes.is_empty() {
            break;
        }
        let len = bytes.len().min(usize::try_from(most - copied).unwrap_or(usize::MAX));
        to.write_all(&bytes[..len])?;
        from.consume(len);
        copied += len as u64;
    }
    Ok(copied)
}

/// The most requests of which each began after the one before had ended.
pub(super) fn one_after_another(requests: &[Request]) -> usize {
    let mut requests: Vec<&Request> = requests.iter().collect();
    requests.sort_by_key(|request| request.ended);
    let mut last: Option<Instant> = None;
    let mut count = 0;
    for request in requests {
        if last.is_none_or(|last| request.began >= last) {
            last = Some(request.ended);
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn only_requests_that_waited_for_each_other_count_one_by_one() {
        let start = Instant::now();
        let request = |began, ended| Request {
            method: "GET".into(),
            began: start + Duration::from_millis(began),
            ended: start + Duration::from_millis(ended),
            sent: 0,
            received: 0,
        };
        assert_eq!(one_after_another(&[]), 0);
        let side_by_side = [request(0, 10), request(0, 11), request(1, 12)];
        assert_eq!(one_after_another(&side_by_side), 1);
        let both = [request(0, 30), request(0, 10), request(10, 20), request(21, 25)];
        assert_eq!(one_after_another(&both), 3);
    }

    #[test]
    fn requests_are_late_whole_and_counted() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let upstream = server.local_addr().unwrap();
        let serving = thread::spawn(move || {
            let (stream, _) = server.accept().unwrap();
            let mut from = BufReader::new(stream.try_clone().unwrap());
            let mut to = stream;
            let head = Head::read(&mut from).unwrap().unwrap();
            let mut body = vec![0; 5];
            from.read_exact(&mut body).unwrap();
            assert_eq!((head.method().as_str(), &body[..]), ("PUT", &b"hello"[..]));
            assert_eq!(head.value("expect"), None);
            to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            Head::read(&mut from).unwrap().unwrap();
            to.write_all(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            )
            .unwrap();
        });
        let delay = Duration::from_millis(30);
        let proxy = Proxy::before(upstream, delay).unwrap();
        let mut client = TcpStream::connect(proxy.address()).unwrap();
        let began = Instant::now();
        client
            .write_all(b"PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
            .unwrap();
        client.write_all(b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        let mut answers = String::new();
        client.read_to_string(&mut answers).unwrap();
        assert!(began.elapsed() >= 2 * delay);
        assert!(answers.ends_with("3\r\nabc\r\n0\r\n\r\n"), "{answers}");
        serving.join().unwrap();
        let requests = proxy.take();
        let told: Vec<_> =
            requests.iter().map(|it| (it.method.as_str(), it.sent, it.received)).collect();
        assert_eq!(told, [("PUT", 5, 0), ("GET", 0, 3)]);
        assert_eq!(one_after_another(&requests), 2);
    }
}
