//! Every main page is operated by keyboard alone: each control is reached by Tab with a visible focus, and the usual jobs
//! are done without a pointer, in both languages, on a desktop and at the width of a phone.

use std::time::Duration;

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use serde_json::Value;

use crate::dashboard::pages::{NAVIGATION, assert_no_problems};
use crate::support::TestPool;
use crate::support::browser::{Browser, BrowserOptions};

/// More than the controls of any page.
const MOST_TABS: usize = 600;

/// The focused element: whether it is seen, and what it is. It is remembered by what it is, because live updates replace elements.
const FOCUSED: &str = "
    window.keyOf = (one) => [one.tagName, one.getAttribute('href'), one.id, one.name, one.value,
        (one.getAttribute('aria-label') || one.textContent || '').replace(/[0-9]+/g, '').trim().slice(0, 40)].join('|');
    const focused = document.activeElement;
    if (!focused || focused === document.body) return null;
    const style = getComputedStyle(focused), place = focused.getBoundingClientRect();
    const ring = (style) => style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1 || style.boxShadow !== 'none';
    const inside = focused.closest('label, .plot, .u-over');
    const shown = ring(style) || inside && ring(getComputedStyle(inside));
    const inView = place.bottom > 0 && place.top < innerHeight && place.width > 0 && place.height > 0;
    const name = focused.tagName + '#' + focused.id + '.' + focused.className + ' '
        + (focused.getAttribute('aria-label') || focused.textContent || focused.name || '').trim().slice(0, 40);
    (window.reached ??= new Set()).add(keyOf(focused));
    return { name, seen: Boolean(shown), inView };
";

/// The visible controls that were not reached; of a group of radio buttons one is.
const MISSED: &str = "
    const all = document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex=\"0\"]');
    const missed = [...all].filter((one) => !reached.has(keyOf(one)) && !one.disabled && one.type !== 'hidden'
        && one.tabIndex >= 0 && one.checkVisibility({ visibilityProperty: true }) && !one.closest('dialog:not([open])')
        && !(one.type === 'radio' && [...document.getElementsByName(one.name)].some((other) => reached.has(keyOf(other)))));
    return missed.map((one) => one.outerHTML.slice(0, 120));
";

async fn pool() -> TestPool {
    let keys = (1..=6).map(|number| {
        FakeKey::healthy(
            format!("AIza-key-of-the-keyboard-{number:0>6}"),
            number.to_string(),
        )
    });
    let pool = TestPool::with_keys(keys).await;
    for _ in 0..4 {
        pool.generate().await;
    }
    pool.record_past_request(Duration::from_hours(2)).await;
    pool
}

async fn browser(pool: &TestPool, language: &'static str) -> Option<Browser> {
    let options = BrowserOptions {
        language,
        ..BrowserOptions::default()
    };
    let browser = Browser::start_with(pool, options).await?;
    browser.sign_in().await;
    Some(browser)
}

/// Steps through a page by Tab until the focus leaves it, and returns what is wrong.
async fn walk(browser: &Browser, path: &str) -> Vec<String> {
    browser.open(path).await;
    let mut problems = Vec::new();
    for step in 0.. {
        assert!(step < MOST_TABS, "{path}: the focus never leaves the page");
        browser.press("Tab").await;
        let focused = browser.inject(FOCUSED).await;
        let Some(name) = focused["name"].as_str() else {
            break;
        };
        if focused["seen"] != true {
            problems.push(format!("{path}: the focus of {name} is not visible"));
        }
        if focused["inView"] != true {
            problems.push(format!("{path}: {name} is not in view"));
        }
    }
    let missed = browser.inject(MISSED).await;
    for missed in missed.as_array().unwrap() {
        problems.push(format!("{path}: Tab does not reach {missed}"));
    }
    problems
}

async fn walk_all(language: &'static str) {
    let pool = pool().await;
    let Some(browser) = browser(&pool, language).await else {
        return;
    };
    let mut problems = Vec::new();
    for is_phone in [false, true] {
        if is_phone {
            browser.use_phone_size().await;
        } else {
            browser.use_desktop_size().await;
        }
        for path in NAVIGATION {
            problems.extend(walk(&browser, path).await);
        }
    }
    problems.sort();
    problems.dedup();
    assert_no_problems(&problems);
}

#[tokio::test]
async fn every_control_is_reached_with_a_visible_focus() {
    walk_all("en").await;
}

#[tokio::test]
async fn every_control_is_reached_with_a_visible_focus_in_chinese() {
    walk_all("zh-TW").await;
}

/// Moves the focus by Tab to the first element of a selector.
async fn tab_to(browser: &Browser, selector: &str) {
    let is_there = format!("return document.activeElement.matches({selector:?})");
    for _ in 0..MOST_TABS {
        if browser.inject(&is_there).await == true {
            let focused = browser.inject(FOCUSED).await;
            assert_eq!(focused["seen"], true, "{selector}: {focused}");
            return;
        }
        browser.press("Tab").await;
    }
    panic!("Tab does not reach {selector}");
}

async fn type_text(browser: &Browser, text: &str) {
    for letter in text.chars() {
        browser.press(&letter.to_string()).await;
    }
}

async fn count(browser: &Browser, selector: &str) -> u64 {
    let script = format!("return document.querySelectorAll({selector:?}).length");
    browser.inject(&script).await.as_u64().unwrap()
}

async fn wait_for_count(browser: &Browser, selector: &str, expected: u64) {
    browser
        .wait_until(&format!("{expected} {selector}"), async || {
            (count(browser, selector).await == expected).then_some(())
        })
        .await;
}

