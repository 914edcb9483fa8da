//! Two hundred at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::agent::driver::Observed;

const COUNT: usize = 200;
const WORKERS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_are_made_started_read_found_again_and_taken_apart() {
    let Some(yard) = yard() else { return };
    let yard = Arc::new(yard);
    assert!(yard.driver.probe().await.usable);
    let grounds: Vec<Ground> =
        (0..COUNT).map(|number| yard.ground(&format!("many-{number}"), terminal("sleep 1000"))).collect();
    let grounds = Arc::new(grounds);

    let since = Instant::now();
    each(&yard, &grounds, |yard, ground| async move { yard.driver.prepare(&ground).await.unwrap() }.boxed())
        .await;
    timed("200 made", since, ());
    let since = Instant::now();
    let handles = each(&yard, &grounds, |yard, ground| {
        async move { yard.driver.start(&ground).await.unwrap() }.boxed()
    })
    .await;
    timed("200 started", since, ());

    let mut sizes: Vec<u64> = Vec::new();
    for (_, handle) in &handles {
        let pid = super::super::run::Run::of(handle).unwrap().file.shim.pid;
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let line = |key: &str| {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        sizes.push(line("Rss:"));
        if sizes.len() == 1 {
            println!("a shim: {} KiB resident, {} KiB of its own", line("Rss:"), line("Private_Dirty:"));
        }
    }
    println!("shims: at most {} KiB resident", sizes.iter().max().unwrap());

    let since = Instant::now();
    let busy = handles.iter().map(|(at, handle)| yard.driver.usage(&grounds[*at], handle));
    let usages = futures_util::future::join_all(busy).await;
    timed("statistics of 200", since, ());
    assert!(usages.into_iter().all(|usage| usage.unwrap().processes == 1));

    let since = Instant::now();
    for (at, handle) in &handles {
        let found = yard.driver.recover(&grounds[*at], Some(handle)).await.unwrap();
        assert!(matches!(found, Some((_, Observed::Running))));
    }
    timed("200 found again", since, ());

    let handles: Arc<std::collections::BTreeMap<usize, Handle>> = Arc::new(handles.into_iter().collect());
    let since = Instant::now();
    each(&yard, &grounds, move |yard, ground| {
        let number: usize = ground.id.as_str().rsplit('-').next().unwrap().parse().unwrap();
        let handle = handles[&number].clone();
        async move { yard.end(&ground, &handle).await }.boxed()
    })
    .await;
    timed("200 taken apart", since, ());
    assert_eq!(yard.driver.orphans(&std::collections::BTreeSet::new()).await.unwrap(), []);
}

/// Does something to each, eight at a time.
async fn each<T: Send + 'static>(
    yard: &Arc<Yard>,
    grounds: &Arc<Vec<Ground>>,
    work: impl Fn(Arc<Yard>, Ground) -> BoxFuture<'static, T> + Send + Sync + 'static,
) -> Vec<(usize, T)> {
    let (next, work) = (Arc::new(AtomicUsize::new(0)), Arc::new(work));
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (yard, grounds, next, work) = (yard.clone(), grounds.clone(), next.clone(), work.clone());
            tokio::spawn(async move {
                let mut done = Vec::new();
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(ground) = grounds.get(at) else { break done };
                    done.push((at, work(yard.clone(), ground.clone()).await));
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await.unwrap());
    }
    all.sort_by_key(|(at, _)| *at);
    all
}
