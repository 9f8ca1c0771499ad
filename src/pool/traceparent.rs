//! `TraceParent`: the span that a request belongs to, in the header `traceparent` (W3C Trace Context, level 1).

use std::fmt;

/// The ids in a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    pub trace_id: u128,
    pub span_id: u64,
    /// Whether the client records its part of the trace.
    pub is_sampled: bool,
}

impl TraceParent {
    /// Reads `00-<32 hexadecimal digits>-<16>-<2>`; `None`: not valid, and so ignored, as the standard demands. Later versions
    /// may have more fields behind these.
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.trim().split('-');
        let mut hex = |digits: usize| {
            let field = fields.next()?;
            let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            let is_field = field.len() == digits && field.bytes().all(is_hex);
            u128::from_str_radix(field, 16).ok().filter(|_| is_field)
        };
        let (version, trace_id, span_id, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let has_more = fields.next().is_some();
        let is_valid = version != 0xff && trace_id != 0 && span_id != 0;
        if !is_valid || version == 0 && has_more {
            return None;
        }
        Some(Self {
            trace_id,
            span_id: u64::try_from(span_id).ok()?,
            is_sampled: flags & 1 == 1,
        })
    }
}

impl fmt::Display for TraceParent {
    /// The value of the header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace_id,
            span_id,
            is_sampled,
        } = self;
        write!(
            f,
            "00-{trace_id:032x}-{span_id:016x}-0{}",
            u8::from(*is_sampled)
        )
    }
}

/// Which `traceparent` Google receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamTraceParent {
    /// The client's, unchanged.
    Client,
    /// That of the pool's span of the request, in a request that is traced.
    Pool,
    /// None, and no `tracestate`.
    None,
}

impl UpstreamTraceParent {
    /// The choice of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "client" => Some(Self::Client),
            "pool" => Some(Self::Pool),
            "none" => Some(Self::None),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Pool => "pool",
            Self::None => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_written_as_it_is_read() {
        for is_sampled in [false, true] {
            let parent = TraceParent {
                trace_id: 0xaf7,
                span_id: 0xb7,
                is_sampled,
            };
            assert_eq!(TraceParent::parse(&parent.to_string()), Some(parent));
        }
    }

    #[test]
    fn only_valid_parents_are_read() {
        let parent = |is_sampled| {
            Some(TraceParent {
                trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
                span_id: 0xb7ad_6b71_6920_3331,
                is_sampled,
            })
        };
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let span = "b7ad6b7169203331";
        let cases = [
            (format!("00-{trace}-{span}-01"), parent(true)),
            (format!("00-{trace}-{span}-00"), parent(false)),
            (format!("cc-{trace}-{span}-03-more"), parent(true)),
            (format!("00-{trace}-{span}-01-more"), None),
            (format!("ff-{trace}-{span}-01"), None),
            (format!("00-{}-{span}-01", "0".repeat(32)), None),
            (format!("00-{trace}-{}-01", "0".repeat(16)), None),
            (format!("00-{}-{span}-01", trace.to_uppercase()), None),
            (format!("00-{trace}-{span}"), None),
            (String::new(), None),
        ];
        for (text, expected) in cases {
            assert_eq!(TraceParent::parse(&text), expected, "{text}");
        }
    }
}
