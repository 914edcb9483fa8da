//! The nine methods, once for each profile: the same calls of the agent, shown in the profile's own messages.

use std::time::Instant;

use futures_util::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::console::{self, Said};
use super::front::Caller;
use super::{Edge, Upstream, show, status};
use crate::agent::error::AgentError;
use crate::telemetry::agent as telemetry;

impl AsRef<Edge> for Edge {
    fn as_ref(&self) -> &Edge {
        self
    }
}

impl AsRef<Edge> for Upstream {
    fn as_ref(&self) -> &Edge {
        &self.0
    }
}

/// Who calls, for the audit log.
///
/// # Errors
/// `INTERNAL` for a call that did not pass the front.
fn caller<T>(request: &Request<T>) -> Result<String, Status> {
    let caller = request.extensions().get::<Caller>();
    caller
        .map(|caller| caller.0.clone())
        .ok_or_else(|| Status::internal("the call came in without passing the front"))
}

/// Carries one operation out, counted.
async fn counted<T>(
    operation: &'static str,
    work: impl Future<Output = Result<T, AgentError>>,
) -> Result<T, Status> {
    let begun = Instant::now();
    let done = work.await.map_err(|error| status::of(&error));
    let outcome = done.as_ref().map_or_else(status::outcome, |_| "ok");
    telemetry::operated(operation, outcome, begun.elapsed());
    done
}

macro_rules! service {
    ($edge:ident, [$($wire:tt)+], $instance:path, $stats:path) => {
        const _: () = {
            use $($wire)+ as wire;
            use wire::agent_service_server::AgentService;

            impl From<wire::AgentConsoleInput> for Said {
                fn from(input: wire::AgentConsoleInput) -> Self {
                    match input.input {
                        Some(wire::agent_console_input::Input::Data(data)) => Said::Data(data),
                        Some(wire::agent_console_input::Input::Resize(size)) => Said::Resize {
                            width: size.width,
                            height: size.height,
                        },
                        None => Said::Nothing,
                    }
                }
            }

            #[tonic::async_trait]
            impl AgentService for $edge {
                async fn create_instance(
                    &self,
                    request: Request<wire::AgentCreateInstanceRequest>,
                ) -> Result<Response<wire::Instance>, Status> {
                    let (edge, caller) = (self.as_ref(), caller(&request)?);
                    let asked = show::same(request.get_ref());
                    let record = counted("create", edge.agent.create(asked, &caller)).await?;
                    Ok(Response::new($instance(&record, &edge.agent.node().node_id)))
                }

                async fn delete_instance(
                    &self,
                    request: Request<wire::AgentDeleteInstanceRequest>,
                ) -> Result<Response<()>, Status> {
                    let (edge, caller) = (self.as_ref(), caller(&request)?);
                    let asked = request.into_inner();
                    counted("delete", edge.agent.delete(&asked.instance_id, asked.force, &caller)).await?;
                    Ok(Response::new(()))
                }

                async fn start_instance(
                    &self,
                    request: Request<wire::AgentInstanceRequest>,
                ) -> Result<Response<wire::Instance>, Status> {
                    let (edge, caller) = (self.as_ref(), caller(&request)?);
                    let id = request.into_inner().instance_id;
                    let record = counted("start", edge.agent.start(&id, &caller)).await?;
                    Ok(Response::new($instance(&record, &edge.agent.node().node_id)))
                }

                async fn stop_instance(
                    &self,
                    request: Request<wire::AgentStopInstanceRequest>,
                ) -> Result<Response<wire::Instance>, Status> {
                    let (edge, caller) = (self.as_ref(), caller(&request)?);
                    let asked = request.into_inner();
                    let work =
                        edge.agent.stop(&asked.instance_id, asked.force, asked.timeout_seconds, &caller);
                    let record = counted("stop", work).await?;
                    Ok(Response::new($instance(&record, &edge.agent.node().node_id)))
                }

                async fn restart_instance(
                    &self,
                    request: Request<wire::AgentRestartInstanceRequest>,
                ) -> Result<Response<wire::Instance>, Status> {
                    let (edge, caller) = (self.as_ref(), caller(&request)?);
                    let asked = request.into_inner();
                    let work = edge.agent.restart(&asked.instance_id, asked.force, &caller);
                    let record = counted("restart", work).await?;
                    Ok(Response::new($instance(&record, &edge.agent.node().node_id)))
                }

                async fn get_instance(
                    &self,
                    request: Request<wire::AgentInstanceRequest>,
                ) -> Result<Response<wire::Instance>, Status> {
                    let edge = self.as_ref();
                    let record = edge.agent.get(&request.get_ref().instance_id);
                    let record = record.map_err(|error| status::of(&error))?;
                    Ok(Response::new($instance(&record, &edge.agent.node().node_id)))
                }

                async fn list_instances(
                    &self,
                    _: Request<()>,
                ) -> Result<Response<wire::AgentListInstancesResponse>, Status> {
                    let edge = self.as_ref();
                    let node = &edge.agent.node().node_id;
                    let instances = edge.agent.list().iter().map(|record| $instance(record, node)).collect();
                    Ok(Response::new(wire::AgentListInstancesResponse { instances }))
                }

                async fn get_instance_stats(
                    &self,
                    request: Request<wire::AgentInstanceRequest>,
                ) -> Result<Response<wire::InstanceStats>, Status> {
                    let id = &request.get_ref().instance_id;
                    let stats = self.as_ref().agent.stats(id).await;
                    let stats = stats.map_err(|error| status::of(&error))?;
                    Ok(Response::new($stats(id, &stats)))
                }

                type AttachConsoleStream = BoxStream<'static, Result<wire::AgentConsoleOutput, Status>>;

                async fn attach_console(
                    &self,
                    request: Request<Streaming<wire::AgentConsoleInput>>,
                ) -> Result<Response<Self::AttachConsoleStream>, Status> {
                    let show = |data| wire::AgentConsoleOutput { data };
                    console::attach(self.as_ref(), request, show).map(Response::new)
                }
            }
        };
    };
}

service!(Edge, [crate::proto::hypervisor::v1], show::instance, show::stats);
service!(Upstream, [crate::proto::hypervisor_upstream::v1], show::upstream_instance, show::upstream_stats);
