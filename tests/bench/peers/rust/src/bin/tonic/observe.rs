//! One log line and three metrics for each call: a tower layer, which sees the status in the trailers of the body.
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{LazyLock, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;
use tonic::transport::server::TcpConnectInfo;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Method {
    method: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Handled {
    method: String,
    code: String,
}

struct Metrics {
    registry: Mutex<Registry>,
    started: Family<Method, Counter>,
    handled: Family<Handled, Counter>,
    seconds: Family<Method, Histogram>,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let mut registry = Registry::default();
    let started = Family::default();
    let handled = Family::default();
    let seconds =
        Family::new_with_constructor((|| Histogram::new(peers::BUCKETS)) as fn() -> Histogram);
    registry.register("grpc_server_started", "Calls begun.", started.clone());
    registry.register("grpc_server_handled", "Calls ended.", handled.clone());
    registry.register(
        "grpc_server_handling_seconds",
        "Time of calls.",
        seconds.clone(),
    );
    Metrics {
        registry: Mutex::new(registry),
        started,
        handled,
        seconds,
    }
});

/// A thread that answers every request with the metrics.
pub fn serve_metrics(port: u16) -> std::io::Result<()> {
    peers::serve_metrics(&METRICS.registry, port)
}

#[derive(Clone, Default)]
pub struct Layer;

impl<S> tower::Layer<S> for Layer {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { inner }
    }
}

#[derive(Clone)]
pub struct Observed<S> {
    inner: S,
}

/// A call that has begun; its end is counted and logged once, when it is dropped.
struct Call {
    method: String,
    peer: Option<SocketAddr>,
    begun: Instant,
    code: String,
}

impl Call {
    fn begin<B>(request: &Request<B>) -> Call {
        let method = request.uri().path().to_owned();
        METRICS
            .started
            .get_or_create(&Method {
                method: method.clone(),
            })
            .inc();
        Call {
            method,
            peer: request
                .extensions()
                .get::<TcpConnectInfo>()
                .and_then(|info| info.remote_addr()),
            begun: Instant::now(),
            code: "1".to_owned(),
        }
    }

    fn look(&mut self, headers: &HeaderMap) {
        if let Some(code) = headers.get("grpc-status") {
            self.code = code.to_str().unwrap_or("2").to_owned();
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let handled = Handled {
            method: self.method.clone(),
            code: self.code.clone(),
        };
        METRICS.handled.get_or_create(&handled).inc();
        METRICS
            .seconds
            .get_or_create(&Method {
                method: handled.method,
            })
            .observe(seconds);
        let peer = self.peer.map(tracing::field::display);
        tracing::info!(
            method = self.method,
            code = self.code,
            seconds,
            peer,
            "finished call"
        );
    }
}

impl<S, B, T> tower::Service<Request<B>> for Observed<S>
where
    S: tower::Service<Request<B>, Response = Response<T>>,
    S::Future: Send + 'static,
{
    type Response = Response<ObservedBody<T>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut call = Call::begin(&request);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            call.look(response.headers());
            Ok(response.map(|body| ObservedBody { body, call }))
        })
    }
}

pub struct ObservedBody<T> {
    body: T,
    call: Call,
}

impl<T: Body + Unpin> Body for ObservedBody<T> {
    type Data = T::Data;
    type Error = T::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<T::Data>, T::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            if let Some(trailers) = frame.trailers_ref() {
                self.call.look(trailers);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
