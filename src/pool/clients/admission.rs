//! `Admission`: the usage of each client key with limits on rates, concurrency and cost; whether one more request may
//! start; and [`Permit`].

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::clock::Timestamp;
use crate::pool::calendar::{CalendarPeriod, day_of, month_of};
use crate::pool::clients::client_key::{ClientKey, ClientKeyId, ClientLimit, ClientLimits};
use crate::pool::quota::windows::{MinuteWindow, QuotaAmount};

/// The `retry-after` while all slots are taken: their end is unknown, so the client retries soon.
const UNTIL_ONE_ENDS: Duration = Duration::from_secs(1);

/// The limits checked once the request is read: all but the number of slots.
const COUNTED: [ClientLimit; 5] = [
    ClientLimit::RequestsPerMinute,
    ClientLimit::RequestsPerDay,
    ClientLimit::TokensPerMinute,
    ClientLimit::TokensPerDay,
    ClientLimit::CostPerMonth,
];

/// Why a client key cannot start a request now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitReached {
    /// The exceeded limit with the longest wait.
    pub limit: ClientLimit,
    pub most: u64,
    pub used: u64,
    /// When the limit has room, if no other request is sent.
    pub retry_after: Duration,
}

/// The tokens and cost of a finished request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientCharge {
    pub tokens: u64,
    pub cost_nano_usd: u64,
}

/// The usage of a client key according to the log; `None`: no limit requires it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoggedUsage {
    pub minute: Option<MinuteWindow>,
    pub requests_of_the_day: Option<u64>,
    pub tokens_of_the_day: Option<u64>,
    pub nano_usd_of_the_month: Option<u64>,
}

/// The usage of client keys with limits. Requests and slots are counted on admission, so these limits are never
/// exceeded; tokens are reserved by an estimate, and counted at the end as the cost is: a limit is exceeded by little more
/// than one request.
#[derive(Debug)]
pub struct Admission {
    /// The time zone of days and months.
    zone: TimeZone,
    used: HashMap<ClientKeyId, ClientUsage>,
}

#[derive(Debug, Default)]
struct ClientUsage {
    /// The limits whose usage was restored from the log.
    restored_limits: ClientLimits,
    in_flight: u64,
    /// Requests in flight that were admitted and are not in the log yet.
    counted_under_way: u64,
    /// The estimated tokens of these requests.
    reserved_tokens: u64,
    minute: MinuteWindow,
    day: Option<CalendarPeriod>,
    requests_of_the_day: u64,
    tokens_of_the_day: u64,
    month: Option<CalendarPeriod>,
    nano_usd_of_the_month: u64,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            zone: TimeZone::UTC,
            used: HashMap::new(),
        }
    }
}

impl Admission {
    /// Sets the limits of all keys and the time zone. Returns the keys whose usage must be restored from the log with
    /// [`Admission::restore`].
    pub fn set_limits<'a>(
        &mut self,
        zone: &TimeZone,
        keys: impl IntoIterator<Item = (ClientKeyId, &'a ClientLimits)>,
    ) -> Vec<(ClientKeyId, ClientLimits)> {
        if self.zone != *zone {
            self.zone = zone.clone();
            for used in self.used.values_mut() {
                used.restored_limits = ClientLimits::default();
            }
        }
        let limited: HashMap<_, _> = keys
            .into_iter()
            .filter(|(_, limits)| limits.any())
            .collect();
        // The count of requests in flight is kept until they end.
        self.used.retain(|id, used| {
            let is_limited = limited.contains_key(id);
            if !is_limited {
                // Without a limit nothing more is counted.
                used.restored_limits = ClientLimits::default();
            }
            is_limited || used.in_flight > 0
        });
        let is_unknown = |(id, limits): &(ClientKeyId, &ClientLimits)| {
            let used = self.used.get(id);
            used.is_none_or(|used| !used.restored_limits.covers(limits))
        };
        limited
            .into_iter()
            .filter(is_unknown)
            .map(|(id, limits)| (id, *limits))
            .collect()
    }

    /// Replaces uncounted usage with that of the log, which does not contain the requests in flight.
    pub fn restore(
        &mut self,
        id: ClientKeyId,
        limits: ClientLimits,
        past: LoggedUsage,
        now: Timestamp,
    ) {
        let used = self.used.entry(id).or_default();
        used.roll_over(now, &self.zone);
        let known = std::mem::replace(&mut used.restored_limits, limits);
        // The log lags behind the counts by the rows not yet written.
        let is_known = |limit| known.most(limit).is_some();
        (used.day, used.month) = (
            Some(day_of(now, &self.zone)),
            Some(month_of(now, &self.zone)),
        );
        if let Some(minute) = past.minute
            && !is_known(ClientLimit::RequestsPerMinute)
            && !is_known(ClientLimit::TokensPerMinute)
        {
            used.minute = minute;
            used.minute
                .add(QuotaAmount::requests(used.counted_under_way), now);
        }
        if let Some(requests) = past.requests_of_the_day
            && !is_known(ClientLimit::RequestsPerDay)
        {
            used.requests_of_the_day = requests.saturating_add(used.counted_under_way);
        }
        if let Some(tokens) = past.tokens_of_the_day
            && !is_known(ClientLimit::TokensPerDay)
        {
            used.tokens_of_the_day = tokens;
        }
        if let Some(nano_usd) = past.nano_usd_of_the_month
            && !is_known(ClientLimit::CostPerMonth)
        {
            used.nano_usd_of_the_month = nano_usd;
        }
    }

