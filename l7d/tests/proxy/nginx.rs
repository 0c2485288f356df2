//! An nginx behind the proxy, whose log is the judge of what came through.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::world::HANG;

/// It is gone when the test ends.
pub(crate) struct Nginx {
    child: Child,
    folder: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Nginx {
    /// `log` is what it writes of each request, `server` gives the directives of its only server.
    pub(crate) fn start(log: &str, server: impl FnOnce(&Path, SocketAddr) -> String) -> Self {
        // Another program could take the port in between; then nginx says so and ends.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let folder = std::env::temp_dir().join(format!("l7d-nginx-{}", address.port()));
        std::fs::create_dir_all(&folder).unwrap();
        let server = server(&folder, address);
        let config = format!(
            "daemon off; master_process off; worker_processes 1;\n\
             pid {0}/pid; error_log {0}/error;\n\
             events {{ }}\n\
             http {{\n\
               log_format judge '{log}'; access_log {0}/log judge;\n\
               server {{ {server} }}\n\
             }}\n",
            folder.display(),
        );
        std::fs::write(folder.join("config"), config).unwrap();
        let mut child = Command::new("nginx")
            .arg("-p")
            .arg(&folder)
            .args(["-e", "error", "-c", "config"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("nginx (`cargo xtask setup` installs it): {error}"));
        let began = std::time::Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(child.try_wait().unwrap().is_none(), "nginx has ended");
            assert!(began.elapsed() < HANG, "nginx does not listen");
            std::thread::yield_now();
        }
        Self {
            child,
            folder,
            address,
        }
    }

    /// What was asked for, by the server's own word. It writes of a request once that has ended, and
    /// so is told to end first.
    pub(crate) fn log(mut self) -> Vec<String> {
        let told = Command::new("kill")
            .args(["-QUIT", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(told.success());
        self.child.wait().unwrap();
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap();
        log.lines().map(str::to_owned).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}
