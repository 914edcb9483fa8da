//! Firecracker's API: JSON over HTTP/1.1 on a Unix socket. Names and fields as its OpenAPI description has them
//! (`firecracker.yaml`, 1.x); configuration before the start, actions after.

use std::path::Path;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest body that is read.
const LONGEST: usize = 1 << 20;
/// Seconds between two reports of the guest's balloon.
const BALLOON_S: u32 = 2;
const MIB: u64 = 1 << 20;

/// Why it was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// Nobody answers there.
    #[error("firecracker: {0}")]
    Gone(String),
    /// It says no.
    #[error("firecracker: {method} {path}: {status}: {text}")]
    Refused {
        /// `PUT`
        method: String,
        /// `/machine-config`
        path: String,
        /// 400
        status: u16,
        /// Its `fault_message`.
        text: String,
    },
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// `GET`, `PUT`
    pub method: Method,
    /// `/machine-config`
    pub path: String,
    /// Null for none.
    pub body: Value,
}

impl Request {
    /// What is asked.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), body: Value::Null }
    }

    /// What is set.
    #[must_use]
    pub fn put(path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::PUT, path: path.into(), body }
    }

    /// What is done: `InstanceStart`, `SendCtrlAltDel`.
    #[must_use]
    pub fn action(action: &str) -> Self {
        Self::put("/actions", json!({ "action_type": action }))
    }
}

/// What a machine is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine<'a> {
    /// Cores.
    pub cpu_cores: u32,
    /// Bytes.
    pub memory_bytes: u64,
    /// An uncompressed kernel.
    pub kernel: &'a Path,
    /// Its initrd.
    pub initrd: Option<&'a Path>,
    /// Its arguments.
    pub kernel_line: String,
    /// Raw files, the root first.
    pub disks: Vec<&'a Path>,
    /// Bytes a second that each disk may move; 0 is no limit.
    pub disk_bps: u64,
    /// A tap and the address of the guest's device.
    pub network: Option<(String, String)>,
}

impl Machine<'_> {
    /// What is said before its start, in order, and the start.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        let memory_mib = self.memory_bytes.div_ceil(MIB).max(1);
        let mut boot = json!({ "kernel_image_path": self.kernel, "boot_args": self.kernel_line });
        if let (Some(initrd), Some(boot)) = (self.initrd, boot.as_object_mut()) {
            boot.insert("initrd_path".to_owned(), json!(initrd));
        }
        let mut requests = vec![
            Request::put(
                "/machine-config",
                json!({ "vcpu_count": self.cpu_cores, "mem_size_mib": memory_mib }),
            ),
            Request::put("/boot-source", boot),
            Request::put(
                "/balloon",
                json!({ "amount_mib": 0, "deflate_on_oom": true, "stats_polling_interval_s": BALLOON_S }),
            ),
            Request::put("/entropy", json!({})),
        ];
        for (number, disk) in self.disks.iter().enumerate() {
            let id = format!("disk{number}");
            // With an initrd there is no root among the disks.
            let root = number == 0 && self.initrd.is_none();
            let mut drive = json!({
                "drive_id": id, "path_on_host": disk, "is_root_device": root, "is_read_only": false,
            });
            if let (true, Some(drive)) = (self.disk_bps > 0, drive.as_object_mut()) {
                let bandwidth = json!({ "bandwidth": { "size": self.disk_bps, "refill_time": 1000 } });
                drive.insert("rate_limiter".to_owned(), bandwidth);
            }
            requests.push(Request::put(format!("/drives/{id}"), drive));
        }
        if let Some((tap, mac)) = &self.network {
            let body = json!({ "iface_id": "eth0", "host_dev_name": tap, "guest_mac": mac });
            requests.push(Request::put("/network-interfaces/eth0", body));
        }
        requests.push(Request::action("InstanceStart"));
        requests
    }
}

/// A connection to one Firecracker.
#[derive(Debug, Clone)]
pub struct Api {
    client: Client,
}

impl Api {
    /// Over its socket. Nothing is said yet.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(socket: &Path) -> Result<Self, ApiError> {
        let client = Client::builder().unix_socket(socket).timeout(LIMIT).no_proxy().build();
        client.map(|client| Self { client }).map_err(|error| ApiError::Gone(error.to_string()))
    }

    /// Has one request answered; null for an empty answer.
    ///
    /// # Errors
    /// Nobody answers, or it refuses.
    pub async fn send(&self, request: &Request) -> Result<Value, ApiError> {
        let gone = |error: reqwest::Error| ApiError::Gone(error.to_string());
        let mut call =
            self.client.request(request.method.clone(), format!("http://localhost{}", request.path));
        if !request.body.is_null() {
            call = call.json(&request.body);
        }
        let mut answer = call.send().await.map_err(gone)?;
        let status = answer.status();
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(gone)? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > LONGEST {
                return Err(ApiError::Gone(format!("an answer of over {LONGEST} bytes to {}", request.path)));
            }
        }
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_success() { Ok(body) } else { Err(refused(request, status, &body)) }
    }
}

fn refused(request: &Request, status: StatusCode, body: &Value) -> ApiError {
    let text = body.get("fault_message").and_then(Value::as_str).unwrap_or("no reason given");
    ApiError::Refused {
        method: request.method.to_string(),
        path: request.path.clone(),
        status: status.as_u16(),
        text: text.chars().take(500).collect(),
    }
}
