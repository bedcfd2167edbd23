"""What `rag` and `probe` read of a pair."""

import numpy as np

from tailorbird.arms.split_embeddings import relation


def turned(angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Return two unit vectors ``[1, 3]`` at this angle."""
    return np.eye(3)[:1], np.asarray([[np.cos(angle), np.sin(angle), 0.0]])


def test_a_pair_is_a_unit_vector_that_holds_its_angle() -> None:
    for angle in (0.0, 1e-4, 0.3, np.pi / 2, 3.0, np.pi):
        found = relation(*turned(angle))
        assert found.shape == (1, 14)
        assert np.isclose(np.linalg.norm(found), 1)
        assert np.isclose(np.arctan2(found[0, -1], found[0, -2]), angle)


def test_texts_nearly_the_same_give_nearly_the_same_vector() -> None:
    """In 32 bits too, where a cosine near 1 has lost what sets the two apart."""
    rng = np.random.default_rng(1)
    u = rng.normal(size=(50, 384)).astype(np.float32)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    nudged = u + rng.normal(size=u.shape).astype(np.float32) * 1e-7
    assert np.abs(relation(u, u) - relation(u, nudged)).max() < 1e-5


def test_the_nearest_pair_is_as_much_alike() -> None:
    """Of random pairs, the neighbours of one are those with the same angle, whatever they say."""
    rng = np.random.default_rng(2)
    u, noise = rng.normal(size=(2, 400, 64))
    v = u + noise * rng.uniform(0.1, 3, size=(400, 1))
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (u, v))
    vectors, cosines = relation(u, v), (u * v).sum(axis=1)
    likeness = vectors @ vectors.T - 2 * np.eye(400)
    apart = np.abs(cosines - cosines[likeness.argmax(axis=1)])
    assert np.median(apart) < 0.05 < np.median(np.abs(cosines - rng.permutation(cosines)))
