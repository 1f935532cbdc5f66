//! A small HTTP server that has one file, and gives it well or in one of the ways in which servers fail or mean harm.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What it does. Counts are of requests, from the first one on.
#[derive(Debug, Clone)]
pub enum Manner {
    Well,
    /// Without an `ETag` and a date.
    NoValidators,
    /// Always the whole file, with its length.
    NoRanges,
    /// The whole file, without its length.
    NoLength,
    /// Another part than was asked for.
    WrongPart,
    /// A part of which it does not say how long the whole is.
    NoTotal,
    /// More than the part, without an end.
    EndlessPart,
    /// Less than the part.
    ShortPart,
    Gzip,
    /// Another version after so many requests.
    ChangesAfter(usize),
    /// A byte a second after so many requests.
    DripsAfter(usize),
    /// This status for so many requests, and well then.
    FailsFor(usize, u16),
    /// This status after so many requests.
    FailsAfter(usize, u16),
    /// Elsewhere.
    Redirects(String),
    /// To itself.
    RedirectsInCircles,
    /// To a place that is good for so many requests.
    RedirectsFor(usize),
}

/// Stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    file: Vec<u8>,
    manner: Manner,
    heads: Mutex<Vec<String>>,
    connections: AtomicUsize,
    stopped: Mutex<bool>,
    stopping: Condvar,
}

impl Server {
    pub fn start(file: Vec<u8>, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            file,
            manner,
            heads: Mutex::default(),
            connections: AtomicUsize::new(0),
            stopped: Mutex::default(),
            stopping: Condvar::new(),
        });
        let serving = state.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                if *lock(&serving.stopped) {
                    break;
                }
                let state = serving.clone();
                state.connections.fetch_add(1, Ordering::Relaxed);
                // A client that goes away is nobody's error.
                thread::spawn(move || drop(state.serve(&connection.unwrap())));
            }
        });
        Self { address, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// With something between the scheme and the host, `user:password`.
    pub fn url_for(&self, user_info: &str, path: &str) -> String {
        format!("http://{user_info}@{}/{path}", self.address)
    }

    /// The heads of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.state.heads).clone()
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        *lock(&self.state.stopped) = true;
        self.state.stopping.notify_all();
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn serve(&self, connection: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(connection);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if lines.read_line(&mut head)? == 0 {
                    return Ok(());
                }
            }
            let number = {
                let mut heads = lock(&self.heads);
                heads.push(head.clone());
                heads.len()
            };
            self.answer(&head, number, connection)?;
        }
    }

    fn answer(&self, head: &str, number: usize, mut to: &TcpStream) -> std::io::Result<()> {
        let asked = range_of(head, self.file.len());
        let redirect = |place: &str| format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n");
        match &self.manner {
            Manner::Redirects(place) => return to.write_all(redirect(place).as_bytes()),
            Manner::RedirectsInCircles => return to.write_all(redirect("?again=1").as_bytes()),
            Manner::RedirectsFor(good) => {
                let path = head.split(' ').nth(1).unwrap_or_default();
                let Some(born) = path.strip_prefix("/until/").map(|born| born.parse::<usize>().unwrap()) else {
                    return to.write_all(redirect(&format!("/until/{number}")).as_bytes());
                };
                if number > born + good {
                    return to.write_all(b"HTTP/1.1 403 Expired\r\nContent-Length: 0\r\n\r\n");
                }
            }
            Manner::FailsFor(count, status) if number <= *count => return fail(*status, to),
            Manner::FailsAfter(count, status) if number > *count => return fail(*status, to),
            Manner::NoLength => {
                to.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
                return self.endlessly(to);
            }
            _ => {}
        }
        let etag = match self.manner {
            Manner::ChangesAfter(count) if number > count => "\"second\"",
            _ => "\"first\"",
        };
        let is_other = header(head, "if-range").is_some_and(|known| known != etag);
        let is_whole = matches!(self.manner, Manner::NoRanges) || asked.is_none() || is_other;
        let part = asked.filter(|_| !is_whole).unwrap_or(0..self.file.len());
        let said = match self.manner {
            Manner::WrongPart => part.start + 1..part.end + 1,
            _ => part.clone(),
        };
        let total = match self.manner {
            Manner::NoTotal => "*".to_owned(),
            _ => self.file.len().to_string(),
        };
        let status = if is_whole { "200 OK" } else { "206 Partial Content" };
        write!(to, "HTTP/1.1 {status}\r\n")?;
        if !is_whole {
            write!(to, "Content-Range: bytes {}-{}/{total}\r\n", said.start, said.end - 1)?;
        }
        match self.manner {
            Manner::NoValidators => {}
            _ => write!(to, "ETag: {etag}\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n")?,
        }
        let body = &self.file[part];
        match self.manner {
            Manner::Gzip => write!(to, "Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len())?,
            Manner::EndlessPart => {
                to.write_all(b"Connection: close\r\n\r\n")?;
                to.write_all(body)?;
                return self.endlessly(to);
            }
            Manner::ShortPart => {
                write!(to, "Content-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
                to.write_all(&body[..body.len() / 2])?;
                return to.shutdown(std::net::Shutdown::Both);
            }
            _ => write!(to, "Content-Length: {}\r\n\r\n", body.len())?,
        }
        match self.manner {
            Manner::DripsAfter(count) if number > count => self.drip(body, to),
            _ => to.write_all(body),
        }
    }

    /// Until nobody listens any more.
    fn endlessly(&self, mut to: &TcpStream) -> std::io::Result<()> {
        while !*lock(&self.stopped) {
            to.write_all(&[0; 4096])?;
        }
        Ok(())
    }

    fn drip(&self, body: &[u8], mut to: &TcpStream) -> std::io::Result<()> {
        for byte in body {
            to.write_all(&[*byte])?;
            let stopped = lock(&self.stopped);
            let (stopped, _) =
                self.stopping.wait_timeout_while(stopped, Duration::from_secs(1), |stop| !*stop).unwrap();
            if *stopped {
                break;
            }
        }
        Ok(())
    }
}

fn fail(status: u16, mut to: &TcpStream) -> std::io::Result<()> {
    write!(to, "HTTP/1.1 {status} No\r\nContent-Length: 2\r\n\r\nno")
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Of `Range: bytes=0-9`, as far as the file reaches.
fn range_of(head: &str, size: usize) -> Option<Range<usize>> {
    let (first, last) = header(head, "range")?.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    (first < size).then(|| first..(last + 1).min(size))
}
