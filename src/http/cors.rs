//! Which web pages may call, beside this server's own: none, unless somebody lists their origins.

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::caller::{DEADLINE_HEADER, ROBOT_ID_HEADER};

/// The layer for these origins (`*` for any); `None` when there are none and the headers stay off. An entry that
/// is no header value matches nothing.
#[must_use]
pub fn layer(origins: &[String]) -> Option<CorsLayer> {
    let allowed = match origins {
        [] => return None,
        list if list.iter().any(|origin| origin == "*") => AllowOrigin::any(),
        list => AllowOrigin::list(
            list.iter().filter_map(|origin| HeaderValue::from_str(origin.trim_end_matches('/')).ok()),
        ),
    };
    let exposed = [
        header::RETRY_AFTER,
        HeaderName::from_static("x-neuro-model"),
        HeaderName::from_static("x-neuro-stats"),
        HeaderName::from_static("x-neuro-warnings"),
    ];
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                HeaderName::from_static(ROBOT_ID_HEADER),
                HeaderName::from_static(DEADLINE_HEADER),
            ])
            .expose_headers(exposed),
    )
}
