//! Actions on many rows of a list: the bar above it, the rows that a form selects, and the page that asks for confirmation.

use std::future::Future;

use http::Uri;
use maud::{Markup, html};

use crate::clock::Timestamp;
use crate::dashboard::components::number;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::jobs::PendingConfirmations;

/// Rows listed on the confirmation page.
pub const MAX_LISTED: usize = 12;
/// The scope of all rows that match the list.
const ALL: &str = "all";

/// A button of the bar: the action's name in the form, and its label.
#[derive(Debug, Clone, Copy)]
pub struct BulkButton {
    pub name: &'static str,
    pub label: &'static str,
    /// Whether it leads to a deletion: everything that deletes, or opens the page that does, is red.
    pub is_danger: bool,
}

/// The fields of a form that select rows.
#[derive(Debug, Clone, Copy)]
pub struct SelectionFields<'a> {
    /// `all`: all rows that match the list at `back`.
    pub scope: &'a str,
    pub ids: &'a [i64],
    pub back: &'a str,
    /// Not empty: the form is that of a confirmation page.
    pub confirmed: &'a str,
    /// The id of the stored set of matching rows that the confirmation page was about.
    pub matched: &'a str,
}

/// The rows that a form selects.
#[derive(Debug)]
pub struct SelectedRows<T> {
    pub ids: Vec<T>,
    /// Whether these are the rows of the form's confirmation page, whose set may have expired.
    pub is_as_confirmed: bool,
}

impl SelectionFields<'_> {
    pub fn is_all(&self) -> bool {
        self.scope == ALL
    }

    pub fn is_confirmed(&self) -> bool {
        !self.confirmed.is_empty()
    }

    /// The page of the list at `path` to return to.
    pub fn back_to<'a>(&'a self, path: &'a str) -> &'a str {
        let is_ours = self.back.starts_with(path) && self.back.parse::<Uri>().is_ok();
        if is_ours { self.back } else { path }
    }

    /// The selected rows; `find` finds those that match the list now.
    pub async fn rows<T: Copy + Ord, E>(
        &self,
        pending: &PendingConfirmations<Vec<T>>,
        now: Timestamp,
        id: impl Fn(i64) -> T,
        find: impl Future<Output = Result<Vec<T>, E>>,
    ) -> Result<SelectedRows<T>, E> {
        if !self.is_all() {
            let mut ids: Vec<_> = self.ids.iter().copied().map(id).collect();
            ids.sort_unstable();
            ids.dedup();
            return Ok(SelectedRows {
                ids,
                is_as_confirmed: true,
            });
        }
        let matched = u64::from_str_radix(self.matched, 16).ok();
        if let Some(ids) = matched.and_then(|id| pending.get(id, now)) {
            return Ok(SelectedRows {
                ids: ids.to_vec(),
                is_as_confirmed: true,
            });
        }
        Ok(SelectedRows {
            ids: find.await?,
            // A confirmation of another set of rows does not apply to these.
            is_as_confirmed: self.matched.is_empty(),
        })
    }
}

/// The bar above a list, within the form that contains its rows.
pub fn bar(language: Language, matching: usize, buttons: &[BulkButton]) -> Markup {
    html! {
        div.bulk role="group" aria-label=(language.with()) {
            label for="scope" { (language.with()) }
            select #scope name="scope" {
                option value="chosen" { (language.selected_keys()) }
                option value=(ALL) { (language.all_matching(&number(matching))) }
            }
            (select_page(language))
            span.count.js-only.muted { span data-selected-count { "0" } " " (language.selected()) }
            @for button in buttons {
                button.small.danger[button.is_danger] type="submit" name="action" value=(button.name) { (button.label) }
            }
        }
    }
}

/// The checkbox that selects all rows of the page, where a narrow screen hides the heading of the table.
pub fn select_page(language: Language) -> Markup {
    html! {
        label.select-page.check.js-only { input type="checkbox" data-select-all; (language.select_page()) }
    }
}

/// The cell of the heading that selects all rows of the page.
pub fn heading_cell(language: Language) -> Markup {
    html! {
        th.choice scope="col" {
            input.js-only type="checkbox" data-select-all aria-label=(language.select_page());
            span.visually-hidden.no-js-only { (language.select_page()) }
        }
    }
}

/// The cell that selects a row.
pub fn row_cell(language: Language, id: i64, label: &str) -> Markup {
    html! {
        td.choice {
            input type="checkbox" name="id" value=(id) data-select aria-label=(language.select_key(label));
        }
    }
}

/// What the confirmation page asks.
pub struct Confirmation<'a> {
    pub section: Section,
    /// The heading of the list.
    pub list_title: &'a str,
    /// The URL of the list.
    pub list_path: &'a str,
    /// The question, which is also the label of the button.
    pub title: &'a str,
    pub text: &'a str,
    /// The action's name.
    pub action: &'a str,
    pub is_danger: bool,
    /// The number of rows, and the first of them: name and last characters.
    pub count: usize,
    pub first: Vec<(String, String)>,
    /// The stored set of all matching rows.
    pub matched: Option<u64>,
    /// Inputs for values that the action needs.
    pub fields: Markup,
    pub error: Option<&'a str>,
}

/// The page that names the action, some of its rows, and asks for further input and confirmation.
pub fn confirmation_page(
    context: &PageContext,
    selection: &SelectionFields<'_>,
    confirmation: Confirmation<'_>,
) -> Markup {
    let language = context.language;
    let title = confirmation.title;
    let back = selection.back_to(confirmation.list_path);
    let more = confirmation.count.saturating_sub(confirmation.first.len());
    let body = html! {
        nav.crumbs { a href=(back) { "← " (confirmation.list_title) } }
        (heading(title, html! {}))
        form.card.narrow method="post" action={ (confirmation.list_path) "/bulk" } {
            (context.csrf_field())
            input type="hidden" name="action" value=(confirmation.action);
            input type="hidden" name="scope" value=(selection.scope);
            input type="hidden" name="back" value=(back);
            input type="hidden" name="confirmed" value="1";
            @if let Some(matched) = confirmation.matched {
                input type="hidden" name="matched" value=(format!("{matched:016x}"));
            } @else {
                @for id in selection.ids { input type="hidden" name="id" value=(id); }
            }
            @if let Some(error) = confirmation.error { p.form-error role="alert" { (error) } }
            @if !confirmation.text.is_empty() { p { (confirmation.text) } }
            p.chips {
                @for (name, last4) in &confirmation.first {
                    span.chip { span.value { (name) } span.mono.muted { "…" (last4) } }
                }
                @if more > 0 { span.muted.small { (language.and_more(more)) } }
            }
            (confirmation.fields)
            div.actions {
                button.primary.danger[confirmation.is_danger] type="submit" { (title) }
                a.button href=(back) { (language.cancel()) }
            }
        }
    };
    layout::page(context, confirmation.section, title, body)
}
