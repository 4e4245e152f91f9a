"""Odd answers of a node, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def spoilt(draw, whole):
    """A result in which something is something else."""
    if isinstance(whole, dict) and whole and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(whole)))
        return {**whole, key: draw(spoilt(whole[key]))}
    if isinstance(whole, list) and whole and draw(st.booleans()):
        return [draw(spoilt(whole[0]))] + whole[1:]
    return draw(ANYTHING)