/// Opens the search by its key, and again where the browser dropped it: a busy one does with a key just after a page has opened.
async fn open_search(browser: &Browser) {
    for _ in 0..10 {
        browser.press("/").await;
        for _ in 0..50 {
            if count(browser, "dialog.find-dialog[open]").await == 1 {
                // A later one of the keys may be in the field.
                let select = "document.querySelector('.find-dialog input').select()";
                browser.inject(select).await;
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    panic!("the key does not open the search");
}

/// Finds, sorts, selects, changes, deletes and restores keys, opens one, searches, and explores a chart.
async fn do_the_usual_jobs(language: &'static str) {
    let pool = pool().await;
    let Some(browser) = browser(&pool, language).await else {
        return;
    };
    for is_phone in [false, true] {
        if is_phone {
            browser.use_phone_size().await;
        } else {
            browser.use_desktop_size().await;
        }
        let rows = "table[data-keys] tbody tr";
        // Filter and sort.
        browser.open("/upstream-keys").await;
        tab_to(&browser, "[role=search] [data-search]").await;
        type_text(&browser, "0002").await;
        browser.press("Enter").await;
        browser.wait_for_path("/upstream-keys").await;
        wait_for_count(&browser, rows, 1).await;
        browser.open("/upstream-keys").await;
        if !is_phone {
            tab_to(&browser, "th a[href*='sort=label']").await;
            browser.press("Enter").await;
            wait_for_count(&browser, "th[aria-sort=ascending] a[href*='label']", 1).await;
        }
        // Select one, disable it, and undo that.
        tab_to(&browser, "[data-select][value='2']").await;
        browser.press(" ").await;
        wait_for_count(&browser, "[data-select]:checked", 1).await;
        back_to(&browser, ".bulk button[value=disable]").await;
        browser.press("Enter").await;
        wait_for_count(&browser, ".notice.done form button", 1).await;
        assert!(!pool.keys().await[1].enabled);
        tab_to(&browser, ".notice.done form button").await;
        browser.press("Enter").await;
        browser
            .wait_until("the key is enabled again", async || {
                pool.keys().await[1].enabled.then_some(())
            })
            .await;
        // All that match: the confirmation names the count, and Cancel leads back.
        browser.open("/upstream-keys?q=keyboard").await;
        browser.open("/client-keys").await;
        tab_to(&browser, "#scope").await;
        browser.press("ArrowDown").await;
        tab_to(&browser, ".bulk button[value=disable]").await;
        browser.press("Enter").await;
        wait_for_count(&browser, "form.card button.primary", 1).await;
        tab_to(&browser, "form.card .actions a.button").await;
        browser.press("Enter").await;
        browser.wait_for_path("/client-keys").await;
        // Arrows move between rows, and Enter opens one.
        browser.open("/logs").await;
        tab_to(&browser, "table[data-keys] a[data-row-link]").await;
        browser.press("ArrowDown").await;
        browser.press("ArrowUp").await;
        browser.press("Enter").await;
        wait_for_count(&browser, ".crumbs", 1).await;
        assert_ne!(browser.path_and_query().await, "/logs");
        // The search: opened by `/`, moved through by arrows, closed by Escape.
        browser.open("/status").await;
        open_search(&browser).await;
        type_text(&browser, "quota").await;
        wait_for_count(&browser, ".find-dialog a[href='/quota']", 1).await;
        browser.press("Escape").await;
        wait_for_count(&browser, "dialog.find-dialog[open]", 0).await;
        open_search(&browser).await;
        type_text(&browser, "backups").await;
        wait_for_count(&browser, ".find-dialog a[href='/backups']", 1).await;
        browser.press("ArrowDown").await;
        browser.press("Enter").await;
        browser.wait_for_path("/backups").await;
    }
    assert_eq!(browser.console_errors().await, [""; 0]);
}

#[tokio::test]
async fn later_results_of_the_search_leave_the_focus_on_the_chosen_one() {
    let pool = pool().await;
    let Some(browser) = browser(&pool, "en").await else {
        return;
    };
    open_search(&browser).await;
    type_text(&browser, "backups").await;
    let result = ".find-dialog .found:not([data-old]) a[href='/backups']";
    wait_for_count(&browser, result, 1).await;
    browser.press("ArrowDown").await;
    // As by the last letter, whose results come late.
    let search_again = "
        document.querySelector('.find-dialog .found').dataset.old = 'yes';
        document.querySelector('.find-dialog input').dispatchEvent(new Event('input'));
    ";
    browser.inject(search_again).await;
    wait_for_count(&browser, result, 1).await;
    wait_for_count(&browser, &format!("{result}:focus"), 1).await;
    browser.press("Enter").await;
    browser.wait_for_path("/backups").await;
}

/// Moves the focus backwards by Shift and Tab.
async fn back_to(browser: &Browser, selector: &str) {
    let is_there = format!("return document.activeElement.matches({selector:?})");
    for _ in 0..MOST_TABS {
        if browser.inject(&is_there).await == Value::Bool(true) {
            return;
        }
        browser.press("Shift+Tab").await;
    }
    panic!("Shift and Tab do not reach {selector}");
}

#[tokio::test]
async fn the_usual_jobs_are_done_by_keyboard() {
    do_the_usual_jobs("en").await;
}

#[tokio::test]
async fn the_usual_jobs_are_done_by_keyboard_in_chinese() {
    do_the_usual_jobs("zh-TW").await;
}
