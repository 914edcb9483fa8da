//! How the services are reached: by both names of a path, from a page, by clients without contracts, within limits.

use std::time::Duration;

use base64::Engine as _;
use neuro::proto::neuro::common::Empty;
use neuro::proto::neuro::isaac_sim;
use neuro::proto::neuro::orchestrator::{CreateSessionRequest, HealthCheckRequest, HealthCheckResponse};
use neuro::proto::neuro::resource::{GpuStatus, SessionList};
use neuro::proto::neuro::training::{GetTrainingResultRequest, TrainingResult};
use prost::Message as _;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::HealthCheckRequest as Probe;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::harness::{Fleet, NOBODY, fresh_id};

/// One call of any method by its path.
async fn call<I, O>(channel: &Channel, path: &'static str, message: I) -> Result<Response<O>, Status>
where
    I: prost::Message + 'static,
    O: prost::Message + Default + 'static,
{
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    client.unary(Request::new(message), PathAndQuery::from_static(path), ProstCodec::<I, O>::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_services_answer_under_both_names() {
    let fleet = Fleet::start(NOBODY);
    let channel = fleet.channel().await;
    let probe = isaac_sim::HealthCheckRequest::default;
    for path in ["/isaac_sim.IsaacSimService/HealthCheck", "/neuro.IsaacSimService/HealthCheck"] {
        let answer: Response<isaac_sim::HealthCheckResponse> = call(&channel, path, probe()).await.unwrap();
        assert!(answer.into_inner().healthy, "{path}");
    }
    for path in ["/resource.ResourceService/ListActiveSessions", "/neuro.ResourceService/ListActiveSessions"]
    {
        let answer: Response<SessionList> = call(&channel, path, Empty {}).await.unwrap();
        assert!(answer.into_inner().session_ids.is_empty(), "{path}");
    }
    for path in ["/training.TrainingService/GetTrainingResult", "/neuro.TrainingService/GetTrainingResult"] {
        let asked = GetTrainingResultRequest { training_id: fresh_id() };
        let answer: Result<Response<TrainingResult>, Status> = call(&channel, path, asked).await;
        assert_eq!(answer.unwrap_err().code(), Code::NotFound, "{path}");
    }
    let nowhere: Result<Response<Empty>, Status> =
        call(&channel, "/neuro.IsaacSimService/Nothing", Empty {}).await;
    assert_eq!(nowhere.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test(flavor = "multi_thread")]
async fn gpus_are_those_of_the_driver_or_there_is_a_reason() {
    let fleet = Fleet::start(NOBODY);
    let channel = fleet.channel().await;
    let answer: Response<GpuStatus> =
        call(&channel, "/resource.ResourceService/GetGPUStatus", Empty {}).await.unwrap();
    let reason = answer.metadata().get("neuro-reason").cloned();
    let gpus = answer.into_inner().gpus;
    assert!(!gpus.is_empty() || reason.is_some_and(|reason| !reason.is_empty()));
    assert!(gpus.iter().all(|gpu| !gpu.name.is_empty() && gpu.memory_total_mb > 0), "{gpus:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_on_this_machine_calls_over_grpc_web() {
    let fleet = Fleet::start(NOBODY);
    let http = reqwest::Client::new();
    let url = format!("http://{}/neuro.NeuroOrchestratorService/HealthCheck", fleet.grpc);
    let message = HealthCheckRequest { detailed: true }.encode_to_vec();
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(&message);
    let text = base64::engine::general_purpose::STANDARD.encode(&frame);
    let kinds =
        [("application/grpc-web+proto", frame), ("application/grpc-web-text+proto", text.into_bytes())];
    for (kind, body) in kinds {
        let asked = http.post(&url).header("content-type", kind).header("accept", kind);
        let asked = asked.header("origin", "http://localhost:8010").header("x-grpc-web", "1").body(body);
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{kind}");
        assert_eq!(answer.headers()["access-control-allow-origin"], "http://localhost:8010");
        let mut bytes = answer.bytes().await.unwrap().to_vec();
        if kind.contains("text") {
            // Frames are encoded one by one: each ends with its own padding.
            let text = String::from_utf8(bytes).unwrap();
            let pieces = text.split_inclusive('=').map(|piece| piece.trim_end_matches('=').to_owned());
            let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
            bytes = pieces
                .filter(|piece| !piece.is_empty())
                .flat_map(|piece| engine.decode(piece).unwrap())
                .collect();
        }
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
        let health = HealthCheckResponse::decode(&bytes[5..5 + length]).unwrap();
        assert!(health.healthy && health.resource_status.is_some());
        let trailers = String::from_utf8_lossy(&bytes[5 + length + 5..]).into_owned();
        assert_eq!(bytes[5 + length], 0x80, "{kind}");
        assert!(trailers.contains("grpc-status:0"), "{trailers}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_machines_are_not_let_in() {
    let fleet = Fleet::start(NOBODY);
    let url = format!("http://{}/neuro.NeuroOrchestratorService/HealthCheck", fleet.grpc);
    let preflight = |origin: &'static str| {
        let asked = reqwest::Client::new().request(reqwest::Method::OPTIONS, &url).header("origin", origin);
        let asked = asked.header("access-control-request-method", "POST");
        asked.header("access-control-request-headers", "content-type,x-grpc-web,x-api-key").send()
    };
    let own = preflight("http://127.0.0.1:3000").await.unwrap();
    assert_eq!(own.headers()["access-control-allow-origin"], "http://127.0.0.1:3000");
    assert!(own.headers()["access-control-allow-headers"].to_str().unwrap().contains("x-api-key"));
    let other = preflight("http://example.org").await.unwrap();
    assert!(!other.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_without_contracts_find_everything_by_reflection() {
    let fleet = Fleet::start(NOBODY);
    let mut client = ServerReflectionClient::new(fleet.channel().await);
    let ask = |message_request| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message_request),
    };
    let asked = vec![
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("neuro.ext.v1.SessionEvent".into())),
        ask(MessageRequest::FileContainingSymbol("grpc.health.v1.HealthCheckRequest".into())),
    ];
    let mut answers = client.server_reflection_info(tokio_stream::iter(asked)).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list")
    };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for name in [
        "neuro.NeuroOrchestratorService",
        "isaac_sim.IsaacSimService",
        "training.TrainingService",
        "resource.ResourceService",
        "neuro.ext.v1.SessionService",
        "neuro.ext.v1.InstanceService",
        "neuro.ext.v1.PoolAdminService",
        "grpc.health.v1.Health",
    ] {
        assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
    }
    for _ in 0..2 {
        let answer = answers.message().await.unwrap().unwrap().message_response;
        assert!(matches!(answer, Some(MessageResponse::FileDescriptorResponse(_))), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_by_service_and_changes_with_a_drain() {
    let fleet = Fleet::start(NOBODY);
    let mut probe = HealthClient::new(fleet.channel().await);
    let mut clients = fleet.clients().await;
    let names =
        ["", "neuro.NeuroOrchestratorService", "neuro.IsaacSimService", "neuro.ext.v1.SessionService"];
    for name in names {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        loop {
            let asked = Probe { service: name.to_owned() };
            let status = probe.check(asked).await.map(|answer| answer.into_inner().status());
            if matches!(status, Ok(ServingStatus::Serving)) {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{name}: {status:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let asked = Probe { service: "neuro.NeuroOrchestratorService".to_owned() };
    let mut changes = probe.watch(asked).await.unwrap().into_inner();
    assert_eq!(changes.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    clients
        .pools
        .drain(neuro::proto::neuro::ext::DrainRequest { deadline_s: 60, ..Default::default() })
        .await
        .unwrap();
    let changed = tokio::time::timeout(Duration::from_secs(5), changes.message()).await.unwrap();
    assert_eq!(changed.unwrap().unwrap().status(), ServingStatus::NotServing);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_five_mebibytes_are_read_and_of_twenty_are_not() {
    let fleet = Fleet::start(NOBODY);
    let mut clients = fleet.clients().await;
    let scene = |bytes: usize| neuro::proto::neuro::common::GrpcSceneConfig {
        robot_urdf: "x".repeat(bytes),
        ..Default::default()
    };
    let request = |bytes| CreateSessionRequest {
        session_id: fresh_id(),
        scene_config: Some(scene(bytes)),
        ..Default::default()
    };
    let read = clients.neuro.create_session(request(5 << 20)).await.unwrap_err();
    assert_eq!(read.code(), Code::InvalidArgument, "it was read and its field refused: {read:?}");
    assert!(read.message().contains("robot_urdf"), "{read:?}");
    let refused = clients.neuro.create_session(request(20 << 20)).await.unwrap_err();
    assert!([Code::OutOfRange, Code::ResourceExhausted].contains(&refused.code()), "{refused:?}");
    let after = clients.neuro.health_check(HealthCheckRequest::default()).await;
    assert!(after.unwrap().into_inner().healthy);
}

/// Bytes as they are, for messages that are none.
#[derive(Clone, Copy, Default)]
struct Raw;

impl tonic::codec::Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl tonic::codec::Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, out: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(out, &item);
        Ok(())
    }
}

impl tonic::codec::Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, input: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = bytes::Buf::remaining(input);
        Ok(Some(bytes::Buf::copy_to_bytes(input, length).to_vec()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_the_senders_fault() {
    let fleet = Fleet::start(NOBODY);
    let mut client = Grpc::new(fleet.channel().await);
    // An old client's packed numbers, 300 among them, where prim paths are expected now; and bytes that are no message.
    let numbers = b"\x0a\x01a\x1a\x02\xac\x02".to_vec();
    for (bytes, said) in [(numbers, "obstacles_to_remove"), (b"\xff\xff\xff".to_vec(), "")] {
        let path = PathAndQuery::from_static("/isaac_sim.IsaacSimService/UpdateScene");
        client.ready().await.unwrap();
        let status = client.unary(Request::new(bytes), path, Raw).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(said), "{status:?}");
    }
}
