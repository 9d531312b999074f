//! What OpenTelemetry is told of the client's operations.

use std::collections::BTreeMap;
use std::time::Duration;

use azevents_core::telemetry::Telemetry;
use azevents_core::{Message, Publisher};
use azevents_emulator::Emulator;
use azevents_servicebus::telemetry::ClientTelemetry;
use azevents_servicebus::{ServiceBusClient, ServiceBusPublisher, SessionReceiverOptions, Settlement, subscription};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{SpanId, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ScopeMetrics};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracer, SdkTracerProvider, SpanData};
use time::OffsetDateTime;

use crate::support::{connection_string, emulator, message, options, port, soon};

const SHORTLY: Duration = Duration::from_secs(10);

/// An SDK that keeps what it is told.
struct Bench {
    tracers: SdkTracerProvider,
    spans: InMemorySpanExporter,
    meters: SdkMeterProvider,
    metrics: InMemoryMetricExporter,
}

impl Bench {
    fn new() -> Self {
        let (spans, metrics) = (InMemorySpanExporter::default(), InMemoryMetricExporter::default());
        Self {
            tracers: SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build(),
            spans,
            meters: SdkMeterProvider::builder()
                .with_reader(PeriodicReader::builder(metrics.clone()).build())
                .build(),
            metrics,
        }
    }

    fn tracer(&self) -> SdkTracer {
        self.tracers.tracer("test")
    }

    fn client(&self, emulator: &Emulator) -> ServiceBusClient {
        let telemetry = ClientTelemetry::new(self.tracer(), &self.meters.meter("test"), "servicebus");
        let options = options().with_telemetry(telemetry);
        ServiceBusClient::from_connection_string_with(connection_string(emulator), options).unwrap()
    }

    /// Those that have ended since the last call.
    fn spans(&self) -> Vec<SpanData> {
        let spans = self.spans.get_finished_spans().unwrap();
        self.spans.reset();
        spans
    }

    fn names(&self) -> Vec<String> {
        self.spans().iter().map(|span| span.name.to_string()).collect()
    }

    /// How often each operation was counted, by metric, operation and error.
    fn counts(&self) -> BTreeMap<String, u64> {
        self.meters.force_flush().unwrap();
        let mut counts = BTreeMap::new();
        let exported = self.metrics.get_finished_metrics().unwrap();
        let last = exported.last().expect("flushed");
        for metric in last.scope_metrics().flat_map(ScopeMetrics::metrics) {
            let mut add = |attributes: Vec<&opentelemetry::KeyValue>, count| {
                let of = |name: &str| {
                    let found = attributes.iter().find(|one| one.key.as_str() == name);
                    found.map_or_else(String::new, |one| format!(" {}", one.value))
                };
                let what = of("messaging.operation.name") + &of("error.type");
                *counts.entry(format!("{}{what}", metric.name())).or_default() += count;
            };
            match metric.data() {
                AggregatedMetrics::U64(MetricData::Sum(sum)) => sum
                    .data_points()
                    .for_each(|point| add(point.attributes().collect(), point.value())),
                AggregatedMetrics::F64(MetricData::Histogram(histogram)) => histogram
                    .data_points()
                    .for_each(|point| add(point.attributes().collect(), point.count())),
                other => panic!("{other:?}"),
            }
        }
        counts
    }
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|one| one.key.as_str() == name);
    found.map(|one| one.value.to_string())
}

fn linked(span: &SpanData) -> Vec<SpanId> {
    span.links.iter().map(|link| link.span_context.span_id()).collect()
}

