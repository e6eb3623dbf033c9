"""The small scripts of `Host`, in POSIX sh: they run in dash, bash and busybox alike."""

from __future__ import annotations

from typing import Final

ABSENT: Final = 44
"""Exit status: there is no such file."""
IS_DIRECTORY: Final = 45
"""Exit status: a directory is in the file's place."""

READ_FILE: Final = f"""# read the file
[ -e "$1" ] || [ -L "$1" ] || exit {ABSENT}
exec 0< "$1" && head -c "$2"
"""

# The length is compared before the rename: a connection that is cut looks like the end of the input.
WRITE_FILE: Final = f"""# write the file
[ ! -d "$1" ] || exit {IS_DIRECTORY}
case $1 in */*) directory=${{1%/*}}/ ;; *) directory=./ ;; esac
new=${{directory}}.pgvault-new-$$
trap 'rm -f "$new"' EXIT
trap 'exit 1' HUP INT TERM
umask 077
cat > "$new" || exit 1
[ "$(wc -c < "$new")" -eq "$3" ] || {{ echo "the input was cut short" >&2; exit 1; }}
chmod "$2" "$new" || exit 1
sync "$new" 2>/dev/null || sync
mv -f "$new" "$1" || exit 1
sync "$directory" 2>/dev/null || sync
"""

FREE_KIB: Final = r"""df -Pk "$path" | awk 'NR > 1 { line = line " " $0 } END {
  if (match(line, /[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+%/)) {
    split(substr(line, RSTART, RLENGTH), column); print column[3] } }'"""
"""Of the file system of $path."""

FREE_BYTES: Final = f"""# look at the free space
path=$1
while [ ! -e "$path" ]; do
  case $path in */*) path=${{path%/*}} ;; *) path=. ;; esac
  [ -n "$path" ] || path=/
done
{FREE_KIB}
"""
