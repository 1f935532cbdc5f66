//! A way to the API server that refuses some of what is asked, and counts all of it: HTTP in front, TLS behind. What is
//! answered bit by bit, as a watch is, passes bit by bit.

use super::ControlPlane;
use super::access::{Access, Endpoint};
use super::objects::{block_on, runtime};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, TRANSFER_ENCODING};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use kube::{Client, Config};
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What the next requests like this are answered instead. An empty method or path is any.
#[derive(Debug, Clone, Copy)]
pub struct Refusal {
    pub method: &'static str,
    /// Contained in the path with its query.
    pub path: &'static str,
    /// [`LOST`]: it is done, and the answer never comes.
    pub status: u16,
    /// In how many seconds to ask again, if the answer says so.
    pub retry_after: Option<u32>,
    pub times: usize,
}

/// The status of an answer that is lost.
pub const LOST: u16 = 0;

/// What was asked, and answered.
#[derive(Debug, Clone)]
pub struct ApiCall {
    pub at: Instant,
    pub method: String,
    /// With its query.
    pub path: String,
    pub status: u16,
}

#[derive(Debug)]
pub struct ApiProxy {
    address: SocketAddr,
    state: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    refusals: Mutex<Vec<Refusal>>,
    calls: Mutex<Vec<ApiCall>>,
}

/// An object is at most 1.5 MB, in etcd.
const LONGEST_REQUEST: usize = 4 << 20;

impl ApiProxy {
    pub fn start(control_plane: &ControlPlane) -> Self {
        let state = Arc::<Shared>::default();
        let behind = client(control_plane.admin().endpoint());
        let router = Router::new().fallback(answer).with_state((Arc::clone(&state), behind));
        let listener = block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let server = runtime().spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, state, server }
    }

    /// The same rights by this way: for a `kube::Client`, which says who it is without TLS too. `kubectl` does not.
    pub fn access(&self, access: &Access) -> Access {
        access.at(format!("http://{}", self.address))
    }

    /// Of several that fit, the first is used up first.
    pub fn refuse(&self, refusal: Refusal) {
        self.state.refusals.lock().unwrap().push(refusal);
    }

    /// Nothing is refused any more.
    pub fn calm(&self) {
        self.state.refusals.lock().unwrap().clear();
    }

    /// All that was asked since [`Self::forget_calls`], in the order of the answers.
    pub fn calls(&self) -> Vec<ApiCall> {
        self.state.calls.lock().unwrap().clone()
    }

    pub fn forget_calls(&self) {
        self.state.calls.lock().unwrap().clear();
    }

    /// Calls like this. An empty method or path is any.
    pub fn count(&self, method: &str, path: &str) -> usize {
        self.state.calls.lock().unwrap().iter().filter(|call| fits(method, path, &call.method, &call.path)).count()
    }
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Who asks is the business of whoever comes by the proxy.
fn client(endpoint: &Endpoint) -> Client {
    let mut config = Config::new(endpoint.server.parse().unwrap());
    config.root_cert_file = Some(endpoint.authority.clone());
    config.default_retry = false;
    let _guard = runtime().enter();
    Client::try_from(config).unwrap()
}

async fn answer(State((shared, behind)): State<(Arc<Shared>, Client)>, request: Request) -> Response {
    let (at, method) = (Instant::now(), request.method().to_string());
    let path = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    let response = match shared.take_refusal(&method, &path) {
        Some(refusal) if refusal.status == LOST => {
            forward(&behind, request).await;
            shared.calls.lock().unwrap().push(ApiCall { at, method, path, status: LOST });
            return std::future::pending().await;
        }
        Some(refusal) => refuse(&refusal),
        None => forward(&behind, request).await,
    };
    let status = response.status().as_u16();
    shared.calls.lock().unwrap().push(ApiCall { at, method, path, status });
    response
}

impl Shared {
    fn take_refusal(&self, method: &str, path: &str) -> Option<Refusal> {
        let mut refusals = self.refusals.lock().unwrap();
        let refusal = refusals.iter_mut().find(|it| it.times > 0 && fits(it.method, it.path, method, path))?;
        refusal.times -= 1;
        Some(*refusal)
    }
}

fn fits(method: &str, path: &str, asked: &str, asked_path: &str) -> bool {
    (method.is_empty() || method == asked) && asked_path.contains(path)
}

/// As the API server puts it.
fn refuse(refusal: &Refusal) -> Response {
    let reason = match refusal.status {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "",
    };
    let details = refusal.retry_after.map_or_else(|| json!({}), |seconds| json!({"retryAfterSeconds": seconds}));
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": refusal.status,
        "reason": reason, "message": "refused for the test", "details": details,
    });
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, "application/json".parse().unwrap());
    if let Some(seconds) = refusal.retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    (StatusCode::from_u16(refusal.status).unwrap(), headers, status.to_string()).into_response()
}

async fn forward(behind: &Client, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    // They are about the connection in front.
    for header in [HOST, CONNECTION, TRANSFER_ENCODING] {
        head.headers.remove(header);
    }
    let body = to_bytes(body, LONGEST_REQUEST).await.unwrap().to_vec();
    match behind.send(Request::from_parts(head, body.into())).await {
        Ok(answer) => {
            let mut answer = answer.map(Body::new);
            answer.headers_mut().remove(TRANSFER_ENCODING);
            answer.headers_mut().remove(CONNECTION);
            answer
        }
        Err(e) => (StatusCode::BAD_GATEWAY, e.to_string()).into_response(),
    }
}
