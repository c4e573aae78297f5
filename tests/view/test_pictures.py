"""The picture as text, as a person sees it: the diagrams of small traces, to be read and compared by eye."""

from tests.view.traces import Play, fan_out, showcase, simple_get
from tui.view.glyphs import ASCII, UNICODE, Glyphs
from tui.view.lines import line_text
from tui.view.rows import Detail
from tui.view.sequence import COMPACT, Mode, SequenceModel, Window
from tui.view.text import diagram_text


def read(play: Play) -> SequenceModel:
    model = SequenceModel(play.trace)
    model.consume()
    return model


def text(
    play: Play,
    t: float = float("inf"),
    width: int = 80,
    mode: Mode = COMPACT,
    glyphs: Glyphs = UNICODE,
    detail: Detail = "messages",
) -> str:
    return diagram_text(read(play), t, width, mode, glyphs, detail)


def window(play: Play, t: float, left: int, width: int, mode: Mode = COMPACT, top: int = 0, height: int = 12) -> str:
    """A part of the picture, as it stands in a panel."""
    model = read(play)
    lines = model.header(width, left, t) + model.paint(Window(top, height, left, width), t, mode)
    return "".join(line_text(line).rstrip() + "\n" for line in lines)


def test_a_simple_exchange() -> None:
    """Each message one arrow with its connection; the handshake quieter; work a bar with its words."""
    assert (
        text(simple_get(), width=76)
        == """\
            client                                   server
             ● up                                     ● up
   0.000       ├─ c1  ─ ─ ─  connect (SYN)  ─ ─ ─ ─ ─ ─►│
   0.040       │◄─ ─ ─ ─ ─  accept (SYN-ACK) ─ ─ ─  c1 ─┤
   0.080       ├─ c1 ───────── GET /hello ─────────────►│
   0.120       │             handling GET /hello 100 ms █
   0.220       │                                        █ done
               │◄─────────────── 200 OK ─────────── c1 ─┤
   0.260       ├─ c1  ─ ─ ─ ─ close (FIN) ─ ─ ─ ─ ─ ─ ─►│
   0.300       │◄─ ─ ─ ─ ─ ─  close (FIN)  ─ ─ ─ ─  c1 ─┤
"""
    )


def test_the_same_in_ascii() -> None:
    assert (
        text(simple_get(), width=76, glyphs=ASCII)
        == """\
            client                                   server
             o up                                     o up
   0.000       +- c1  - - -  connect (SYN)  - - - - - ->|
   0.040       |<- - - - -  accept (SYN-ACK) - - -  c1 -+
   0.080       +- c1 --------- GET /hello ------------->|
   0.120       |             handling GET /hello 100 ms #
   0.220       |                                        # done
               |<--------------- 200 OK ----------- c1 -+
   0.260       +- c1  - - - - close (FIN) - - - - - - ->|
   0.300       |<- - - - - -  close (FIN)  - - - -  c1 -+
"""
    )


def test_every_packet_has_a_row_and_both_ends_of_a_connection_speak() -> None:
    assert (
        text(simple_get(), width=76, detail="packets")
        == """\
            client                                   server
             ● up                                     ● up
   0.000       ├─ c1  ─ ─ ─  connect (SYN)  ─ ─ ─ ─ ─ ─►│
   0.040       │◄─ ─ ─ ─ ─  accept (SYN-ACK) ─ ─ ─  c1 ─┤
               │                                        ● c1 open
   0.080       ● c1 open                                │
               ├─ c1 ────── GET /hello 80 B ───────────►│
   0.120       │             handling GET /hello 100 ms █
   0.220       │                                        █ done
               │◄──────────── 200 OK 80 B ───────── c1 ─┤
   0.260       ├─ c1  ─ ─ ─ ─ close (FIN) ─ ─ ─ ─ ─ ─ ─►│
               ○ c1 closed                              │
   0.300       │◄─ ─ ─ ─ ─ ─  close (FIN)  ─ ─ ─ ─  c1 ─┤
               │                                        ○ c1 closed
"""
    )


def test_a_moment_in_the_middle() -> None:
    """What is later than the moment is not there; what moves is where it is; words ahead of it wait."""
    assert (
        text(simple_get(), t=0.11, width=76)
        == """\
            client                                   server
             ● up                                     ● up
   0.000       ├─ c1  ─ ─ ─  connect (SYN)  ─ ─ ─ ─ ─ ─►│
   0.040       │◄─ ─ ─ ─ ─  accept (SYN-ACK) ─ ─ ─  c1 ─┤
   0.080       ├─ c1 ───────── GET /hello ────●         │
"""
    )


