//! The OpenAPI document and the page that shows it, both from the definitions the router is built from. The page
//! is built in and asks nobody else for anything.

use axum::Router;
use utoipa::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// Title and tags; the paths come from the router.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Nano-VTLA API",
        description = "A Vision-Tactile-Language-Action policy over HTTP: a picture and a sentence in, one action out."
    ),
    tags(
        (name = "policy", description = "Actions and what they are made from"),
        (name = "server", description = "The server itself"),
        (name = "roboeval", description = "What roboeval asks beside actions"),
    )
)]
pub struct Document;

/// `/openapi.json` and `/docs`.
pub fn routes<S: Clone + Send + Sync + 'static>(document: utoipa::openapi::OpenApi) -> Router<S> {
    // Swagger UI would send the document to a validator on the internet.
    let config = Config::default().validator_url("none");
    SwaggerUi::new("/docs").url("/openapi.json", document).config(config).into()
}
