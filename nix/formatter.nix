# nix fmt [FILE...]: without names, all files of the repository.
{ tools }:
tools.runCommand "slipway-fmt" { meta.mainProgram = "slipway-fmt"; } ''
  mkdir -p $out/bin
  cat > $out/bin/slipway-fmt <<'END'
  #!/bin/sh
  set -eu
  files() { if [ $# -gt 1 ]; then p=$1; shift; printf '%s\n' "$@" | grep -E "$p" || true; else git ls-files | grep -E "$1"; fi; }
  files '\.[ch]$' "$@" | xargs -r ${tools.clang-tools}/bin/clang-format -i
  files '\.py$' "$@" | xargs -r ${tools.ruff}/bin/ruff format -q
  files '\.nix$' "$@" | xargs -r ${tools.nixfmt}/bin/nixfmt
  END
  chmod +x $out/bin/slipway-fmt
''
