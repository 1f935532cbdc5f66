//! What Kubernetes and Prometheus ask: `/livez`, `/readyz`, `/metrics`, over HTTP.

use axum::Router;
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
#[expect(missing_debug_implementations, reason = "questions are closures")]
pub struct Answers {
    /// Whether the process can still do something. If not, it is to be killed.
    pub live: Check,
    /// Whether it could take over.
    pub ready: Check,
    pub metrics: PrometheusHandle,
}

/// Listens, and answers in the background. Gives the address, with the port that was free where 0 was asked for.
pub async fn serve(address: SocketAddr, answers: Answers) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let check = |check: Check| get(move || async move { answer(check()) });
    let metrics = answers.metrics;
    let render = move || async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render()) };
    let router = Router::new()
        .route("/livez", check(answers.live))
        .route("/readyz", check(answers.ready))
        .route("/metrics", get(render));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!("the health endpoints ended: {error}");
        }
    });
    Ok(bound)
}

fn answer(answer: Result<(), String>) -> Response {
    match answer {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}
