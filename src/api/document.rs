//! The `OpenAPI` document: generated from the routes, completed with what all of them have in common.

use std::collections::BTreeMap;

use utoipa::PartialSchema;
use utoipa::ToSchema;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder,
    SecurityRequirement, Server,
};

use crate::api::idempotency::IDEMPOTENCY_KEY;
use crate::api::problem::{PROBLEM_JSON, Problem};

/// Where the API begins.
pub const BASE_PATH: &str = "/api/v1";
const TOKEN: &str = "token";
const DESCRIPTION: &str = "What the dashboard can do, for programs. Lists come in pages: `next` is the cursor of the next \
    page, `null` at the end. Times are RFC 3339 in UTC, durations whole milliseconds. Errors are RFC 9457 problems.";

/// Adds the base path, the token, the ids of the operations and the statuses that follow from their input.
pub fn complete(mut document: OpenApi) -> OpenApi {
    document.info = InfoBuilder::new()
        .title("gemini-pool admin API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .build();
    document.servers = Some(vec![Server::new(BASE_PATH)]);
    let no_scopes: [&str; 0] = [];
    document.security = Some(vec![SecurityRequirement::new(TOKEN, no_scopes)]);
    let components = document.components.get_or_insert_with(Components::new);
    let scheme = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("gpa_…")
        .build();
    components
        .security_schemes
        .insert(TOKEN.to_owned(), SecurityScheme::Http(scheme).into());
    components
        .schemas
        .insert(Problem::name().into_owned(), Problem::schema());
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            operation.operation_id = Some(operation_id(method, path));
            add_statuses(path, operation);
        }
    }
    document
}

/// The operations of a path with their methods.
pub fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let operations = [
        ("get", item.get.as_mut()),
        ("post", item.post.as_mut()),
        ("put", item.put.as_mut()),
        ("patch", item.patch.as_mut()),
        ("delete", item.delete.as_mut()),
    ];
    let operations = operations.into_iter();
    operations.filter_map(|(method, operation)| Some((method, operation?)))
}

/// `get_upstream_keys_id`.
fn operation_id(method: &str, path: &str) -> String {
    let path = path.replace(['{', '}'], "").replace(['/', '-', '.'], "_");
    format!("{method}{path}")
}

/// Adds the errors that an operation can answer because of its input.
fn add_statuses(path: &str, operation: &mut Operation) {
    let has_parameter = |name: &str, place: &ParameterIn| {
        let mut parameters = operation.parameters.iter().flatten();
        parameters.any(|parameter| match parameter {
            RefOr::T(parameter) => parameter.name == name && parameter.parameter_in == *place,
            RefOr::Ref(_) => false,
        })
    };
    let has_body = operation.request_body.is_some();
    let is_repeatable = has_parameter(IDEMPOTENCY_KEY, &ParameterIn::Header);
    let mut errors = BTreeMap::from([
        (
            "400",
            "The path, the query, a header or the JSON cannot be read",
        ),
        ("401", "No valid token"),
        ("403", "The token does not permit this"),
        ("429", "Too many requests without a valid token"),
        ("500", "The server failed"),
        ("503", "The database cannot be used at the moment"),
    ]);
    if path.contains('{') {
        errors.insert("404", "There is no such thing");
    }
    if has_parameter("if-match", &ParameterIn::Header) {
        errors.insert("412", "It was changed since");
    }
    if has_body {
        errors.insert("415", "The body is not JSON by its content type");
    }
    if has_body || is_repeatable {
        errors.insert("408", "The body did not arrive within a minute");
        errors.insert("413", "The body is larger than 16 MiB");
    }
    // A change can be refused for the state of what it changes.
    if has_body || is_repeatable || path.contains('{') {
        errors.insert("422", "The values cannot be used");
    }
    if is_repeatable {
        errors.insert(
            "409",
            "The Idempotency-Key was used before, and its answer is not kept",
        );
    }
    let responses = &mut operation.responses.responses;
    for (status, description) in errors {
        let response = RefOr::T(problem(description));
        responses.entry(status.to_owned()).or_insert(response);
    }
}

fn problem(description: &str) -> Response {
    let schema = Ref::from_schema_name(Problem::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new()
        .description(description)
        .content(PROBLEM_JSON, content)
        .build()
}
