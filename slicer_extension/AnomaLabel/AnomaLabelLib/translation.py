"""The call that every text a user sees goes through."""

try:
    from slicer.i18n import tr as _
except ImportError:

    def _(text: str) -> str:
        """The text as it is, where Slicer's translator is absent (slicer-core has none)."""
        return text


__all__ = ["_"]
