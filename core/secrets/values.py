"""All secrets of one moment, frozen: a process swaps the whole for the next one, and changes none in place."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class SecretValues:
    """Secrets by name; neither repr nor pickle shows one."""

    _by_name: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, values: Mapping[str, str | None]) -> "SecretValues":
        """Keep those that are there."""
        return cls(MappingProxyType({str(name): value for name, value in values.items() if value is not None}))

    def get(self, name: str, *, required: bool = False) -> str | None:  # noqa: ARG002 - the signature of `get_secret`
        """Return one, or None."""
        return self._by_name.get(name)

    def names(self) -> tuple[str, ...]:
        """Return the names of those that are there."""
        return tuple(self._by_name)

    def changed_from(self, other: "SecretValues") -> tuple[str, ...]:
        """Return the names whose value is not the same in `other`."""
        names = {*self._by_name, *other._by_name}
        return tuple(sorted(name for name in names if self._by_name.get(name) != other._by_name.get(name)))

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("secrets are not pickled")
