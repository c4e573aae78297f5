"""Faults that many lessons share, as data: what the key does, in words, for a client called "client" and a server "server"."""

from engines.lab.scenario import Fault

KILL_SERVER = Fault(
    "kill-server", "kill server", "k", "kill server",
    "the server's program dies: its memory is gone and its kernel closes its connections", off="restart server",
)  # fmt: skip

KILL_CLIENT = Fault(
    "kill-client", "kill client", "c", "kill client",
    "the client's program dies: its kernel closes its connections, and nobody waits for answers", off="restart client",
)  # fmt: skip

UNPLUG_CLIENT = Fault(
    "unplug-client", "unplug client", "u", "unplug client",
    "the client's cable is out: both ends hear silence, and no error", off="plug client",
)  # fmt: skip

MOVE_CLIENT = Fault(
    "move-client", "move client", "w", "move client",
    "the client gets another address, as a phone that leaves the wifi: its TCP connections are dead, its datagrams go on",
)  # fmt: skip

CUT_ANSWERS = Fault(
    "cut-answers", "cut server>client", "x", "cut server>client",
    "what the server sends is lost, what the client sends arrives", off="restore server>client",
)  # fmt: skip

DROP_PACKET = Fault(
    "drop-packet", "drop next packet", "d", "drop next packet",
    "the network loses one packet; TCP waits a while and sends it again",
)  # fmt: skip

LOSE_REQUEST = Fault(
    "lose-request", "lose next request", "g", "lose next request",
    "the connection is reset before the next request arrives: the work is not done",
)  # fmt: skip

LOSE_RESPONSE = Fault(
    "lose-response", "lose next response", "e", "lose next response",
    "the connection is reset before the next response arrives: the work is done, and the client does not know",
)  # fmt: skip
