//! Limits that hold, and figures that are exact.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn memory_beyond_the_limit_ends_it_and_the_end_says_why() {
    let Some(yard) = yard() else { return };
    let mut spec = shell("exec tail /dev/zero");
    spec.memory_bytes = 16 << 20;
    let (_, exit) = yard.transcript("oom", spec).await;
    assert_eq!((exit.code, exit.signal, exit.oom), (137, Some(9), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_says_so_and_its_use_is_counted() {
    let Some(yard) = yard() else { return };
    let line = "dd if=/dev/zero of=/big bs=1M count=200; echo code $?; sync; sleep 1000";
    let (ground, handle) = yard.started("full", disk(shell(line), 64 << 20)).await;
    let mut console = yard.driver.console(&ground, &handle).await.unwrap();
    let text = said(&mut console, "code 1").await;
    assert!(text.contains("No space left on device"), "{text}");
    let used = yard.driver.usage(&ground, &handle).await.unwrap().disk_used_bytes;
    println!("a disk of 64 MiB took {used} bytes");
    assert!((40 << 20..64 << 20).contains(&used), "{used}");
    yard.end(&ground, &handle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifth_of_a_processor_is_a_fifth_of_a_processor() {
    let Some(yard) = yard() else { return };
    let mut spec = shell("while :; do :; done");
    (spec.limits.cpu_quota_us, spec.limits.cpu_period_us) = (20_000, 100_000);
    let (ground, handle) = yard.started("fifth", spec).await;
    let first = yard.driver.usage(&ground, &handle).await.unwrap();
    let since = Instant::now();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let last = yard.driver.usage(&ground, &handle).await.unwrap();
    let share = (last.cpu_time_ns - first.cpu_time_ns) as f64 / since.elapsed().as_nanos() as f64;
    println!("quota 20%: {:.2}%, throttled {}", share * 100.0, last.cpu_throttled_periods);
    // A busy machine gives less than the quota, never more.
    assert!((0.02..0.25).contains(&share), "{share}");
    assert!(last.cpu_throttled_periods > 0 && last.memory_used_bytes > 0 && last.processes == 1, "{last:?}");
    yard.end(&ground, &handle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_mebibytes_written_past_the_cache_are_eight_mebibytes_counted() {
    let Some(yard) = yard() else { return };
    for (id, spec) in [("folder", 0), ("disk", 256 << 20)].map(|(id, size)| {
        let line = "dd if=/dev/zero of=/file bs=1M count=8 oflag=direct 2>/dev/null; echo done; sleep 1000";
        (id, if size == 0 { shell(line) } else { disk(shell(line), size) })
    }) {
        let (ground, handle) = yard.started(id, spec).await;
        let mut console = yard.driver.console(&ground, &handle).await.unwrap();
        said(&mut console, "done").await;
        let written = yard.driver.usage(&ground, &handle).await.unwrap().disk_written_bytes;
        println!("{id}: 8388608 bytes written, {written} counted");
        assert_eq!(written, 8 << 20, "{id}");
        yard.end(&ground, &handle).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_held_to_their_rate_and_forks_to_their_number() {
    let Some(yard) = yard() else { return };
    let mut spec = shell("dd if=/dev/zero of=/file bs=1M count=16 oflag=direct 2>/dev/null");
    spec.limits.io_write_bps = 8 << 20;
    let since = Instant::now();
    yard.transcript("slow", spec).await;
    let took = since.elapsed();
    println!("16 MiB at 8 MiB/s: {took:?}");
    assert!(took > Duration::from_millis(1500), "{took:?}");

    let mut spec = shell("for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; echo end");
    spec.options.pids_limit = 4;
    let (text, _) = yard.transcript("forks", spec).await;
    assert!(text.contains("can't fork"), "{text}");
}
