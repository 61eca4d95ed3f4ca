# The libraries that a service may load, compressed once for all images: those of a program that loads every one of them.
{
  runCommandCC,
  python3,
  configured,
  dependencies,
  preferred,
}:
runCommandCC "packed-libraries"
  {
    buildInputs = dependencies;
    nativeBuildInputs = [ python3 ];
  }
  ''
    echo 'int main(void) { return 0; }' > all.c
    sed 's/--as-needed/--no-as-needed/g' ${configured}/link > link
    $CC @${configured}/compile -o all all.c @link
    python3 -B ${./image}/pack.py all $out ${toString preferred}
  ''
