//! Against an agent that keeps its books in memory; the real one is asked in `tests/it`.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{Empty, empty};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::fleet::backend::{Launch, of_pool};
use crate::proto::hypervisor::v1::agent_service_server::{AgentService, AgentServiceServer};
use crate::proto::hypervisor::v1::{
    AgentConsoleInput, AgentConsoleOutput, AgentDeleteInstanceRequest, AgentInstanceRequest,
    AgentListInstancesResponse, AgentRestartInstanceRequest, AgentStopInstanceRequest, InstanceStats,
};

#[derive(Debug, Default)]
struct Books {
    instances: BTreeMap<String, Instance>,
    asked: Vec<AgentCreateInstanceRequest>,
    keys: Vec<String>,
    full: bool,
}

type Shared = Arc<Mutex<Books>>;

#[derive(Debug, Clone)]
struct Hands(Shared);

type Outputs = Pin<Box<Empty<Result<AgentConsoleOutput, Status>>>>;

#[tonic::async_trait]
impl AgentService for Hands {
    async fn create_instance(
        &self,
        request: Request<AgentCreateInstanceRequest>,
    ) -> Result<Response<Instance>, Status> {
        let mut books = self.0.lock().unwrap();
        let key = request.metadata().get("authorization").map(|key| key.to_str().unwrap().to_owned());
        books.keys.extend(key);
        if books.full {
            return Err(Status::resource_exhausted("0 of 8 cores are free"));
        }
        let asked = request.into_inner();
        let instance = Instance {
            id: asked.instance_id.clone(),
            name: asked.name.clone(),
            state: InstanceState::Running.into(),
            spec: asked.spec.clone(),
            ..Instance::default()
        };
        books.instances.insert(asked.instance_id.clone(), instance.clone());
        books.asked.push(asked);
        Ok(Response::new(instance))
    }

    async fn delete_instance(
        &self,
        request: Request<AgentDeleteInstanceRequest>,
    ) -> Result<Response<()>, Status> {
        let id = request.into_inner().instance_id;
        match self.0.lock().unwrap().instances.remove(&id) {
            Some(_) => Ok(Response::new(())),
            None => Err(Status::not_found(format!("no instance {id:?}"))),
        }
    }

    async fn list_instances(&self, _: Request<()>) -> Result<Response<AgentListInstancesResponse>, Status> {
        let instances = self.0.lock().unwrap().instances.values().cloned().collect();
        Ok(Response::new(AgentListInstancesResponse { instances }))
    }

    async fn start_instance(&self, _: Request<AgentInstanceRequest>) -> Result<Response<Instance>, Status> {
        Err(Status::unimplemented("not asked for by a fleet"))
    }

    async fn stop_instance(
        &self,
        _: Request<AgentStopInstanceRequest>,
    ) -> Result<Response<Instance>, Status> {
        Err(Status::unimplemented("not asked for by a fleet"))
    }

    async fn restart_instance(
        &self,
        _: Request<AgentRestartInstanceRequest>,
    ) -> Result<Response<Instance>, Status> {
        Err(Status::unimplemented("not asked for by a fleet"))
    }

    async fn get_instance(&self, _: Request<AgentInstanceRequest>) -> Result<Response<Instance>, Status> {
        Err(Status::unimplemented("not asked for by a fleet"))
    }

    async fn get_instance_stats(
        &self,
        _: Request<AgentInstanceRequest>,
    ) -> Result<Response<InstanceStats>, Status> {
        Err(Status::unimplemented("not asked for by a fleet"))
    }

    type AttachConsoleStream = Outputs;

    async fn attach_console(
        &self,
        _: Request<Streaming<AgentConsoleInput>>,
    ) -> Result<Response<Outputs>, Status> {
        Ok(Response::new(Box::pin(empty())))
    }
}

async fn agent() -> (String, Shared) {
    let (url, books, running) = agent_until_told().await;
    // It runs as long as the test.
    std::mem::forget(running);
    (url, books)
}

async fn agent_until_told() -> (String, Shared, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let books = Shared::default();
    let service = AgentServiceServer::new(Hands(Arc::clone(&books)));
    let server = tonic::transport::Server::builder().add_service(service);
    let (running, told) = oneshot::channel();
    let told = async { drop(told.await) };
    tokio::spawn(server.serve_with_incoming_shutdown(TcpListenerStream::new(listener), told));
    (url, books, running)
}

fn backend(urls: &[&str], data: &Path) -> Arc<dyn Backend> {
    std::fs::write(data.join("key"), "open-sesame\n").unwrap();
    let pool = Pool {
        name: "rtx".to_owned(),
        backend: "agent".to_owned(),
        agent: AgentPool {
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            image: "isaac-sim".to_owned(),
            cpu_cores: 8,
            memory_mb: 32_768,
            volumes: vec!["cache:/root/.cache".to_owned(), "scenes:/scenes:ro".to_owned()],
            annotations: [("hypervisor.io/gpu-count".to_owned(), "1".to_owned())].into(),
            key_file: data.join("key"),
            ..AgentPool::default()
        },
        env: [("ACCEPT_EULA".to_owned(), "Y".to_owned())].into(),
        ..Pool::default()
    };
    let launch = Launch {
        binary: "/opt/neuro".into(),
        orchestrator_url: "http://head:50051".to_owned(),
        http_url: "http://head:8010".to_owned(),
        data: data.to_owned(),
        key_file: None,
    };
    of_pool(&pool, &launch).unwrap()
}

fn birth(number: u32) -> Birth {
    Birth { instance: InstanceId::new(), name: format!("rtx-{number}") }
}

