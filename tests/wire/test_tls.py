"""TLS between two programs of a lab: certificates are checked both ways, refusals are seen, and lengths do not vary."""

import ssl
from dataclasses import dataclass, field

import pytest
import trio

from engines.lab.facts import ConnectionOpening, PacketKind, PacketSent
from engines.lab.host import Host
from engines.lab.scenario import HostSpec, Scenario
from engines.lab.session import SessionState, run_headless
from engines.lab.trace import Trace
from engines.wire.certificates import Identity, certificate_of, der_of, serial_has_its_length
from engines.wire.tls import Credentials, TlsError, TlsStream, accept_tls, connect_tls
from engines.wire.tls_dissector import TlsDissector
from tests.patterns.laws import breaches, every

LATENCY_S = 0.1
ORDERS, BILLING = Identity("orders"), Identity("billing")
SECRET = b"the password is swordfish"


@dataclass
class Report:
    """What both sides made of it, with times."""

    trace: Trace = field(default_factory=Trace)
    client: list[tuple[float, str]] = field(default_factory=list)
    server: list[tuple[float, str]] = field(default_factory=list)


def meet(
    client: Credentials, server: Credentials, *, name: str = "billing", message: bytes = SECRET, impatient: bool = False
) -> Report:
    """A client connects, sends `message` and reads it back; the server takes one connection."""
    report = Report()

    def say(who: list[tuple[float, str]], what: object) -> None:
        who.append((round(trio.current_time(), 6), str(what)))

    async def ask(host: Host) -> None:
        try:
            stream = await connect_tls(await host.connect("server", 443), name, client)
            say(report.client, f"{stream.protocol} with {stream.peer}")
            await stream.send_all(message)
            got = b""
            while len(got) < len(message) and (piece := await stream.receive_some()):
                got += piece
            say(report.client, got == message)
            await stream.aclose()
        except (TlsError, trio.BrokenResourceError) as error:
            say(report.client, error)

    async def answer(host: Host) -> None:
        async with host.listen(443) as listener:
            endpoint = await listener.accept()
            if impatient:
                return endpoint.close()
            try:
                stream = await accept_tls(endpoint, server)
                say(report.server, f"{stream.protocol} with {stream.peer}")
                while data := await stream.receive_some():
                    await stream.send_all(data)
                await stream.aclose()
            except (TlsError, trio.BrokenResourceError) as error:
                say(report.server, error)

    hosts = (HostSpec("client", ask), HostSpec("server", answer))
    scenario = Scenario("tls", "tls", "", hosts, protocols={443: TlsDissector}, network={"latency": LATENCY_S})
    session = run_headless(scenario, until_s=60.0)
    assert session.status.state is SessionState.ENDED, session.status.message
    assert breaches(session.trace) == []
    report.trace = session.trace
    return report


def sizes(trace: Trace) -> list[tuple[float, str, int]]:
    sent = every(trace, PacketSent)
    return [(record.time_s, fact.sender, len(fact.payload)) for record, fact in sent if fact.kind is PacketKind.DATA]


def test_both_learn_who_the_other_is_and_the_handshake_costs_one_round_trip_more_than_tcp() -> None:
    report = meet(Credentials(ORDERS), Credentials(BILLING))
    assert report.client == [(0.4, "h2 with billing"), (0.6, "True")]
    assert report.server == [(0.5, "h2 with orders")]
    wire = b"".join(fact.payload for _, fact in every(report.trace, PacketSent))
    assert SECRET not in wire
    assert b"billing" in wire  # the name that the client asks for is there for all to see
    assert wire.count(b"billing") == 1  # and nowhere else: the certificate is sealed
    assert every(report.trace, ConnectionOpening)[0][1].sealed


