{ system, lib }:
let
  # bash runs the script, with the host's programs. It must not end in an exec'd command, hence the exit: Nix 2.8 kills a
  # builder that has closed its standard error.
  derivationOf =
    {
      pname,
      version ? "0",
      script,
      passthru ? { },
      meta ? { },
      ...
    }@attrs:
    let
      made = derivation (
        removeAttrs attrs [
          "pname"
          "version"
          "script"
          "passthru"
          "meta"
        ]
        // {
          name = if version == "0" then pname else "${pname}-${version}";
          inherit system;
          builder = "/bin/bash";
          args = [
            "-euo"
            "pipefail"
            "-c"
            ''
              export PATH=/usr/local/bin:/usr/bin:/bin HOME=$NIX_BUILD_TOP TZ=UTC LC_ALL=C.UTF-8 CC=cc
              # Nix hands no variable on. The PATH of whoever called it is that of the process which runs this.
              callers=$(tr '\0' '\n' </proc/$PPID/environ | sed -n 's/^PATH=//p')
              PATH=$PATH:$callers
              umask 022
              patchShebangs() { :; }
              cd "$NIX_BUILD_TOP"
              ${script}
              exit 0
            ''
          ];
        }
      );
      package =
        made
        // {
          inherit pname version meta;
          outputs = attrs.outputs or [ "out" ];
          overrideAttrs = _: package;
        }
        // passthru;
    in
    package;

  # A package that /usr provides already: nothing is in it. pname is Debian's name of the source, so that the bill of
  # materials finds the licence; the version is what dpkg says when an image is built.
  hostPackage =
    pname: spdxId:
    derivationOf {
      inherit pname;
      script = "mkdir $out";
      meta.license = { inherit spdxId; };
    };
  tool = pname: hostPackage pname "Apache-2.0";

  # Programs of the host, copied: those that whoever calls Nix would run.
  hostPrograms =
    {
      pname,
      version,
      spdxId,
      programs,
      check,
    }:
    derivationOf {
      inherit pname version;
      meta.license = { inherit spdxId; };
      script = ''
        PATH=$callers:$PATH
        mkdir -p $out/bin
        for program in ${toString programs}; do
          found=$(command -v $program) || { echo "this host has no $program" >&2; exit 1; }
          cp -L "$found" $out/bin/
        done
        ${check}
      '';
    };

  # The phases of nixpkgs that the flake relies on: meson's, unless there are others.
  mkDerivation =
    attrs:
    derivationOf (
      removeAttrs attrs [
        "nativeBuildInputs"
        "nativeCheckInputs"
        "buildInputs"
        "strictDeps"
        "mesonFlags"
        "mesonBuildType"
        "ninjaFlags"
        "dontUnpack"
        "dontConfigure"
        "postPatch"
        "preBuild"
        "buildPhase"
        "installPhase"
      ]
      // {
        script = ''
          ${
            if attrs.dontUnpack or false then
              ""
            else
              ''
                cp -R --no-preserve=mode,ownership "$src" source
                chmod +x source/scripts/*
                cd source
              ''
          }
          ${attrs.postPatch or ""}
          ${
            if attrs.dontConfigure or false then
              ""
            else
              ''
                meson setup build --prefix=$out --buildtype=${
                  attrs.mesonBuildType or "plain"
                } ${toString attrs.mesonFlags}
                cd build
              ''
          }
          ${attrs.preBuild or ""}
          ${attrs.buildPhase or "ninja -j\"$NIX_BUILD_CORES\" ${toString (attrs.ninjaFlags or [ ])}"}
          ${if attrs.doCheck or false then "meson test --no-rebuild --print-errorlogs" else ""}
          ${attrs.installPhase}
        '';
      }
    );
in
rec {
  runCommand =
    name: attrs: script:
    derivationOf (
      removeAttrs attrs [
        "nativeBuildInputs"
        "buildInputs"
      ]
      // {
        pname = name;
        inherit script;
      }
    );
  runCommandCC = runCommand;
  linkFarm =
    name: entries:
    runCommand name { } (
      "mkdir $out\n"
      + lib.concatMapStringsSep "\n" (entry: "ln -s ${entry.path} $out/${entry.name}") entries
    );
  mkShell = _: runCommand "shell" { } "mkdir $out";

  stdenv = {
    inherit mkDerivation;
    hostPlatform = {
      inherit system;
      isLinux = builtins.match ".*-linux" system != null;
    };
    cc = {
      cc = hostPackage "gcc-12" "GPL-3.0-or-later WITH GCC-exception-3.1";
      libc = hostPackage "glibc" "LGPL-2.1-or-later";
    };
  };

  # Libraries.
  abseil-cpp = hostPackage "abseil" "Apache-2.0";
  c-ares = hostPackage "c-ares" "MIT";
  grpc = hostPackage "grpc" "Apache-2.0" // {
    archives = true;
  };
  jansson = hostPackage "jansson" "MIT";
  lmdb = hostPackage "lmdb" "OLDAP-2.8";
  nghttp2 = hostPackage "nghttp2" "MIT";
  openssl = hostPackage "openssl" "Apache-2.0";
  protobufc = hostPackage "protobuf-c" "BSD-2-Clause";
  re2 = hostPackage "re2" "BSD-3-Clause";
  wslay = hostPackage "wslay" "MIT";
  zlib = hostPackage "zlib" "Zlib";
  # Debian's libh2o, in the compiler's own folders, stands in for what nix/h2o.nix builds.
  h2o.librariesOnly = derivationOf {
    pname = "h2o";
    meta.license.spdxId = "MIT";
    passthru.libdir = "";
    script = "mkdir $out; ln -s /usr/include $out/include";
  };

  # Never built: Debian's libh2o stands in.
  fetchFromGitHub =
    { rev, ... }:
    derivationOf {
      pname = "source-of-${rev}";
      script = "exit 1";
    };

  # Programs for images.
  etcd_3_6 = hostPrograms {
    pname = "etcd";
    version = "3.6";
    spdxId = "Apache-2.0";
    programs = [
      "etcd"
      "etcdctl"
      "etcdutl"
    ];
    check = ''$out/bin/etcd --version | grep '^etcd Version: 3\.6\.' >/dev/null || { echo "etcd is not 3.6" >&2; exit 1; }'';
  };
  prometheus =
    hostPrograms {
      pname = "prometheus";
      version = "2.42";
      spdxId = "Apache-2.0";
      programs = [ "prometheus" ];
      check = ''$out/bin/prometheus --version | grep 'version 2\.42\.' >/dev/null || { echo "Prometheus is not 2.42" >&2; exit 1; }'';
    }
    // {
      cli = tool "promtool";
    };

  rclone = hostPrograms {
    pname = "rclone";
    version = "1.76";
    spdxId = "MIT";
    programs = [ "rclone" ];
    check = ''$out/bin/rclone --version | grep '^rclone v1\.76\.' >/dev/null || { echo "rclone is not 1.76" >&2; exit 1; }'';
  };
  age = hostPrograms {
    pname = "age";
    version = "1.3";
    spdxId = "BSD-3-Clause";
    programs = [ "age" ];
    check = "";
  };
  # What Debian's package brings, without the authorities that whoever runs the host has added to them.
  cacert = derivationOf {
    pname = "cacert";
    script = "mkdir -p $out/etc/ssl/certs; cat /usr/share/ca-certificates/mozilla/*.crt >$out/etc/ssl/certs/ca-bundle.crt";
  };

  python3 = derivationOf {
    pname = "python3";
    script = "mkdir -p $out/bin; ln -s /usr/bin/python3 $out/bin/python3";
    passthru.withPackages = _: tool "python-packages";
  };
}
# Programs that builds and the shell call by name; on the path already.
// lib.genAttrs [
  "actionlint"
  "clang"
  "clang-tools"
  "cmake"
  "cosign"
  "criterion"
  "curl"
  "deadnix"
  "gcovr"
  "ghz"
  "git"
  "go"
  "grpcurl"
  "grype"
  "just"
  "kube-score"
  "kubeconform"
  "kubectl"
  "kustomize"
  "meson"
  "nghttp2"
  "ninja"
  "nixfmt"
  "nodejs"
  "pkg-config"
  "protobuf"
  "ruff"
  "runc"
  "shellcheck"
  "skaffold"
  "skopeo"
  "spin"
  "statix"
  "vegeta"
  "wrk"
  "yamlfmt"
] tool
