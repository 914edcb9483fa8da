//! Ending: by asking, by force, by itself.

use super::*;
use crate::agent::driver::Observed;

#[tokio::test(flavor = "multi_thread")]
async fn one_that_listens_ends_when_it_is_asked_and_says_its_code() {
    let Some(yard) = yard() else { return };
    let (ground, handle) = yard
        .started("listens", shell("trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.05; done"))
        .await;
    let mut console = yard.driver.console(&ground, &handle).await.unwrap();
    said(&mut console, "up").await;
    let since = Instant::now();
    yard.driver.ask_to_stop(&ground, &handle).await.unwrap();
    let exit = timed("asked until ended", since, yard.driver.ended(&ground, &handle).await.unwrap());
    assert!(exit.code == 9 && since.elapsed() < Duration::from_secs(1), "{exit:?}");
    said(&mut console, "bye").await;
    assert_eq!(
        yard.driver.recover(&ground, Some(&handle)).await.unwrap().map(|(_, observed)| observed),
        Some(Observed::Ended(exit))
    );
    yard.end(&ground, &handle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_deaf_goes_on_until_it_is_killed_whole() {
    let Some(yard) = yard() else { return };
    let (ground, handle) =
        yard.started("deaf", shell("trap '' TERM; sleep 1000 & sleep 1000 & echo up; wait")).await;
    let mut console = yard.driver.console(&ground, &handle).await.unwrap();
    said(&mut console, "up").await;
    yard.driver.ask_to_stop(&ground, &handle).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(1), yard.driver.ended(&ground, &handle)).await;
    assert!(waited.is_err(), "it ended: {waited:?}");
    let usage = yard.driver.usage(&ground, &handle).await.unwrap();
    assert_eq!(usage.processes, 3);
    let since = Instant::now();
    yard.driver.kill(&ground, &handle).await.unwrap();
    timed("killed", since, ());
    assert!(yard.driver.group(&ground.id).processes().is_empty());
    let exit = yard.driver.ended(&ground, &handle).await.unwrap();
    assert_eq!((exit.code, exit.signal, exit.oom), (137, Some(9), false));
    yard.end(&ground, &handle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ended_can_be_started_again_and_keeps_its_disk() {
    let Some(yard) = yard() else { return };
    let (ground, handle) = yard.started("again", shell("cat /kept; echo once more >> /kept; exit 4")).await;
    assert_eq!(yard.driver.ended(&ground, &handle).await.unwrap().code, 4);
    yard.driver.settle(&ground, &handle).await.unwrap();
    assert!(
        super::super::mounts::below(&ground.folder).is_empty(),
        "a container that is stopped holds no mount"
    );
    assert_eq!(yard.driver.recover(&ground, None).await.unwrap(), None, "nothing runs");
    let second = yard.driver.start(&ground).await.unwrap();
    let mut console = yard.driver.console(&ground, &second).await.unwrap();
    said(&mut console, "once more").await;
    assert_eq!(yard.driver.ended(&ground, &second).await.unwrap().code, 4);
    yard.end(&ground, &second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_named_and_nothing_is_left() {
    let Some(yard) = yard() else { return };
    let mut spec = shell("");
    spec.command = vec!["/bin/no-such-program".to_owned()];
    let ground = yard.ground("missing", spec);
    yard.driver.prepare(&ground).await.unwrap();
    let error = yard.driver.start(&ground).await.unwrap_err().to_string();
    assert!(error.contains("no-such-program"), "{error}");
    assert!(super::super::mounts::below(&ground.folder).is_empty());
    assert_eq!(yard.driver.recover(&ground, None).await.unwrap(), None);
    yard.driver.destroy(&ground).await.unwrap();
    assert_eq!(fs::read_dir(&ground.folder).unwrap().count(), 0);
}
