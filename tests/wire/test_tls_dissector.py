"""The TLS dissector over the records of two real peers, cut anywhere: what an observer without keys can read, and what not."""

import ssl
from contextlib import suppress
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.lab.dissection import Ended, Side, Started
from engines.lab.facts import Role
from engines.wire.certificates import Identity, certificate_of, trust_in
from engines.wire.dissectors import dissector_named
from engines.wire.tls_dissector import TlsDissector
from engines.wire.tls_grammar import ALERTS, RETRY_RANDOM
from tests.wire.conversations import SIZES, WHOLE, Sizes, assert_covers, read

SECRET = b"the password is swordfish"


@cache
def conversation(version: ssl.TLSVersion, group: str = "") -> tuple[bytes, bytes]:
    """What client and server put on the wire: a handshake, then SECRET each way, then goodbyes."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    contexts = [ssl.SSLContext(kind) for kind in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER)]
    for context in contexts:
        context.minimum_version = context.maximum_version = version
        context.set_alpn_protocols(["h2", "http/1.1"])
    trust_in("mesh").configure_trust(contexts[0])
    certificate_of(Identity("billing")).configure_cert(contexts[1])
    if group:
        contexts[1].set_ecdh_curve(group)
    client = contexts[0].wrap_bio(back, there, server_hostname="billing")
    server_in, server_out = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = contexts[1].wrap_bio(server_in, server_out, server_side=True)
    said = (bytearray(), bytearray())

    def carry() -> None:
        forth, answer = there.read(), server_out.read()
        said[Side.CLIENT].extend(forth)
        said[Side.SERVER].extend(answer)
        server_in.write(forth)
        back.write(answer)

    for _ in range(6):
        for peer in (client, server):
            with suppress(ssl.SSLWantReadError):
                peer.do_handshake()
            carry()
    for peer in (client, server):
        peer.write(SECRET)
        carry()
    assert client.read(100) == server.read(100) == SECRET
    with pytest.raises(ssl.SSLWantReadError):
        client.unwrap()
    carry()
    return bytes(said[0]), bytes(said[1])


def labels(side: Side, data: bytes, sizes: Sizes = WHOLE) -> list[str]:
    return [event.label for event in read(TlsDissector(), side, data, sizes) if isinstance(event, Started)]


def test_of_tls_1_3_only_the_hellos_can_be_read() -> None:
    client, server = conversation(ssl.TLSVersion.TLSv1_3)
    assert labels(Side.CLIENT, client)[:2] == ["ClientHello billing (h2, http/1.1)", "change_cipher_spec"]
    assert labels(Side.SERVER, server)[:2] == ["ServerHello TLS 1.3", "change_cipher_spec"]
    assert set(labels(Side.CLIENT, client)[2:]) == set(labels(Side.SERVER, server)[2:]) == {"sealed"}
    assert SECRET not in client + server


def test_of_tls_1_2_the_certificate_can_be_read_as_well() -> None:
    client, server = conversation(ssl.TLSVersion.TLSv1_2)
    names = labels(Side.SERVER, server)
    assert names[:4] == ["ServerHello TLS 1.2", "Certificate", "ServerKeyExchange", "ServerHelloDone"]
    assert labels(Side.CLIENT, client)[1:4] == ["ClientKeyExchange", "change_cipher_spec", "sealed"]


def test_a_second_hello_that_was_asked_for_is_seen() -> None:
    """Section 4.1.4: the client has guessed the wrong group."""
    client, server = conversation(ssl.TLSVersion.TLSv1_3, "secp384r1")
    assert labels(Side.SERVER, server)[0] == "HelloRetryRequest"
    assert RETRY_RANDOM in server
    assert [name.split()[0] for name in labels(Side.CLIENT, client)[:3]].count("ClientHello") == 2


VERSIONS = st.sampled_from([ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@given(VERSIONS, st.sampled_from(Side), SIZES)
def test_how_the_bytes_are_cut_says_nothing(version: ssl.TLSVersion, side: Side, sizes: Sizes) -> None:
    data = conversation(version)[side]
    whole, pieces = TlsDissector(), TlsDissector()
    assert read(pieces, side, data, sizes) == read(whole, side, data)
    assert not pieces.finish(side)


@given(VERSIONS, st.sampled_from(Side), st.integers(0, 4000))
def test_records_tile_the_stream_and_parts_the_records(version: ssl.TLSVersion, side: Side, cut: int) -> None:
    data = conversation(version)[side]
    events = read(TlsDissector(), side, data)
    starts = [event.offset for event in events if isinstance(event, Started)]
    ends = [event.end for event in events if isinstance(event, Ended)]
    assert [*starts, len(data)] == [0, *ends]
    for start, end in zip(starts, ends, strict=True):
        assert_covers(TlsDissector().parts(side, data, start, end), start, end)
        some = min(end, start + 1 + cut % (end - start))
        assert_covers(TlsDissector().parts(side, data[:some], start, some), start, some)


@given(
    st.binary(max_size=80) | st.binary(max_size=40).map(lambda b: b"\x16\x03\x01\x00\x20\x01\x00\x00\x1c" + b), SIZES
)
def test_garbage_is_survived_and_said_once(data: bytes, sizes: Sizes) -> None:
    dissector = TlsDissector()
    events = read(dissector, Side.CLIENT, data, sizes)
    assert events == read(TlsDissector(), Side.CLIENT, data)
    assert sum(isinstance(event, Started) and event.role is Role.ERROR for event in events) <= 1
    dissector.finish(Side.CLIENT)
    for start in range(len(data)):
        assert_covers(dissector.parts(Side.CLIENT, data, start, len(data)), start, len(data))


@pytest.mark.parametrize(
    ("data", "label"),
    [
        (b"GET / HTTP/1.1\r\n", "not TLS: no record of type 71"),
        (b"\x17\x02", "not TLS: no record of version 2"),
        (b"\x17\x03\x03\xff\xff", "not TLS: a record of 65,535 bytes"),
        (bytes((21, 3, 3, 0, 2, 2, 48)), "alert: unknown CA"),
        (bytes((21, 3, 3, 0, 2, 2, 250)), "alert: 250"),
        (bytes((21, 3, 3, 0, 19)) + bytes(19), "sealed"),
    ],
)
def test_one_record(data: bytes, label: str) -> None:
    assert labels(Side.CLIENT, data) == [label]


def test_a_record_that_is_not_all_there_is_cut_short() -> None:
    dissector = TlsDissector()
    assert dissector.feed(Side.SERVER, b"\x17\x03\x03\x00\x20half") == [Started(Role.CONTROL, "sealed", 0, 5, 32)]
    assert dissector.finish(Side.SERVER) == [Ended(9, "cut short")]


def test_what_a_hello_asks_for_is_named() -> None:
    client, server = conversation(ssl.TLSVersion.TLSv1_3)
    size = 5 + int.from_bytes(client[3:5], "big")
    notes = {part.name: part.note for part in TlsDissector().parts(Side.CLIENT, client, 0, size)}
    assert notes["server_name"] == "billing"
    assert notes["application_layer_protocol_negotiation"] == "h2, http/1.1"
    assert notes["supported_versions"] == "TLS 1.3"
    size = 5 + int.from_bytes(server[3:5], "big")
    notes = {part.name: part.note for part in TlsDissector().parts(Side.SERVER, server, 0, size)}
    assert notes["supported_versions"] == "TLS 1.3"
    assert notes["legacy version"] == "TLS 1.2"


def test_it_is_registered_and_says_that_it_cannot_read_on() -> None:
    dissector = dissector_named("tls")
    assert isinstance(dissector, TlsDissector)
    assert dissector.sealed
    assert ALERTS[116] == "certificate required"
