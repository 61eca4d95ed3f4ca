# The Python packages of the tests: tests/integration/requirements.in, as nixpkgs names them.
packages: with packages; [
  cyclonedx-python-lib
  grpcio
  grpcio-tools
  h2
  hpack
  httpx
  hyperframe
  pytest
  pytest-timeout
  pytest-xdist
  pyyaml
]
