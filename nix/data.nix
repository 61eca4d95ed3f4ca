# Commands that make C of what a service has beside its C files, as meson.build does: openapi.json, completed, becomes the array
# NAME_openapi_json, and the files below www become the table NAME_www. from is the folder, to the folder of what is made.
{
  name,
  from,
  to,
  described,
  hasWww,
  headers ? "", # of the library, where includes do not find them by their names alone
}:
let
  symbol = builtins.replaceStrings [ "-" ] [ "_" ] name;
  ofDescription = ''
    python3 ${../scripts/describe} ${from}/openapi.json described.json
    python3 ${../scripts/embed} described.json ${symbol}_openapi_json ${to}/${symbol}_openapi.c ${to}/${symbol}_openapi.h
  '';
  ofFiles = ''
    python3 ${../scripts/embed} ${from}/www ${symbol}_www ${to}/${symbol}_www.c ${to}/${symbol}_www.h ${headers}
  '';
in
(if described then ofDescription else "") + (if hasWww then ofFiles else "")
