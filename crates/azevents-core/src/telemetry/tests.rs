//! What an SDK sees of messages on their way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt, TracerProvider};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};

use super::*;
use crate::batch_handler::BatchHandler;
use crate::error::{Error, ErrorKind};
use crate::handler::{Delivery, Handled, Handler, HandlerError};
use crate::message::Message;
use crate::publisher::{PublishError, Publisher};

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

    fn telemetry(&self) -> Telemetry {
        let tracer = self.tracers.tracer(SCOPE);
        Telemetry::new(tracer, &self.meters.meter(SCOPE), "servicebus", "orders")
    }

    fn spans(&self) -> Vec<SpanData> {
        self.spans.get_finished_spans().unwrap()
    }

    /// Each metric's points: how many, or how often, with which error.
    fn points(&self) -> BTreeMap<String, Vec<(u64, String)>> {
        self.meters.force_flush().unwrap();
        let mut points = BTreeMap::new();
        for metric in self
            .metrics
            .get_finished_metrics()
            .unwrap()
            .iter()
            .flat_map(ResourceMetrics::scope_metrics)
        {
            for metric in metric.metrics() {
                let mut found: Vec<_> = match metric.data() {
                    AggregatedMetrics::U64(MetricData::Sum(sum)) => sum
                        .data_points()
                        .map(|point| (point.value(), error_in(point.attributes())))
                        .collect(),
                    AggregatedMetrics::F64(MetricData::Histogram(histogram)) => histogram
                        .data_points()
                        .map(|point| (point.count(), error_in(point.attributes())))
                        .collect(),
                    other => panic!("{other:?}"),
                };
                found.sort();
                points.insert(metric.name().to_owned(), found);
            }
        }
        points
    }
}

fn error_in<'a>(mut attributes: impl Iterator<Item = &'a KeyValue>) -> String {
    let error = attributes.find(|one| one.key.as_str() == "error.type");
    error.map_or_else(String::new, |one| one.value.to_string())
}

fn message(id: &str) -> Message {
    Message {
        id: id.into(),
        key: "order-1".into(),
        event_type: "LineAdded".into(),
        content_type: "application/json".into(),
        body: "{}".into(),
        headers: BTreeMap::new(),
    }
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|one| one.key.as_str() == name);
    found.map(|one| one.value.to_string())
}

/// Takes one message and refuses the next.
#[derive(Default)]
struct Broker(Mutex<Vec<Message>>);

#[async_trait::async_trait]
impl Publisher for Broker {
    async fn publish(&self, messages: &[Message]) -> Result<(), PublishError> {
        self.0.lock().unwrap().extend_from_slice(&messages[..1]);
        match messages.len() {
            1 => Ok(()),
            _ => Err(PublishError::after(
                1,
                Error::new(ErrorKind::Throttled, "publish", "orders"),
            )),
        }
    }
}

/// Publishes with a client that tells of its sends as well.
struct Instrumented(ClientTelemetry);

#[async_trait::async_trait]
impl Publisher for Instrumented {
    async fn publish(&self, _: &[Message]) -> Result<(), PublishError> {
        if !is_published() {
            self.0
                .begin("send", Some(OperationType::Send), "orders")
                .start()
                .end(None);
        }
        Ok(())
    }
}

#[tokio::test]
async fn what_publisher_and_client_see_is_told_once() {
    let bench = Bench::new();
    let client = ClientTelemetry::new(bench.tracers.tracer(SCOPE), &bench.meters.meter(SCOPE), "servicebus");
    let publisher = Arc::new(Instrumented(client.clone()));
    publisher.publish(&[message("m1")]).await.unwrap();
    assert_eq!(bench.spans().len(), 1);
    let wrapped = bench.telemetry().publisher(publisher);
    wrapped.publish(&[message("m2")]).await.unwrap();
    assert_eq!(bench.spans().len(), 2);

    client
        .begin("receive", Some(OperationType::Receive), "orders")
        .start()
        .end(None);
    let handler = bench.telemetry().without_consumed().handler(Effect::default());
    handler.handle(&message("m1"), &Delivery::new(1)).await.unwrap();
    let points = bench.points();
    let once = |name: &str| points[name].iter().map(|(count, _)| count).sum::<u64>();
    assert_eq!(once("messaging.client.sent.messages"), 2);
    assert_eq!(once("messaging.client.consumed.messages"), 1);
    assert_eq!(once("messaging.client.operation.duration"), 3);
}

