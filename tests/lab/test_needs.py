"""A scenario that needs what is not installed says so in one line, and nothing of it runs."""

import trio

from engines.lab.facts import HostDeclared, HostStarted, RunFailed
from engines.lab.host import Host
from engines.lab.scenario import HostSpec, Need, Scenario
from engines.lab.session import SessionState, run_headless

MISSING = Need("no_such_module_anywhere", "commtui[nothing]")


async def program(host: Host) -> None:
    await trio.sleep(1)


def test_what_is_lacking_ends_the_run_before_it_begins() -> None:
    scenario = Scenario(
        "s", "S", "p", (HostSpec("a", program), HostSpec("b", program)), needs=(Need("trio", ""), MISSING)
    )
    session = run_headless(scenario)
    says = "this scenario needs no_such_module_anywhere, which is not installed; get it with: pip install 'commtui[nothing]'"
    assert scenario.lacks() == says
    assert (session.status.state, session.status.message) == (SessionState.FAILED, says)
    facts = [record.fact for record in session.trace]
    assert [fact.host for fact in facts if isinstance(fact, HostDeclared)] == ["a", "b"]
    assert [fact.reason for fact in facts if isinstance(fact, RunFailed)] == [says]
    assert not [fact for fact in facts if isinstance(fact, HostStarted)]


def test_what_is_there_is_not_lacking() -> None:
    scenario = Scenario("s", "S", "p", (HostSpec("a", program),), needs=(Need("trio", ""),))
    assert scenario.lacks() == ""
    assert run_headless(scenario).status.state is SessionState.ENDED
