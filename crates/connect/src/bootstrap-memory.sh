# Where nothing on disk will do: receives the agent into a file in memory, whose descriptor is $0, and starts it.
f=/proc/self/fd/$0;
head -c $g | dpkg-deb --fsys-tarfile - | tar -xO >$f;
case "$(sha256sum <$f)" in
  ${n#agent-}*) exec $f;;
esac;
echo "DEBARK-FAIL sent memory";
