"""Other models of the same forces, to compare the ENN with: see `enn_lib.peers.catalogue`.

Every model is a `torch.nn.Module` that maps positions ``(..., 4, 3)``, in units of the data's position
scale, to forces ``(..., 4, 3)``, in units of its force scale.
"""
