# Commands that make C of what a service has beside its C files, as meson.build does: openapi.json, completed, becomes the array
# NAME_openapi_json, and the files below www become the table NAME_www. from is the folder, to the folder of what is made.
{
  lib,
  name,
  from,
  to,
  described,
  hasWww,
  headers ? "", # of the library, where includes do not find them by their names alone
}:
lib.optionalString described ''
  data=$(printf '${name}_openapi' | tr - _)
  python3 ${../scripts/describe} ${from}/openapi.json described.json
  python3 ${../scripts/embed} described.json ''${data}_json ${to}/$data.c ${to}/$data.h
''
+ lib.optionalString hasWww ''
  data=$(printf '${name}_www' | tr - _)
  python3 ${../scripts/embed} ${from}/www $data ${to}/$data.c ${to}/$data.h ${headers}
''
