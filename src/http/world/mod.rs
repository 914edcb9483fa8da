//! Playing scenarios over REST and a websocket. The paths and answers of the first twelve endpoints are the original's
//! (docs/WIRES.md lists where and why we differ); the others are additions.
//!
//! Everything under `/api` means the session `default`; the same under `/api/sessions/NAME` means that session.

pub mod body;
pub mod export;
pub mod live;
pub mod load;
pub mod playback;
pub mod query;
pub mod refusal;
pub mod render;
pub mod scenario;
pub mod scene;
pub mod session;
pub mod sessions;

use axum::Router;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::state::AppState;

/// Every playback route, those of the default session described in the OpenAPI document.
pub fn routes() -> OpenApiRouter<AppState> {
    let (of_one_session, _) = of_a_session().split_for_parts();
    let all = OpenApiRouter::new()
        .routes(routes!(sessions::list, sessions::create))
        .routes(routes!(sessions::close))
        .merge(of_a_session());
    OpenApiRouter::new().nest("/api", all).merge(named(of_one_session).into())
}

fn named(routes: Router<AppState>) -> Router<AppState> {
    Router::new().nest("/api/sessions/{session}", routes)
}

fn of_a_session() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(load::health))
        .routes(routes!(load::files))
        .routes(routes!(load::restart))
        .routes(routes!(load::load))
        .routes(routes!(scenario::scenario))
        .routes(routes!(scenario::trajectory))
        .routes(routes!(scenario::pose))
        .routes(routes!(scenario::cameras))
        .routes(routes!(render::render))
        .routes(routes!(render::render_one))
        .routes(routes!(playback::state))
        .routes(routes!(playback::play))
        .routes(routes!(playback::stop))
        .routes(routes!(playback::reset))
        .routes(routes!(playback::tick))
        .routes(routes!(playback::seek))
        .routes(routes!(playback::set_loop))
        .routes(routes!(scene::scene))
        .routes(routes!(scene::tracks))
        .routes(routes!(scene::track_path))
        .routes(routes!(live::live))
        .routes(routes!(export::export))
}
