"""Tests: what must stay true, from single decisions to whole formations."""
