"""The branches of a run: which grew out of which, at what moment, and under what name. What a branch *is* does not matter here.

A branch is the same as its parent up to the moment `at_s` and goes its own way from there, because of what its name says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class Branch(Generic[T]):
    """`number` is its own for as long as the tree lives; the run that was begun is number 0 and has no parent."""

    number: int
    name: str
    item: T
    parent: Branch[T] | None = None
    at_s: float = 0.0
    seen: int = field(default=0)  # when it was last shown, in shows

    @property
    def line_of_descent(self) -> list[Branch[T]]:
        """Itself, its parent, and so on to the run that was begun."""
        return [self, *(self.parent.line_of_descent if self.parent is not None else ())]


class BranchTree(Generic[T]):
    """Never empty: the run that was begun stays. One branch is the current one: it is shown."""

    def __init__(self, item: T, name: str) -> None:
        self.root = Branch(0, name, item)
        self.current = self.root
        self._branches = [self.root]  # in the order of their making
        self._numbered = 0
        self._shows = 0

    def __len__(self) -> int:
        return len(self._branches)

    @property
    def branches(self) -> Sequence[Branch[T]]:
        """All of them, oldest first."""
        return tuple(self._branches)

    def add(self, name: str, at_s: float, item: T) -> Branch[T]:
        """A new branch of the current one, which becomes the current one.

        Before the current one went its own way it was its parent: a branch from there grows out of that.
        """
        self._numbered += 1
        parent = next(b for b in self.current.line_of_descent if b.at_s <= at_s or b is self.root)
        branch = Branch(self._numbered, name, item, parent, at_s)
        self._branches.append(branch)
        self.switch(branch)
        return branch

    def switch(self, branch: Branch[T]) -> None:
        """Make `branch` the current one."""
        self._shows += 1
        self.current.seen = branch.seen = self._shows
        self.current = branch

    def remove(self, branch: Branch[T]) -> None:
        """Take `branch` away. What grew out of it now grows out of its parent, and is named after both changes.

        Raises ValueError for the run that was begun.
        """
        if branch.parent is None:
            raise ValueError("the run itself stays; r begins it again")
        for child in self._branches:
            if child.parent is branch:
                child.parent = branch.parent
                child.at_s = min(child.at_s, branch.at_s)
                child.name = f"{branch.name}, then {child.name}"
        self._branches.remove(branch)
        if self.current is branch:
            self.switch(branch.parent)

    def least_wanted(self) -> Branch[T] | None:
        """The branch that has gone unseen for longest; never the run that was begun, the current one or its parent."""
        kept = (self.root, self.current, self.current.parent)
        return min((b for b in self._branches if b not in kept), key=lambda b: (b.seen, b.number), default=None)

    def listed(self) -> list[tuple[int, Branch[T]]]:
        """All branches with their depth, each behind what it grew out of, and siblings by the moment they went their way."""

        def below(branch: Branch[T], depth: int) -> list[tuple[int, Branch[T]]]:
            children = sorted((b for b in self._branches if b.parent is branch), key=lambda b: (b.at_s, b.number))
            return [(depth, branch), *(entry for child in children for entry in below(child, depth + 1))]

        return below(self.root, 0)

    @staticmethod
    def parting_s(one: Branch[T], other: Branch[T]) -> float:
        """The moment up to which two branches are the same; infinity for one and the same."""
        shared = set(one.line_of_descent) & set(other.line_of_descent)
        apart = [b for b in (*one.line_of_descent, *other.line_of_descent) if b not in shared]
        return min((branch.at_s for branch in apart), default=inf)


def named_after(orders: Sequence[str], at_s: float) -> str:
    """A branch's name: the change that made it, and when: "set latency 500 ms at 3.200 s"."""
    return f"{' and '.join(orders) or 'no change'} at {at_s:.3f} s"
