//! What operators get: the version, the service, packages, the container, the pages.

mod build_script;
mod commands;
mod container;
mod debian;
mod dependencies;
mod documents;
mod service;
