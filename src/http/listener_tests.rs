use std::time::Instant;

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

struct Running {
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn start(max_connections: usize, headers_timeout: Duration) -> Running {
    let router = Router::new().route("/", get(|| async { "hello" })).route(
        "/slow",
        get(|| async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "done"
        }),
    );
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let options = ListenOptions { max_connections, headers_timeout };
    let task = tokio::spawn(serve(listener, router, options, async { drop(stopped.await) }));
    Running { address, stop, task }
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    drop(stream.read_to_end(&mut text).await);
    String::from_utf8(text).unwrap()
}

const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn a_head_that_never_ends_and_an_idle_connection_are_dropped() {
    let server = start(8, Duration::from_millis(200)).await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(ASK).await.unwrap();
    let start = Instant::now();
    read_to_end(&mut slow).await;
    assert!(read_to_end(&mut idle).await.ends_with("hello"));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_connection_beyond_the_limit_waits_for_a_place() {
    let server = start(1, Duration::from_millis(400)).await;
    let first = TcpStream::connect(server.address).await.unwrap();
    let mut second = TcpStream::connect(server.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    second.write_all(ASK).await.unwrap();
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(100), second.read(&mut byte)).await;
    assert!(early.is_err(), "answered although the only place was taken");
    drop(first);
    assert!(read_to_end(&mut second).await.ends_with("hello"));
}

#[tokio::test]
async fn stopping_lets_running_requests_finish() {
    let server = start(8, Duration::from_secs(5)).await;
    let mut running = TcpStream::connect(server.address).await.unwrap();
    running.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.stop.send(()).unwrap();
    assert!(read_to_end(&mut running).await.ends_with("done"));
    server.task.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