#[tokio::test]
async fn a_container_is_asked_for_with_all_that_an_instance_needs() {
    let (data, (url, books)) = (tempfile::tempdir().unwrap(), agent().await);
    let backend = backend(&[&url], data.path());
    let one = birth(1);
    backend.start(one.clone()).await.unwrap();
    let asked = books.lock().unwrap().asked[0].clone();
    let spec = asked.spec.unwrap();
    assert_eq!(asked.instance_id, one.instance.to_string());
    assert_eq!((spec.image.as_str(), spec.cpu_cores, spec.memory_bytes), ("isaac-sim", 8, 32 << 30));
    assert!(spec.command.is_empty(), "the image's own command runs");
    assert_eq!(spec.env["NEURO_ORCHESTRATOR"], "http://head:50051");
    assert_eq!(spec.env["NEURO_INSTANCE_ID"], one.instance.to_string());
    assert_eq!(spec.env["NEURO_INSTANCE_NAME"], "rtx-1");
    assert_eq!(spec.env["ACCEPT_EULA"], "Y");
    let mounts: Vec<_> = spec
        .volume_mounts
        .iter()
        .map(|one| (one.name.as_str(), one.mount_path.as_str(), one.read_only))
        .collect();
    assert_eq!(mounts, [("cache", "/root/.cache", false), ("scenes", "/scenes", true)]);
    assert_eq!(asked.annotations["hypervisor.io/gpu-count"], "1");
    assert_eq!(asked.annotations["hypervisor.io/autostart"], "true");
    assert_eq!(asked.annotations["hypervisor.io/network"], "host");
    assert_eq!(books.lock().unwrap().keys, ["Bearer open-sesame"]);
}

#[tokio::test]
async fn instances_spread_over_nodes_and_a_full_node_is_passed_over() {
    let (data, (one, first), (two, second)) = (tempfile::tempdir().unwrap(), agent().await, agent().await);
    let backend = backend(&[&one, &two], data.path());
    for number in 0..4 {
        backend.start(birth(number)).await.unwrap();
    }
    let count = |books: &Shared| books.lock().unwrap().instances.len();
    assert_eq!((count(&first), count(&second)), (2, 2));
    first.lock().unwrap().full = true;
    backend.start(birth(5)).await.unwrap();
    backend.start(birth(6)).await.unwrap();
    assert_eq!((count(&first), count(&second)), (2, 4));
    second.lock().unwrap().full = true;
    let error = backend.start(birth(7)).await.unwrap_err().to_string();
    assert!(error.contains(&one) && error.contains(&two) && error.contains("0 of 8 cores"), "{error}");
}

#[tokio::test]
async fn a_restarted_orchestrator_finds_its_own_and_leaves_those_of_others() {
    let (data, other, (url, books)) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), agent().await);
    let one = birth(1);
    backend(&[&url], data.path()).start(one.clone()).await.unwrap();
    backend(&[&url], other.path()).start(birth(1)).await.unwrap();
    let again = backend(&[&url], data.path());
    let found = again.list().await.unwrap();
    assert_eq!(
        found,
        [Provided { instance: one.instance, name: one.name.clone(), state: Provision::Running }]
    );
    again.stop(one.instance).await.unwrap();
    again.stop(one.instance).await.unwrap();
    assert_eq!(books.lock().unwrap().instances.len(), 1, "the other fleet's runs on");
}

#[tokio::test]
async fn one_that_failed_is_told_once_with_its_reason_and_removed() {
    let (data, (url, books)) = (tempfile::tempdir().unwrap(), agent().await);
    let backend = backend(&[&url], data.path());
    let one = birth(1);
    backend.start(one.clone()).await.unwrap();
    let id = one.instance.to_string();
    if let Some(instance) = books.lock().unwrap().instances.get_mut(&id) {
        instance.state = InstanceState::Failed.into();
        instance.error_message = "exit 137 (OOM)".to_owned();
    }
    let over = backend.list().await.unwrap();
    let Provision::Ended { reason } = &over[0].state else { panic!("{over:?}") };
    assert!(reason.contains("rtx-1") && reason.contains("exit 137 (OOM)"), "{reason}");
    assert!(backend.list().await.unwrap().is_empty());
    assert!(books.lock().unwrap().instances.is_empty());
}

#[tokio::test]
async fn a_node_that_is_away_keeps_what_it_had_while_others_answer() {
    let (data, (one, first, running), (two, _second)) =
        (tempfile::tempdir().unwrap(), agent_until_told().await, agent().await);
    let backend = backend(&[&one, &two], data.path());
    backend.start(birth(1)).await.unwrap();
    backend.start(birth(2)).await.unwrap();
    let before: BTreeSet<_> = backend.list().await.unwrap().into_iter().map(|one| one.instance).collect();
    assert_eq!((before.len(), first.lock().unwrap().instances.len()), (2, 1));
    running.send(()).unwrap();
    while std::net::TcpStream::connect(one.trim_start_matches("http://")).is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let after = backend.list().await.unwrap();
    assert!(after.iter().all(|one| one.state == Provision::Running), "{after:?}");
    assert_eq!(after.into_iter().map(|one| one.instance).collect::<BTreeSet<_>>(), before);
}

#[tokio::test]
async fn when_no_node_answers_the_list_is_an_error_that_names_them() {
    let data = tempfile::tempdir().unwrap();
    let error = backend(&["http://127.0.0.1:1"], data.path()).list().await.unwrap_err();
    assert!(matches!(error, FleetError::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[test]
fn a_volume_is_a_name_and_a_path() {
    assert_eq!(volume("cache:/a/b"), Some(("cache", "/a/b", false)));
    assert_eq!(volume("cache:/a/b:ro"), Some(("cache", "/a/b", true)));
    for wrong in ["", "cache", "cache:a", ":/a", "cache:/a:rw", "cache:/a:ro:ro"] {
        assert_eq!(volume(wrong), None, "{wrong}");
    }
}