#[tokio::test]
async fn an_operation_that_is_dropped_has_a_span_and_is_not_counted() {
    let bench = Bench::new();
    let client = ClientTelemetry::new(bench.tracers.tracer(SCOPE), &bench.meters.meter(SCOPE), "servicebus");
    let settling = client.begin("complete", Some(OperationType::Settle), "orders").start();
    {
        let mut never = std::pin::pin!(settling.run(std::future::pending::<()>()));
        assert!(futures::poll!(never.as_mut()).is_pending());
    }
    assert!(bench.spans().is_empty());
    drop(settling);
    assert_eq!(bench.spans().len(), 1);
    assert_eq!(bench.points(), BTreeMap::new());
}

/// Fails what it is told to; tells which trace it ran in.
#[derive(Default)]
struct Effect(Mutex<Vec<String>>);

#[async_trait::async_trait]
impl Handler for Effect {
    async fn handle(&self, message: &Message, _: &Delivery) -> Result<Handled, HandlerError> {
        tokio::task::yield_now().await;
        let context = opentelemetry::Context::current();
        let trace = context.span().span_context().trace_id();
        self.0.lock().unwrap().push(trace.to_string());
        match message.id.as_str() {
            "bad" => Err(HandlerError::permanent("UnknownCurrency", "GBX")),
            "copy" => Ok(Handled::Duplicate),
            _ => Ok(Handled::Done),
        }
    }
}

#[tokio::test]
async fn one_trace_leads_from_the_event_to_its_effect() {
    let bench = Bench::new();
    let telemetry = bench.telemetry();
    let request = bench.tracers.tracer("shop");
    let event = request.in_span("place order", |_| {
        NewEvent::json("LineAdded", &1).unwrap().in_current_trace()
    });
    let stored = Message {
        headers: event.metadata,
        ..message("m1")
    };
    let broker = Arc::new(Broker::default());
    telemetry.publisher(broker.clone()).publish(&[stored]).await.unwrap();
    let arrived = broker.0.lock().unwrap().remove(0);
    assert!(arrived.headers.contains_key("traceparent") && arrived.headers.contains_key("Diagnostic-Id"));
    let effect = Arc::new(Effect::default());
    let handler = telemetry.with_subscription("billing").handler(effect.clone());
    handler.handle(&arrived, &Delivery::new(2)).await.unwrap();

    let spans = bench.spans();
    let [placed, sent, processed] = &spans[..] else {
        panic!("{spans:?}")
    };
    assert_eq!(
        (sent.name.as_ref(), &sent.span_kind),
        ("send orders", &SpanKind::Client)
    );
    assert_eq!(
        sent.links.links[0].span_context.span_id(),
        placed.span_context.span_id()
    );
    assert_eq!(
        (processed.name.as_ref(), &processed.span_kind),
        ("process orders", &SpanKind::Consumer)
    );
    assert_eq!(processed.parent_span_id, placed.span_context.span_id());
    assert_eq!(processed.span_context.trace_id(), placed.span_context.trace_id());
    for (name, value) in [
        ("messaging.system", "servicebus"),
        ("messaging.destination.name", "orders"),
        ("messaging.destination.subscription.name", "billing"),
        ("messaging.operation.type", "process"),
        ("messaging.message.id", "m1"),
        ("azevents.delivery_count", "2"),
    ] {
        assert_eq!(attribute(processed, name).as_deref(), Some(value), "{name}");
    }
    let ran_in = effect.0.lock().unwrap().clone();
    assert_eq!(ran_in, [placed.span_context.trace_id().to_string()]);
}

