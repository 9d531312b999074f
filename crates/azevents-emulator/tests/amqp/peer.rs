//! A client that sends the frames it is told to and shows the ones that come back.

use std::net::SocketAddr;

use azevents_emulator::{Emulator, EventHub};
use fe2o3_amqp_types::{
    definitions::{Fields, Handle, ReceiverSettleMode, Role, SenderSettleMode},
    messaging::{FilterSet, Source, Target, TargetArchetype},
    performatives::{Attach, Begin, ChannelMax, Disposition, Flow, Open, Performative, Transfer},
    sasl::{SaslInit, SaslOutcome},
};
use serde_amqp::Value;
use serde_amqp::primitives::Binary;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

/// The hub all these tests use; it has one partition so that order is known.
pub(crate) const HUB: &str = "hub";
/// A reader's address on it.
pub(crate) const READ: &str = "hub/ConsumerGroups/$Default/Partitions/0";

/// An emulator with [`HUB`].
pub(crate) async fn emulator() -> Emulator {
    Emulator::builder()
        .event_hub(EventHub::new(HUB).with_partition_count(1))
        .start()
        .await
        .expect("the emulator starts")
}

/// The parts of a connection string.
pub(crate) struct Address {
    pub(crate) socket: SocketAddr,
    pub(crate) key_name: String,
    pub(crate) key: String,
}

impl Address {
    pub(crate) fn of(emulator: &Emulator) -> Self {
        Self::read(&emulator.ready().eventhubs.connection_string)
    }

    fn read(text: &str) -> Self {
        let part = |name: &str| {
            text.split(';')
                .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
                .unwrap_or_else(|| panic!("{name} in {text}"))
                .to_owned()
        };
        let endpoint = part("Endpoint");
        Self {
            socket: endpoint
                .trim_start_matches("sb://")
                .trim_end_matches('/')
                .parse()
                .expect("an address"),
            key_name: part("SharedAccessKeyName"),
            key: part("SharedAccessKey"),
        }
    }
}

/// Whatever carries AMQP.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<W: AsyncRead + AsyncWrite + Send + Unpin> Wire for W {}

/// One connection, one session on channel 0.
pub(crate) struct Peer {
    pub(crate) socket: Box<dyn Wire>,
}

impl Peer {
    /// Past SASL PLAIN with the right key, open and begin.
    pub(crate) async fn logged_in(emulator: &Emulator) -> Self {
        Self::connect(emulator).await.logged_in_on(emulator).await
    }

    /// The same at Service Bus, which has the same key.
    pub(crate) async fn logged_in_to_servicebus(emulator: &Emulator) -> Self {
        Self::connect_to_servicebus(emulator).await.logged_in_on(emulator).await
    }

    /// The same on a connection that is there already.
    pub(crate) async fn logged_in_on(self, emulator: &Emulator) -> Self {
        let address = Address::of(emulator);
        let login = self.sasl_plain(&address.key_name, &address.key).await;
        let mut peer = login.expect("the key is right");
        peer.open(64 * 1024).await;
        peer.begin(1000).await;
        peer
    }

    /// SASL PLAIN; `Err` with the outcome's code if it is refused.
    pub(crate) async fn login(emulator: &Emulator, name: &str, key: &str) -> Result<Self, String> {
        Self::connect(emulator).await.sasl_plain(name, key).await
    }

    async fn sasl_plain(self, name: &str, key: &str) -> Result<Self, String> {
        let mut peer = self;
        peer.write(b"AMQP\x03\x01\x00\x00").await;
        assert_eq!(peer.read_exact(8).await, b"AMQP\x03\x01\x00\x00");
        peer.raw_frame().await; // mechanisms
        let init = SaslInit {
            mechanism: "PLAIN".into(),
            initial_response: Some(Binary::from(format!("\0{name}\0{key}"))),
            hostname: None,
        };
        peer.send_raw(1, 0, &serde_amqp::to_vec(&init).expect("encoded")).await;
        let (_, _, body) = peer.raw_frame().await;
        let outcome: SaslOutcome = serde_amqp::from_slice(&body).expect("an outcome");
        let code = format!("{:?}", outcome.code);
        if code != "Ok" {
            return Err(code);
        }
        peer.amqp_header().await;
        Ok(peer)
    }

