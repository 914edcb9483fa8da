// What the published client does, with its channel options: grpc-netty, plaintext, keep-alive, no deadlines. Pings come
// every 10 s, also without calls: more often than it asks for, so a server that counts them would say GOAWAY.

import fleet.CreateSessionRequest;
import fleet.CreateSessionResponse;
import fleet.CreateTrainingSessionRequest;
import fleet.CreateTrainingSessionResponse;
import fleet.GetSessionStatusRequest;
import fleet.HealthCheckRequest;
import fleet.NeuroOrchestratorServiceGrpc;
import fleet.SessionMode;
import fleet.StartSimulationRequest;
import fleet.StopSessionRequest;
import fleet.StopSessionResponse;
import io.grpc.ConnectivityState;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

class FleetClient {
    static void check(boolean holds, Object said) {
        if (!holds) {
            throw new AssertionError(String.valueOf(said));
        }
    }

    /** What its error mapper makes of a status. */
    static int httpStatus(Status.Code code) {
        switch (code) {
            case INVALID_ARGUMENT:
            case OUT_OF_RANGE:
                return 400;
            case UNAUTHENTICATED:
                return 401;
            case PERMISSION_DENIED:
                return 403;
            case NOT_FOUND:
                return 404;
            case ALREADY_EXISTS:
            case FAILED_PRECONDITION:
                return 409;
            case UNAVAILABLE:
                return 503;
            case DEADLINE_EXCEEDED:
                return 504;
            case RESOURCE_EXHAUSTED:
                return 500;
            default:
                return 502;
        }
    }

    interface Call {
        void run();
    }

    static void refused(int http, Call call) {
        try {
            call.run();
        } catch (StatusRuntimeException error) {
            check(httpStatus(error.getStatus().getCode()) == http, error.getStatus());
            check(error.getStatus().getDescription() != null, "no sentence with " + error.getStatus());
            return;
        }
        throw new AssertionError("it was not refused, expected " + http);
    }

    static void watch(ManagedChannel channel, ConnectivityState from, AtomicInteger lost) {
        channel.notifyWhenStateChanged(from, () -> {
            ConnectivityState now = channel.getState(false);
            if (now == ConnectivityState.TRANSIENT_FAILURE || now == ConnectivityState.IDLE) {
                lost.incrementAndGet();
            }
            if (now != ConnectivityState.SHUTDOWN) {
                watch(channel, now, lost);
            }
        });
    }

    public static void main(String[] arguments) throws Exception {
        String host = arguments[0];
        int port = Integer.parseInt(arguments[1]);
        List<ManagedChannel> channels = new ArrayList<>();
        for (int index = 0; index < 8; index++) {
            channels.add(ManagedChannelBuilder.forAddress(host, port)
                .usePlaintext()
                .keepAliveTime(10, TimeUnit.SECONDS)
                .keepAliveTimeout(10, TimeUnit.SECONDS)
                .keepAliveWithoutCalls(true)
                .idleTimeout(30, TimeUnit.MINUTES)
                .maxInboundMessageSize(4 << 20)
                .build());
        }
        AtomicInteger lost = new AtomicInteger();
        for (ManagedChannel channel : channels) {
            var health = NeuroOrchestratorServiceGrpc.newBlockingStub(channel)
                .healthCheck(HealthCheckRequest.getDefaultInstance());
            check(health.getHealthy(), health);
            watch(channel, channel.getState(false), lost);
        }
        var neuro = NeuroOrchestratorServiceGrpc.newBlockingStub(channels.get(0));

        String session = UUID.randomUUID().toString();
        CreateSessionResponse made = neuro.createSession(
            CreateSessionRequest.newBuilder().setSessionId(session).setMode(SessionMode.MANUAL).build());
        check(made.getSuccess(), made);
        UUID instance = UUID.fromString(made.getInstanceId());
        URI pictures = URI.create(made.getStreamEndpoint().getUrl());
        check(pictures.getHost() != null && made.getStreamEndpoint().getPort() > 0, made.getStreamEndpoint());
        check(URI.create(made.getControlWsUrl()).getScheme().equals("ws"), made.getControlWsUrl());
        check(neuro.startSimulation(StartSimulationRequest.newBuilder().setSessionId(session).build()).getSuccess(), "start");

        CreateTrainingSessionResponse training = neuro.createTrainingSession(
            CreateTrainingSessionRequest.newBuilder().setSessionId(session).setMode(SessionMode.TRAINING).build());
        check(training.getSuccess(), training);
        UUID.fromString(training.getTrainingInstanceId());
        for (String id : training.getIsaacInstanceIdsList()) {
            UUID.fromString(id);
        }
        check(training.getIsaacInstanceIds(0).equals(instance.toString()), training);

        StopSessionRequest stop = StopSessionRequest.newBuilder().setSessionId(session).setCleanup(true).build();
        StopSessionResponse stopped = neuro.stopSession(stop);
        check(stopped.getSuccess() && stopped.getReleasedInstancesCount() == training.getIsaacInstanceIdsCount() + 1, stopped);
        check(neuro.stopSession(stop).getSuccess(), "stopping twice");

        refused(400, () -> neuro.createSession(CreateSessionRequest.newBuilder().setSessionId("a b").build()));
        refused(404, () -> neuro.getSessionStatus(
            GetSessionStatusRequest.newBuilder().setSessionId(UUID.randomUUID().toString()).build()));
        refused(409, () -> neuro.startSimulation(StartSimulationRequest.newBuilder().setSessionId(session).build()));

        Thread.sleep(40_000);
        for (ManagedChannel channel : channels) {
            var health = NeuroOrchestratorServiceGrpc.newBlockingStub(channel)
                .healthCheck(HealthCheckRequest.getDefaultInstance());
            check(health.getHealthy(), health);
        }
        check(lost.get() == 0, lost.get() + " connections were lost while they pinged");
        System.out.println("8 channels, 40 s of pings, none lost");
        System.out.println("all is well");
        for (ManagedChannel channel : channels) {
            channel.shutdownNow();
        }
    }
}
