"""Counting operations: the counts of what can be counted by hand."""

import torch

from enn_book.lectures.operations import Operations, count_operations
from enn_lib.layers import EquivariantLinear


def test_a_matrix_product_is_a_multiplication_and_an_addition_for_each_term():
    a, b = torch.ones(3, 5), torch.ones(5, 7)
    assert count_operations(torch.matmul, a, b) == Operations(products=2 * 3 * 5 * 7, elementwise=0)


def test_an_entry_that_comes_out_is_an_operation_and_so_is_one_that_goes_into_a_sum():
    x = torch.ones(4, 6)
    assert count_operations(lambda: (x * x + 1).sqrt()).elementwise == 3 * 24
    assert count_operations(lambda: x.sum(dim=0)).elementwise == 24


def test_comparing_choosing_and_copying_is_free():
    x = torch.ones(4, 6)
    assert count_operations(lambda: torch.where(x > 0, x, 0.0).clone().to(torch.float64)).total == 0


def test_the_layer_is_one_product_and_its_unit_vectors():
    """Squares, their sum, softening, root and the multiplication: 3 n + 2 operations for each vector."""
    batch, n, m_in, m_out = 10, 3, 6, 5
    layer, x = EquivariantLinear(m_in, m_out), torch.ones(batch, n, m_in)
    counted = count_operations(layer, x)
    assert counted == Operations(2 * n * batch * 2 * m_in * m_out, batch * m_in * (3 * n + 2))
    assert counted.total == counted.products + counted.elementwise


def test_a_backward_pass_is_counted_too():
    a, b = torch.ones(3, 5, requires_grad=True), torch.ones(5, 7, requires_grad=True)
    loss = (a @ b).sum()
    assert count_operations(lambda: torch.autograd.grad(loss, [a, b])).products == 2 * (2 * 3 * 5 * 7)
