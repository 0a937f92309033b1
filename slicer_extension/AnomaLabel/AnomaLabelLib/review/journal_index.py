"""What the journal's lines say all together, in memory."""

from __future__ import annotations

from collections.abc import Sequence

from .journal_lines import SENT, Act, Mark, line_of, parse_line


class JournalIndex:
    """Acts in the order of their lines, and which of them still wait; no method's time grows with acts of others."""

    def __init__(self) -> None:
        self.acts: dict[str, Act] = {}
        self._waiting: dict[str, dict[str, Act]] = {}
        self._cases: dict[tuple[str, str], dict[str, Act]] = {}
        self._unknown: list[bytes] = []

    def take_line(self, line: bytes) -> None:
        """Take the next line of the file."""
        entry = parse_line(line)
        if isinstance(entry, Act):
            self.take(entry)
        elif isinstance(entry, Mark):
            self.settle(entry.event_id)
        else:
            self._unknown.append(line)

    def take(self, act: Act) -> None:
        """Take an act that waits; one that is known stays what it is."""
        if act.event_id not in self.acts:
            self.acts[act.event_id] = act
            self._waiting.setdefault(act.server, {})[act.event_id] = act
            self._cases.setdefault((act.server, act.image), {})[act.event_id] = act

    def settle(self, event_id: str) -> Act | None:
        """An act waits no more; returns it, None where it did not wait."""
        act = self.acts.get(event_id)
        return None if act is None else self._waiting[act.server].pop(event_id, None)

    def is_waiting(self, act: Act) -> bool:
        """Whether the server does not have the act yet."""
        return act.event_id in self._waiting[act.server]

    def waiting(self, server: str) -> tuple[Act, ...]:
        """The acts that wait for a server."""
        return tuple(self._waiting.get(server, {}).values())

    def all_waiting(self) -> tuple[Act, ...]:
        """The acts that wait, whichever server for."""
        return tuple(act for acts in self._waiting.values() for act in acts.values())

    def counts(self) -> dict[str, int]:
        """How many acts wait, by server; servers that nothing waits for are left out."""
        return {server: len(acts) for server, acts in self._waiting.items() if acts}

    def settled_count(self) -> int:
        """How many acts wait no more."""
        return len(self.acts) - sum(len(acts) for acts in self._waiting.values())

    def of_case(self, server: str, image: str) -> tuple[Act, ...]:
        """The acts on one image of one server."""
        return tuple(self._cases.get((server, image), {}).values())

    def lines(self, case: tuple[str, str], again: Sequence[Act] = ()) -> list[bytes]:
        """The lines of a file that holds no more than is needed.

        Args:
            case: server and image whose acts stay though the server has them.
            again: acts that wait again; those that are known keep their place.

        Returns:
            The acts that wait and those of the case, in their order, and every line of a kind that is not known here.
        """
        found = list(self._unknown)
        # What is not known any more was kept before a compaction, and so before all else on its image.
        found += [line_of(act) for act in again if act.event_id not in self.acts]
        waits_again = {act.event_id for act in again}
        for act in self.acts.values():
            if self.is_waiting(act) or act.event_id in waits_again:
                found.append(line_of(act))
            elif (act.server, act.image) == case:
                found += [line_of(act), line_of(Mark(SENT, act.event_id))]
        return found
