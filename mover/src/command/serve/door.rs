//! Who is let in.
//!
//! Invariants
//! - On loopback the name that a request is for has to be this machine's: a web page that had its
//!   own name lead here (DNS rebinding) is refused.
//! - Without a login, a program on this machine is let in if it belongs to the same user or to
//!   root, which the kernel tells; whoever it tells nothing of is refused.
//! - Passwords are compared in a time that does not depend on where they differ.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::{header, http::request::Parts};

use crate::failure::Failure;

/// Decides who is let in.
#[derive(Debug)]
pub(super) struct Door {
    address: SocketAddr,
    login: Option<Login>,
    own_user: u32,
}

/// A name and a password, as a request has them.
#[derive(Debug)]
pub(super) struct Login(Vec<u8>);

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is for another name.
    Host,
    /// The name and password are missing or wrong.
    Login,
}

impl Login {
    pub(super) fn new(user: &str, password: &str) -> Result<Self, Failure> {
        if user.contains(':') || user.is_empty() {
            return Err(Failure::input(
                "a name to log in with is not empty and has no colon",
                "choose another --user",
            ));
        }
        if password.is_empty() {
            return Err(Failure::input(
                "the password to log in with is empty",
                "look at --user-password-file",
            ));
        }
        Ok(Self(format!("{user}:{password}").into_bytes()))
    }

    fn opens(&self, header: &[u8]) -> bool {
        let Some((scheme, given)) = header.split_at_checked(6) else { return false };
        let given = STANDARD.decode(given.trim_ascii()).unwrap_or_default();
        let differing = self.0.iter().zip(&given).fold(0, |all, (one, other)| all | (one ^ other));
        scheme.eq_ignore_ascii_case(b"basic ") && self.0.len() == given.len() && differing == 0
    }
}

impl Door {
    pub(super) fn new(address: SocketAddr, login: Option<Login>) -> Self {
        Self { address, login, own_user: rustix::process::geteuid().as_raw() }
    }

    /// Whether whoever connects from `peer` may ask at all.
    pub(super) fn lets_in(&self, peer: SocketAddr) -> bool {
        if self.login.is_some() {
            return true;
        }
        let table = if peer.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
        let table = fs::read_to_string(table).unwrap_or_default();
        let user = owner(&table, peer, self.address);
        user.is_some_and(|user| user == self.own_user || user == 0)
    }

    /// Whether a request is answered.
    pub(super) fn check(&self, head: &Parts) -> Result<(), Refusal> {
        let headers = &head.headers;
        if self.address.ip().is_loopback() {
            let mut named = headers.get_all(header::HOST).iter();
            let host = named.next().and_then(|host| host.to_str().ok()).ok_or(Refusal::Host)?;
            let of_line = head.uri.authority().map(|authority| authority.as_str());
            if named.next().is_some()
                || !is_this_machine(host)
                || !of_line.is_none_or(is_this_machine)
            {
                return Err(Refusal::Host);
            }
        }
        match &self.login {
            None => Ok(()),
            Some(login) => {
                let given = headers.get(header::AUTHORIZATION);
                let opens = given.is_some_and(|given| login.opens(given.as_bytes()));
                if opens { Ok(()) } else { Err(Refusal::Login) }
            }
        }
    }
}

/// Whether a host as requests name it is this machine. Another port may be one that a tunnel has.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, digits)) if digits.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || literal.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// To whom the socket belongs that is bound to `ours` and connected with `theirs`, from the
/// kernel's table of sockets.
fn owner(table: &str, ours: SocketAddr, theirs: SocketAddr) -> Option<u32> {
    const LOCAL: usize = 1;
    const REMOTE: usize = 2;
    const USER: usize = 7;
    let (ours, theirs) = (hex(ours), hex(theirs));
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_it = fields.get(LOCAL) == Some(&ours.as_str())
            && fields.get(REMOTE) == Some(&theirs.as_str());
        fields.get(USER).filter(|_| is_it)?.parse().ok()
    })
}

/// An address as the kernel's table has it: words in the order of this machine.
fn hex(address: SocketAddr) -> String {
    let octets = match address {
        SocketAddr::V4(address) => address.ip().octets().to_vec(),
        SocketAddr::V6(address) => address.ip().octets().to_vec(),
    };
    let word = |bytes: &[u8]| {
        let bytes = bytes.try_into().unwrap_or_default();
        format!("{:08X}", u32::from_ne_bytes(bytes))
    };
    let words: String = octets.chunks(4).map(word).collect();
    format!("{words}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(login: Option<Login>) -> Door {
        Door::new("127.0.0.1:8727".parse().expect("an address"), login)
    }

    fn request(headers: &[(&str, &str)]) -> Parts {
        let mut request = hyper::Request::builder().uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for host in ["localhost", "LOCALHOST:8727", "127.0.0.1", "127.0.0.1:9000", "[::1]:8727"] {
            assert_eq!(door(None).check(&request(&[("host", host)])), Ok(()), "{host}");
        }
        for host in ["", "evil.example", "evil.example:8727", "127.0.0.1.evil.example", "10.0.0.1"]
        {
            let result = door(None).check(&request(&[("host", host)]));
            assert_eq!(result, Err(Refusal::Host), "{host}");
        }
        assert_eq!(door(None).check(&request(&[])), Err(Refusal::Host));
        let two = request(&[("host", "localhost"), ("host", "evil.example")]);
        assert_eq!(door(None).check(&two), Err(Refusal::Host));
    }

    #[test]
    fn a_login_has_to_be_right() {
        let check = |given: &str| {
            let login = Login::new("alice", "open sesame").expect("a login");
            let request = request(&[("host", "localhost"), ("authorization", given)]);
            door(Some(login)).check(&request)
        };
        assert_eq!(check("Basic YWxpY2U6b3BlbiBzZXNhbWU="), Ok(()));
        assert_eq!(check("basic  YWxpY2U6b3BlbiBzZXNhbWU="), Ok(()));
        for wrong in ["", "Basic", "Basic ", "Basic YWxpY2U6", "Bearer YWxpY2U6b3BlbiBzZXNhbWU="] {
            assert_eq!(check(wrong), Err(Refusal::Login), "{wrong}");
        }
        Login::new("a:b", "x").expect_err("a colon");
        Login::new("a", "").expect_err("nothing");
    }

    #[test]
    fn the_kernel_tells_whose_a_connection_is() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n\
            \x20  0: 0100007F:2217 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0  0\n\
            \x20  1: 0100007F:C350 0100007F:2217 01 00000000:00000000 00:00000000 00000000  1000  0\n\
            \x20  2: 0100007F:2217 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0  0\n";
        let address = |text: &str| text.parse().expect("an address");
        let (here, there) = (address("127.0.0.1:8727"), address("127.0.0.1:50000"));
        if cfg!(target_endian = "little") {
            assert_eq!(owner(table, there, here), Some(1000));
            assert_eq!(owner(table, here, there), Some(0));
        }
        assert_eq!(owner(table, address("127.0.0.1:50001"), here), None);
        assert_eq!(owner("", there, here), None);
    }
}
