//! The peer on axum: GET /demo/hello, with a middleware for metrics and logs.
//!
//! Speaks HTTP/1.1 and cleartext HTTP/2. Takes PORT, METRICS_PORT and THREADS from the environment.
use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::middleware::{from_fn, Next};
use axum::response::Response;
use axum::routing::get;
use axum::Router;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::env::var;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{LazyLock, Mutex};
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::signal::unix::{signal, SignalKind};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    method: String,
    path: String,
    status: u16,
}

struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<Labels, Counter>,
    seconds: Family<Labels, Histogram>,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let mut registry = Registry::default();
    let requests = Family::default();
    let seconds =
        Family::new_with_constructor((|| Histogram::new(peers::BUCKETS)) as fn() -> Histogram);
    registry.register("http_requests", "Requests answered.", requests.clone());
    registry.register(
        "http_request_duration_seconds",
        "Time of requests.",
        seconds.clone(),
    );
    Metrics {
        registry: Mutex::new(registry),
        requests,
        seconds,
    }
});

/// One log line and two metrics for each request.
async fn observe(
    path: Option<MatchedPath>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let url = request.uri().clone();
    let agent = request.headers().get("user-agent").cloned();
    let response = next.run(request).await;
    let seconds = begun.elapsed().as_secs_f64();
    let labels = Labels {
        method: method.as_str().to_owned(),
        path: path.map_or(String::new(), |path| path.as_str().to_owned()),
        status: response.status().as_u16(),
    };
    METRICS.requests.get_or_create(&labels).inc();
    METRICS.seconds.get_or_create(&labels).observe(seconds);
    tracing::info!(
        method = method.as_str(),
        url = %url,
        status = labels.status,
        seconds,
        peer = %peer,
        agent = agent.as_ref().and_then(|value| value.to_str().ok()),
        "request"
    );
    response
}

async fn serve(port: u16) -> Result<(), Box<dyn Error>> {
    let mut terminated = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let routes = Router::new()
        .route("/demo/hello", get(|| async { "hello, world!\n" }))
        .route_layer(from_fn(observe));
    axum::serve(
        listener,
        routes.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .with_graceful_shutdown(async move {
        terminated.recv().await;
    })
    .await?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let _log = peers::log_to_stdout();
    peers::serve_metrics(&METRICS.registry, var("METRICS_PORT")?.parse()?)?;
    peers::runtime()?.block_on(serve(var("PORT")?.parse()?))
}
