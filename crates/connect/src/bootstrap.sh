# Starts the agent, or receives it first. Run as: sh -c 'this' debark 'bootstrap-memory.sh', where the login shell
# that sees the quotes may be fish or csh: no single quote, backslash or exclamation mark in here, and every line can
# be joined to the next by a blank. Comment lines are cut out; words in @ are filled in.
#
# Only root writes to /var/cache/debark, and only the user to the home: what is there is trusted by its name, which is
# its digest. A directory in a place that all may write to counts only if it is a real one, ours and closed to others.
h=${HOME:-/nonexistent};
n=@FIRST@;
# Empty is what a power cut may leave of a file.
try() { if [ -s "$1/$n" ] && [ -x "$1/$n" ]; then exec "$1/$n"; fi; };
known() { try /var/cache/debark; try "$h/.cache/debark"; };
known;
for p in id uname head dpkg-deb tar sha256sum mv chmod mkdir stat find sync; do
  command -v $p >/dev/null || { echo "DEBARK-FAIL tool $p"; exit 1; };
done;
u=$(id -u);
m=$(uname -m);
case "$m" in
  @MACHINES@
  *) echo "DEBARK-FAIL machine $m"; exit 1;;
esac;
known;
ours() { if [ -L "$1" ]; then return 1; fi; [ -d "$1" ] && [ -O "$1" ] && [ "$(stat -c %a "$1")" = 700 ]; };
shared="/run/user/$u/debark /dev/shm/debark-$u /var/tmp/debark-$u /tmp/debark-$u";
for d in $shared; do
  if ours "$d"; then try "$d"; fi;
done;
k=$(umask);
umask 077;
w="$h/.cache/debark";
x=700;
if [ "$u" = 0 ]; then umask 022; w=/var/cache/debark; x=755; mkdir -p "$w" 2>/dev/null; elif [ -d "$h" ]; then mkdir -p "$w" 2>/dev/null; fi;
why=;
# Tried, not guessed: whether there is room for all of it, and whether the kernel runs what lies there.
fits() {
  t=$1/.new-$$;
  e=$( { head -c $z /dev/zero >"$t"; } 2>&1) || { rm -f "$t"; why="$why; $1: ${e##*: }"; return 1; };
  if echo "exit 0" >"$t" && chmod 700 "$t" && "$t" 2>/dev/null; then return 0; fi;
  rm -f "$t"; why="$why; $1: programs there may not run"; return 1;
};
d=;
for c in "$w" $shared; do
  if [ "$c" = "$w" ]; then
    if [ -d "$c" ]; then if fits "$c"; then d=$c; break; fi; else why="$why; $c: cannot be made"; fi;
  else
    mkdir -m 700 "$c" 2>/dev/null;
    if ours "$c"; then if fits "$c"; then d=$c; break; fi; fi;
  fi;
done;
umask $k;
# A file in memory. The name comes as an argument: perl hands no literal to a system call.
if [ -z "$d" ]; then
  perl -e "exit(syscall($s, shift, 0) < 0)" x 2>/dev/null || { echo "DEBARK-FAIL place ${why#; }"; exit 1; };
fi;
echo "DEBARK-NEED $m";
# What the controller sent before it knew: it sends that again after the agent.
head -c @SENT@ >/dev/null;
if [ -z "$d" ]; then export g n; exec perl -e "exec(q(/bin/sh), q(-c), shift, syscall($s, shift, 0))" "$1" debark-agent; fi;
e=$( { head -c $g | dpkg-deb --fsys-tarfile - | tar -xO >"$t"; } 2>&1);
case "$(sha256sum <"$t")" in
  ${n#agent-}*) ;;
  *) rm -f "$t"; echo "DEBARK-FAIL sent $d: ${e##*: }"; exit 1;;
esac;
chmod $x "$t" && sync "$t" && mv "$t" "$d/$n" || { rm -f "$t"; echo "DEBARK-FAIL place $d"; exit 1; };
find "$d" -maxdepth 1 -type f -mtime +60 -delete 2>/dev/null;
exec "$d/$n";
