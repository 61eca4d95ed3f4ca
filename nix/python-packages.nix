# The Python packages of the tests and the site: tests/integration/requirements.in and docs/site/requirements.in, as nixpkgs
# names them.
packages: with packages; [
  cyclonedx-python-lib
  grpcio
  grpcio-tools
  h2
  hpack
  httpx
  hyperframe
  mkdocs-material
  pytest
  pytest-timeout
  pytest-xdist
  pyyaml
]
