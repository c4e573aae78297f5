"""All dissectors by the name of their protocol, as hosts name it when they listen. A further one is one line here."""

from engines.lab.dissection import Dissector, DissectorFactory
from engines.wire.amqp import AmqpDissector
from engines.wire.dns_dissector import DnsDissector
from engines.wire.envelopes import GraphQlDissector, GrpcDissector, JsonRpcDissector, SoapDissector
from engines.wire.http1 import Http1Dissector
from engines.wire.http2 import Http2Dissector
from engines.wire.kafka import KafkaDissector
from engines.wire.mqtt import MqttDissector
from engines.wire.plain import PlainDissector
from engines.wire.postgres import PostgresDissector
from engines.wire.quic_dissector import QuicDissector
from engines.wire.sse_dissector import SseDissector
from engines.wire.ssh_dissector import SshDissector
from engines.wire.tls_dissector import TlsDissector
from engines.wire.websocket_dissector import WebSocketDissector

DISSECTORS: dict[str, DissectorFactory] = {
    Http1Dissector.name: Http1Dissector,
    Http2Dissector.name: Http2Dissector,
    WebSocketDissector.name: WebSocketDissector,
    SseDissector.name: SseDissector,
    AmqpDissector.name: AmqpDissector,
    DnsDissector.name: DnsDissector,
    JsonRpcDissector.name: JsonRpcDissector,
    GraphQlDissector.name: GraphQlDissector,
    SoapDissector.name: SoapDissector,
    GrpcDissector.name: GrpcDissector,
    SshDissector.name: SshDissector,
    MqttDissector.name: MqttDissector,
    KafkaDissector.name: KafkaDissector,
    PlainDissector.name: PlainDissector,
    QuicDissector.name: QuicDissector,
    PostgresDissector.name: PostgresDissector,
    TlsDissector.name: TlsDissector,
}


def dissector_named(name: str) -> Dissector | None:
    """A fresh dissector of protocol `name`, for one connection; None for a protocol that nobody here reads."""
    factory = DISSECTORS.get(name)
    return factory() if factory else None
