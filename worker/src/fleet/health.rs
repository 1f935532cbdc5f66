//! What Kubernetes and Prometheus ask: `/livez`, `/readyz`, `/startupz`, `/metrics`, over HTTP.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// A question with yes or no: `Err` says why not.
pub type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the endpoints answer with.
#[derive(Clone)]
pub struct Answers {
    /// Whether the process can still do something. If not, it is to be killed.
    pub live: Check,
    /// Whether it takes work.
    pub ready: Check,
    /// Whether it has begun.
    pub started: Check,
    pub metrics: PrometheusHandle,
    /// Brings figures up to date that are asked for rarely.
    pub refresh: Arc<dyn Fn() + Send + Sync>,
}

/// Listens, and answers in the background as long as the process runs. Gives the address, with the port that was free
/// where 0 was asked for.
pub fn serve(address: SocketAddr, answers: Answers) -> std::io::Result<SocketAddr> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind(address))?;
    let bound = listener.local_addr()?;
    let check = |check: Check| get(move || async move { answer(check()) });
    let router = Router::new()
        .route("/livez", check(answers.live.clone()))
        .route("/readyz", check(answers.ready.clone()))
        .route("/startupz", check(answers.started.clone()))
        .route("/metrics", get(metrics))
        .with_state(answers);
    let serve = move || {
        if let Err(error) = runtime.block_on(async { axum::serve(listener, router).await }) {
            tracing::error!("the health endpoints ended: {error}");
        }
    };
    std::thread::Builder::new().name("http".to_owned()).spawn(serve)?;
    Ok(bound)
}

fn answer(answer: Result<(), String>) -> Response {
    match answer {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics(State(answers): State<Answers>) -> impl IntoResponse {
    (answers.refresh)();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], answers.metrics.render())
}