    /// Takes one of a client key's slots for concurrent requests.
    pub fn take_slot(
        &mut self,
        id: ClientKeyId,
        limits: &ClientLimits,
        now: Timestamp,
    ) -> Result<(), LimitReached> {
        let used = self.used.entry(id).or_default();
        used.roll_over(now, &self.zone);
        let is_full = limits
            .most(ClientLimit::Concurrency)
            .is_some_and(|most| used.in_flight >= most);
        if is_full {
            // Another limit may keep the client waiting for longer.
            return used
                .denied(limits, ClientLimit::ALL, now)
                .map_or(Ok(()), Err);
        }
        used.in_flight += 1;
        Ok(())
    }

    /// Counts the request of a slot if every other limit has room, and reserves its estimated tokens until it ends; a refused
    /// request is not counted.
    pub fn admit(
        &mut self,
        id: ClientKeyId,
        limits: &ClientLimits,
        estimated_tokens: u64,
        now: Timestamp,
    ) -> Result<(), LimitReached> {
        let used = self.used.entry(id).or_default();
        used.roll_over(now, &self.zone);
        if let Some(denied) = used.denied(limits, &COUNTED, now) {
            return Err(denied);
        }
        used.minute.add(QuotaAmount::requests(1), now);
        used.requests_of_the_day += 1;
        used.counted_under_way += 1;
        used.reserved_tokens = used.reserved_tokens.saturating_add(estimated_tokens);
        Ok(())
    }

    /// The present usage of a limit; zero if it is not set.
    pub fn used(&mut self, id: ClientKeyId, limit: ClientLimit, now: Timestamp) -> u64 {
        self.used.get_mut(&id).map_or(0, |used| {
            used.roll_over(now, &self.zone);
            used.of(limit, now)
        })
    }

    /// What each limit that is set leaves.
    pub fn remaining(&mut self, client: &ClientKey, now: Timestamp) -> Vec<(ClientLimit, u64)> {
        let limits = ClientLimit::ALL.iter();
        let set = limits.filter_map(|limit| Some((*limit, client.limits.most(*limit)?)));
        set.map(|(limit, most)| (limit, most.saturating_sub(self.used(client.id, limit, now))))
            .collect()
    }

    /// Counts a request's tokens and cost.
    fn settle(&mut self, id: ClientKeyId, charge: ClientCharge, now: Timestamp) {
        let Some(used) = self.used.get_mut(&id) else {
            return;
        };
        used.roll_over(now, &self.zone);
        let tokens = QuotaAmount::tokens(charge.tokens);
        used.minute.add(tokens, now);
        used.tokens_of_the_day = used.tokens_of_the_day.saturating_add(charge.tokens);
        used.nano_usd_of_the_month = used
            .nano_usd_of_the_month
            .saturating_add(charge.cost_nano_usd);
    }

    /// Ends a request counted at `counted_at`, if it was. A request that was not sent to Google is subtracted.
    fn release(
        &mut self,
        id: ClientKeyId,
        counted_at: Option<Timestamp>,
        reserved_tokens: u64,
        was_sent: bool,
    ) {
        let Some(used) = self.used.get_mut(&id) else {
            return;
        };
        used.in_flight = used.in_flight.saturating_sub(1);
        let Some(since) = counted_at else { return };
        used.counted_under_way = used.counted_under_way.saturating_sub(1);
        used.reserved_tokens = used.reserved_tokens.saturating_sub(reserved_tokens);
        if was_sent {
            return;
        }
        used.minute.take_back(QuotaAmount::requests(1), since);
        if used.day.is_some_and(|day| day.contains(since)) {
            used.requests_of_the_day = used.requests_of_the_day.saturating_sub(1);
        }
    }
}

impl ClientUsage {
    /// Resets the counts of a day or month that has ended.
    fn roll_over(&mut self, now: Timestamp, zone: &TimeZone) {
        if !self.day.is_some_and(|day| day.contains(now)) {
            self.day = Some(day_of(now, zone));
            (self.requests_of_the_day, self.tokens_of_the_day) = (0, 0);
        }
        if !self.month.is_some_and(|month| month.contains(now)) {
            self.month = Some(month_of(now, zone));
            self.nano_usd_of_the_month = 0;
        }
    }

