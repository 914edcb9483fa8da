//! The service in process: what every edge relies on.

use std::time::{Duration, Instant};

use neuro::policy::backend::Dtype;
use neuro::policy::model::LoadOptions;
use neuro::policy::request::{Picture, PredictError, PredictRequest};
use neuro::policy::service::{PolicyService, ServiceOptions, ServiceState};

use crate::golden::{fixture, model};

fn picture(path: &str) -> Picture {
    Picture::Encoded(std::fs::read(fixture(path)).unwrap().into())
}

fn ask(instruction: &str) -> PredictRequest {
    PredictRequest::new(picture("golden/images/c0.png"), instruction.to_owned(), "test")
}

async fn serving(name: &str, options: ServiceOptions) -> PolicyService {
    let service = PolicyService::start(options);
    assert_eq!(service.state(), ServiceState::Loading);
    service.load(LoadOptions::new(model(name))).await.unwrap();
    assert_eq!(service.state(), ServiceState::Ready);
    service
}

#[tokio::test]
async fn words_move_a_model_that_reads_them_and_are_reported_by_one_that_does_not() {
    let tabletop = serving("tabletop", ServiceOptions::default()).await;
    let red = tabletop.predict(ask("pick up the red cube")).await.unwrap();
    let blue = tabletop.predict(ask("touch the blue ball")).await.unwrap();
    assert_ne!(red.action, blue.action);
    assert!(red.warnings.is_empty(), "{:?}", red.warnings);
    let odd = tabletop.predict(ask("pick up the purple cube")).await.unwrap();
    assert_eq!(odd.warnings[0].code, "unknown_words");

    let tiny = serving("tiny", ServiceOptions::default()).await;
    let red = tiny.predict(ask("pick up the red cube")).await.unwrap();
    let blue = tiny.predict(ask("touch the blue ball")).await.unwrap();
    assert_eq!(red.action, blue.action);
    assert_eq!(red.warnings[0].code, "instruction_ignored");
    assert!(tiny.predict(ask("")).await.unwrap().warnings.is_empty());
}

#[tokio::test]
async fn a_picture_seen_before_is_not_computed_again_unless_the_cache_is_off() {
    let cached = serving("tiny", ServiceOptions::default()).await;
    let first = cached.predict(ask("")).await.unwrap();
    let second = cached.predict(ask("")).await.unwrap();
    assert!(!first.cached && second.cached);
    assert_eq!(first.action, second.action);
    assert_eq!(first.image_size, second.image_size);

    let uncached = serving("tiny", ServiceOptions { cache_entries: 0, ..ServiceOptions::default() }).await;
    uncached.predict(ask("")).await.unwrap();
    assert!(!uncached.predict(ask("")).await.unwrap().cached);

    let words = serving("tabletop", ServiceOptions::default()).await;
    words.predict(ask("")).await.unwrap();
    assert!(!words.predict(ask("")).await.unwrap().cached);
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_refused_and_the_next_request_is_served() {
    let service = serving("tabletop", ServiceOptions::default()).await;
    let late = PredictRequest { deadline: Some(Instant::now()), ..ask("") };
    assert!(matches!(service.predict(late).await, Err(PredictError::DeadlineExceeded { .. })));
    let roomy = PredictRequest { deadline: Some(Instant::now() + Duration::from_secs(60)), ..ask("") };
    service.predict(roomy).await.unwrap();
    assert_eq!(service.waiting(), 0);
}

#[tokio::test]
async fn a_full_house_says_when_to_come_back_and_a_dropped_caller_leaves_its_place() {
    let service = serving("tabletop", ServiceOptions { max_waiting: 1, ..ServiceOptions::default() }).await;
    let mut refused = 0;
    let mut tasks = Vec::new();
    for _ in 0..16 {
        let service = service.clone();
        tasks.push(tokio::spawn(async move { service.predict(ask("lift the red ball")).await }));
    }
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => {}
            Err(PredictError::Overloaded { retry_after, .. }) => {
                assert!(retry_after >= Duration::from_millis(50));
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0);
    let dropped = tokio::time::timeout(Duration::from_micros(50), service.predict(ask(""))).await;
    drop(dropped);
    service.predict(ask("")).await.unwrap();
    assert_eq!(service.waiting(), 0);
}

#[tokio::test]
async fn a_swap_to_a_broken_model_leaves_the_old_one_serving() {
    let service = serving("tabletop", ServiceOptions::default()).await;
    let broken = tempfile::tempdir().unwrap();
    let error = service.load(LoadOptions::new(broken.path())).await.unwrap_err();
    assert!(error.to_string().contains("config.json"), "{error}");
    assert_eq!(service.state(), ServiceState::Ready);
    assert_eq!(service.model().unwrap().id, "tabletop");
    service.load(LoadOptions::new(model("tiny"))).await.unwrap();
    assert_eq!(service.predict(ask("")).await.unwrap().model.id, "tiny");
}

#[tokio::test]
async fn draining_finishes_what_was_taken_and_refuses_the_rest() {
    let service = serving("tabletop", ServiceOptions::default()).await;
    let taken = tokio::spawn({
        let service = service.clone();
        async move { service.predict(ask("lift the red ball")).await }
    });
    while service.waiting() == 0 && !taken.is_finished() {
        tokio::task::yield_now().await;
    }
    assert_eq!(service.drain(Duration::from_secs(30)).await, 0);
    taken.await.unwrap().unwrap();
    assert!(matches!(service.predict(ask("")).await, Err(PredictError::ShuttingDown)));
}

#[tokio::test]
async fn int8_is_refused_for_a_model_whose_golden_actions_it_moves_too_far_or_that_has_none() {
    let service = PolicyService::start(ServiceOptions::default());
    let int8 = |dir: std::path::PathBuf| LoadOptions { dtype: Some(Dtype::Int8), ..LoadOptions::new(dir) };
    let message = service.load(int8(model("tiny"))).await.unwrap_err().to_string();
    assert!(message.contains("int8"), "{message}");

    let without_cases = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json", "action_stats.json"] {
        std::fs::copy(model("tabletop").join(name), without_cases.path().join(name)).unwrap();
    }
    let message = service.load(int8(without_cases.path().to_owned())).await.unwrap_err().to_string();
    assert!(message.contains("int8"), "{message}");
}
