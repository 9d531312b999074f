//! Trace contexts in headers, as W3C writes them (<https://www.w3.org/TR/trace-context/>).

use std::collections::BTreeMap;

use opentelemetry::Context;
use opentelemetry::trace::{Link, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};

use crate::message::Message;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// Where the Azure SDKs write and read what others call `traceparent`.
const DIAGNOSTIC_ID: &str = "Diagnostic-Id";

type Headers = BTreeMap<String, String>;

/// The context that headers carry, if it is one.
pub(super) fn read(headers: &Headers) -> Option<SpanContext> {
    context_in(|name| headers.get(name).map(String::as_str))
}

/// The trace context that a message's headers carry, looked up by name.
pub fn context_in<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<SpanContext> {
    let parent = header(TRACEPARENT).or_else(|| header(DIAGNOSTIC_ID))?;
    // version-traceid-spanid-flags; a later version may add more behind it.
    let mut parts = parent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex(version, 2) || version == "ff" || !is_hex(trace, 32) || !is_hex(span, 16) || !is_hex(flags, 2) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let state = header(TRACESTATE).and_then(|state| state.parse::<TraceState>().ok());
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, flags, true, state.unwrap_or_default());
    context.is_valid().then_some(context)
}

/// Links of one span; what SDKs keep by default.
const MAX_LINKS: usize = 128;

/// Links to what messages belong to: to the first ones, where there are many.
pub(super) fn links<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Vec<Link> {
    let mut contexts: Vec<SpanContext> = Vec::new();
    link(
        &mut contexts,
        messages.into_iter().filter_map(|message| read(&message.headers)),
    );
    contexts.into_iter().map(Link::with_context).collect()
}

/// Adds contexts to those that a span is linked to.
pub(super) fn link(to: &mut Vec<SpanContext>, contexts: impl IntoIterator<Item = SpanContext>) {
    for context in contexts {
        // Events of one commit have one context, and stand side by side.
        if to.last() != Some(&context) && to.len() < MAX_LINKS {
            to.push(context);
        }
    }
}

/// Whether headers say what they belong to; what they say is left alone.
pub(super) fn is_in(headers: &Headers) -> bool {
    carries_context(|name| headers.contains_key(name))
}

/// Whether a message's headers, by their names, say what trace it belongs to. Those are to be left alone.
pub fn carries_context(has: impl Fn(&str) -> bool) -> bool {
    has(TRACEPARENT) || has(DIAGNOSTIC_ID)
}

/// Writes a context into headers that have none.
pub(super) fn write(context: &Context, into: &mut Headers) {
    if !is_in(into) {
        headers(context, |name, value| drop(into.insert(name.to_owned(), value)));
    }
}

/// A context as headers, by name and value.
pub(super) fn headers(context: &Context, mut set: impl FnMut(&'static str, String)) {
    let span = context.span();
    let span = span.span_context();
    if !span.is_valid() {
        return;
    }
    let parent = format!(
        "00-{}-{}-{:02x}",
        span.trace_id(),
        span.span_id(),
        span.trace_flags().to_u8()
    );
    set(DIAGNOSTIC_ID, parent.clone());
    set(TRACEPARENT, parent);
    let state = span.trace_state().header();
    if !state.is_empty() {
        set(TRACESTATE, state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn of(entries: &[(&str, &str)]) -> Headers {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        entries.iter().map(owned).collect()
    }

    #[test]
    fn a_context_comes_back_as_it_was_written() {
        let carried = of(&[(DIAGNOSTIC_ID, PARENT), (TRACEPARENT, PARENT), (TRACESTATE, "a=1,b=2")]);
        let context = read(&carried).unwrap();
        assert!(context.is_sampled() && context.is_remote());
        let mut written = Headers::new();
        write(&Context::new().with_remote_span_context(context), &mut written);
        assert_eq!(written, carried);
    }

    #[test]
    fn what_other_sdks_write_is_read_and_what_is_no_context_is_not() {
        assert!(read(&of(&[(DIAGNOSTIC_ID, PARENT)])).is_some());
        let later = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes-then";
        assert!(read(&of(&[(TRACEPARENT, later)])).is_some());
        for wrong in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-é",
            "|7f1c.",
        ] {
            assert!(read(&of(&[(TRACEPARENT, wrong)])).is_none(), "{wrong}");
        }
    }

    #[test]
    fn what_stands_there_is_left_alone() {
        let context = read(&of(&[(TRACEPARENT, PARENT)])).unwrap();
        let mut older = of(&[(DIAGNOSTIC_ID, "|7f1c.")]);
        write(&Context::new().with_remote_span_context(context), &mut older);
        assert_eq!(older, of(&[(DIAGNOSTIC_ID, "|7f1c.")]));
    }
}
