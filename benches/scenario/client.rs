//! As little client as HTTP/1.1 needs: one connection, one request at a time, so that times are the server's.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::server::Server;

/// A connection that stays open.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub fn to(server: &Server) -> Self {
        let stream = TcpStream::connect(&server.address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Status and body.
    pub fn get(&mut self, path: &str) -> (u16, Vec<u8>) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n"))
    }

    /// Status and body.
    pub fn post(&mut self, path: &str, body: &Value) -> (u16, Vec<u8>) {
        let body = body.to_string();
        let length = body.len();
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    /// How long an answer of 200 took.
    pub fn timed(&mut self, path: &str) -> Duration {
        let begin = Instant::now();
        let (status, _) = self.get(path);
        assert_eq!(status, 200);
        begin.elapsed()
    }

    fn ask(&mut self, request: &str) -> (u16, Vec<u8>) {
        self.stream.write_all(request.as_bytes()).unwrap();
        self.buffer.clear();
        let head = loop {
            if let Some(end) = self.buffer.windows(4).position(|part| part == b"\r\n\r\n") {
                break end + 4;
            }
            self.read();
        };
        let text = std::str::from_utf8(&self.buffer[..head]).unwrap().to_ascii_lowercase();
        let status = text.split_whitespace().nth(1).unwrap().parse().unwrap();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let end = head + length.unwrap_or("0").trim().parse::<usize>().unwrap();
        while self.buffer.len() < end {
            self.read();
        }
        (status, self.buffer[head..end].to_vec())
    }

    fn read(&mut self) {
        let mut part = [0; 65536];
        let count = self.stream.read(&mut part).unwrap();
        assert!(count > 0, "the server closed the connection");
        self.buffer.extend(&part[..count]);
    }
}

pub fn quantile_ms(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let index = ((times.len() - 1) as f64 * share).round() as usize;
    times[index].as_secs_f64() * 1000.0
}