    /// No SASL at all, but open and begin.
    pub(crate) async fn anonymous(emulator: &Emulator) -> Self {
        Self::connect(emulator).await.begun().await
    }

    /// The same at Service Bus.
    pub(crate) async fn anonymous_at_servicebus(emulator: &Emulator) -> Self {
        Self::connect_to_servicebus(emulator).await.begun().await
    }

    async fn begun(mut self) -> Self {
        self.amqp_header().await;
        self.open(64 * 1024).await;
        self.begin(1000).await;
        self
    }

    async fn connect_to_servicebus(emulator: &Emulator) -> Self {
        let address = Address::read(&emulator.ready().servicebus.connection_string);
        let socket = TcpStream::connect(address.socket).await;
        Self::on(socket.expect("a connection"))
    }

    /// A socket, and nothing sent yet.
    pub(crate) async fn connect(emulator: &Emulator) -> Self {
        let socket = TcpStream::connect(Address::of(emulator).socket).await;
        Self::on(socket.expect("a connection"))
    }

    pub(crate) fn on(socket: impl Wire + 'static) -> Self {
        Self {
            socket: Box::new(socket),
        }
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.expect("sent");
        self.socket.flush().await.expect("sent");
    }

    pub(crate) async fn amqp_header(&mut self) {
        self.write(b"AMQP\x00\x01\x00\x00").await;
        assert_eq!(self.read_exact(8).await, b"AMQP\x00\x01\x00\x00");
    }

    pub(crate) async fn open(&mut self, max_frame_size: u32) -> Open {
        self.open_with(max_frame_size, None).await
    }

