"""Proof that both sides of a conversion are the same network."""

from __future__ import annotations

from caffenorm.convert.proof.results import Verification
from caffenorm.convert.proof.verify import verify

__all__ = ["Verification", "verify"]