#[tokio::test]
async fn messages_without_a_context_get_that_of_the_span_that_sends_them() {
    let bench = Bench::new();
    let broker = Arc::new(Broker::default());
    let publisher = bench.telemetry().publisher(broker.clone());
    publisher.publish(&[message("m1")]).await.unwrap();
    let sent = bench.spans().remove(0);
    assert_eq!(sent.span_kind, SpanKind::Producer);
    let arrived = broker.0.lock().unwrap().remove(0);
    let context = context::read(&arrived.headers).unwrap();
    assert_eq!(context.span_id(), sent.span_context.span_id());
}

#[async_trait::async_trait]
impl BatchHandler for Effect {
    async fn handle_batch(&self, _: &[&Message], _: &Delivery) -> Result<(), HandlerError> {
        Err(HandlerError::transient("locked"))
    }
}

#[tokio::test]
async fn a_batch_is_linked_to_the_traces_of_its_messages() {
    let bench = Bench::new();
    let request = bench.tracers.tracer("shop");
    let messages = ["m1", "m2"].map(|id| {
        let event = request.in_span("place order", |_| {
            NewEvent::json("LineAdded", &1).unwrap().in_current_trace()
        });
        Message {
            headers: event.metadata,
            ..message(id)
        }
    });
    let handler = bench.telemetry().handler(Effect::default());
    let [one, other] = &messages;
    handler
        .handle_batch(&[one, other], &Delivery::new(1))
        .await
        .unwrap_err();
    let spans = bench.spans();
    let [first, second, batch] = &spans[..] else {
        panic!("{spans:?}")
    };
    let linked: Vec<_> = batch.links.iter().map(|link| link.span_context.span_id()).collect();
    assert_eq!(linked, [first, second].map(|span| span.span_context.span_id()));
    assert_eq!(attribute(batch, "messaging.batch.message_count").as_deref(), Some("2"));
    assert_eq!(attribute(batch, "error.type").as_deref(), Some("HandlerFailed"));
    assert_eq!(
        bench.points()["messaging.client.consumed.messages"],
        [(2, String::new())]
    );
}

#[tokio::test]
async fn what_fails_is_counted_with_its_error() {
    let bench = Bench::new();
    let telemetry = bench.telemetry();
    let publisher = telemetry.publisher(Arc::new(Broker::default()));
    publisher
        .publish(&[message("m1"), message("m2"), message("m3")])
        .await
        .unwrap_err();
    let handler = telemetry.handler(Effect::default());
    for id in ["good", "bad", "copy"] {
        drop(handler.handle(&message(id), &Delivery::new(1)).await);
    }
    let spans = bench.spans();
    assert!(matches!(&spans[0].status, Status::Error { .. }));
    assert_eq!(
        attribute(&spans[0], "messaging.batch.message_count").as_deref(),
        Some("3")
    );
    assert_eq!(attribute(&spans[2], "error.type").as_deref(), Some("UnknownCurrency"));
    assert_eq!(attribute(&spans[3], "azevents.duplicate").as_deref(), Some("true"));
    let no = String::new;
    let expected = [
        ("messaging.client.consumed.messages", vec![(3, no())]),
        ("messaging.client.operation.duration", vec![(1, "Throttled".into())]),
        (
            "messaging.client.sent.messages",
            vec![(1, no()), (2, "Throttled".into())],
        ),
        (
            "messaging.process.duration",
            vec![(1, "UnknownCurrency".into()), (2, no())],
        ),
    ];
    assert_eq!(
        bench.points(),
        expected.map(|(name, points)| (name.to_owned(), points)).into()
    );
}