    /// With an idle timeout in milliseconds.
    pub(crate) async fn open_with(&mut self, max_frame_size: u32, idle_time_out: Option<u32>) -> Open {
        let open = Open {
            container_id: "peer".to_owned(),
            hostname: None,
            max_frame_size: max_frame_size.into(),
            channel_max: ChannelMax::default(),
            idle_time_out,
            outgoing_locales: None,
            incoming_locales: None,
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        self.send(Performative::Open(open), &[]).await;
        match self.next().await {
            (Performative::Open(open), _) => open,
            other => panic!("not an open: {other:?}"),
        }
    }

    pub(crate) async fn begin(&mut self, incoming_window: u32) {
        self.begin_on(0, incoming_window).await;
    }

    pub(crate) async fn begin_on(&mut self, channel: u16, incoming_window: u32) {
        let begin = Begin {
            remote_channel: None,
            next_outgoing_id: 0,
            incoming_window,
            outgoing_window: 1000,
            handle_max: Handle(10),
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        let body = serde_amqp::to_vec(&Performative::Begin(begin)).expect("encoded");
        self.send_raw(0, channel, &body).await;
        loop {
            match self.next().await {
                (Performative::Begin(_), _) => return,
                (Performative::Flow(_) | Performative::Disposition(_), _) => {}
                other => panic!("not a begin: {other:?}"),
            }
        }
    }

    /// Attaches and expects an attach; what follows it is up to the test.
    pub(crate) async fn attach(&mut self, attach: Attach) -> Attach {
        self.send(Performative::Attach(attach), &[]).await;
        loop {
            match self.next().await {
                (Performative::Attach(attach), _) => return attach,
                (Performative::Flow(_) | Performative::Disposition(_), _) => {}
                other => panic!("not an attach: {other:?}"),
            }
        }
    }

    /// A sender on handle 0, and the credit it gets.
    pub(crate) async fn sender(&mut self, address: &str) -> u32 {
        self.attach(sender(0, address)).await;
        let flow = self.flow().await;
        flow.link_credit.expect("credit")
    }

    /// A receiver on handle 1 from the beginning of the log, without credit.
    pub(crate) async fn receiver(&mut self, address: &str) {
        let attach = self.attach(receiver(1, address)).await;
        assert!(attach.source.is_some(), "refused");
    }

    /// Sends a message of one frame, unsettled.
    pub(crate) async fn transfer(&mut self, id: u32, message: &[u8]) {
        self.send(Performative::Transfer(transfer(id)), message).await;
    }

    /// Waits for the disposition of this delivery.
    pub(crate) async fn settled(&mut self, id: u32) -> Disposition {
        loop {
            match self.next().await {
                (Performative::Disposition(disposition), _)
                    if disposition.first <= id && disposition.last.unwrap_or(disposition.first) >= id =>
                {
                    return disposition;
                }
                (Performative::Disposition(_) | Performative::Flow(_), _) => {}
                other => panic!("not a disposition: {other:?}"),
            }
        }
    }

    /// Publishes so many events with bodies `0`, `1` and so on, and waits for them to be stored.
    pub(crate) async fn publish(&mut self, count: u32) {
        assert!(self.sender(HUB).await >= count);
        for id in 0..count {
            self.transfer(id, &message(id.to_string().as_bytes())).await;
        }
        if count > 0 {
            self.settled(count - 1).await;
        }
    }

    /// Gives a receiver on handle 1 credit, counted from the start of the link.
    pub(crate) async fn credit(&mut self, delivery_count: u32, credit: u32, drain: bool) {
        let flow = Flow {
            handle: Some(Handle(1)),
            delivery_count: Some(delivery_count),
            link_credit: Some(credit),
            drain,
            ..session_flow(1000)
        };
        self.send(Performative::Flow(flow), &[]).await;
    }

    /// Asks for a flow of a link, which comes behind everything that is answered before.
    pub(crate) async fn echo(&mut self, handle: u32) {
        let flow = Flow {
            handle: Some(Handle(handle)),
            echo: true,
            ..session_flow(1000)
        };
        self.send(Performative::Flow(flow), &[]).await;
    }

    /// The next frame, which must be a link's flow.
    pub(crate) async fn flow(&mut self) -> Flow {
        loop {
            match self.next().await {
                (Performative::Flow(flow), _) if flow.handle.is_some() => return flow,
                (Performative::Flow(_) | Performative::Disposition(_), _) => {}
                other => panic!("not a flow: {other:?}"),
            }
        }
    }

    /// The next frame, which must be a transfer: itself and its payload.
    pub(crate) async fn received(&mut self) -> (Transfer, Vec<u8>) {
        loop {
            match self.next().await {
                (Performative::Transfer(transfer), payload) => return (transfer, payload),
                (Performative::Flow(_) | Performative::Disposition(_), _) => {}
                other => panic!("not a transfer: {other:?}"),
            }
        }
    }

    pub(crate) async fn send(&mut self, performative: Performative, payload: &[u8]) {
        let mut body = serde_amqp::to_vec(&performative).expect("encoded");
        body.extend_from_slice(payload);
        self.send_raw(0, 0, &body).await;
    }

    /// A frame of any type and channel.
    pub(crate) async fn send_raw(&mut self, kind: u8, channel: u16, body: &[u8]) {
        let size = u32::try_from(body.len() + 8).expect("a frame's size");
        let mut frame = size.to_be_bytes().to_vec();
        frame.extend_from_slice(&[2, kind]);
        frame.extend_from_slice(&channel.to_be_bytes());
        frame.extend_from_slice(body);
        self.write(&frame).await;
    }

    /// The next frame that is not a heartbeat.
    pub(crate) async fn next(&mut self) -> (Performative, Vec<u8>) {
        let (_, performative, payload) = self.next_sized().await;
        (performative, payload)
    }

    /// The same with the size of the whole frame.
    pub(crate) async fn next_sized(&mut self) -> (usize, Performative, Vec<u8>) {
        loop {
            let (size, _, body) = self.raw_frame().await;
            if body.is_empty() {
                continue;
            }
            // Descriptor 0x00 0x53 code, then a list with one or four bytes of size.
            let length = match body[3] {
                0x45 => 4,
                0xc0 => 5 + usize::from(body[4]),
                _ => 8 + u32::from_be_bytes(body[4..8].try_into().expect("four")) as usize,
            };
            let performative = serde_amqp::from_slice(&body[..length]).expect("a performative");
            return (size, performative, body[length..].to_vec());
        }
    }

    /// Size, type and body of the next frame; the body is empty for a heartbeat.
    pub(crate) async fn raw_frame(&mut self) -> (usize, u8, Vec<u8>) {
        let head = self.read_exact(8).await;
        let size = u32::from_be_bytes(head[..4].try_into().expect("four")) as usize;
        (size, head[5], self.read_exact(size - 8).await)
    }

    async fn read_exact(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        self.socket
            .read_exact(&mut bytes)
            .await
            .expect("more from the listener");
        bytes
    }

    /// Waits for the listener to hang up, and for nothing to come before that.
    pub(crate) async fn ends_without_a_word(&mut self) {
        let mut rest = Vec::new();
        let _ = self.socket.read_to_end(&mut rest).await;
        assert_eq!(rest, [0; 0]);
    }

    /// Waits for the listener to hang up; whatever comes before is dropped.
    pub(crate) async fn hung_up(&mut self) {
        let mut rest = Vec::new();
        // A reset is as good an end as any.
        let _ = self.socket.read_to_end(&mut rest).await;
    }
}

pub(crate) fn sender(handle: u32, address: &str) -> Attach {
    Attach {
        role: Role::Sender,
        initial_delivery_count: Some(0),
        target: Some(Box::new(TargetArchetype::Target(
            Target::builder().address(address).build(),
        ))),
        source: Some(Box::default()),
        ..attach(handle)
    }
}

pub(crate) fn receiver(handle: u32, address: &str) -> Attach {
    Attach {
        role: Role::Receiver,
        source: Some(Box::new(Source::builder().address(address).build())),
        target: Some(Box::new(TargetArchetype::Target(Target::default()))),
        ..attach(handle)
    }
}

/// A receiver that starts where the selector says.
pub(crate) fn receiver_from(handle: u32, address: &str, selector: &str) -> Attach {
    let mut attach = receiver(handle, address);
    let mut filter = FilterSet::new();
    filter.insert("apache.org:selector-filter:string".into(), Value::from(selector));
    if let Some(source) = &mut attach.source {
        source.filter = Some(filter);
    }
    attach
}

fn attach(handle: u32) -> Attach {
    Attach {
        name: format!("link-{handle}"),
        handle: Handle(handle),
        role: Role::Sender,
        snd_settle_mode: SenderSettleMode::Mixed,
        rcv_settle_mode: ReceiverSettleMode::First,
        source: None,
        target: None,
        unsettled: None,
        incomplete_unsettled: false,
        initial_delivery_count: None,
        max_message_size: None,
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    }
}

/// With link properties.
pub(crate) fn with_property(mut attach: Attach, name: &str, value: Value) -> Attach {
    let mut properties = Fields::new();
    properties.insert(name.into(), value);
    attach.properties = Some(properties);
    attach
}

/// On handle 0, first and last frame, unsettled.
pub(crate) fn transfer(id: u32) -> Transfer {
    Transfer {
        handle: Handle(0),
        delivery_id: Some(id),
        delivery_tag: Some(Binary::from(id.to_be_bytes())),
        message_format: Some(0),
        settled: Some(false),
        more: false,
        rcv_settle_mode: None,
        state: None,
        resume: false,
        aborted: false,
        batchable: false,
    }
}

pub(crate) fn session_flow(incoming_window: u32) -> Flow {
    Flow {
        next_incoming_id: Some(0),
        incoming_window,
        next_outgoing_id: 0,
        outgoing_window: 1000,
        handle: None,
        delivery_count: None,
        link_credit: None,
        available: None,
        drain: false,
        echo: false,
        properties: None,
    }
}

/// A message of one data section.
pub(crate) fn message(body: &[u8]) -> Vec<u8> {
    let mut message = vec![0x00, 0x53, 0x75, 0xb0];
    message.extend_from_slice(&u32::try_from(body.len()).expect("a size").to_be_bytes());
    message.extend_from_slice(body);
    message
}
