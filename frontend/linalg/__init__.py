"""Linear algebra under PyTorch's names (`sley.linalg`).

Decompositions and solves run LAPACK through numpy, also from compiled programs, where they are host
calls between native kernels. A matrix is the last two axes of a tensor; the axes before them are a
batch.
"""

from ..errors import LinAlgError
from .decompositions import (
    cholesky,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    matrix_exp,
    pinv,
    qr,
    svd,
    svdvals,
)
from .norms import cond, matrix_norm, matrix_rank, norm, vector_norm
from .products import cross, matmul, matrix_power, multi_dot, tensorinv, vander, vecdot
from .systems import (
    cholesky_solve,
    det,
    diagonal,
    inv,
    lstsq,
    slogdet,
    solve,
    solve_triangular,
    tensorsolve,
)

__all__ = [
    "LinAlgError",
    "cholesky",
    "cholesky_solve",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "lstsq",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensorinv",
    "tensorsolve",
    "vander",
    "vecdot",
    "vector_norm",
]
