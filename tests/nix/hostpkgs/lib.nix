# The functions of nixpkgs' lib that the flake uses (nix/nixpkgs-attributes.nix).
rec {
  genAttrs =
    names: f:
    builtins.listToAttrs (
      map (name: {
        inherit name;
        value = f name;
      }) names
    );
  filterAttrs =
    keep: set:
    removeAttrs set (builtins.filter (name: !keep name set.${name}) (builtins.attrNames set));
  inherit (builtins) mapAttrs;
  mapAttrsToList = f: set: map (name: f name set.${name}) (builtins.attrNames set);
  optional = condition: value: if condition then [ value ] else [ ];
  concatMapStringsSep =
    separator: f: list:
    builtins.concatStringsSep separator (map f list);
  hasPrefix = prefix: text: builtins.substring 0 (builtins.stringLength prefix) text == prefix;
  hasSuffix =
    suffix: text:
    let
      rest = builtins.stringLength text - builtins.stringLength suffix;
    in
    rest >= 0 && builtins.substring rest (-1) text == suffix;
  removePrefix =
    prefix: text:
    if hasPrefix prefix text then
      builtins.substring (builtins.stringLength prefix) (
        builtins.stringLength text - builtins.stringLength prefix
      ) text
    else
      text;
  removeSuffix =
    suffix: text:
    if hasSuffix suffix text then
      builtins.substring 0 (builtins.stringLength text - builtins.stringLength suffix) text
    else
      text;
  unique = builtins.foldl' (list: one: if builtins.elem one list then list else list ++ [ one ]) [ ];
  splitString =
    separator: text: builtins.filter builtins.isString (builtins.split (escape separator) text);
  escape = builtins.replaceStrings [ "." ] [ "\\." ];
}