#[tokio::test]
async fn sending_receiving_and_completing_are_linked_to_one_another() {
    let (emulator, bench) = (emulator().await, Bench::new());
    let client = bench.client(&emulator);
    soon(client.create_sender("t").send(&message("m1"))).await.unwrap();
    let receiver = client.create_receiver(&subscription("t", "a"));
    let received = soon(receiver.receive()).await.unwrap();
    soon(receiver.complete(&received)).await.unwrap();

    let spans = bench.spans();
    let [sent, receive, complete] = &spans[..] else {
        panic!("{spans:?}")
    };
    let port = port(&emulator).to_string();
    for (span, name, kind, operation, about) in [
        (sent, "send t", SpanKind::Producer, "send", None),
        (receive, "receive t", SpanKind::Client, "receive", Some("a")),
        (complete, "complete t", SpanKind::Client, "settle", Some("a")),
    ] {
        assert_eq!((span.name.as_ref(), &span.span_kind), (name, &kind));
        for (attribute_name, value) in [
            ("messaging.system", Some("servicebus")),
            ("messaging.operation.name", name.split(' ').next()),
            ("messaging.operation.type", Some(operation)),
            ("messaging.destination.name", Some("t")),
            ("messaging.destination.subscription.name", about),
            ("messaging.message.id", Some("m1")),
            ("server.address", Some("127.0.0.1")),
            ("server.port", Some(port.as_str())),
        ] {
            assert_eq!(
                attribute(span, attribute_name).as_deref(),
                value,
                "{name} {attribute_name}"
            );
        }
    }
    for (span, name, value) in [
        (receive, "messaging.batch.message_count", "1"),
        (receive, "messaging.servicebus.message.delivery_count", "1"),
        (complete, "messaging.servicebus.disposition_status", "complete"),
    ] {
        assert_eq!(attribute(span, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(linked(sent), []);
    let creation = [sent.span_context.span_id()];
    assert_eq!(
        (linked(receive), linked(complete)),
        (creation.to_vec(), creation.to_vec())
    );
    assert!(received.properties().contains_key("Diagnostic-Id"));
}

#[tokio::test]
async fn a_message_that_comes_with_a_trace_keeps_it() {
    let (emulator, bench) = (emulator().await, Bench::new());
    let client = bench.client(&emulator);
    let (traced, parent, request) = bench.tracer().in_span("request", |context| {
        let context = context.span().span_context().clone();
        let parent = format!("00-{}-{}-01", context.trace_id(), context.span_id());
        let traced = message("m1").with_property("traceparent", parent.as_str());
        (traced, parent, context.span_id())
    });
    soon(client.create_sender("q").send(&traced)).await.unwrap();
    let spans = bench.spans();
    let sent = &spans[1];
    assert_eq!((&sent.span_kind, linked(sent)), (&SpanKind::Client, vec![request]));
    let received = soon(client.create_receiver("q").receive()).await.unwrap();
    let kept = BTreeMap::from([("traceparent".to_owned(), parent.into())]);
    assert_eq!(received.properties(), &kept);
}

#[tokio::test]
async fn each_message_of_a_batch_has_a_context_that_the_others_link_to() {
    let (emulator, bench) = (emulator().await, Bench::new());
    let client = bench.client(&emulator);
    let sender = client.create_sender("q");
    let mut batch = soon(sender.create_batch()).await.unwrap();
    for id in ["1", "2"] {
        assert!(batch.try_add(&message(id)).unwrap());
    }
    soon(sender.send_batch(batch)).await.unwrap();
    let receiver = client.create_receiver("q");
    let received = soon(receiver.receive_batch(2, SHORTLY)).await.unwrap();
    let spans = bench.spans();
    let [one, other, sent, receive, ..] = &spans[..] else {
        panic!("{spans:?}")
    };
    assert_eq!((one.name.as_ref(), &one.span_kind), ("create q", &SpanKind::Producer));
    let created = [one, other].map(|span| span.span_context.span_id());
    assert_eq!((sent.name.as_ref(), linked(sent)), ("send q", created.to_vec()));
    assert_eq!(attribute(sent, "messaging.batch.message_count").as_deref(), Some("2"));
    assert_eq!(linked(receive), created[..received.len()]);
}

#[tokio::test]
async fn every_settlement_and_renewal_is_told_by_its_name() {
    let (emulator, bench) = (emulator().await, Bench::new());
    let client = bench.client(&emulator);
    let sender = client.create_sender("q");
    let receiver = client.create_receiver("q");
    for settlement in [
        Settlement::Defer,
        Settlement::dead_letter("R", "d"),
        Settlement::Abandon,
    ] {
        soon(sender.send(&message("m"))).await.unwrap();
        let received = soon(receiver.receive()).await.unwrap();
        soon(receiver.renew_lock(&received)).await.unwrap();
        soon(receiver.settle(&received, &settlement)).await.unwrap();
        if settlement == Settlement::Defer {
            soon(receiver.receive_deferred(&[received.sequence_number()]))
                .await
                .unwrap();
        }
    }
    soon(receiver.peek(0, 1)).await.unwrap();
    let at = OffsetDateTime::now_utc() + Duration::from_secs(600);
    let number = soon(sender.schedule(&message("later"), at)).await.unwrap();
    soon(sender.cancel_scheduled(number)).await.unwrap();
    let expected = [
        "send",
        "receive",
        "renew_lock",
        "defer",
        "receive_deferred", // one
        "send",
        "receive",
        "renew_lock",
        "dead_letter", // another
        "send",
        "receive",
        "renew_lock",
        "abandon", // and another
        "peek",
        "schedule",
        "cancel_scheduled",
    ];
    assert_eq!(bench.names(), expected.map(|name| format!("{name} q")));
}

#[tokio::test]
async fn sessions_are_told_as_everything_else() {
    let (emulator, bench) = (emulator().await, Bench::new());
    let client = bench.client(&emulator);
    let sender = client.create_sender("qs");
    soon(sender.send(&message("m").with_session_id("s"))).await.unwrap();
    let accept = SessionReceiverOptions::default();
    let session = soon(client.accept_session("qs", "s", &accept)).await.unwrap();
    let received = soon(session.receive_batch(1, SHORTLY)).await.unwrap();
    soon(session.renew_lock()).await.unwrap();
    soon(session.complete(&received[0])).await.unwrap();
    let expected = ["send", "receive", "renew_session_lock", "complete"];
    assert_eq!(bench.names(), expected.map(|name| format!("{name} qs")));
}

#[tokio::test]
async fn failures_are_told_with_their_class_and_counted_apart() {
    let (emulator, bench) = (emulator().await, Bench::new());
    let client = bench.client(&emulator);
    soon(client.create_sender("q").send(&message("m"))).await.unwrap();
    soon(client.create_sender("nowhere").send(&message("m")))
        .await
        .unwrap_err();
    soon(client.create_receiver("nowhere").receive()).await.unwrap_err();
    let receiver = client.create_receiver("q");
    let received = soon(receiver.receive()).await.unwrap();
    soon(receiver.complete(&received)).await.unwrap();
    soon(receiver.complete(&received)).await.unwrap_err();
    let nothing = soon(receiver.receive_batch(1, Duration::from_millis(1))).await;
    assert!(nothing.unwrap().is_empty());

    let failed: Vec<_> = bench
        .spans()
        .into_iter()
        .filter(|span| matches!(span.status, Status::Error { .. }))
        .map(|span| (span.name.to_string(), attribute(&span, "error.type").unwrap()))
        .collect();
    let expected = [
        ("send nowhere", "EntityNotFound"),
        ("receive nowhere", "EntityNotFound"),
        ("complete q", "MessageLockLost"),
    ];
    assert_eq!(
        failed,
        expected.map(|(name, class)| (name.to_owned(), class.to_owned()))
    );
    let expected = [
        ("messaging.client.consumed.messages receive", 1),
        ("messaging.client.operation.duration complete", 1),
        ("messaging.client.operation.duration complete MessageLockLost", 1),
        ("messaging.client.operation.duration receive", 1),
        ("messaging.client.operation.duration receive EntityNotFound", 1),
        ("messaging.client.operation.duration send", 1),
        ("messaging.client.operation.duration send EntityNotFound", 1),
        ("messaging.client.sent.messages send", 1),
        ("messaging.client.sent.messages send EntityNotFound", 1),
    ];
    assert_eq!(
        bench.counts(),
        expected.map(|(name, count)| (name.to_owned(), count)).into()
    );
}

#[tokio::test]
async fn a_traced_publisher_speaks_for_the_client_in_it() {
    let (emulator, bench) = (emulator().await, Bench::new());
    let client = bench.client(&emulator);
    let published = Message {
        id: "m1".into(),
        key: String::new(),
        event_type: "LineAdded".into(),
        content_type: "application/json".into(),
        body: "{}".into(),
        headers: BTreeMap::new(),
    };
    let publisher = ServiceBusPublisher::new(&client, "q");
    soon(publisher.publish(std::slice::from_ref(&published))).await.unwrap();
    assert_eq!(bench.names(), ["create q", "send q"]);
    let telemetry = Telemetry::new(bench.tracer(), &bench.meters.meter("test"), "servicebus", "q");
    soon(telemetry.publisher(publisher).publish(&[published]))
        .await
        .unwrap();
    assert_eq!(bench.names(), ["send q"]);
    assert_eq!(bench.counts()["messaging.client.sent.messages send"], 2, "once each");
}
