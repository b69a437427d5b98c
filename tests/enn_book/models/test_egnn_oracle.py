"""Our layer of EGNN beside that of the package ``egnn-pytorch`` (optional extra ``peers``), weights shared.

That package departs from the publication in two things, which are undone here: it sums the moves of the
coordinates, where Eq. 4 of the paper divides by N - 1, and its sum of messages has the atom's own. The
widths of its networks are others than ours, so both layers compute with its networks; what is compared is
what the layer does with them.
"""

import pytest
import torch
from examples import normal

from enn_book.models.rivals import EGNNLayer
from enn_lib.argon import sample_positions

theirs = pytest.importorskip("egnn_pytorch", reason="the optional extra 'peers' is not installed")

FEATURES, MESSAGE = 5, 7


@pytest.fixture
def layers():
    """Their layer and ours, of the same networks, in float64 and with weights that are not tiny."""
    torch.manual_seed(0)
    published = theirs.EGNN(dim=FEATURES, m_dim=MESSAGE, init_eps=0.3).double()
    mine = EGNNLayer(FEATURES).double()
    mine.edge, mine.node, mine.coordinate = published.edge_mlp, published.node_mlp, published.coors_mlp
    return published, mine


@pytest.fixture
def state():
    return normal(6, 4, FEATURES), sample_positions(6, 2) / 4.5


def test_the_layer_moves_the_atoms_as_that_of_egnn_pytorch_does(layers, state):
    published, mine = layers
    h, x = state
    (_, moved), (_, ours) = published(h, x), mine(h, x)
    assert (moved - x).abs().max() > 1e-2
    torch.testing.assert_close(ours - x, (moved - x) / 3)


def test_the_layer_changes_the_features_as_that_of_egnn_pytorch_does(layers, state):
    published, mine = layers
    h, x = state
    ours, _ = mine(h, x)
    with_itself, _ = published(h, x)
    assert (ours - with_itself).abs().max() > 1e-2, "their sum has the atom's own message"
    others = (1 - torch.eye(4, dtype=x.dtype)).unsqueeze(-1)
    hook = published.edge_mlp.register_forward_hook(lambda module, inputs, message: message * others)
    without_itself, _ = published(h, x)
    hook.remove()
    torch.testing.assert_close(ours, without_itself)