def test_loss_retransmission_holding_crash_and_two_connections() -> None:
    assert (
        text(showcase(), width=100)
        == """\
            client                                                     server
             ● up                                                       ● up
   0.000       ├─ c1  ─ ─ ─ ─ ─ ─ ─ ─ connect (SYN) ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─►│
   0.040       │◄─ ─ ─ ─ ─ ─ ─ ─ ─ ─ accept (SYN-ACK)  ─ ─ ─ ─ ─ ─ ─  c1 ─┤
   0.080       ├─ c1 ───────────────── GET /jobs/7 ──────────────────────►│
   0.120       │                              handling GET /jobs/7 100 ms █
   0.220       │                                                          █ done
               │◄──────────────────────── 200 OK ──────────────────── c1 ─┤
   0.260  ─────────────────────────────────── ◆ set latency 80ms ───────────────────────────────────
               ├─ c1 ────────────── GET /jobs/7?wait=2 ──────────────────►│
   0.340       │                                                          █ GET /jobs/7 440 ms
               │                          holding: nothing new yet 440 ms ▒
   0.540       ├─ c2  ─ ─ ─ ─ ─ ─ ─ ─ connect (SYN) ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─►▒
   0.620       │◄─ ─ ─ ─ ─ ─ ─ ─ ─ ─ accept (SYN-ACK)  ─ ─ ─ ─ ─ ─ ─  c2 ─▒
   0.700       ├─ c2 ────────────── PUT /image 10.2 kB ──────────────────►▒
   0.750       ├─ c2 ─ 1.46 kB of PUT /image ─────╳ lost                  ▒
   0.780       ├═ c2 ═══════════════ PUT /image again ═══════════════════►▒
               │                                                          ▒ job done
               │                                                          █ 200 done
               │                       held ○────────── 200 OK ────── c1 ─┤
   0.860       ◆ read timeout after 5 s                                   │
               │                                                          ◆ jobs = 3
               ● gives up and asks again                                  │
               │  lost (cut): 500 Internal Server.. c2  ╳─────────────────┤
   0.880  ───────────────────────────── ◆ link server → client is cut ──────────────────────────────
   1.380       │                                                          ╳ crashed
   1.880       │                                                          ● restarted
   1.980       ├─ c2  ─ ─ ─ ─ ─ ─ ─ ─ heartb●at ping                      │
   2.010       ├━ c2 ━━●             push job 8 done                      │
   2.020       ● now                                                      │
"""
    )


def test_a_long_message_fills_up() -> None:
    """The heavy part of the line is what the server can read."""
    assert (
        text(showcase(), t=0.8, width=100)
        == """\
            client                                                     server
             ● up                                                       ● up
   0.000       ├─ c1  ─ ─ ─ ─ ─ ─ ─ ─ connect (SYN) ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─►│
   0.040       │◄─ ─ ─ ─ ─ ─ ─ ─ ─ ─ accept (SYN-ACK)  ─ ─ ─ ─ ─ ─ ─  c1 ─┤
   0.080       ├─ c1 ───────────────── GET /jobs/7 ──────────────────────►│
   0.120       │                              handling GET /jobs/7 100 ms █
   0.220       │                                                          █ done
               │◄──────────────────────── 200 OK ──────────────────── c1 ─┤
   0.260  ─────────────────────────────────── ◆ set latency 80ms ───────────────────────────────────
               ├─ c1 ────────────── GET /jobs/7?wait=2 ──────────────────►│
   0.340       │                                                          █ GET /jobs/7 440 ms
               │                          holding: nothing new yet 440 ms ▒
   0.540       ├─ c2  ─ ─ ─ ─ ─ ─ ─ ─ connect (SYN) ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─►▒
   0.620       │◄─ ─ ─ ─ ─ ─ ─ ─ ─ ─ accept (SYN-ACK)  ─ ─ ─ ─ ─ ─ ─  c2 ─▒
   0.700       ├━ c2 ━━━━━━━━ PUT /image 4.38 kB of 10.2 kB ─────────────●▒
   0.750       ├─ c2 ─ 1.46 kB of PUT /image ─────╳ lost                  ▒
   0.780       ├═ c2 ═════════●      PUT /image again                     ▒
               │                                                          ▒ job done
               │                                                          █ 200 done
               │                          200 OK           ●───────── c1 ─┤
"""
    )


def test_to_scale_arrows_slant_and_idle_time_is_as_long_as_it_is() -> None:
    assert (
        text(simple_get(), width=76, mode=Mode(0.02))
        == """\
            client                                   server
             ● up                                     ● up
   0.000       ├── connect (SYN) c1 ┐                   │
               │                    └──────────────────►│
               │  accept (SYN-ACK.. ┌───────────────────┤
               │◄───────────────────┘                   │
               ├─── GET /hello c1 ──┐                   │
   0.100       │                    └──────────────────►│
               │                                        █ handling GET /he..
               │                                        █
               │                                        █
               │                                        █
   0.200       │                                        █
               │                    ┌─── 200 OK c1 ─────█ done
               │◄───────────────────┘                   │
               ├─── close (FIN) c1 ─┐                   │
               │                    └──────────────────►│
   0.300       │                   ┌─ close (FIN) c1 ───┤
               │◄──────────────────┘                    │
               │                                        │
"""
    )


