//! Many at once, and callers that go away.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use neuro::proto::hypervisor::v1::{AgentCreateInstanceRequest, DiskSpec, InstanceState};
use tonic::{Code, Status};

use super::harness::{Client, Node, SOON, annotated, container};

const CABLE: &[(&str, &str)] = &[("network", "cable")];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and runc: make test-agent"]
async fn two_hundred_creates_at_once_give_one_instance_an_id_and_leave_nothing_behind() {
    let mut node = Node::start();
    let client = node.client().await;
    let wanted = |number: usize| {
        // Every tenth is asked for twice.
        let id = if number % 10 == 9 { number - 1 } else { number };
        annotated(container(&format!("c-{id:03}"), "sleep 1000"), &[("tty", "false"), ("autostart", "true")])
    };
    let begun = Instant::now();
    let calls = (0..200).map(|number| {
        let (client, create) = (client.clone(), wanted(number));
        tokio::spawn(async move { client.create(create).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    let took = begun.elapsed();
    println!("200 creates and starts in {took:?}");
    let listed = client.list().await;
    let ids: BTreeSet<_> = listed.iter().map(|one| one.id.clone()).collect();
    assert_eq!((listed.len(), ids.len()), (180, 180));
    for id in &ids {
        client.until(id, InstanceState::Running, SOON).await;
    }
    let begun = Instant::now();
    for id in ids.iter().take(20) {
        client.stats(id).await;
    }
    println!("20 stats in {:?}", begun.elapsed());

    node.kill_9();
    let took = node.start_again();
    println!("180 containers found again in {took:?}");
    let client = node.client().await;
    assert!(client.list().await.iter().all(|one| one.state() == InstanceState::Running));
    let deletes: Vec<_> = ids
        .into_iter()
        .map(|id| {
            let client = client.clone();
            tokio::spawn(async move { client.delete(&id, true).await })
        })
        .collect();
    for delete in deletes {
        delete.await.unwrap().unwrap();
    }
    assert!(client.list().await.is_empty());
    assert_eq!(node.left_over(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and runc: make test-agent"]
async fn a_caller_that_gives_up_leaves_nothing_half_made_and_may_ask_again() {
    let node = Node::start();
    let client = node.client().await;
    for round in 0..10_u64 {
        let id = format!("hasty-{round}");
        let create = annotated(container(&id, "sleep 1000"), &[("autostart", "true")]);
        let call = client.create(create.clone());
        drop(tokio::time::timeout(Duration::from_millis(5 * round), call).await);
        client.create(create).await.unwrap();
        client.until(&id, InstanceState::Running, SOON).await;
        client.delete(&id, true).await.unwrap();
        assert_eq!(client.get(&id).await.unwrap_err().code(), Code::NotFound);
    }
    assert_eq!(node.left_over(), Vec::<String>::new());
}

/// What a container goes through in its life, for as long as the agent lives.
async fn a_life(client: &Client, create: AgentCreateInstanceRequest) -> Result<(), Status> {
    let id = create.instance_id.clone();
    client.create(create).await?;
    client.start(&id).await?;
    client.stop(&id, false, 5).await?;
    client.start(&id).await?;
    client.stop(&id, true, 0).await?;
    client.delete(&id, false).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and runc: make test-agent"]
async fn an_agent_killed_at_any_step_of_its_journal_goes_on_from_there() {
    let mut node = Node::start();
    let mut steps = 0;
    loop {
        steps += 1;
        node.kill_9();
        node.start_with(&["--crash-at-step", &steps.to_string()]);
        let id = format!("step-{steps}");
        let disk = DiskSpec { name: "root".into(), size_bytes: 32 << 20, boot: true, ..DiskSpec::default() };
        let mut create = annotated(container(&id, "trap 'exit 0' TERM; while sleep 0.1; do :; done"), CABLE);
        create.spec.as_mut().unwrap().disks = vec![disk];
        if a_life(&node.client().await, create.clone()).await.is_ok() {
            break;
        }
        node.ended();
        node.start_again();
        let client = node.client().await;
        a_life(&client, create).await.unwrap_or_else(|status| panic!("after step {steps}: {status}"));
        assert_eq!(node.left_over(), Vec::<String>::new(), "after step {steps}");
    }
    println!("{} steps in a life", steps - 1);
    assert!(steps > 10, "{steps} steps: is there a journal?");
    assert_eq!(node.left_over(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and runc: make test-agent"]
async fn an_agent_killed_in_the_middle_of_anything_leaves_no_leak() {
    let mut node = Node::start();
    for round in 0..12_u64 {
        let client = node.client().await;
        let id = format!("cut-{round}");
        let create = annotated(
            container(&id, "trap 'exit 0' TERM; while sleep 0.1; do :; done"),
            &[("autostart", "true")],
        );
        let call = {
            let (client, create, id) = (client.clone(), create.clone(), id.clone());
            tokio::spawn(async move {
                drop(client.create(create).await);
                drop(client.stop(&id, false, 5).await);
                drop(client.delete(&id, false).await);
            })
        };
        tokio::time::sleep(Duration::from_millis(10 + 35 * round)).await;
        node.kill_9();
        call.await.unwrap();
        node.start_again();
        let client = node.client().await;
        match client.create(create).await {
            Ok(_) => client.delete(&id, true).await.unwrap(),
            Err(status) => panic!("round {round}: {status}"),
        }
    }
    assert_eq!(node.left_over(), Vec::<String>::new());
}
