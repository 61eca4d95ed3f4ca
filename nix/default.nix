{
  lib,
  target,
  tools,
  nixpkgs,
}:
let
  version = builtins.head (lib.splitString "\n" (builtins.readFile ../VERSION));
  call =
    file: more:
    (import file) (
      builtins.intersectAttrs (builtins.functionArgs (import file)) (target // { inherit lib; } // more)
    );
  bounds = import ./bounds.nix;

  # Without ICU, 30 MB of tables that gRPC has no use for. Its library stands in for nixpkgs' in the images.
  re2 = target.re2.overrideAttrs (old: {
    cmakeFlags = old.cmakeFlags or [ ] ++ [ "-DRE2_USE_ICU=OFF" ];
    doCheck = false;
  });
  h2oLibraries = target.h2o.librariesOnly or (call ./h2o.nix { });
  components = import ./components.nix { inherit target h2oLibraries re2; };

  shell =
    more:
    import ./shell.nix {
      inherit
        target
        tools
        h2oLibraries
        more
        ;
    };

  # ---- services: every folder of src with a main.c ----

  isService = name: type: type == "directory" && builtins.pathExists (../src + "/${name}/main.c");
  names = builtins.attrNames (lib.filterAttrs isService (builtins.readDir ../src));
  librariesOf = import ./libraries.nix { inherit lib; };
  described = lib.genAttrs names (
    name:
    import ./declared.nix {
      inherit lib;
      file = ../src + "/${name}/service.toml";
    }
    // {
      inherit name;
      libraries = librariesOf name;
      share = builtins.pathExists (../share + "/${name}");
    }
  );

  # The .summary of its svc_def.
  summary =
    name: main:
    let
      lines = lib.splitString "\n" (builtins.readFile main);
      found = builtins.filter (match: match != null) (
        map (builtins.match ".*\\.summary = \"([^\"]*)\".*") lines
      );
    in
    if found == [ ] then name else builtins.head (builtins.head found);

  sourceOf =
    name:
    import ./source.nix {
      inherit lib name;
      wanted =
        map (folder: "src/${folder}") ([ name ] ++ described.${name}.libraries)
        ++ lib.optional described.${name}.share "share/${name}";
    };
  buildFiles = [
    "VERSION"
    "meson.build"
    "meson_options.txt"
    "scripts/describe"
    "scripts/embed"
    "scripts/find-sources"
    "scripts/proto"
    "scripts/rpc-stubs"
    "proto"
  ];
  librarySource = import ./source.nix {
    inherit lib;
    name = "library";
    wanted = buildFiles ++ [ "src/lib" ];
  };
  # All of the tree that a service is made of: what follows takes parts of it.
  sourcesOf = name: {
    ${name} = sourceOf name;
    library = librarySource;
  };
  configured = call ./configured.nix {
    inherit version dependencies mesonFlags;
    src = import ./source.nix {
      inherit lib;
      name = "configured";
      wanted = buildFiles;
    };
  };
  dependencies = [
    h2oLibraries
  ]
  ++ (with target; [
    openssl
    zlib
    grpc
    lmdb
    jansson
    nghttp2
    protobufc
  ]);
  commonFlags = [
    "-Dh2o_prefix=${h2oLibraries}"
    "-Dh2o_libdir=${h2oLibraries.libdir or "${h2oLibraries}/lib"}"
  ];
  mesonFlags =
    commonFlags
    ++ [
      "-Dwerror=false" # another compiler's new warnings fail the checks (checks.nix), not an image that is built again
      "-Dtests=false"
      "-Ddatadir=/share" # where data is in the image
      "-Ddebug=true" # an output of its own: service.nix
    ]
    ++ lib.optional (target.grpc.archives or false) "-Dprefer_static=true"; # nixpkgs has no archives but ours of h2o
  layers = import ./layers.nix { inherit lib; };
  objects = call ./objects.nix { inherit configured dependencies layers; };
  library = call ./library.nix {
    inherit
      version
      configured
      layers
      objects
      ;
  };
  objectsOf =
    folder:
    objects {
      inherit folder;
      libraries = librariesOf folder;
    };
  serviceOf =
    name:
    call ./service.nix {
      inherit
        name
        version
        configured
        dependencies
        library
        ;
      own = objectsOf name;
      others = map objectsOf described.${name}.libraries;
      sources = sourcesOf name;
    };
  services = lib.genAttrs names serviceOf;

  # ---- the library, and services of other repositories ----

  package = call ./package.nix {
    inherit version dependencies commonFlags;
    src = import ./source.nix {
      inherit lib;
      name = "slipway";
      wanted = buildFiles ++ [
        "scripts/public"
        "src/lib"
      ];
    };
  };
  outside = call ./outside.nix {
    inherit
      version
      configured
      dependencies
      library
      librarySource
      package
      imageOf
      streamOf
      summary
      ;
    inherit shell target tools;
  };

  # ---- images ----

  preferred = [ "${re2}/lib" ];
  packed = call ./packed.nix { inherit configured dependencies preferred; };
  image =
    spec:
    import ./image.nix {
      inherit
        target
        components
        nixpkgs
        preferred
        ;
      spec = {
        volumes = [ ];
        env = { };
        trees = [ ];
        archives = [ ];
        sources = { };
        packed = null;
        own = false;
        inherit (import ./project.nix) source_url;
      }
      // spec;
    };
  imageOf =
    name: service: more:
    image (
      {
        inherit name;
        inherit (service) version;
        inherit (service) sources;
        own = true;
        license = "Apache-2.0";
        bounds = { inherit (bounds) plain grpc; };
        programs = [ "${service}/bin/${name}" ];
        archives = [ "${service}/nix-support/archives" ];
        packed = "${packed}";
      }
      // more
    );
  serviceImage =
    name:
    imageOf name services.${name} {
      inherit (described.${name}) ports volumes;
      description = summary name (../src + "/${name}/main.c");
      trees = lib.optional described.${name}.share {
        path = "/share/${name}";
        source = "${sourceOf name}/share/${name}";
      };
    };
  foreignImages = {
    etcd = image {
      name = "etcd";
      inherit (target.etcd_3_6) version;
      description = "etcd with etcdctl and etcdutl";
      license = "Apache-2.0";
      bounds.plain = bounds.etcd;
      programs = map (program: "${target.etcd_3_6}/bin/${program}") [
        "etcd"
        "etcdctl"
        "etcdutl"
      ];
      ports = [
        2379
        2380
      ];
      volumes = [ "/data" ];
    };
    prometheus = image {
      name = "prometheus";
      inherit (target.prometheus) version;
      description = "Prometheus";
      license = "Apache-2.0";
      bounds.plain = bounds.prometheus;
      programs = [ "${target.prometheus}/bin/prometheus" ];
      ports = [ 9090 ];
      volumes = [ "/data" ];
    };
    # What encrypts a backup and puts it into a bucket (k8s/components/backup).
    backup-tools = image {
      name = "backup-tools";
      inherit (target.rclone) version;
      description = "rclone and age";
      license = "MIT AND BSD-3-Clause";
      bounds.plain = bounds.backup-tools;
      programs = [
        "${target.rclone}/bin/rclone"
        "${target.age}/bin/age"
      ];
      trees = [
        {
          path = "/etc/ssl/certs";
          source = "${target.cacert}/etc/ssl/certs";
        }
      ];
      ports = [ ];
      env.SSL_CERT_FILE = "/etc/ssl/certs/ca-bundle.crt";
      volumes = [ "/data" ];
    };
  };
  layouts = lib.genAttrs names serviceImage // foreignImages;

  # A program that writes the image to its standard output (nix/image/stream.py).
  streamOf =
    name: layout:
    tools.runCommand "${name}-image" { passthru = { inherit layout; }; } ''
      printf '#!/bin/sh\nexec %s %s %s "$@"\n' ${tools.python3}/bin/python3 ${./image}/stream.py ${layout} > $out
      chmod +x $out
    '';
  streams = lib.mapAttrs streamOf layouts;
  index = target.runCommand "images-index" { nativeBuildInputs = [ target.python3 ]; } ''
    python3 -B ${./image}/listing.py index ${
      lib.concatMapStringsSep " " toString (builtins.attrValues layouts)
    } > $out
  '';
  documents = name: layout: [
    {
      name = "${name}.sbom.cdx.json";
      path = "${layout}/sbom.cdx.json";
    }
    {
      name = "${name}.provenance.intoto.json";
      path = "${layout}/provenance.intoto.json";
    }
  ];
  images = tools.linkFarm "images" (
    [
      {
        name = "index.json";
        path = index;
      }
    ]
    ++ lib.mapAttrsToList (name: path: { inherit name path; }) streams
    ++ builtins.concatLists (lib.mapAttrsToList documents layouts)
  );
in
{
  inherit services package;
  mkService = outside;
  # `.#images` is all of them; `.#images.notes` one, `.#images.notes.layout` as an OCI layout.
  images = images // streams // { inherit layouts; };
  checks = import ./checks.nix {
    inherit
      lib
      target
      tools
      version
      images
      services
      buildFiles
      dependencies
      h2oLibraries
      commonFlags
      ;
  };
  devShell = shell [ ];
  formatter = import ./formatter.nix { inherit tools; };
  apps = import ./apps.nix { inherit tools; };
}
