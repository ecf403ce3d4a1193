//! nginx in front of another server: TLS with a certificate of the test's, and a limit on requests.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Availability, Server, find};

/// nginx, where it can be had.
#[derive(Clone, Debug)]
pub struct Nginx(PathBuf);

impl Nginx {
    /// Looks for it.
    #[must_use]
    pub fn find() -> Option<Self> {
        find("nginx", &["/usr/sbin/nginx"], Availability::Perhaps).map(Self)
    }

    /// Hands everything on to `upstream`, but no more than so many requests in a second: the others
    /// are refused with 503 and a page.
    ///
    /// # Panics
    /// Where its configuration cannot be written.
    #[must_use]
    pub fn before(
        &self,
        upstream: SocketAddr,
        scratch: &Path,
        [certificate, key]: &[String; 2],
        per_second: u32,
    ) -> Server {
        let at = scratch.display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary: String =
            temporary.iter().map(|kind| format!("{kind}_temp_path {at}/{kind};\n")).collect();
        Server::start(scratch, |address| {
            let text = format!(
                "daemon off; master_process off; pid {at}/nginx.pid; error_log stderr;
                events {{}}
                http {{
                    {temporary}
                    log_format status '$status'; access_log {at}/status.log status;
                    limit_req_zone $binary_remote_addr zone=all:1m rate={per_second}r/s;
                    server {{
                        listen {address} ssl;
                        ssl_certificate {certificate}; ssl_certificate_key {key};
                        client_max_body_size 0;
                        location / {{
                            limit_req zone=all burst={per_second} nodelay;
                            proxy_pass http://{upstream};
                            proxy_http_version 1.1;
                            proxy_set_header Host $http_host;
                        }}
                    }}
                }}"
            );
            let file = scratch.join("nginx.conf");
            fs::write(&file, text).expect("written");
            let mut command = Command::new(&self.0);
            command.arg("-p").arg(scratch).arg("-c").arg(file).args(["-e", "stderr"]);
            command
        })
    }
}

/// How many requests were answered with this status.
///
/// # Panics
/// Where nginx has not run in this directory.
#[must_use]
pub fn answered(scratch: &Path, status: u16) -> usize {
    let log = fs::read_to_string(scratch.join("status.log")).expect("a log");
    log.lines().filter(|line| *line == status.to_string()).count()
}
