//! Keys and certificates: who gets in, and what they may do there.

use neuro::proto::neuro::common::Empty;
use neuro::proto::neuro::ext::instance_message::M;
use neuro::proto::neuro::ext::{
    DrainRequest, Hello, InstanceMessage, ListSessionsRequest, Role, WatchSessionRequest,
};
use neuro::proto::neuro::orchestrator::neuro_orchestrator_service_client::NeuroOrchestratorServiceClient;
use neuro::proto::neuro::orchestrator::{
    CreateSessionRequest, GetSessionStatusRequest, HealthCheckRequest, StopSessionRequest,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request};

use super::harness::{Clients, Fleet, NOBODY, fresh_id};
use crate::golden::root;

const KEYS: &str = "[[access.key]]\nowner = \"ada\"\nkey = \"key-of-ada\"\nrole = \"user\"\n\
    [[access.key]]\nowner = \"bob\"\nkey = \"key-of-bob\"\nrole = \"user\"\n\
    [[access.key]]\nkey = \"key-of-robots\"\nrole = \"instance\"\n\
    [[access.key]]\nkey = \"key-of-root\"\nrole = \"admin\"\n";

fn with<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    request
}

/// A session of an owner that waits, because there is no simulator.
async fn waiting(clients: &mut Clients, key: &str) -> String {
    let id = fresh_id();
    let mut request = with(key, CreateSessionRequest { session_id: id.clone(), ..Default::default() });
    request.set_timeout(std::time::Duration::from_millis(400));
    let status = clients.neuro.create_session(request).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_nobody_gets_in_but_probes() {
    let fleet = Fleet::start(&format!("{KEYS}{NOBODY}"));
    let mut clients = fleet.clients().await;
    let status = clients.neuro.health_check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    let status =
        clients.neuro.health_check(with("key-of-eve", HealthCheckRequest::default())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    let mut request = Request::new(HealthCheckRequest::default());
    request.metadata_mut().insert("x-api-key", "key-of-ada".parse().unwrap());
    assert!(clients.neuro.health_check(request).await.unwrap().into_inner().healthy);
    let mut probe = tonic_health::pb::health_client::HealthClient::new(fleet.channel().await);
    probe.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
    let attach = clients.instances.attach(tokio_stream::empty()).await.unwrap_err();
    assert_eq!(attach.code(), Code::Unauthenticated, "{attach:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sees_its_own_sessions_alone() {
    let fleet = Fleet::start(&format!("{KEYS}{NOBODY}"));
    let mut clients = fleet.clients().await;
    let of_ada = waiting(&mut clients, "key-of-ada").await;
    let of_bob = waiting(&mut clients, "key-of-bob").await;
    let status = |id: &str| GetSessionStatusRequest { session_id: id.to_owned() };
    clients.neuro.get_session_status(with("key-of-ada", status(&of_ada))).await.unwrap();
    clients.neuro.get_session_status(with("key-of-root", status(&of_ada))).await.unwrap();
    let hidden = clients.neuro.get_session_status(with("key-of-ada", status(&of_bob))).await.unwrap_err();
    let absent = clients.neuro.get_session_status(with("key-of-ada", status(&fresh_id()))).await.unwrap_err();
    assert_eq!((hidden.code(), absent.code()), (Code::NotFound, Code::NotFound));
    let stop = StopSessionRequest { session_id: of_bob.clone(), cleanup: true };
    assert_eq!(
        clients.neuro.stop_session(with("key-of-ada", stop)).await.unwrap_err().code(),
        Code::NotFound
    );
    let watch = WatchSessionRequest { session_id: of_bob.clone(), resume_after: 0 };
    assert_eq!(
        clients.sessions.watch_session(with("key-of-ada", watch)).await.unwrap_err().code(),
        Code::NotFound
    );

    let listed = |key: &'static str, owner: &str| {
        let mut sessions = clients.sessions.clone();
        let request = with(key, ListSessionsRequest { owner: owner.to_owned(), ..Default::default() });
        async move {
            let mut ids: Vec<_> = sessions
                .list_sessions(request)
                .await
                .unwrap()
                .into_inner()
                .sessions
                .into_iter()
                .map(|one| one.session_id)
                .collect();
            ids.sort();
            ids
        }
    };
    let mut both = vec![of_ada.clone(), of_bob.clone()];
    both.sort();
    assert_eq!(listed("key-of-ada", "").await, std::slice::from_ref(&of_ada));
    assert_eq!(
        listed("key-of-ada", "bob").await,
        std::slice::from_ref(&of_ada),
        "asking for another's changes nothing"
    );
    assert_eq!(listed("key-of-root", "").await, both);
    assert_eq!(listed("key-of-root", "bob").await, [of_bob]);
    let active =
        clients.resource.list_active_sessions(with("key-of-ada", Empty {})).await.unwrap().into_inner();
    assert_eq!(active.session_ids, [of_ada]);
    assert_eq!(active.statuses.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_do_what_they_are_for_and_nothing_else() {
    let fleet = Fleet::start(&format!("{KEYS}{NOBODY}"));
    let mut clients = fleet.clients().await;
    let drain = || DrainRequest { deadline_s: 1, ..Default::default() };
    for key in ["key-of-ada", "key-of-robots"] {
        let status = clients.pools.drain(with(key, drain())).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{key}: {status:?}");
    }
    let create = CreateSessionRequest { session_id: fresh_id(), ..Default::default() };
    let status = clients.neuro.create_session(with("key-of-robots", create)).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    let hello = || {
        let hello = Hello {
            instance_id: fresh_id(),
            name: "isaac-sim-1".into(),
            role: Role::Simulator.into(),
            ..Default::default()
        };
        tokio_stream::iter([InstanceMessage { m: Some(M::Hello(hello)) }])
    };
    let status = clients.instances.attach(with("key-of-ada", hello())).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    let mut orders = clients.instances.attach(with("key-of-robots", hello())).await.unwrap().into_inner();
    let first = orders.message().await.unwrap().unwrap();
    assert!(matches!(first.o, Some(neuro::proto::neuro::ext::order::O::Accepted(_))), "{first:?}");
}

fn tls_file(name: &str) -> String {
    std::fs::read_to_string(root().join("tests/fixtures/tls").join(name)).unwrap()
}

fn tls_settings(client_ca: bool) -> String {
    let path = |name: &str| root().join("tests/fixtures/tls").join(name).display().to_string();
    let mut text = format!(
        "{NOBODY}[access]\ntls_cert = \"{}\"\ntls_key = \"{}\"\n",
        path("server.pem"),
        path("server.key")
    );
    if client_ca {
        text.push_str(&format!("tls_client_ca = \"{}\"\n", path("authority.pem")));
    }
    text
}

async fn over_tls(
    fleet: &Fleet,
    shown: Option<&str>,
) -> Result<NeuroOrchestratorServiceClient<Channel>, tonic::transport::Error> {
    let mut config = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(tls_file("authority.pem")))
        .domain_name("localhost");
    if let Some(name) = shown {
        let identity = Identity::from_pem(tls_file(&format!("{name}.pem")), tls_file(&format!("{name}.key")));
        config = config.identity(identity);
    }
    let endpoint = Endpoint::from_shared(format!("https://{}", fleet.grpc))?.tls_config(config)?;
    endpoint.connect().await.map(NeuroOrchestratorServiceClient::new)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_certificate_speaks_tls_and_nothing_else() {
    let fleet = Fleet::start(&tls_settings(false));
    let mut client = over_tls(&fleet, None).await.unwrap();
    assert!(client.health_check(HealthCheckRequest::default()).await.unwrap().into_inner().healthy);
    let plain = Endpoint::from_shared(format!("http://{}", fleet.grpc)).unwrap().connect().await;
    let refused = match plain {
        Err(_) => true,
        Ok(channel) => NeuroOrchestratorServiceClient::new(channel)
            .health_check(HealthCheckRequest::default())
            .await
            .is_err(),
    };
    assert!(refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_authority_only_its_clients_get_in() {
    let fleet = Fleet::start(&tls_settings(true));
    let mut client = over_tls(&fleet, Some("client")).await.unwrap();
    assert!(client.health_check(HealthCheckRequest::default()).await.unwrap().into_inner().healthy);
    for shown in [None, Some("intruder")] {
        // TLS 1.3 tells the client only when it first reads.
        let refused = match over_tls(&fleet, shown).await {
            Err(_) => true,
            Ok(mut client) => client.health_check(HealthCheckRequest::default()).await.is_err(),
        };
        assert!(refused, "{shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_tls_instances_of_this_machine_have_a_door_of_their_own() {
    let fleet = Fleet::start(&tls_settings(true));
    let data = fleet.folder.path().join("data");
    let port = std::fs::read_to_string(data.join("instances.port")).unwrap();
    let key = std::fs::read_to_string(data.join("instance.key")).unwrap();
    let channel =
        Endpoint::from_shared(format!("http://127.0.0.1:{}", port.trim())).unwrap().connect().await.unwrap();
    let mut clients = Clients::over(channel);
    let status = clients.neuro.health_check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    let create = CreateSessionRequest { session_id: fresh_id(), ..Default::default() };
    let status = clients.neuro.create_session(with(key.trim(), create)).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
}
