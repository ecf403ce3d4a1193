//! A server that says the same whatever it is asked.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
};

/// Answers every request with the same words.
pub(super) struct Parrot {
    pub(super) address: SocketAddr,
}

impl Parrot {
    /// With an answer to the head of each request.
    pub(super) fn new(answer: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        // It ends with the process of the test; nobody connects any more.
        thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(mut connection) = connection else { return };
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n")
                    && connection.read(&mut byte).is_ok_and(|n| n > 0)
                {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let length = head.lines().find_map(|line| {
                    line.to_lowercase().strip_prefix("content-length: ")?.parse().ok()
                });
                let mut body = vec![0; length.unwrap_or(0)];
                let _answered = (
                    connection.read_exact(&mut body),
                    connection.write_all(answer(&head).as_bytes()),
                );
            }
        });
        Self { address }
    }

    /// The login page of something in between, with this status.
    pub(super) fn with_page(status: &'static str) -> Self {
        let page = "<html>please log in</html>";
        Self::new(move |head| {
            let body = if head.starts_with("HEAD") { "" } else { page };
            format!(
                "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{body}",
                page.len()
            )
        })
    }
}
