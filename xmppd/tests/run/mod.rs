//! Starting, watching and stopping the program.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};
use xmpp_core::{
    client::{Client, ClientBuilder, ConnectionError, Event, Events},
    jid::FullJid,
    net::ClientTls,
};

/// How long anything may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that is gone after the test.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        Scratch(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Writes the configuration of the test and returns its path.
    pub(crate) fn config(&self, text: &str) -> String {
        let path = self.path("test.toml");
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// The certificate of the data folder.
    pub(crate) fn root(&self) -> Vec<u8> {
        std::fs::read(self.data().join("self-signed.crt")).unwrap()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xmppd"));
        command.current_dir(self.0.path()).env_remove("RUST_LOG");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// `xmppd user …`, with a password on standard input where one is wanted.
    pub(crate) fn user_output(&self, arguments: &[&str], password: &str) -> Output {
        let mut command = self.command();
        command.arg("user").args(arguments).arg("--data").arg(self.data());
        if matches!(arguments.first(), Some(&"add" | &"passwd")) {
            command.arg("--password-stdin");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may have refused already and not read it.
        let _ = child.stdin.take().unwrap().write_all(password.as_bytes());
        child.wait_with_output().unwrap()
    }

    pub(crate) fn user(&self, arguments: &[&str], password: &str) {
        let output = self.user_output(arguments, password);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A start that must fail: its exit code and what it said.
    pub(crate) fn fails(&self, arguments: &[&str]) -> (Option<i32>, String) {
        self.fails_bare(&[arguments, &["--data", &self.data().display().to_string()]].concat())
    }

    /// As [`fails`](Self::fails), with a listening socket handed over; what it said.
    pub(crate) fn fails_with_socket(&self, arguments: &[&str], socket: &TcpListener) -> String {
        let output = with_socket(self, arguments, socket).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    /// As [`fails`](Self::fails), without a data folder being named.
    pub(crate) fn fails_bare(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.run(arguments);
        assert!(!output.status.success());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

/// The program with a listening socket, as a service manager starts it. A shell puts the socket where it belongs.
fn with_socket(scratch: &Scratch, arguments: &[&str], socket: &TcpListener) -> Command {
    let mut command = Command::new("/bin/sh");
    command.current_dir(scratch.path("")).env_remove("RUST_LOG");
    command.args(["-c", "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\""]);
    command.arg(env!("CARGO_BIN_EXE_xmppd")).args(arguments).arg("--data").arg(scratch.data());
    command.stdin(std::os::fd::OwnedFd::from(socket.try_clone().unwrap()));
    command
}

/// A running server. Killed on drop.
pub(crate) struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    pub(crate) greeting: String,
    pub(crate) starttls: SocketAddr,
    pub(crate) tls: Option<SocketAddr>,
}

impl Daemon {
    /// On two free ports.
    pub(crate) fn start(scratch: &Scratch, arguments: &[&str]) -> Daemon {
        Self::spawn(scratch, &[arguments, &["--c2s", "127.0.0.1:0", "--c2s-tls", "127.0.0.1:0"]].concat(), None)
    }

    /// Where the configuration says.
    pub(crate) fn start_plain(scratch: &Scratch, arguments: &[&str]) -> Daemon {
        Self::spawn(scratch, arguments, None)
    }

    pub(crate) fn start_with_log(scratch: &Scratch, filter: &str) -> Daemon {
        Self::spawn(scratch, &["--c2s", "127.0.0.1:0"], Some(filter))
    }

    /// With a listening socket handed over.
    pub(crate) fn start_with_socket(scratch: &Scratch, arguments: &[&str], socket: &TcpListener) -> Daemon {
        Self::run(with_socket(scratch, arguments, socket), None)
    }

    fn spawn(scratch: &Scratch, arguments: &[&str], filter: Option<&str>) -> Daemon {
        let mut command = scratch.command();
        command.args(arguments).arg("--data").arg(scratch.data()).stdin(Stdio::null());
        Self::run(command, filter)
    }

    fn run(mut command: Command, filter: Option<&str>) -> Daemon {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(filter.map(|filter| ("RUST_LOG", filter)));
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, copy) = (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&log));
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                copy.lock().unwrap().push_str(&(line + "\n"));
            }
        });

        let mut greeting = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            greeting.push_str(&(line.clone() + "\n"));
            if line.starts_with("Then log in") {
                break;
            }
        }
        let mut addresses = greeting.lines().filter_map(|line| line.trim_start().strip_prefix("clients"));
        let mut address = || addresses.next()?.split_whitespace().next()?.parse().ok();
        let starttls = address().unwrap_or_else(|| panic!("{greeting}{}", log.lock().unwrap()));
        let tls = address();
        Daemon { child, log, reader: Some(reader), greeting, starttls, tls }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn wait_for_log(&self, text: &str) {
        let begin = Instant::now();
        while !self.log().contains(text) {
            assert!(begin.elapsed() < PATIENCE, "{text:?} is not in: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops it in good order.
    pub(crate) fn stop(self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    pub(crate) fn wait(mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// A client that trusts this certificate alone.
pub(crate) fn client(account: &str, password: &str, root: &[u8]) -> ClientBuilder {
    let tls = ClientTls::builder().only_roots().add_root_pem(root).unwrap().build().unwrap();
    Client::builder(account.parse().unwrap(), password).tls(tls)
}

/// A client that logs in without TLS, and would trust no certificate.
pub(crate) fn plain_client(account: &str, password: &str, port: u16) -> (Client, Events) {
    let tls = ClientTls::builder().pin_sha256([0; 32]).build().unwrap();
    let client = Client::builder(account.parse().unwrap(), password).tls(tls).allow_plaintext();
    client.server("127.0.0.1", port).no_reconnect().connect().unwrap()
}

/// A stream without TLS, as far as its first features.
pub(crate) fn open_stream(address: SocketAddr) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let streams = "http://etherx.jabber.org/streams";
    write!(stream, "<stream:stream xmlns='jabber:client' xmlns:stream='{streams}' to='localhost' version='1.0'>")
        .unwrap();
    let mut received = Vec::new();
    while !received.ends_with(b"</stream:features>") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        received.extend(byte);
    }
    (stream, String::from_utf8(received).unwrap())
}

/// The first event, which must be a session.
pub(crate) async fn online(events: &mut Events) -> FullJid {
    match tokio::time::timeout(PATIENCE, events.next()).await.expect("a session in time") {
        Some(Event::Online { jid, .. }) => jid,
        other => panic!("{other:?}"),
    }
}

/// The next end of a session, or of the attempt to have one.
pub(crate) async fn next_end(events: &mut Events) -> ConnectionError {
    loop {
        match tokio::time::timeout(PATIENCE, events.next()).await.expect("an end in time") {
            Some(Event::Offline { error, .. }) => return error,
            Some(_) => {}
            None => panic!("no reason was given"),
        }
    }
}