REFUSED = {
    "none": (Credentials(None), "peer did not return a certificate", "alert: certificate required"),
    "expired": (Credentials(Identity("orders", expired=True)), "certificate has expired", "alert: certificate expired"),
    "forged": (
        Credentials(Identity("orders", "another")),
        "unable to get local issuer certificate",
        "alert: unknown ca",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_client_that_cannot_prove_who_it_is_is_refused_and_learns_why_when_it_reads(case: str) -> None:
    credentials, reason, alert = REFUSED[case]
    report = meet(credentials, Credentials(BILLING))
    assert report.server == [(0.5, reason)]
    assert report.client == [(0.4, "h2 with billing"), (0.6, alert)]


WRONG_SERVERS = {
    "another name": (Credentials(Identity("guest")), "Hostname mismatch", "alert: bad certificate"),
    "expired": (
        Credentials(Identity("billing", expired=True)),
        "certificate has expired",
        "alert: certificate expired",
    ),
    "forged": (Credentials(Identity("billing", "another")), "unable to get local issuer", "alert: unknown ca"),
}


@pytest.mark.parametrize("case", WRONG_SERVERS)
def test_a_server_that_is_not_who_was_wanted_is_refused_before_anything_is_said(case: str) -> None:
    credentials, reason, alert = WRONG_SERVERS[case]
    report = meet(Credentials(ORDERS), credentials)
    assert [time for time, _ in report.client] == [0.4]
    assert reason in report.client[0][1]
    assert report.server == [(0.5, alert)]


def test_a_server_that_asks_for_nothing_takes_anybody() -> None:
    report = meet(Credentials(None), Credentials(BILLING, authority=None))
    assert report.server == [(0.5, "h2 with ")]
    assert report.client[-1][1] == "True"


def test_without_a_common_protocol_none_is_agreed_on() -> None:
    report = meet(Credentials(ORDERS, protocols=("http/1.1",)), Credentials(BILLING))
    assert report.client[0] == (0.4, "None with billing")


def test_a_connection_that_closes_in_the_handshake_is_no_connection() -> None:
    assert meet(Credentials(ORDERS), Credentials(BILLING), impatient=True).client == [(0.4, "connection reset by peer")]


def test_long_messages_go_through_in_many_records() -> None:
    assert meet(Credentials(ORDERS), Credentials(BILLING), message=bytes(300_000)).client[-1][1] == "True"


def test_lengths_and_times_are_the_same_in_fifty_runs() -> None:
    first = sizes(meet(Credentials(ORDERS), Credentials(BILLING)).trace)
    assert len(first) > 5
    for _ in range(49):
        assert sizes(meet(Credentials(ORDERS), Credentials(BILLING)).trace) == first


def test_certificates_of_names_of_one_length_have_one_length() -> None:
    """Other keys, other serial numbers, another authority: as many bytes."""
    identities = [Identity("orders"), Identity("guests"), Identity("orders", "mush"), Identity("bakers")]
    ders = [der_of(certificate_of(identity)) for identity in identities]
    assert len({len(der) for der in ders}) == 1
    assert len(set(ders)) == len(ders)
    assert all(serial_has_its_length(der) for der in ders)


def test_a_short_serial_number_is_noticed() -> None:
    der = der_of(certificate_of(ORDERS))
    assert not serial_has_its_length(der[:13] + b"\x02\x13" + der[15:])


def test_who_closes_in_the_middle_of_a_handshake_leaves_nothing_behind() -> None:
    """Cancelling is the same as giving up: the connection is closed."""
    ends: list[TlsStream] = []

    async def ask(host: Host) -> None:
        with trio.move_on_after(0.3):
            ends.append(await connect_tls(await host.connect("server", 443), "billing", Credentials(ORDERS)))

    async def answer(host: Host) -> None:
        async with host.listen(443) as listener:
            endpoint = await listener.accept()
            with pytest.raises(TlsError):
                await accept_tls(endpoint, Credentials(BILLING))

    hosts = (HostSpec("client", ask), HostSpec("server", answer))
    session = run_headless(Scenario("tls", "tls", "", hosts, network={"latency": LATENCY_S}), until_s=30.0)
    assert session.status.state is SessionState.ENDED, session.status.message
    assert not ends


def test_tickets_are_not_given() -> None:
    assert ssl.HAS_TLSv1_3
    trace = meet(Credentials(ORDERS), Credentials(BILLING)).trace
    after_the_handshake = [size for time_s, sender, size in sizes(trace) if sender == "server" and time_s >= 0.5 - 1e-9]
    assert after_the_handshake[0] == len(SECRET) + 22  # header 5, content type 1, tag 16 (RFC 8446, section 5.2)