def test_to_scale_a_loss_and_a_packet_that_is_held() -> None:
    assert (
        window(showcase(), 0.85, 0, 90, Mode(0.01), top=70, height=16)
        == """\
            client                                            server
             ● up                                              ● up
   0.700       ├─────┐┐ lost: 1.46 kB at 4,380 c2 PUT /image..   ▒
               │     └─────┐┐                                    ▒
               │           └─────┐┐                              ▒
               │                 └─────┐┐                        ▒
               │                       └─────╳┐                  ▒
   0.750       │                              └─────┐            ▒
               │                                    └─────┐      ▒
               │                                          └─────►▒
               ├══════┐                                   ┌──────█ job done, 200 done
               │      └═════┐       held: 200 OK c1 ┌─────┘      │
   0.800       │            └═════┐           ┌─────┘            │
               │                  └═════┌─────┘                  │
               │                        │═════┐                  │
               │                        │     └═════┐            │
               │                        │           └═════┐      │
   0.850       │                        ○                 ●      │
"""
    )


def test_six_hosts_at_eighty_columns() -> None:
    """The most that fit side by side: a short arrow says one word."""
    assert (
        window(fan_out(6), 0.02, 0, 80, height=6)
        == """\
           publisher  broker     sub1      sub2      sub3      sub4
             ● up      ● up      ● up      ● up      ● up      ● up
   0.000       ├━PUBLISH►│         │         │         │         │
   0.010       │         ├━PUBLISH►│         │         │         │
               │         ├━ PUBLISH news c2 ►│         │         │
               │         ├━ c3 ━ push PUBLISH news ━━━►│         │
               │         ├━ c4 ━━━━━ push PUBLISH news ━━━━━━━━━►│
               │         │         │         │         │         │
"""
    )


def test_twenty_hosts_at_eighty_columns() -> None:
    """As narrow as can be read, then sideways; time stays where it is."""
    assert (
        window(fan_out(), 0.02, 0, 80)
        == """\
           publisher        broker           sub1            sub2           sub3
 15 more ►   ● up            ● up            ● up            ● up           ● up
   0.000       ├━ PUBLISH n.. ►│               │               │               │
   0.010       │               ├━ PUBLISH n.. ►│               │               │
               │               ├━ c2 ━ push PUBLISH news ━━━━━►│               │
               │               ├━ c3 ━━━━━━━━━ push PUBLISH news ━━━━━━━━━━━━━►│
               │               ├━ c4 ━━━━━━━━━ push PUBLISH news ━━━━━━━━━━━━━━━
               │               ├━ c5 ━━━━━━━━━ push PUBLISH news ━━━━━━━━━━━━━━━
               │               ├━ c6 ━━━━━━━━━ push PUBLISH news ━━━━━━━━━━━━━━━
               │               ├━ c7 ━━━━━━━━━ push PUBLISH news ━━━━━━━━━━━━━━━
               │               ├━ c8 ━━━━━━━━━ push PUBLISH news ━━━━━━━━━━━━━━━
               │               ├━ c9 ━━━━━━━━━ push PUBLISH news ━━━━━━━━━━━━━━━
               │               ├━ c10 ━━━━━━━━ push PUBLISH news ━━━━━━━━━━━━━━━
               │               ├━ c11 ━━━━━━━━ push PUBLISH news ━━━━━━━━━━━━━━━
"""
    )


def test_twenty_hosts_scrolled_sideways() -> None:
    """An arrow's words are in the middle of what can be seen of it; of what cannot be seen at all the edge says where it is."""
    assert (
        window(fan_out(), 0.02, 120, 80)
        == """\
 ◄ 8 more            sub7            sub8            sub9            sub10
 8 more ►            ● up            ● up            ● up            ● up
   0.000  ◄ publisher  │               │               │               │
   0.010  ◄ broker     │               │               │               │
          ◄ broker     │               │               │               │
          ◄ broker     │               │               │               │
          ◄ broker     │               │               │               │
          ◄ broker     │               │               │               │
          ◄ broker     │               │               │               │
          ━ PUBLISH.. ►│               │               │               │
          ━ c8 ━ push PUBLISH news ━━━►│               │               │
          ━ c9 ━━━━━━━━ push PUBLISH news ━━━━━━━━━━━━►│               │
          ━ c10 ━━━━━━━━━━━━━━━ push PUBLISH news ━━━━━━━━━━━━━━━━━━━━►│
          ━ c11 ━━━━━━━━━━━━━━━━━━━ push PUBLISH news ━━━━━━━━━━━━━━━━━━━━━━━━━━
"""
    )
