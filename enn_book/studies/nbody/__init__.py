"""The benchmark of five charged particles of Satorras, Hoogeboom and Welling (2021), and the ENN on it.

Units are those of the published simulation: the charges are +1 or -1, the masses 1, Coulomb's constant 1,
and one step takes 0.001 of a unit of time. `enn_book.studies.nbody.system` has the law and the integrator,
`enn_book.studies.nbody.data` the published trajectories, `enn_book.studies.nbody.models` the networks.
"""
