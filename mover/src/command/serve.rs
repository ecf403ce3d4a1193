//! `serve`: snapshots in a browser and for WebDAV clients, to be looked at and copied from.
//!
//! Invariants
//! - Nothing is ever written: whatever would is refused with 405.
//! - On loopback, only requests that name this machine are answered, so that no web page can have
//!   its own name lead here; without a login, only programs of the same user and root.
//! - Beyond loopback there is always a login.
//! - Memory: a bounded number of connections, each with a few pieces of 128 KiB under way, beside
//!   what the engine keeps. Whoever takes nothing for minutes is let go of.

mod answer;
mod body;
mod door;
mod media;
mod moment;
mod page;
mod properties;
mod range;
mod server;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use serde::Serialize;
use tokio::net::TcpListener;

use super::browsing::BrowseArgs;
use crate::{
    failure::{Failure, Outcome},
    session::Session,
    settings,
};
use answer::Site;
use door::{Door, Login};

/// Where it listens if nothing was said.
const USUAL_PORT: u16 = 8727;

/// Show snapshots in a browser and to WebDAV clients, for taking files back
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    browse: BrowseArgs,
    /// Address and port to listen on, or a port; port 0 for one that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8727")]
    listen: String,
    /// Serve others than this machine too; needs --user, and encrypts nothing
    #[arg(long)]
    allow_remote: bool,
    /// Name that is asked for
    #[arg(long, value_name = "NAME", requires = "user_password_file")]
    user: Option<String>,
    /// File with the password that is asked for
    #[arg(long, value_name = "FILE", requires = "user")]
    user_password_file: Option<PathBuf>,
}

#[derive(Serialize)]
struct Serving<'a> {
    message_type: &'static str,
    url: &'a str,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let address = address(&args.listen)?;
    let login = match (&args.user, &args.user_password_file) {
        (Some(user), Some(file)) => Some(Login::new(user, &settings::read_text(file)?)?),
        _ => None,
    };
    let is_here = address.ip().is_loopback();
    if !is_here && !args.allow_remote {
        return Err(Failure::input(
            format!(
                "{address} can be reached from other machines, and all that is in the snapshots with it"
            ),
            "leave --listen out, or add --allow-remote with --user and --user-password-file",
        ));
    }
    if !is_here && login.is_none() {
        return Err(Failure::input(
            "others may only be served with a login",
            "add --user and --user-password-file",
        ));
    }
    let choice = args.browse.choice(session)?;
    let listener = TcpListener::bind(address).await;
    let listener =
        listener.map_err(|error| Failure::io(format!("listening on {address}"), error))?;
    let address = listener.local_addr().map_err(|error| Failure::io("listening", error))?;
    let repository = Arc::new(session.open().await?);
    let served = async {
        let browser = choice.browser(&repository, session).await?;
        let door = Door::new(address, login);
        let site = Site::new(browser, Arc::clone(&repository), door, session);
        let url = format!("http://{address}/");
        if session.output.is_json() {
            session.output.json(&Serving { message_type: "serving", url: &url });
        } else {
            session.output.result(&format!("serving snapshots at {url}"));
            session.output.line("for browsers and WebDAV clients; end it with Ctrl-C");
        }
        session.output.flush();
        server::serve(&listener, &Arc::new(site), &session.cancel).await;
        Ok(Outcome::Done)
    };
    session.reading(&repository, served).await
}

/// An address with its port, or one of them.
fn address(text: &str) -> Result<SocketAddr, Failure> {
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let port = text.parse().map(|port: u16| SocketAddr::new(here, port)).ok();
    let host = || text.parse().map(|host: IpAddr| SocketAddr::new(host, USUAL_PORT)).ok();
    let named = || text.strip_prefix("localhost:")?.parse().ok().map(|port| (here, port).into());
    let address = text.parse().ok().or(port).or_else(host).or_else(named);
    address.ok_or_else(|| {
        Failure::input(
            format!("cannot read the address {text:?}"),
            "write it like 127.0.0.1:8727, [::1]:8727 or 8727",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_lack_a_part() {
        for (text, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("0", "127.0.0.1:0"),
            ("8080", "127.0.0.1:8080"),
            ("::1", "[::1]:8727"),
            ("[::1]:1", "[::1]:1"),
            ("localhost:9", "127.0.0.1:9"),
            ("0.0.0.0", "0.0.0.0:8727"),
        ] {
            assert_eq!(address(text).expect("an address").to_string(), expected);
        }
        for text in ["", "host:1", "99999", "127.0.0.1:", ":80"] {
            address(text).expect_err(text);
        }
    }
}
