//! What the peers written in Rust share: the log, the page of metrics, the runtime.
use prometheus_client::registry::Registry;
use std::env::var;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;
use tokio::runtime::Runtime;
use tracing_appender::non_blocking::WorkerGuard;

pub const BUCKETS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// JSON lines on standard output, written by a thread of their own until the guard is dropped.
pub fn log_to_stdout() -> WorkerGuard {
    let (writer, guard) = tracing_appender::non_blocking(std::io::stdout());
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(writer)
        .init();
    guard
}

/// A thread that answers every request with the metrics.
pub fn serve_metrics(registry: &'static Mutex<Registry>, port: u16) -> std::io::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut page = String::new();
            let _ = stream.read(&mut [0; 4096]);
            let _ = prometheus_client::encoding::text::encode(&mut page, &registry.lock().unwrap());
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{page}",
                page.len()
            );
        }
    });
    Ok(())
}

/// Of as many threads as THREADS says; one thread is the runtime without the locks of several.
pub fn runtime() -> Result<Runtime, Box<dyn Error>> {
    Ok(match var("THREADS")?.parse()? {
        1 => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?,
        threads => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()?,
    })
}
