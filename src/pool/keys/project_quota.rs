//! Quota of each project, and what it leaves for a model, computed from the running server.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::pool::keys::key_status::{KeyStatusKind, QuotaWindowScope, QuotaWindowStatus};
use crate::pool::keys::lease::SharedKeyRegistry;
use crate::pool::keys::upstream_key::{ProjectId, UpstreamKeyId};
use crate::pool::quota::google_clock::end_of_google_day;
use crate::pool::quota::limits::Measure;

/// A quota window of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectWindow {
    pub project_id: ProjectId,
    /// The admin's name for it, else Google's number.
    pub project: Option<String>,
    /// `None`: all models.
    pub model: Option<String>,
    pub status: QuotaWindowStatus,
}

/// The windows of some projects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectWindowPage {
    pub windows: Vec<ProjectWindow>,
    /// The project after which the list continues; `None` at the end.
    pub next: Option<ProjectId>,
}

/// What Google's daily limits leave for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelCapacity {
    /// In projects with a known limit and a usable key.
    pub requests_left: u64,
    pub tokens_left: u64,
    /// Projects with a usable key and no known limit of requests.
    pub projects_without_limit: usize,
    pub day_ends_at: Timestamp,
}

/// What is known of a model across all projects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ModelFigures {
    pub projects_cooling_down: usize,
    /// Until Google's day ends, in usable projects with a known limit; `None`: there is none.
    pub requests_left: Option<u64>,
    pub tokens_left: Option<u64>,
}

/// The name of all models together.
const EVERY_MODEL: &str = "*";

/// One of a project's keys, a usable one if there is any.
struct ProjectKey {
    id: UpstreamKeyId,
    is_usable: bool,
}

impl SharedKeyRegistry {
    /// The windows of up to `limit` projects after `after`, by id: of all, or of the one with this name or number.
    pub fn project_windows(
        &self,
        project: Option<&str>,
        after: Option<ProjectId>,
        limit: usize,
        now: Timestamp,
    ) -> ProjectWindowPage {
        let keys = self.key_of_each_project(project, now);
        let mut keys = keys
            .into_iter()
            .filter(|(id, _)| after.is_none_or(|after| id.0 > after.0))
            .peekable();
        let mut windows = Vec::new();
        let mut last = None;
        for (project_id, key) in keys.by_ref().take(limit) {
            windows.extend(self.windows_of_project(project_id, key.id, now));
            last = Some(project_id);
        }
        let next = last.filter(|_| keys.peek().is_some());
        ProjectWindowPage { windows, next }
    }

    /// What Google's daily limits leave for a model.
    pub fn model_capacity(&self, model: &str, now: Timestamp) -> ModelCapacity {
        let mut capacity = ModelCapacity {
            requests_left: 0,
            tokens_left: 0,
            projects_without_limit: 0,
            day_ends_at: end_of_google_day(now),
        };
        for (project_id, key) in self.key_of_each_project(None, now) {
            if !key.is_usable {
                continue;
            }
            let windows = self.windows_of_project(project_id, key.id, now);
            let left = |measure| {
                let mut windows = windows.iter();
                let window = windows.find(|window| {
                    window.model.as_deref() == Some(model) && window.status.measure == measure
                })?;
                Some(window.status.limit?.saturating_sub(window.status.used))
            };
            match left(Measure::RequestsPerDay) {
                Some(requests) => capacity.requests_left += requests,
                None => capacity.projects_without_limit += 1,
            }
            capacity.tokens_left += left(Measure::TokensPerDay).unwrap_or(0);
        }
        capacity
    }

    /// What is known of each model with a cooldown or a daily limit, by name.
    pub fn model_figures(&self, now: Timestamp) -> BTreeMap<String, ModelFigures> {
        let mut models = BTreeMap::<String, ModelFigures>::new();
        for key in self.key_of_each_project(None, now).into_values() {
            let Some(status) = self.lock().key_status(key.id, now) else {
                continue;
            };
            for cooldown in status.effective_cooldowns() {
                if !cooldown.reason.is_missing_model() {
                    let name = cooldown.model.as_deref().unwrap_or(EVERY_MODEL);
                    models
                        .entry(name.to_owned())
                        .or_default()
                        .projects_cooling_down += 1;
                }
            }
            let windows = status.windows.iter().filter(|_| key.is_usable);
            for window in windows {
                let (QuotaWindowScope::Model(name), Some(limit)) = (&window.of, window.limit)
                else {
                    continue;
                };
                let model = models.entry(name.clone()).or_default();
                let left = match window.measure {
                    Measure::RequestsPerDay => &mut model.requests_left,
                    Measure::TokensPerDay => &mut model.tokens_left,
                    Measure::RequestsPerMinute | Measure::TokensPerMinute => continue,
                };
                *left = Some(left.unwrap_or(0) + limit.saturating_sub(window.used));
            }
        }
        models
    }

    fn key_of_each_project(
        &self,
        project: Option<&str>,
        now: Timestamp,
    ) -> BTreeMap<ProjectId, ProjectKey> {
        let mut found = BTreeMap::<ProjectId, ProjectKey>::new();
        self.for_each_key(|keys, id| {
            let (Some(row), Some(summary)) = (keys.get(id), keys.key_status_summary(id, now))
            else {
                return;
            };
            let is_called = |name: &str| {
                row.project.as_deref() == Some(name) || row.project_number.as_deref() == Some(name)
            };
            if project.is_some_and(|name| !is_called(name)) {
                return;
            }
            let is_usable = matches!(
                summary.kind,
                KeyStatusKind::Ready | KeyStatusKind::PartlyCoolingDown | KeyStatusKind::Trial
            );
            let known = found
                .entry(row.project_id)
                .or_insert(ProjectKey { id, is_usable });
            if is_usable && !known.is_usable {
                *known = ProjectKey { id, is_usable };
            }
        });
        found
    }

    fn windows_of_project(
        &self,
        project_id: ProjectId,
        key: UpstreamKeyId,
        now: Timestamp,
    ) -> Vec<ProjectWindow> {
        let keys = self.lock();
        let project = keys.get(key).and_then(|row| row.project.clone());
        let status = keys.key_status(key, now);
        drop(keys);
        let windows = status.map_or_else(Vec::new, |status| status.windows);
        let windows = windows.into_iter().filter_map(|status| {
            let model = match &status.of {
                QuotaWindowScope::Model(model) => Some(model.clone()),
                QuotaWindowScope::Project => None,
                QuotaWindowScope::Key => return None,
            };
            Some(ProjectWindow {
                project_id,
                project: project.clone(),
                model,
                status,
            })
        });
        windows.collect()
    }
}