    /// The usage of a limit.
    fn of(&self, limit: ClientLimit, now: Timestamp) -> u64 {
        match limit {
            ClientLimit::RequestsPerMinute => self.minute.used(now).requests,
            ClientLimit::RequestsPerDay => self.requests_of_the_day,
            ClientLimit::TokensPerMinute => self.minute.used(now).tokens,
            ClientLimit::TokensPerDay => self.tokens_of_the_day,
            ClientLimit::Concurrency => self.in_flight,
            ClientLimit::CostPerMonth => self.nano_usd_of_the_month,
        }
    }

    /// Of the exceeded limits, the one with the longest wait.
    fn denied(
        &self,
        limits: &ClientLimits,
        checked: &[ClientLimit],
        now: Timestamp,
    ) -> Option<LimitReached> {
        let rest =
            |span: Option<CalendarPeriod>| span.map_or(Duration::ZERO, |span| span.ends - now);
        let (day, month) = (rest(self.day), rest(self.month));
        let over = |limit| {
            let most = limits.most(limit)?;
            let used = self.of(limit, now).saturating_add(match limit {
                ClientLimit::TokensPerMinute | ClientLimit::TokensPerDay => self.reserved_tokens,
                _ => 0,
            });
            (used >= most).then_some((limit, most, used))
        };
        let over: Vec<_> = checked.iter().copied().filter_map(over).collect();
        let denied = over.into_iter().map(|(limit, most, used)| {
            let until = |measure: fn(&QuotaAmount) -> u64| {
                self.minute.falls_to(most.saturating_sub(1), measure, now) - now
            };
            let retry_after = match limit {
                ClientLimit::RequestsPerMinute => until(|amount| amount.requests),
                // Tokens that are only reserved are free again when a request ends.
                ClientLimit::TokensPerMinute => until(|amount| amount.tokens).max(UNTIL_ONE_ENDS),
                ClientLimit::TokensPerDay if self.tokens_of_the_day < most => UNTIL_ONE_ENDS,
                ClientLimit::RequestsPerDay | ClientLimit::TokensPerDay => day,
                ClientLimit::CostPerMonth => month,
                ClientLimit::Concurrency => UNTIL_ONE_ENDS,
            };
            LimitReached {
                limit,
                most,
                used,
                retry_after,
            }
        });
        denied.max_by_key(|denied| denied.retry_after)
    }
}

/// The admission shared by all requests. Its lock is held for microseconds, never across an await.
#[derive(Debug, Clone, Default)]
pub struct SharedAdmission(Arc<Mutex<Admission>>);

impl SharedAdmission {
    pub fn lock(&self) -> MutexGuard<'_, Admission> {
        // A panic elsewhere leaves at worst a count off by one; the pool continues.
        self.0.lock()
    }

    /// Takes a slot of a client key for a new request. `None`: a key without limits, which is not counted.
    pub fn take_slot(
        &self,
        id: ClientKeyId,
        limits: &ClientLimits,
        clock: impl FnOnce() -> Timestamp,
    ) -> Result<Option<Permit>, LimitReached> {
        if !limits.any() {
            return Ok(None);
        }
        let mut admission = self.lock();
        // The clock is read under the lock, so that times are in order.
        admission.take_slot(id, limits, clock())?;
        Ok(Some(Permit {
            id,
            counted_at: None,
            reserved_tokens: 0,
            was_sent: false,
            admission: self.clone(),
        }))
    }
}

/// A client's slot, held until dropped. An admitted request counts, unless it is dropped unsettled.
#[derive(Debug)]
pub struct Permit {
    id: ClientKeyId,
    /// When the request was admitted; `None`: not yet.
    counted_at: Option<Timestamp>,
    reserved_tokens: u64,
    was_sent: bool,
    admission: SharedAdmission,
}

impl Permit {
    /// Counts the request if the other limits of its client key have room, and reserves its estimated tokens.
    pub fn admit(
        &mut self,
        limits: &ClientLimits,
        estimated_tokens: u64,
        clock: impl FnOnce() -> Timestamp,
    ) -> Result<(), LimitReached> {
        let mut admission = self.admission.lock();
        let now = clock();
        admission.admit(self.id, limits, estimated_tokens, now)?;
        (self.counted_at, self.reserved_tokens) = (Some(now), estimated_tokens);
        Ok(())
    }

    /// Ends a request that was sent to Google, with its tokens and cost.
    pub fn settle(mut self, charge: ClientCharge, now: Timestamp) {
        self.was_sent = true;
        self.admission.lock().settle(self.id, charge, now);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut admission = self.admission.lock();
        admission.release(
            self.id,
            self.counted_at,
            self.reserved_tokens,
            self.was_sent,
        );
    }
}

#[cfg(test)]
mod tests;
