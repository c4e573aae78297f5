"""The tree of branches, by itself: what is a branch of what, under which name, and who goes first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.branches import Branch, BranchTree, named_after


def tree() -> tuple[BranchTree[str], Branch[str], Branch[str], Branch[str]]:
    """`slow` and `dead` grow out of the run, `lost` out of `slow`, which is older than where it grew."""
    made = BranchTree("run", "as it was")
    slow = made.add("set latency 500 ms at 3.200 s", 3.2, "slow")
    lost = made.add("drop next request at 5.000 s", 5.0, "lost")
    made.switch(made.root)
    dead = made.add("kill server at 1.000 s", 1.0, "dead")
    return made, slow, lost, dead


def test_a_branch_is_named_after_the_change_and_its_moment() -> None:
    assert named_after(["set latency 500 ms"], 3.2) == "set latency 500 ms at 3.200 s"
    assert named_after(["kill server", "release"], 0.0004) == "kill server and release at 0.000 s"
    assert named_after([], 1.0) == "no change at 1.000 s"


def test_a_new_branch_grows_out_of_the_current_one_and_is_shown() -> None:
    made, slow, lost, dead = tree()
    assert made.current is dead
    assert (slow.parent, lost.parent, dead.parent) == (made.root, slow, made.root)
    assert [branch.number for branch in made.branches] == [0, 1, 2, 3]


def test_the_list_follows_the_tree_and_time() -> None:
    made, slow, lost, dead = tree()
    assert made.listed() == [(0, made.root), (1, dead), (1, slow), (2, lost)]


def test_two_branches_part_where_the_first_of_them_left_what_they_share() -> None:
    made, slow, lost, dead = tree()
    assert made.parting_s(made.root, slow) == 3.2
    assert made.parting_s(lost, slow) == 5.0
    assert made.parting_s(lost, made.root) == 3.2
    assert made.parting_s(lost, dead) == made.parting_s(dead, lost) == 1.0
    assert made.parting_s(slow, slow) == float("inf")


def test_what_grew_out_of_a_removed_branch_stays_and_tells_both_changes() -> None:
    made, slow, lost, _ = tree()
    made.switch(slow)
    made.remove(slow)
    assert made.current is made.root
    assert (lost.parent, lost.at_s) == (made.root, 3.2)
    assert lost.name == "set latency 500 ms at 3.200 s, then drop next request at 5.000 s"
    assert made.parting_s(lost, made.root) == 3.2
    with pytest.raises(ValueError, match="the run itself stays"):
        made.remove(made.root)


def test_the_least_wanted_is_the_longest_unseen_and_never_in_use() -> None:
    made, slow, lost, dead = tree()
    assert made.least_wanted() is slow
    made.switch(slow)
    made.switch(dead)
    assert made.least_wanted() is lost
    made.switch(lost)
    assert made.least_wanted() is dead  # slow is the parent of the one that is shown
    assert BranchTree("run", "").least_wanted() is None


@given(
    st.lists(st.tuples(st.sampled_from(["add", "switch", "remove"]), st.integers(0, 9), st.floats(0, 9)), max_size=40)
)
def test_whatever_is_done_it_stays_a_tree(deeds: list[tuple[str, int, float]]) -> None:
    made = BranchTree("run", "")
    for deed, number, at_s in deeds:
        chosen = made.branches[number % len(made)]
        if deed == "add":
            made.add("", at_s, "")
        elif deed == "switch":
            made.switch(chosen)
        elif chosen is not made.root:
            made.remove(chosen)
        assert made.current in made.branches
        assert sorted(b.number for _, b in made.listed()) == [b.number for b in made.branches]
        for branch in made.branches:
            assert branch.line_of_descent[-1] is made.root
            assert branch.parent is None or made.parting_s(branch, branch.parent) == branch.at_s
